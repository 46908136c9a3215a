"""Checkpoints of guided-diffusion against its own network, as azula carries it, at tiny size."""

import importlib.metadata
import importlib.util
import sys

import pytest
import torch

from hdagger.errors import FileError
from hdagger.priors import adm
from hdagger.priors.huggingface import empty_unet


def original():
    """azula's copy of guided-diffusion's unet.py, without the rest of azula."""
    if "original_adm" not in sys.modules:
        folder = next(
            file.locate().parent
            for file in importlib.metadata.files("azula")
            if str(file).endswith("adm/_src/__init__.py")
        )
        spec = importlib.util.spec_from_file_location(
            "original_adm", folder / "__init__.py", submodule_search_locations=[str(folder)]
        )
        sys.modules["original_adm"] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules["original_adm"])
    return importlib.import_module("original_adm.unet")


COMMON = {"in_channels": 3, "use_scale_shift_norm": True, "resblock_updown": True}
SIX = (1, 1, 2, 2, 4, 4)
NETWORKS = {
    "256": {"model_channels": 32, "channel_mult": SIX, "num_res_blocks": 2,
            "attention_resolutions": {8, 16, 32}, "num_head_channels": 64, "out_channels": 6},
    "256-cond": {"model_channels": 32, "channel_mult": SIX, "num_res_blocks": 2, "num_classes": 10,
                 "attention_resolutions": {8, 16, 32}, "num_head_channels": 64, "out_channels": 6},
    "ffhq": {"model_channels": 32, "channel_mult": SIX, "num_res_blocks": 1,
             "attention_resolutions": {16}, "num_head_channels": 64, "out_channels": 6},
    "64": {"model_channels": 64, "channel_mult": (1, 2, 3, 4), "num_res_blocks": 3,
           "num_classes": 10, "attention_resolutions": {2, 4, 8}, "num_head_channels": 64,
           "out_channels": 6, "use_new_attention_order": True},
    "128": {"model_channels": 32, "channel_mult": (1, 1, 2, 3, 4), "num_res_blocks": 2,
            "num_classes": 10, "attention_resolutions": {4, 8, 16}, "num_heads": 4,
            "out_channels": 6},
    "512": {"model_channels": 64, "channel_mult": (0.5, 1, 1, 2, 2, 4, 4), "num_res_blocks": 2,
            "num_classes": 10, "attention_resolutions": {16, 32, 64}, "num_head_channels": 64,
            "out_channels": 6},
}  # fmt: skip
SCHEDULES = {"64": "squaredcos_cap_v2"}


def shaken(network):
    """The network with every weight random: as made, its last layers are zero."""
    generator = torch.Generator().manual_seed(0)
    for weight in network.parameters():
        fan = weight[0].numel() if weight.ndim > 1 else 4
        weight.data = torch.randn(weight.shape, generator=generator) / fan**0.5
    return network.eval().requires_grad_(False)


def made(name):
    settings = COMMON | {"image_size": 32} | NETWORKS[name]
    return shaken(original().UNetModel(**settings))


@pytest.mark.parametrize("name", NETWORKS)
def test_the_denoiser_is_the_original_network_behind_the_wall(name, tmp_path):
    theirs = made(name)
    torch.save(theirs.state_dict(), tmp_path / "theirs.pt")
    ours = adm.denoiser(adm.checkpoint.read_state(tmp_path / "theirs.pt"))
    assert ours.convention.beta_schedule == SCHEDULES.get(name, "linear")
    ours.save(tmp_path / "ours.safetensors")
    ours = type(ours).load(tmp_path / "ours.safetensors")
    classes = NETWORKS[name].get("num_classes")
    side = 64 if name == "512" else 32
    x = torch.randn(1, 3, side, side, generator=torch.Generator().manual_seed(1))
    label = torch.tensor([7]) if classes else None
    for t in (0, 321, 999):
        sigma = ours.convention.sigmas[t]
        level = sigma.float()
        out = theirs(x / (1 + level**2).sqrt(), torch.tensor([t]), y=label)
        D, variance = ours.moments(x, sigma, label)
        apart = (D - (x - level * out[:, :3])).abs().max()
        assert apart <= 1e-5 * max(1.0, float(level) * float(out[:, :3].abs().max()))
        assert torch.equal(ours(x, sigma, label), D)
        expected = ours.convention.variance(level.view(1, 1, 1, 1), out[:, 3:])
        torch.testing.assert_close(variance, expected, rtol=1e-3, atol=0)


def test_a_network_without_a_learned_variance_tells_none():
    settings = COMMON | {"image_size": 32} | NETWORKS["ffhq"] | {"out_channels": 3}
    prior = adm.denoiser(shaken(original().UNetModel(**settings)).state_dict())
    assert prior.moments(torch.zeros(1, 3, 32, 32), torch.tensor(0.1))[1] is None


@pytest.mark.parametrize(("mult", "depth"), [(SIX, 2), ((1, 2, 3, 4), 4)])
def test_the_classifier_is_the_original_classifier_behind_the_wall(mult, depth, tmp_path):
    theirs = shaken(
        original().EncoderUNetModel(
            **COMMON, image_size=64, model_channels=32 if mult is SIX else 64, out_channels=10,
            num_res_blocks=depth, channel_mult=mult,
            attention_resolutions={8, 16, 32} if mult is SIX else {2, 4, 8},
            num_head_channels=64, pool="attention",
        )
    )  # fmt: skip
    state = theirs.state_dict()
    side = 64 // 2 ** (len(mult) - 1)
    assert state["out.2.positional_embedding"].shape[1] == side**2 + 1
    ours = adm.ADMClassifier.convert(state)
    ours.save(tmp_path / "ours.safetensors")
    ours = adm.ADMClassifier.load(tmp_path / "ours.safetensors")
    x = torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    for t in (0, 500, 999):
        sigma = ours.convention.sigmas[t]
        logits = theirs(x / (1 + sigma.float() ** 2).sqrt(), torch.tensor([t]))
        assert (ours(x, sigma) - logits.log_softmax(1)).abs().max() <= 1e-5


def test_the_real_network_has_the_published_size():
    layout = adm.LAYOUTS[2]
    attention = (False, False, False, True, True, True)
    plan = adm.Plan(layout, 256, 2, attention, 3, 6, 0, shifts_only=False)
    net = empty_unet(plan.config())
    assert round(sum(weight.numel() for weight in net.parameters()) / 1e6, 1) == 552.8
    assert all(weight.device.type == "meta" for weight in net.parameters())


def test_what_does_not_fit_is_named():
    state = made("ffhq").state_dict()
    with pytest.raises(FileError, match=r"input_blocks.* missing.*looks like nothing known"):
        adm.denoiser({"a": torch.zeros(1)})
    with pytest.raises(FileError, match="EDM network"):
        adm.denoiser({"model.map_layer0.weight": torch.zeros(1)})
    with pytest.raises(FileError, match=r"conv_out.bias missing.*ADM"):
        adm.denoiser({key: value for key, value in state.items() if key != "out.2.bias"})
    with pytest.raises(FileError, match=r"extra.*nothing"):
        adm.denoiser(state | {"extra.weight": torch.zeros(3)})
    narrow = {key: value[:16] if "input_blocks.3.0.out" in key else value
              for key, value in state.items()}  # fmt: skip
    with pytest.raises(FileError, match="times its own"):
        adm.denoiser(narrow)

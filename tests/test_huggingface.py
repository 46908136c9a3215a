"""diffusers folders, latent pipelines, networks in a clone: tiny, with random weights."""

import hashlib
import json
import pickle
import sys
import textwrap

import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from hdagger.errors import FileError, HDaggerError, SettingError, ShapeError
from hdagger.priors import edm, huggingface, latent
from hdagger.priors.clone import Clone
from hdagger.priors.conventions import EDM, VariancePreserving

F64 = torch.float64


def randn(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def folder_of(path, scheduler, **settings):
    from diffusers import UNet2DModel

    torch.manual_seed(0)
    net = UNet2DModel(
        sample_size=16, block_out_channels=(32, 32), layers_per_block=1,
        down_block_types=("DownBlock2D", "AttnDownBlock2D"),
        up_block_types=("AttnUpBlock2D", "UpBlock2D"), **settings,
    ).eval()  # fmt: skip
    net.save_pretrained(path / "unet")
    scheduler.save_pretrained(path / "scheduler")
    return net


@pytest.mark.parametrize("beta_schedule", ["linear", "scaled_linear", "squaredcos_cap_v2"])
def test_levels_and_timesteps_are_those_of_the_schedules_own_alphas(beta_schedule):
    from diffusers import DDPMScheduler

    theirs = DDPMScheduler(beta_schedule=beta_schedule).alphas_cumprod.double()
    ours = VariancePreserving(beta_schedule)
    levels = ((1 - theirs) / theirs).sqrt()
    torch.testing.assert_close(ours.sigmas, levels, rtol=1e-3, atol=0)  # theirs: float32
    for t in (0, 1, 17, 500, 998, 999):
        assert float(ours.time(levels[t])) == pytest.approx(t, abs=0.01)
    between = (ours.sigmas[40] * ours.sigmas[41]).sqrt()
    assert float(ours.time(between)) == pytest.approx(40.5)
    assert float(ours.time(torch.tensor(1e-9))) == 0
    assert float(ours.time(torch.tensor(1e9))) == 999


@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction", "sample"])
def test_a_discrete_network_predicts_what_its_scheduler_makes_of_it(prediction, tmp_path):
    from diffusers import DDIMScheduler

    scheduler = DDIMScheduler(
        beta_schedule="squaredcos_cap_v2", prediction_type=prediction, clip_sample=False
    )
    scheduler.set_timesteps(1000)
    net = folder_of(tmp_path, scheduler, num_class_embeds=5)
    huggingface.from_folder(tmp_path).save(tmp_path / "prior.safetensors")
    prior = huggingface.NetworkDenoiser.load(tmp_path / "prior.safetensors")
    assert (prior.classes, prior.size, prior.channels) == (5, 16, 3)
    x, label = randn(2, 3, 16, 16), torch.tensor([1, 4])
    for t in (3, 400, 990):
        a = scheduler.alphas_cumprod[t]
        sigma = ((1 - a) / a).sqrt()
        x_vp = x * a.sqrt()
        with torch.no_grad():
            out = net(x_vp, t, label).sample
        clean = scheduler.step(out, t, x_vp).pred_original_sample
        largest = max(1.0, float(clean.abs().max()))
        assert (prior(x, sigma, label) - clean).abs().max() <= 2e-5 * largest


def test_an_edm_scheduler_predicts_what_it_makes_of_it(tmp_path):
    from diffusers import EDMEulerScheduler

    scheduler = EDMEulerScheduler(sigma_data=0.7)
    net = folder_of(tmp_path, scheduler)
    prior = huggingface.from_folder(tmp_path)
    assert prior.convention == EDM(0.7, 0.002, 80.0)
    x = randn(2, 3, 16, 16)
    for sigma in (0.01, 0.6, 20.0):
        with torch.no_grad():
            time = scheduler.precondition_noise(torch.tensor(sigma))
            out = net(scheduler.precondition_inputs(x, sigma), time).sample
        expected = scheduler.precondition_outputs(x, out, torch.tensor(sigma))
        assert (prior(x, torch.tensor(sigma)) - expected).abs().max() <= 1e-5


def test_a_network_keeps_the_precision_and_says_what_it_takes(tmp_path):
    from diffusers import DDPMScheduler

    folder_of(tmp_path, DDPMScheduler(), num_class_embeds=5)
    prior = huggingface.from_folder(tmp_path)
    x, sigma = randn(1, 3, 8, 8).double(), torch.tensor(0.5, dtype=F64)
    assert prior(x, sigma, torch.tensor([0])).dtype == F64
    with pytest.raises(SettingError, match="--label"):
        prior(x, sigma)
    with pytest.raises(SettingError, match="0 to 4"):
        prior(x, sigma, torch.tensor([5]))
    with pytest.raises(ShapeError, match="multiples of 2"):
        prior(x[..., :7], sigma, torch.tensor([0]))
    knows_any = huggingface.from_folder(tmp_path, null=4)
    assert knows_any.classes == 4
    torch.testing.assert_close(knows_any(x, sigma), prior(x, sigma, torch.tensor([4])))


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"beta_schedule": "sigmoid"}, "scaled_linear"),
        ({"prediction_type": "flow"}, "v_prediction"),
        ({"num_train_timesteps": 10**12}, "100000 steps"),
        ({"beta_start": "many"}, "numbers"),
        ({"trained_betas": [0.1]}, "trained_betas"),
        ({"rescale_betas_zero_snr": True}, "rescale_betas_zero_snr"),
    ],
)
def test_a_schedule_of_another_kind_is_refused(change, says, tmp_path):
    from diffusers import DDPMScheduler

    DDPMScheduler().save_pretrained(tmp_path)
    path = tmp_path / "scheduler_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(SettingError, match=says):
        huggingface.convention_in(tmp_path)


def test_a_folder_of_another_kind_is_refused(tmp_path):
    from diffusers import DDPMScheduler

    net = folder_of(tmp_path, DDPMScheduler())
    config = tmp_path / "unet/config.json"
    whole = json.loads(config.read_text())
    for change, says in (
        ({"_class_name": "DiT"}, "DiT"),
        ({"block_out_channels": [32, 64]}, "do not"),
        ({"block_out_channels": [10**6, 10**6]}, "at most"),
        ({"down_block_types": ["Nonsense", "Nonsense"]}, "refuses"),
        ({"time_embedding_type": "fourier"}, "positional"),
    ):
        config.write_text(json.dumps(whole | change))
        with pytest.raises(HDaggerError, match=says):
            huggingface.from_folder(tmp_path)
    config.write_text("[" * 2000)
    with pytest.raises(FileError, match="JSON"):
        huggingface.from_folder(tmp_path)
    config.write_text(json.dumps(whole))
    (tmp_path / "unet/diffusion_pytorch_model.safetensors").unlink()
    torch.save(net.state_dict(), tmp_path / "unet/diffusion_pytorch_model.bin")
    with pytest.raises(FileError, match="save_pretrained"):
        huggingface.from_folder(tmp_path)


@pytest.fixture(scope="module")
def pipeline(tmp_path_factory):
    """The folder of a pipeline like Stable Diffusion's: two letters, eight channels."""
    from diffusers import AutoencoderKL, DDIMScheduler, UNet2DConditionModel
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

    path = tmp_path_factory.mktemp("pipeline")
    torch.manual_seed(0)
    UNet2DConditionModel(
        sample_size=8, in_channels=4, out_channels=4, layers_per_block=1, norm_num_groups=8,
        block_out_channels=(8, 16), down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"), cross_attention_dim=8,
        attention_head_dim=4,
    ).save_pretrained(path / "unet")  # fmt: skip
    AutoencoderKL(
        block_out_channels=(8, 16), norm_num_groups=8, latent_channels=4,
        down_block_types=("DownEncoderBlock2D",) * 2, up_block_types=("UpDecoderBlock2D",) * 2,
    ).save_pretrained(path / "vae")  # fmt: skip
    DDIMScheduler(
        beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear"
    ).save_pretrained(path / "scheduler")
    words = ["a</w>", "b</w>", "<|startoftext|>", "<|endoftext|>", "a", "b"]
    (path / "tokenizer").mkdir()
    (path / "tokenizer/vocab.json").write_text(json.dumps({w: i for i, w in enumerate(words)}))
    (path / "tokenizer/merges.txt").write_text("#version: 0.2\n")
    CLIPTokenizer(
        str(path / "tokenizer/vocab.json"), str(path / "tokenizer/merges.txt"), model_max_length=6
    ).save_pretrained(path / "tokenizer")
    config = CLIPTextConfig(
        vocab_size=6, hidden_size=8, intermediate_size=8, num_hidden_layers=1,
        num_attention_heads=2, max_position_embeddings=6, bos_token_id=2, eos_token_id=3,
    )  # fmt: skip
    CLIPTextModel(config).save_pretrained(path / "text_encoder")
    return path


def test_a_latent_prior_is_its_pipeline_behind_the_wall(pipeline, tmp_path):
    from diffusers import AutoencoderKL, UNet2DConditionModel

    latent.from_folder(pipeline, "a b").save(tmp_path / "latent.safetensors")
    prior = latent.LatentDenoiser.load(tmp_path / "latent.safetensors")
    net = UNet2DConditionModel.from_pretrained(pipeline / "unet").eval()
    z, t = randn(2, 4, 8, 8), 300
    sigma = prior.convention.sigmas[t]
    for label, words in ((None, prior.words[0]), (torch.tensor([0, 0]), prior.words[1])):
        with torch.no_grad():
            out = net(z / (1 + sigma.float() ** 2).sqrt(), t, words.expand(2, -1, -1)).sample
        assert (prior(z, sigma, label) - (z - sigma.float() * out)).abs().max() <= 1e-5
    assert (prior.words[0] - prior.words[1]).abs().max() > 1e-3
    vae = AutoencoderKL.from_pretrained(pipeline / "vae").eval()
    x = randn(1, 3, 16, 16)
    with torch.no_grad():
        code = vae.encode(x).latent_dist.mean * 0.18215
        torch.testing.assert_close(prior.encode(x), code)
        torch.testing.assert_close(prior.decode(code), vae.decode(code / 0.18215).sample)
    assert prior.code_shape((3, 16, 24)) == (4, 8, 12)
    with pytest.raises(SettingError, match="multiples of 4"):
        prior.code_shape((3, 16, 18))


CLONE = {
    "torch_utils/__init__.py": "",
    "dnnlib/__init__.py": "from .util import EasyDict",
    "dnnlib/util.py": """
        class EasyDict(dict):
            __getattr__ = dict.__getitem__
    """,
    "torch_utils/persistence.py": """
        import inspect, pickle, sys
        import dnnlib

        def reconstruct(cls, state):
            made = cls.__new__(cls)
            made.__setstate__(state)
            return made

        def persistent_class(cls):
            assert cls.__module__ in sys.modules
            assert cls.__name__ in inspect.getsource(sys.modules[cls.__module__])
            class Decorator(cls):
                def __init__(self, *args, **kwargs):
                    super().__init__(*args, **kwargs)
                    self.init_args, self.init_kwargs = args, dnnlib.EasyDict(kwargs)
                    pickle.dumps(reconstruct)
            Decorator.__name__ = Decorator.__qualname__ = cls.__name__
            Decorator.__module__ = cls.__module__
            return Decorator
    """,
    "torch_utils/misc.py": "def check(x): assert x.ndim == 4",
    "training/__init__.py": "",
    "training/networks.py": """
        import torch
        from torch_utils import persistence

        @persistence.persistent_class
        class EDMPrecond(torch.nn.Module):
            def __init__(self, img_resolution, img_channels, label_dim=0, sigma_data=0.5):
                super().__init__()
                self.img_resolution, self.img_channels = img_resolution, img_channels
                self.label_dim, self.sigma_data = label_dim, sigma_data
                self.sigma_min, self.sigma_max = 0, float("inf")
                self.conv = torch.nn.Conv2d(img_channels, img_channels, 3, padding=1)
                self.label = torch.nn.Linear(label_dim, img_channels)

            def forward(self, x, sigma, class_labels=None):
                from torch_utils import misc
                misc.check(x)
                sigma = sigma.reshape(-1, 1, 1, 1)
                total = sigma**2 + self.sigma_data**2
                F = self.conv(x / total.sqrt()) + sigma.log() / 4
                if class_labels is not None:
                    F = F + self.label(class_labels)[:, :, None, None]
                return self.sigma_data**2 / total * x + sigma * self.sigma_data / total.sqrt() * F
    """,
}


@pytest.fixture
def clone(tmp_path, monkeypatch):
    """A repository laid out as EDM's is, and a pickle made with it."""
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.chdir(tmp_path)
    for name, text in CLONE.items():
        file = tmp_path / "clone" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(textwrap.dedent(text))
    with monkeypatch.context() as patch:
        patch.syspath_prepend(tmp_path / "clone")
        from training.networks import EDMPrecond

        torch.manual_seed(0)
        net = EDMPrecond(8, 1, label_dim=3).eval()
        with (tmp_path / "net.pkl").open("wb") as file:
            pickle.dump({"ema": net}, file)
        net(torch.zeros(1, 1, 8, 8), torch.ones(1))
    yield tmp_path / "clone", tmp_path / "net.pkl", net
    for name in list(sys.modules):
        if name.split(".")[0] in ("training", "torch_utils", "dnnlib"):
            del sys.modules[name]


def test_a_network_in_a_clone_is_itself_behind_the_wall(clone, tmp_path):
    folder, path, net = clone
    edm.convert(path, folder).save(tmp_path / "edm.safetensors")
    prior = edm.ClonedDenoiser.load(tmp_path / "edm.safetensors")
    assert (prior.size, prior.channels, prior.classes) == (8, 1, 3)
    x, sigma = randn(2, 1, 8, 8), torch.tensor(0.3)
    rows = torch.eye(3)[[2, 0]]
    with torch.no_grad():
        assert (prior(x, sigma, torch.tensor([2, 0])) - net(x, sigma, rows)).abs().max() <= 1e-6
        assert (prior(x, sigma) - net(x, sigma, 0 * rows)).abs().max() <= 1e-6
    with pytest.raises(ShapeError, match="8 x 8"):
        prior(x[..., :4], sigma)


def test_a_clone_that_has_changed_is_refused(clone, tmp_path):
    folder, path, _ = clone
    edm.convert(path, folder).save(tmp_path / "edm.safetensors")
    networks = folder / "training/networks.py"
    text = networks.read_text()
    networks.write_text(text.replace("/ 4", "/ 2"))
    with pytest.raises(FileError, match="has changed since"):
        edm.ClonedDenoiser.load(tmp_path / "edm.safetensors")
    networks.unlink()
    with pytest.raises(FileError, match="does not exist"):
        edm.ClonedDenoiser.load(tmp_path / "edm.safetensors")
    with pytest.raises(FileError, match="is no folder"):
        edm.convert(path, tmp_path / "gone")
    (tmp_path / "empty").mkdir()
    with pytest.raises(FileError, match="does not give one"):
        edm.convert(path, tmp_path / "empty")


def test_what_is_trusted_is_noted_outside_the_file(clone, tmp_path):
    folder, path, _ = clone
    edm.convert(path, folder).save(tmp_path / "edm.safetensors")
    (note,) = (tmp_path / "data/hdagger/trusted").iterdir()
    assert set(json.loads(note.read_text())["files"]) == {
        "training", "training.networks", "torch_utils", "torch_utils.persistence",
        "torch_utils.misc", "dnnlib", "dnnlib.util",
    }  # fmt: skip
    (folder / "torch_utils/persistence.py").write_text("raise SystemExit")
    with pytest.raises(FileError, match=r"persistence\.py has changed since"):
        edm.ClonedDenoiser.load(tmp_path / "edm.safetensors")
    for text in ("", "[1]", "{}", "[" * 5000, '{"clone": 1}', " " * 10**6):
        note.write_text(text)
        with pytest.raises(FileError, match="Add the prior again"):
            edm.ClonedDenoiser.load(tmp_path / "edm.safetensors")


def test_a_clone_is_not_on_the_path_of_others(clone, tmp_path):
    """Two clones with modules of the same names are open at once, and neither is importable."""
    folder, path, net = clone
    edm.convert(path, folder).save(tmp_path / "edm.safetensors")
    other = tmp_path / "other"
    (other / "training").mkdir(parents=True)
    (other / "training/networks.py").write_text("import dnnlib.util as u\nname = u.name")
    (other / "dnnlib").mkdir()
    (other / "dnnlib/util.py").write_text("name = 'another'")
    before, there = list(sys.path), set(sys.modules)
    prior = edm.ClonedDenoiser.load(tmp_path / "edm.safetensors")
    assert Clone(other).load("training.networks").name == "another"
    assert sys.path == before
    added = set(sys.modules) - there
    assert all(name.startswith("_hdagger_clone_") for name in added if "training" in name)
    x = randn(1, 1, 8, 8)
    with torch.no_grad():
        expected = net(x, torch.tensor(0.3), torch.zeros(1, 3))
    torch.testing.assert_close(prior(x, torch.tensor(0.3)), expected)


HOSTILE = (
    {"clone": "/usr/lib/python3", "module": "os", "name": "system"},
    {"clone": ".", "module": "evil", "name": "Net"},
    {"clone": ".", "module": "..evil", "name": "Net"},
    {"clone": "clone", "module": "training.networks", "name": "EDMPrecond"},
)


@pytest.mark.parametrize("says", HOSTILE, ids=lambda says: says["module"])
@pytest.mark.parametrize("command", ["restore", "add", "check"])
def test_a_file_of_weights_has_no_say_in_what_is_run(clone, run, says, command, tmp_path):
    (tmp_path / "evil.py").write_text("from pathlib import Path; Path('ran').touch()")
    code = hashlib.sha256((tmp_path / "evil.py").read_bytes()).hexdigest()
    origin = says | {"sha256": code, "args": ["touch ran"], "kwargs": {}, "files": {"evil": code}}
    metadata = {"hdagger": json.dumps({"edm": origin})}
    save_file({"a": torch.zeros(2)}, "x.safetensors", metadata)
    Image.new("L", (8, 8)).save("a.png")
    there = set(sys.modules)
    status, out, err = run(
        *{
            "restore": ("restore", "a.png", "--denoise", 9, "--prior", "x.safetensors"),
            "add": ("priors", "add", "mine", "--from", "x.safetensors"),
            "check": ("priors", "check", "x.safetensors"),
        }[command]
    )
    assert (status, out, err.count("\n")) == (2, "", 1)
    assert "--trust-pickle" in err
    assert not (tmp_path / "ran").exists()
    assert not {name for name in set(sys.modules) - there if "evil" in name}


@pytest.mark.parametrize("name", ["os", "..evil", "a-b", "evil", "a..b", "link"])
def test_a_clone_gives_its_own_modules_alone(name, tmp_path):
    (tmp_path / "evil.py").write_text("raise SystemExit")
    (tmp_path / "clone").mkdir()
    (tmp_path / "clone/link.py").symlink_to(tmp_path / "evil.py")
    (tmp_path / "clone/os.py").write_text("raise SystemExit")
    with pytest.raises(FileError, match="does not exist"):
        Clone(tmp_path / "clone").load(name)

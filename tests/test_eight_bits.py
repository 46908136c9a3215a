"""Weights in eight bits, and a network whose finest level has a block more."""

import json
import runpy
from pathlib import Path

import pytest
import torch

from hdagger.errors import FileError
from hdagger.priors import checkpoint
from hdagger.priors.eight_bits import GROUP, SCALE, SMALL, packed, unpacked
from hdagger.priors.unet import UNetDenoiser, UNetShape

ROOT = Path(__file__).parents[1]
SHAPE = UNetShape(widths=(64, 96), embedding=16, heads=2, spread=True)


def weights(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def network(shape=SHAPE):
    torch.manual_seed(0)
    made = UNetDenoiser(shape).eval().requires_grad_(False)
    for weight in made.parameters():
        weight.copy_(torch.randn_like(weight) / max(1, weight[0].numel()) ** 0.5)
    return made


@pytest.mark.parametrize("numbers", [SMALL, SMALL + 1, 3 * SMALL + GROUP - 1])
def test_a_weight_is_right_to_half_a_step_of_its_group(numbers):
    before = {"large": weights(numbers) * torch.linspace(-4, 2, numbers).exp(), "few": weights(7)}
    before["large"][:GROUP] = 0
    held = packed(before)
    assert held["large"].dtype == torch.int8
    after = unpacked(held)
    assert set(after) == {"large", "few"}
    assert after["few"] is before["few"]
    steps = [group.abs().max() / 127 for group in before["large"].split(GROUP)]
    for step, a, b in zip(
        steps, before["large"].split(GROUP), after["large"].split(GROUP), strict=True
    ):
        assert (a - b).abs().max() <= 0.57 * step + 1e-7  # the scale has eleven bits of its own


def test_small_tensors_keep_every_bit_and_weights_may_be_packed_twice():
    before = {"kernel": weights(SMALL - 1).half(), "count": torch.arange(2 * SMALL)}
    assert all(packed(before)[name] is value for name, value in before.items())
    once = packed({"kernel": weights(SMALL, seed=1)})
    twice = packed(once)
    assert all(torch.equal(once[name], value) for name, value in twice.items())


def test_a_bundled_prior_is_little_more_than_half_as_large_and_denoises_alike(tmp_path):
    before = network()
    before.save(tmp_path / "prior.safetensors")
    home = tmp_path / "hdagger/priors/bundled"
    home.mkdir(parents=True)
    (home / "tiny.toml").write_text('sha256 = ""\n')
    script = runpy.run_path(str(ROOT / "scripts/bundle_prior.py"))
    script["main"].__globals__["BUNDLED"] = home
    script["main"](tmp_path / "prior.safetensors", "tiny")
    bundled = home / "tiny.safetensors"
    large = sum(w.numel() for w in before.net.state_dict().values() if w.numel() >= SMALL)
    saved = (tmp_path / "prior.safetensors").stat().st_size - bundled.stat().st_size
    assert saved == pytest.approx(large * (1 - 2 / GROUP), rel=0.02)
    assert checkpoint.is_own(bundled)
    after, x = UNetDenoiser.load(bundled), 0.5 * weights(1, 3, 16, 16)
    D, E = before(x, torch.tensor(0.3)), after(x, torch.tensor(0.3))
    assert 0 < float((D - E).norm() / (D - x).norm()) < 0.02  # .6 % a layer


@pytest.mark.parametrize("scale", [None, torch.ones(3), torch.ones(5, 5)])
def test_scales_that_do_not_fit_are_one_line(tmp_path, scale):
    state = packed({"kernel": weights(SMALL)})
    state.pop("kernel" + SCALE)
    if scale is not None:
        state["kernel" + SCALE] = scale
    path = tmp_path / "prior.safetensors"
    checkpoint.write(path, "unet", {"widths": [8]}, state)
    with pytest.raises(FileError, match="a scale for each 64 of the 40000 numbers") as error:
        checkpoint.read(path)
    assert len(str(error.value).splitlines()) == 1


def test_a_block_more_at_the_finest_level_adds_nothing_at_first_and_is_kept(tmp_path):
    small, large = network(), UNetDenoiser(UNetShape(**{**vars(SHAPE), "finest": 2})).eval()
    large.grow(small)
    x, sigma = 0.5 * weights(1, 3, 16, 16), torch.tensor(0.3)
    with torch.no_grad():
        torch.testing.assert_close(large(x, sigma), small(x, sigma), rtol=0, atol=1e-6)
    counts = [len(stage) for stage in large.net.up]
    assert counts == [SHAPE.up + 2, SHAPE.up]
    large.save(tmp_path / "prior.safetensors")
    assert UNetDenoiser.load(tmp_path / "prior.safetensors").shape.finest == 2


@pytest.mark.parametrize("finest", [-1, 10**9, "many"])
def test_a_file_that_says_another_number_of_blocks_is_refused_at_once(tmp_path, finest):
    path = tmp_path / "prior.safetensors"
    network().save(path)
    kind, build = checkpoint.read_kind(path)
    assert json.dumps(build)
    checkpoint.write(path, kind, {**build, "finest": finest}, checkpoint.read_state(path))
    with pytest.raises(FileError):
        UNetDenoiser.load(path)

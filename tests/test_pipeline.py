"""The layer that users run, held against the same worked out by hand.

What ``restore`` does to a measurement is written here once more, from the samplers and the
documented streams of noise alone, and has to come out the same; what it tells of the
samples is recomputed with numpy.
"""

import json
import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from hdagger.covariance import Isotropic
from hdagger.domain import DOMAINS
from hdagger.domains.pictures.domain import PICTURES
from hdagger.domains.pictures.hints import DRAWN_STEPS
from hdagger.domains.pictures.jpeg import Jpeg
from hdagger.domains.pictures.resample import BlockAverage
from hdagger.errors import FileError, HDaggerError, SettingError
from hdagger.files import fingerprint
from hdagger.measurement import Measurement
from hdagger.operators.nonlinear import Clip
from hdagger.operators.spectral import Identity, Inpainting
from hdagger.priors import zoo
from hdagger.problem import Problem
from hdagger.recipe import Recipe, settings_said
from hdagger.restoration import Prior, best_for, measure, prepare, restore
from hdagger.samplers import METHODS
from hdagger.samplers.cells import Cells
from hdagger.samplers.ddrm import DDRM
from hdagger.samplers.pigdm import PiGDM
from hdagger.samplers.walk import karras_levels
from hdagger.samples import PosteriorSamples
from hdagger.settings import settings_of
from hdagger.spectra import SpectralTable

F64 = torch.float64
ROWS, COLUMNS = torch.meshgrid(torch.linspace(0, 3, 24), torch.linspace(0, 3, 24), indexing="ij")
PICTURE = torch.stack([(ROWS + c).sin() * (COLUMNS - c).cos() for c in range(3)]).double()


def stream(seed, *key):
    """Standard normals of one sample, as hdagger/tensors.py says that they are drawn."""
    state = np.random.SeedSequence(seed, spawn_key=key).generate_state(1, np.uint64)
    generator = torch.Generator().manual_seed(int(state[0] >> np.uint64(1)))
    return lambda shape: torch.randn(shape, generator=generator, dtype=torch.float32).double()


def close(draws, expected):
    """Equal, but for what a network's float32 makes of another batch."""
    torch.testing.assert_close(draws, expected.float(), rtol=0, atol=2e-5)


def by_hand(method, H, y, sigma_y, levels, samples, seed=0, prior="photo"):
    """The samples that these parts give, one after the other."""
    network = zoo.load(zoo.card(prior))
    draws = []
    for k in range(samples):
        problem = Problem(y[None], H, sigma_y)
        draws.append(method.sample(network, problem, levels, stream(seed, 0, k)))
    return torch.cat(draws)


def test_ddrm_by_name_is_ddrm_by_hand():
    """Its levels: a quarter of the noise as the signal sees it, up to the least highest one."""
    measurement = measure(PICTURE, "average:2", {}, sigma_y=0.04, seed=7)
    drawn = restore(Recipe("ddrm", steps=5, samples=2, seed=3), measurement)
    levels = karras_levels(5, low=0.04 / 0.5 / 4, high=2.0)
    H = BlockAverage((3, 24, 24), 2)
    expected = by_hand(DDRM(eta=0.85), H, measurement.y, 0.04, levels, 2, seed=3)
    close(drawn.draws, expected)
    assert not torch.equal(drawn.draws[0], drawn.draws[1])


def test_exact_data_are_met_by_ddrm_with_all_noise_fresh():
    measurement = measure(PICTURE, "average:2", {}, sigma_y=0.0)
    drawn = restore(Recipe("ddrm", steps=4, samples=1), measurement)
    levels = karras_levels(4, low=0.03, high=2.0)
    H = BlockAverage((3, 24, 24), 2)
    expected = by_hand(DDRM(eta=1.0), H, measurement.y, 0.0, levels, 1)
    close(drawn.draws, expected)
    assert drawn.provenance["residual_max"] < 1e-12
    assert drawn.provenance["chi2_dof"] is None


def test_pigdm_by_name_knows_the_variance_and_the_highest_level_of_the_prior():
    measurement = measure(PICTURE, "none", {}, sigma_y=0.2)
    drawn = restore(Recipe("pigdm", steps=4, samples=1), measurement)
    card = zoo.card("photo")
    assert (card.data_variance, card.sigma_max) == (0.25, 100.0)
    method = PiGDM(data_variance=0.25, jacobian="difference", eta=1.0)
    levels = karras_levels(4, low=0.03, high=80.0)
    expected = by_hand(method, Identity((3, 24, 24)), measurement.y, 0.2, levels, 1)
    close(drawn.draws, expected)
    assert drawn.provenance["nfe"] == 8


def test_a_prior_of_lower_levels_is_walked_from_its_own_highest(monkeypatch):
    lower = replace(zoo.card("photo"), sigma_max=5.0)
    monkeypatch.setattr(zoo, "card", lambda name: lower)
    measurement = measure(PICTURE, "none", {}, sigma_y=0.2)
    drawn = restore(Recipe("pigdm", steps=3, samples=1), measurement)
    levels = karras_levels(3, low=0.03, high=5.0)
    expected = by_hand(
        PiGDM(data_variance=0.25), Identity((3, 24, 24)), measurement.y, 0.2, levels, 1
    )
    close(drawn.draws, expected)


def test_a_jpeg_by_name_is_cells_by_hand_and_settled():
    noise = torch.randn(3, 24, 24, generator=torch.Generator().manual_seed(4))
    rough = (PICTURE / 2 + 0.2 * noise).clamp(-1, 1)
    measurement = measure(rough, "jpeg:75", {}, sigma_y=0.0)
    drawn = restore(Recipe("cells", steps=3, samples=1), measurement)
    H = Jpeg((3, 24, 24), 75)
    levels = karras_levels(3, low=min(0.1, H.signal_error / 8), high=8.0)
    raw = by_hand(Cells(), H, measurement.y, 0.0, levels, 1)
    settled = H.snap(raw, measurement.y[None])
    close(drawn.draws, settled)
    kept = [H.kept(x, measurement.y[None]) for x in (raw, settled)]
    assert kept[0] < kept[1]
    assert drawn.provenance["kept"] == pytest.approx(kept[1], abs=1e-4)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("text", ["jpeg:20", "bits:3", "average:2"])
def test_what_is_prepared_runs_again_to_the_same_samples(text, channels):
    measurement = measure(PICTURE[:channels], text, {}, sigma_y=0.05 * (text == "average:2"))
    recipe = Recipe("drawn", steps=2, samples=1)
    prepared = prepare(recipe, measurement, Prior.of(recipe))
    first, again = prepared.run(), prepared.run()
    assert torch.equal(first.draws, again.draws)
    assert torch.equal(prepared.run(item=1).draws, restore(recipe, measurement, item=1).draws)


def test_a_gray_picture_is_three_equal_channels_with_more_noise():
    gray = measure(PICTURE[:1], "average:2", {}, sigma_y=0.1)
    drawn = restore(Recipe("ddrm", steps=4, samples=1), gray)
    noise = 0.1 * math.sqrt(3)
    levels = karras_levels(4, low=min(0.03, noise / 0.5 / 4), high=2.0)
    H = BlockAverage((3, 24, 24), 2)
    y = torch.cat([gray.y] * 3)
    expected = by_hand(DDRM(eta=0.85), H, y, noise, levels, 1).mean(1, keepdim=True)
    torch.testing.assert_close(drawn.draws, expected.float(), rtol=0, atol=1e-6)
    residual = gray.y - BlockAverage((1, 24, 24), 2)(expected)[0]
    chi2 = float(residual.square().mean() / 0.1**2)
    assert drawn.provenance["chi2_dof"] == pytest.approx(chi2, rel=1e-3)


def test_a_bundled_prior_with_labels_is_restored_towards_one():
    x = torch.zeros(1, 28, 28, dtype=F64)
    measurement = measure(x, "average:4", {}, sigma_y=0.1)
    free = restore(Recipe("ddrm", steps=3, samples=1, prior="digits"), measurement)
    three = restore(Recipe("ddrm", steps=3, samples=1, prior="digits", label=3), measurement)
    assert free.provenance["nfe"] == three.provenance["nfe"] == 3
    assert not torch.equal(free.draws, three.draws)
    network = zoo.load(zoo.card("digits"))
    label = torch.tensor([3])
    levels = karras_levels(3, low=0.03, high=2.0)
    problem = Problem(measurement.y[None], BlockAverage((1, 28, 28), 4), 0.1)
    expected = DDRM(eta=0.85).sample(
        lambda x, sigma: network(x, sigma, label), problem, levels, stream(0, 0, 0)
    )
    close(three.draws, expected)


def test_what_is_told_of_samples_is_what_numpy_finds():
    measurement = measure(PICTURE, "average:2", {}, sigma_y=0.1)
    drawn = restore(Recipe("ddrm", steps=4, samples=3), measurement)
    x = drawn.draws.double().numpy()
    blocks = x.reshape(3, 3, 12, 2, 12, 2).mean((3, 5))
    residual = measurement.y.numpy() - blocks
    told = drawn.provenance
    assert told["chi2_dof"] == pytest.approx(np.mean(residual**2) / 0.01, rel=1e-3)
    assert told["residual_max"] == pytest.approx(np.abs(residual).max(), rel=1e-3)
    assert told["nfe"] == 4
    assert told["recipe"]["samples"] == 3
    np.testing.assert_allclose(drawn.mean, x.mean(0), atol=1e-6)
    np.testing.assert_allclose(drawn.std, x.std(0, ddof=1), atol=1e-6)
    np.testing.assert_allclose(drawn.quantile(0.25), np.quantile(x, 0.25, axis=0), atol=1e-6)


def test_a_verdict_on_drawn_steps_belongs_to_the_covariances_they_were_drawn_with():
    measurement = measure(torch.zeros(3, 16, 16), "average:4", {}, 0.1)
    prior = Prior.of(Recipe())
    with_which = lambda method: prepare(Recipe(method), measurement, prior).subject
    assert with_which("drawn").covariance_sha256 == fingerprint(zoo.covariances(prior.card))
    assert with_which("ddrm").covariance_sha256 == ""


def test_the_command_that_would_check_a_kernel_asks_for_its_file():
    x, kernel = torch.zeros(3, 16, 16), torch.ones(3, 3)
    measurement = measure(x, "kernel:mirror | average:2", {"kernel": kernel}, 0.1)
    checked = prepare(Recipe("pigdm"), measurement, Prior.of(Recipe())).checked
    assert "--operator 'kernel:FILE,mirror | average:2' --sigma-y 0.1 --store" in checked


def test_the_real_and_the_imaginary_part_of_simulated_data_have_noise_of_their_own():
    class Turning(type(DOMAINS["pictures"])):
        def operator(self, text, signal_shape, arrays):
            H = Identity(signal_shape)
            H.forward = lambda x: x.to(torch.complex128)
            return H

    y = Turning().measure(torch.zeros(1, 60, 60), "none", {}, 0.5).y
    parts = torch.stack([y.real.flatten(), y.imag.flatten()])
    assert parts.std(1).tolist() == pytest.approx([0.5, 0.5], rel=0.05)
    assert abs(float(torch.corrcoef(parts)[0, 1])) < 0.05


def test_evaluations_are_counted_a_sample():
    """Of pictures so large that each is a batch of its own."""
    measurement = measure(PICTURE.repeat(1, 9, 9), "none", {}, sigma_y=0.1)
    drawn = restore(Recipe("ddrm", steps=1, samples=2), measurement)
    assert (drawn.provenance["batch"], drawn.provenance["nfe"]) == (1, 1)


def test_chi2_counts_what_was_seen():
    """Half of the pixels: the other half is no evidence, whatever the data hold there."""
    seen = torch.rand(24, 24, generator=torch.Generator().manual_seed(1)) < 0.5
    measurement = measure(PICTURE, "mask", {"mask": ~seen}, sigma_y=0.2)
    spoilt = replace(measurement, y=torch.where(seen, measurement.y, 1e6))
    drawn = restore(Recipe("ddim", steps=3, samples=2), spoilt)
    residual = (measurement.y - drawn.draws.double())[:, :, seen]
    chi2 = float(residual.square().mean() / 0.04)
    assert drawn.provenance["chi2_dof"] == pytest.approx(chi2, rel=1e-3)
    assert drawn.provenance["residual_max"] == pytest.approx(float(residual.abs().max()))
    same = restore(Recipe("ddrm", steps=3, samples=1), spoilt).draws
    assert torch.equal(same, restore(Recipe("ddrm", steps=3, samples=1), measurement).draws)


def test_more_samples_extend_the_ones_before():
    measurement = measure(PICTURE, "average:2", {}, sigma_y=0.1)
    two = restore(Recipe("ddrm", steps=3, samples=2), measurement)
    three = restore(Recipe("ddrm", steps=3, samples=3), measurement)
    assert torch.equal(two.draws, three.draws[:2])
    other = restore(Recipe("ddrm", steps=3, samples=2, seed=1), measurement)
    assert not torch.equal(two.draws, other.draws)
    item = restore(Recipe("ddrm", steps=3, samples=2), measurement, item=1)
    assert not torch.equal(two.draws, item.draws)


NOTHING_MEASURED = Isotropic(0.25)


def test_auto_takes_what_can_work_on_the_problem():
    def chosen(H, sigma_y=0.0, known=NOTHING_MEASURED):
        problem = Problem(torch.zeros(1, *H.data_shape), H, sigma_y)
        return METHODS.name_of(best_for(problem, known))

    shape = (3, 16, 16)
    assert chosen(Identity(shape), 0.1) == "ddrm"
    assert chosen(Jpeg(shape, 50)) == "cells"
    table = Prior.of(Recipe()).uncertainty(PICTURES.basis(shape))
    assert isinstance(table, SpectralTable)
    assert table.data_variance == 0.25
    assert chosen(Identity(shape), 0.1, table) == chosen(Jpeg(shape, 50), 0.0, table) == "drawn"
    assert chosen(Clip(shape), 0.1, table) == "dps"
    assert chosen(Clip(shape)) == "pigdm"
    assert chosen(Clip(shape), 0.1) == "dps"
    assert chosen(BlockAverage(shape, 2) @ Clip(shape) @ BlockAverage((3, 32, 32), 2)) == "dps"


@pytest.mark.parametrize("text", ["clip:2", "average:2 | clip:2 | average:2"])
def test_auto_runs_on_what_is_not_linear(text):
    measurement = measure(PICTURE, text, {}, sigma_y=0.05)
    drawn = restore(Recipe(steps=2, samples=1), measurement)
    assert drawn.provenance["method"] == "dps"
    assert drawn.draws.isfinite().all()


def test_a_recipe_says_what_was_run_and_runs_again(tmp_path):
    measurement = measure(PICTURE, "average:2", {}, sigma_y=0.1)
    first = restore(Recipe(samples=2, seed=5), measurement)
    ran = Recipe(**first.provenance["recipe"])
    assert ran.method == "drawn"
    assert ran.steps == DRAWN_STEPS
    assert ran.settings == {"eta": 1.0, "asked": 2.5}
    (tmp_path / "recipe.toml").write_text(ran.to_toml())
    again = Recipe.from_toml(tmp_path / "recipe.toml")
    assert again == ran
    assert torch.equal(restore(again, measurement).draws, first.draws)


@pytest.mark.parametrize("name", [name for name in METHODS if name not in ("cells", "projected")])
def test_every_method_runs_by_name_and_its_recipe_comes_back(name, tmp_path):
    recipe = Recipe(name, settings_of(METHODS[name]), steps=2, samples=1)
    (tmp_path / "recipe.toml").write_text(recipe.to_toml())
    assert Recipe.from_toml(tmp_path / "recipe.toml") == recipe
    if name == "smc":
        recipe = replace(recipe, settings={"particles": 2, "twist": "pigdm"}, samples=3)
    sigma_y = 0.0 if name == "projection" else 0.1
    measurement = measure(PICTURE[:, :8, :8], "average:4", {}, sigma_y)
    drawn = restore(recipe, measurement)
    assert drawn.provenance["method"] == name
    assert len(drawn.draws) == (4 if name == "smc" else 1)
    assert drawn.provenance["steps"] == 2


def test_settings_change_the_samples():
    measurement = measure(PICTURE, "average:2", {}, sigma_y=0.1)
    said = settings_said(["eta=0.2", "eta_b=0.9"])
    drawn = restore(Recipe("ddrm", said, steps=3, samples=1), measurement)
    levels = karras_levels(3, low=0.03, high=2.0)
    H = BlockAverage((3, 24, 24), 2)
    expected = by_hand(DDRM(eta=0.2, eta_b=0.9), H, measurement.y, 0.1, levels, 1)
    close(drawn.draws, expected)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"method": "magic"}, "one of auto, quick, drawn"),
        ({"method": "ddrm", "settings": {"strength": 1}}, "one of eta, eta_b"),
        ({"method": "ddrm", "settings": {"eta": "much"}}, "a number"),
        ({"method": "pigdm", "settings": {"solver": "rk4"}}, "euler or heun or multistep"),
        ({"settings": {"eta": 1}}, "--method"),
        ({"samples": 0}, "whole number"),
        ({"steps": -1}, "whole number"),
        ({"seed": -1}, "whole number"),
        ({"guidance": 2.0}, "label"),
        ({"label": 1, "guidance": -1.0}, "0 to 100"),
    ],
)
def test_a_wrong_recipe_is_refused_with_what_is_right(changes, message):
    with pytest.raises(SettingError, match=message) as error:
        Recipe(**changes)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "content",
    ["samples = ", "magic = 1", "method = 'magic'", "samples = 2.5", "[settings]\neta = 1"],
)
def test_a_broken_recipe_file_is_refused_in_one_line(tmp_path, content):
    (tmp_path / "recipe.toml").write_text(content)
    with pytest.raises(HDaggerError) as error:
        Recipe.from_toml(tmp_path / "recipe.toml")
    assert "\n" not in str(error.value)


def test_noise_beside_a_rounding_is_refused():
    with pytest.raises(SettingError, match="round"):
        measure(PICTURE, "jpeg:10", {}, sigma_y=0.1)
    clean = measure(PICTURE, "jpeg:10", {}, sigma_y=0.0)
    with pytest.raises(SettingError, match="round"):
        restore(Recipe(steps=1, samples=1), replace(clean, sigma_y=0.1))


def test_data_of_another_shape_or_kind_are_refused_in_one_line():
    measurement = measure(PICTURE, "average:2", {}, sigma_y=0.1)
    wrong = {
        "shape": replace(measurement, y=measurement.y[:, 1:], signal_shape=(3, 24, 24)),
        "complex": replace(measurement, y=measurement.y + 1j),
        "finite": replace(measurement, y=measurement.y / 0),
        "a domain": replace(measurement, domain="music"),
    }
    for message, spoilt in wrong.items():
        with pytest.raises(HDaggerError, match=message) as error:
            restore(Recipe(steps=1, samples=1), spoilt)
        assert "\n" not in str(error.value)


def test_a_noise_map_weighs_the_data():
    """Where the noise is infinite nothing was seen; where it is equal it is one number."""
    seen = torch.rand(3, 24, 24, generator=torch.Generator().manual_seed(2)) < 0.7
    y = torch.where(seen, PICTURE, 1e9)
    mapped = Measurement(y, "none", torch.where(seen, 0.1, torch.inf))
    drawn = restore(Recipe("ddrm", steps=3, samples=1), mapped)
    levels = karras_levels(3, low=0.1 / 4, high=2.0)
    expected = by_hand(DDRM(eta=0.85), Inpainting(seen), y, 0.1, levels, 1)
    torch.testing.assert_close(drawn.draws, expected.float(), rtol=0, atol=1e-6)
    kept = (drawn.draws.double() - y)[:, seen].square().mean() / 0.01
    assert drawn.provenance["chi2_dof"] == pytest.approx(float(kept), rel=1e-3)


def test_a_measurement_with_complex_data_and_a_noise_map_comes_back_from_its_file(tmp_path):
    y = torch.complex(PICTURE, PICTURE.flip(1))
    noise = torch.where(PICTURE > 0, 0.5, torch.inf)
    mask = {"mask": PICTURE[0] > 0}
    measurement = Measurement(y, "some words", noise, mask, (3, 48, 48), "mri")
    measurement.save(tmp_path / "m.npz")
    again = Measurement.load(tmp_path / "m.npz")
    assert torch.equal(again.y, y)
    assert torch.equal(again.sigma_y, noise)
    assert torch.equal(again.arrays["mask"], mask["mask"])
    assert (again.operator, again.signal_shape, again.domain) == ("some words", (3, 48, 48), "mri")


def test_samples_come_back_from_their_file_with_what_is_known(tmp_path):
    draws = torch.randn(3, 2, 4, generator=torch.Generator().manual_seed(0))
    samples = PosteriorSamples(draws, {"seed": 1}, {"ancestor": torch.tensor([0, 2, 2])})
    samples.save(tmp_path / "s.npz")
    again = PosteriorSamples.load(tmp_path / "s.npz")
    assert torch.equal(again.draws, draws)
    assert again.provenance == {"seed": 1}
    assert torch.equal(again.known["ancestor"], torch.tensor([0, 2, 2]))
    with np.load(tmp_path / "s.npz") as archive:
        np.testing.assert_allclose(archive["std"], draws.numpy().std(0, ddof=1), atol=1e-6)
        np.testing.assert_allclose(archive["mean"], draws.numpy().mean(0), atol=1e-6)
        assert json.loads(str(archive["provenance"])) == {"seed": 1}
    assert PosteriorSamples(draws[:1], {}).std.abs().max() == 0
    better = PosteriorSamples(draws, {}, expected=draws[0] / 2)
    better.mapped(lambda x: 2 * x).save(tmp_path / "s.npz")
    assert torch.equal(PosteriorSamples.load(tmp_path / "s.npz").mean, draws[0])
    whole = {"samples": draws.numpy(), "mean": draws.numpy()[0], "provenance": "{}"}
    np.savez(tmp_path / "s.npz", **(whole | {"mean": np.zeros(3)}))
    with pytest.raises(FileError, match=r"a mean of shape \(3,\)"):
        PosteriorSamples.load(tmp_path / "s.npz")
    fewer = whole | {"known_ancestor": np.arange(2)}
    np.savez(tmp_path / "s.npz", **fewer)
    with pytest.raises(FileError, match="not as much is known"):
        PosteriorSamples.load(tmp_path / "s.npz")

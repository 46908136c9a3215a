"""Recipes, text forms, levels and the residual check."""

import math

import numpy as np
import pytest
import torch
from PIL import Image

from hdagger import Measurement, PosteriorSamples, Recipe, measure, restore
from hdagger.domains.pictures.domain import PICTURES
from hdagger.domains.pictures.hints import (
    ASKED,
    DRAWN_STEPS,
    HOLE_STEPS,
    has_hole,
    noise_deviation,
    unseen_side,
)
from hdagger.domains.pictures.kernels import gaussian_taps, motion_kernel
from hdagger.domains.pictures.metrics import psnr, ssim
from hdagger.domains.pictures.resample import BlockAverage, SeparableBlur
from hdagger.domains.pictures.spectral import Grayscale
from hdagger.domains.pictures.words import DAMAGES, operator_for_data, operator_for_signal
from hdagger.errors import FileError, HDaggerError, SettingError, ShapeError
from hdagger.operators import checks
from hdagger.operators.base import LinearOperator, SVDOperator
from hdagger.operators.chain import Chain, Masked, compose
from hdagger.operators.decoded import Decoded
from hdagger.operators.spectral import Inpainting
from hdagger.priors import zoo
from hdagger.problem import Problem
from hdagger.restoration import Prior, prepare
from hdagger.samplers import METHODS
from hdagger.samplers.drawn import NEVER

F64 = torch.float64
SHAPE = (3, 8, 12)
HOLES = torch.rand(8, 12, generator=torch.Generator().manual_seed(0)) < 0.3
PICTURE = torch.rand(SHAPE, generator=torch.Generator().manual_seed(1), dtype=F64) * 2 - 1
SMOOTH = torch.nn.functional.interpolate(PICTURE[None, :, :4, :6], (32, 48), mode="bicubic")[0] / 2


def test_a_recipe_survives_its_toml(tmp_path):
    recipe = Recipe("pigdm", steps=7, samples=2, seed=5, prior="photo")
    (tmp_path / "recipe.toml").write_text(recipe.to_toml())
    assert Recipe.from_toml(tmp_path / "recipe.toml") == recipe
    (tmp_path / "recipe.toml").write_text("speed = 3")
    with pytest.raises(SettingError, match="speed"):
        Recipe.from_toml(tmp_path / "recipe.toml")
    (tmp_path / "recipe.toml").write_text("speed = ")
    with pytest.raises(FileError, match="Wanted TOML"):
        Recipe.from_toml(tmp_path / "recipe.toml")


def test_a_measurement_survives_its_file(tmp_path):
    arrays = {"mask": HOLES, "kernel": torch.rand(3, 3, dtype=F64)}
    before = Measurement(PICTURE, "mask", 0.25, arrays)
    before.save(tmp_path / "m.npz")
    after = Measurement.load(tmp_path / "m.npz")
    assert (after.operator, after.sigma_y) == (before.operator, before.sigma_y)
    assert torch.equal(after.y, before.y)
    assert after.arrays.keys() == arrays.keys()
    assert all(torch.equal(after.arrays[name], arrays[name]) for name in arrays)


def test_samples_survive_their_file(tmp_path):
    samples = PosteriorSamples(torch.rand(3, *SHAPE), {"nfe": 20})
    samples.save(tmp_path / "s.npz")
    again = PosteriorSamples.load(tmp_path / "s.npz")
    assert torch.equal(again.draws, samples.draws)
    assert again.provenance == samples.provenance
    torch.testing.assert_close(again.quantile(0.5), samples.draws.median(0).values)


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("none", SVDOperator),
        ("mask", SVDOperator),
        ("gray", SVDOperator),
        ("average:2 | mask", Masked),
        ("gray | mask", Masked),
        ("gauss:1,mirror | average:2", Chain),
        ("gray | gauss:1,mirror | bicubic:2 | mask", LinearOperator),
    ],
)
def test_a_chain_stands_on_the_highest_rung_that_is_true(text, kind):
    small = operator_for_signal(
        text.removesuffix(" | mask").removesuffix("mask") or "none", SHAPE, {}
    )
    mask = torch.rand(small.data_shape[1:], generator=torch.Generator().manual_seed(0)) < 0.3
    H = operator_for_signal(text, SHAPE, {"mask": mask})
    assert isinstance(H, kind)
    generator = torch.Generator().manual_seed(2)
    x = torch.randn(2, *H.signal_shape, generator=generator, dtype=F64)
    y = torch.randn(2, *H.data_shape, generator=generator, dtype=F64)
    assert checks.adjoint_gap(H, x, y) < 1e-12
    assert checks.pinv_gap(H, x) < 1e-8
    assert checks.reflexive_gap(H, y) < 1e-6
    assert checks.solve_gap(H, y, 1.0, 0.1) < 1e-9
    assert operator_for_data(text, H.data_shape, {"mask": mask}).signal_shape == SHAPE


def test_a_masked_operator_keeps_the_whole_contract():
    inner = BlockAverage(SHAPE, 2)
    H = compose(Inpainting(torch.rand(inner.data_shape, generator=torch.Generator()) > 0.4), inner)
    x, y = torch.randn(2, *SHAPE, dtype=F64), torch.randn(2, *inner.data_shape, dtype=F64)
    assert checks.pinv_gap(H, x) < 1e-12
    assert checks.reflexive_gap(H, y) < 1e-12
    assert checks.orthonormal_gap(H, x, y) < 1e-12


def test_shapes_are_checked_where_operators_meet():
    with pytest.raises(ShapeError, match="BlockAverage gives data"):
        compose(Grayscale(SHAPE), BlockAverage(SHAPE, 2))
    with pytest.raises(ShapeError, match="Put that operator last"):
        operator_for_signal("average:2", (3, 64), {})


@pytest.mark.parametrize(
    "text", ["", "blur", "average", "average:0", "average:2.5", "average:x", "gauss:0", "motion:0"]
)
def test_bad_text_is_refused(text):
    with pytest.raises(HDaggerError):
        operator_for_signal(text, SHAPE, {})


@pytest.mark.parametrize("text", ["mask", "kernel"])
def test_arrays_that_are_missing_are_asked_for(text):
    with pytest.raises(SettingError, match="--"):
        operator_for_signal(text, SHAPE, {})


def test_every_damage_builds():
    arrays = {"mask": HOLES, "kernel": torch.ones(3, 3, dtype=F64) / 9}
    arguments = {
        "average": ":2",
        "bicubic": ":2",
        "gauss": ":0.5",
        "motion": ":3,45",
        "disk": ":2",
    }
    arguments |= {"jpeg": ":20", "bits": ":3", "disk": ":2"}
    for name in DAMAGES:
        H = operator_for_signal(name + arguments.get(name, ""), SHAPE, arrays)
        assert H(PICTURE[None]).isfinite().all()


def test_kernels_sum_to_one_and_keep_their_place():
    for kernel in (gaussian_taps(1.3)[None], motion_kernel(9.0, 0.0), motion_kernel(7.0, 30.0)):
        assert kernel.sum() == pytest.approx(1)
        for axis in (0, 1):
            place = torch.arange(kernel.shape[axis], dtype=F64)
            centre = (kernel.sum(1 - axis) * place).sum()
            assert centre == pytest.approx(kernel.shape[axis] // 2, abs=1e-9)
    assert (motion_kernel(9.0, 0.0).sum(1) > 1e-9).sum() == 1


def test_the_noise_of_a_measurement_is_what_it_says():
    x = torch.zeros(3, 64, 64)
    y = measure(x, "average:2", {}, sigma_y=0.3).y
    assert y.std() == pytest.approx(0.3, rel=0.05)
    assert noise_deviation(measure(x, "none", {}, sigma_y=0.3).y) == pytest.approx(0.3, rel=0.05)
    assert torch.equal(y, measure(x, "average:2", {}, sigma_y=0.3).y)
    assert not torch.equal(y, measure(x, "average:2", {}, sigma_y=0.3, seed=1).y)


def test_holes_hold_nothing():
    y = measure(PICTURE, "mask", {"mask": HOLES}, sigma_y=0.3).y
    assert (y[:, HOLES] == 0).all()
    assert (y[:, ~HOLES] != 0).all()


def test_the_residual_check_tells_right_from_wrong():
    measurement = measure(SMOOTH, "none", {}, sigma_y=0.2)
    drawn = restore(Recipe("ddrm", steps=10, samples=2), measurement)
    assert 0.5 < drawn.provenance["chi2_dof"] < 1.5
    ignored = restore(Recipe("ddim", steps=4, samples=2), measurement)
    assert ignored.provenance["chi2_dof"] > 3


def test_a_gray_picture_keeps_its_noise():
    """Three equal channels with sqrt(3) the noise say of the gray axis what one channel said."""
    gray = measure(SMOOTH[:1], "none", {}, sigma_y=0.2)
    drawn = restore(Recipe("ddrm", steps=10, samples=1), gray)
    assert drawn.draws.shape == (1, 1, 32, 48)
    assert 0.5 < drawn.provenance["chi2_dof"] < 1.5


def test_unseen_squares_are_found():
    hole = torch.ones(3, 64, 64, dtype=torch.bool)
    hole[:, 10:50, 12:52] = False
    assert unseen_side(Inpainting(hole)) in (16, 32)
    assert unseen_side(BlockAverage((3, 64, 64), 4)) == 2
    assert unseen_side(SeparableBlur((3, 64, 64), gaussian_taps(1.0))) == 1
    assert unseen_side(Grayscale((3, 64, 64))) >= 32


def test_unseen_squares_are_found_where_only_iterations_would_invert():
    """A blur within a frame does not see its surroundings, however far a kernel reaches."""
    reach = lambda text: unseen_side(PICTURES.operator(text, (3, 64, 64), {}))
    assert reach("gauss:2") <= 8
    hole = torch.zeros(48, 48, dtype=torch.bool)  # of the data's frame
    hole[4:44, 4:44] = True
    blurred = PICTURES.operator("gauss:2 | mask", (3, 64, 64), {"mask": hole})
    assert unseen_side(blurred) >= 16


def test_levels_end_below_the_noise_and_begin_above_what_is_open():
    H = BlockAverage((3, 64, 64), 4)
    data, card = torch.zeros(1, *H.data_shape, dtype=F64), zoo.card("photo")

    def levels(name, sigma_y):
        return PICTURES.levels(Problem(data, H, sigma_y), METHODS[name], 20, card)

    assert levels("ddrm", 0.0)[0] == pytest.approx(2)
    assert levels("pigdm", 0.0)[0] == pytest.approx(80)
    assert levels("drawn", 0.0)[:2].tolist() == pytest.approx([8, 3])
    assert levels("ddrm", 0.01)[-2] == pytest.approx(0.01)  # |H| is 1/4
    assert levels("ddrm", 0.1)[-2] == pytest.approx(0.03)
    assert len(levels("ddrm", 0.04)) == 21


@pytest.mark.parametrize(("name", "second"), [("drawn", 3), ("pigdm", 5.26)])
def test_drawn_steps_to_a_jpeg_go_straight_to_three_eighths(name, second):
    H = PICTURES.operator("jpeg:10", (3, 32, 32), {})
    problem = Problem(torch.zeros(1, *H.data_shape, dtype=F64), H, 0.0)
    levels = PICTURES.levels(problem, METHODS[name], 9, zoo.card("photo"))
    assert levels[:2].tolist() == pytest.approx([8, second], rel=0.01)
    assert len(levels) == 10
    one = PICTURES.levels(problem, METHODS[name], 1, zoo.card("photo"))
    assert one.tolist() == pytest.approx([8, 0])


def test_a_walk_begins_higher_where_a_large_area_is_open():
    hole = torch.ones(3, 128, 128, dtype=torch.bool)
    hole[:, 32:96, 32:96] = False
    H, card = Inpainting(hole), zoo.card("photo")
    data = torch.zeros(1, *H.data_shape, dtype=F64)
    levels = PICTURES.levels(Problem(data, H, 0.0), METHODS["drawn"], 20, card)
    assert levels[0] == pytest.approx(32)
    levels = PICTURES.levels(Problem(data, H, 0.0), METHODS["ddrm"], 20, card)
    assert levels[0] == pytest.approx(16)


@pytest.mark.parametrize(("side", "hole"), [(24, True), (4, False)])
def test_a_hole_is_filled_in_more_steps_that_do_not_ask_the_network_twice(side, hole):
    unseen = torch.zeros(64, 64, dtype=torch.bool)
    unseen[16 : 16 + side, 16 : 16 + side] = True
    x = torch.zeros(3, 64, 64)
    run = prepare(Recipe(), measure(x, "mask", {"mask": unseen}, 0.0), Prior.of(Recipe()))
    assert run.recipe.steps == (HOLE_STEPS if hole else DRAWN_STEPS)
    assert run.recipe.settings["asked"] == (NEVER if hole else ASKED)


def test_a_hole_in_a_jpeg_is_filled_from_as_high_as_one_in_a_picture(tmp_path):
    hole = np.zeros((96, 96), np.uint8)
    hole[20:76, 20:76] = 255
    Image.fromarray(hole).save(tmp_path / "hole.png")
    gray = np.full((96, 96, 3), 90, np.uint8)
    Image.fromarray(gray).save(tmp_path / "old.jpg", quality=75)
    begun = []
    for said in ({}, {"mask": tmp_path / "hole.png"}):
        job = PICTURES.job(tmp_path / "old.jpg", said)
        run = prepare(Recipe(), job.measurement, Prior.of(Recipe()))
        begun.append((run.recipe.steps, run.recipe.settings["asked"], float(run.levels[0])))
    assert begun == [(DRAWN_STEPS, ASKED, 8.0), (HOLE_STEPS, NEVER, 32.0)]


def test_codes_are_not_decoded_to_look_for_a_hole():
    def costly(z):
        raise AssertionError("decoded")

    assert not has_hole(Decoded(Grayscale((3, 32, 32)), costly, costly, (4, 8, 8)))


def test_metrics_know_equal_and_unequal_pictures():
    assert psnr(PICTURE, PICTURE) == math.inf
    assert psnr(PICTURE * 0, PICTURE * 0 + 0.2) == pytest.approx(20)
    x = PICTURE.repeat(1, 2, 2)
    assert ssim(x, x) == pytest.approx(1)
    assert ssim(x, x.flip(2)) < 0.5

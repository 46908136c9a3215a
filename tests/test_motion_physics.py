"""The physics projection, in and out of the sampler loop, and the commands on motion."""

import dataclasses
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest
import torch
from motion_clips import STYLES, foreign_bvh, stepping
from pages import is_made_again

from hdagger.domains.motion import rotations
from hdagger.domains.motion.cleanup import clean_up
from hdagger.domains.motion.clips import Motion
from hdagger.domains.motion.completion import interpolated, smoothly_interpolated, with_known
from hdagger.domains.motion.domain import MOTION
from hdagger.domains.motion.features import SIZE, WINDOW
from hdagger.domains.motion.files import read_motion, write_motion
from hdagger.domains.motion.learning import MotionPlan, MotionTraining
from hdagger.domains.motion.metrics import plausibility, root_relative_distance
from hdagger.domains.motion.onto_physics import OntoPhysics
from hdagger.domains.motion.operators import FrameWise, points_named
from hdagger.domains.motion.physics import CleanUp, Physics, Projector
from hdagger.domains.motion.prior import MotionPrior, NetworkShape
from hdagger.domains.motion.reading import nothing_known
from hdagger.domains.motion.simulator import (
    ARMATURE,
    LEAD,
    between_frames,
    control,
    roll,
    set_points,
    simulator,
)
from hdagger.domains.motion.windows import SHAPE, central_order, to_motions, to_signal
from hdagger.errors import HDaggerError, OperatorAbilityError, SettingError, ShapeError
from hdagger.measurement import Measurement
from hdagger.operators import checks
from hdagger.priors import zoo
from hdagger.recipe import Recipe
from hdagger.restoration import restore
from hdagger.samplers import METHODS
from hdagger.samplers.ddim import DDIM
from hdagger.samplers.pigdm import PiGDM
from hdagger.samplers.projection import Projected
from hdagger.samples import PosteriorSamples
from hdagger.settings import settings_of
from hdagger.solving import solve

pytest.importorskip("mujoco")


@pytest.fixture(scope="module")
def prior():
    return zoo.load(zoo.card("motion"))


KNOWN = torch.ones(WINDOW, dtype=torch.bool)
KNOWN[10:50] = False


@pytest.fixture(scope="module")
def walk():
    return stepping(60).canonical()


def measured(motion, text="frames", sigma_y=0.0, known=KNOWN):
    return MOTION.measure(to_signal([motion])[0], text, {"frames": known}, sigma_y)


def posed(measurement, prior):
    return MOTION.posed(measurement, zoo.card("motion"), prior)


def drawn(method, measurement, prior, samples=1, steps=5):
    """Draws in the units of the prior, in float64."""
    put = posed(measurement, prior)
    method = put.fitted(method)
    levels = MOTION.levels(put.problem, method, steps, zoo.card("motion"))
    return solve(prior, put.problem, method, levels=levels, samples=samples)


def test_clean_up_puts_feet_on_the_ground():
    before = stepping(60, seed=0)
    after = clean_up(before)
    assert plausibility(after).phys_err < 0.3 * plausibility(before).phys_err
    assert root_relative_distance(after, before) < 40


def test_physics_makes_a_motion_plausible_and_says_how():
    before = stepping(60, seed=0)
    ((after, report),) = Physics()([before])
    assert len(after) == 60
    assert plausibility(after).phys_err < 0.4 * plausibility(before).phys_err
    assert plausibility(after).penetrate < 1
    assert root_relative_distance(after, before) < 40
    assert 0 < report.vertical < 0.1  # as measured: 0 but for rounding
    assert None not in report.budgets
    force, torque = report.budgets[0]
    assert force / 2 < report.force <= 1.001 * force * 2**0.5
    assert torque / 2 < report.torque <= 1.001 * torque
    assert report.error == pytest.approx(root_relative_distance(after, before))
    assert report.row()["residual_vertical_force"] == round(report.vertical, 2)


def test_a_long_motion_has_no_seams_and_its_feet_do_not_creep():
    before = stepping(120, seed=1)
    ((after, report),) = Physics(threads=1)([before])
    assert len(report.budgets) == 2
    assert None not in report.budgets
    assert plausibility(after).skate < 3
    steps = after.points.diff(dim=0).norm(dim=-1).amax(1)
    assert steps.max() < 3 * steps.median()


def test_between_frames_nothing_jumps():
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(6, 2, generator=generator, dtype=torch.float64)
    fine = between_frames(x, 1000)
    assert torch.equal(fine[::1000], x[:-1])
    slope = fine.diff(dim=0)
    assert slope.diff(dim=0).abs().max() < 1e-4


def test_servos_keep_contacts_stiff():
    """The inertia of a joint holds what its damper adds to it in an explicit step."""
    model = simulator((0.0, 50.0), 6, 30.0).model
    for body in stepping(2).skeleton.bodies[1:]:
        armature = float(model.dof_armature[model.joint(body.name).dofadr[0]])
        assert armature == pytest.approx(ARMATURE + LEAD * body.stiffness / 180)


def test_a_motion_does_not_depend_on_its_batch():
    first, second = stepping(30, seed=1), stepping(30, seed=2)
    quick = Physics(ladder=[(100.0, 150.0)], sweeps=1)
    together = quick([first, second, stepping(20)])
    ((alone, _),) = quick([second])
    assert torch.equal(together[1][0].qpos, alone.qpos)
    assert len(together[2][0]) == 20


def test_garbage_comes_back_finite_and_writes_no_log(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    generator = torch.Generator().manual_seed(0)
    qpos = 30 * torch.randn(20, 43, generator=generator, dtype=torch.float64)
    motion = Motion(stepping(2).skeleton.normalise(qpos))
    ((after, report),) = Physics()([motion])
    assert after.qpos.isfinite().all()
    assert report.budgets == (None,)
    assert not list(tmp_path.iterdir())


def test_a_vertical_force_would_be_measured():
    """In a simulator whose residual pushes upwards, too, the sensor says so."""
    from xml.etree import ElementTree

    import mujoco

    reference = clean_up(stepping(30, seed=0))
    honest = simulator((100.0, 150.0), 6, 30.0)
    pushing = dataclasses.replace(honest)
    root = ElementTree.fromstring(_saved(mujoco, honest.model))
    for actuator in root.iter("general"):
        if actuator.get("name") == "residual0":
            actuator.set("gear", "1 0 0.2 0 0 0")
    model = mujoco.MjModel.from_xml_string(ElementTree.tostring(root, "unicode"))
    pushing.__dict__["model"] = model
    start = honest.start(reference.qpos[0], honest.velocity(*reference.qpos[:2]))
    controls = control(reference, set_points(reference), 6)[None]
    for humanoid, least, most in ((honest, 0, 0.1), (pushing, 5, 25)):
        _, wrench = roll(humanoid, start[None], controls, 1)
        assert wrench.shape == (1, 29 * 6, 6)
        assert least <= np.abs(wrench[0, :, 2]).max() < most
        assert 10 < np.abs(wrench[0, :, :2]).max() < 100.1


def _saved(mujoco, model):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.xml"
        mujoco.mj_saveLastXML(str(path), model)
        return path.read_text()


def test_projectors_share_a_protocol():
    assert isinstance(Physics(), Projector)
    assert isinstance(CleanUp(), Projector)
    ((after, report),) = CleanUp()([stepping(20, seed=0)])
    assert len(after) == 20
    assert report.budgets == (None,)


QUICK = {"ladder": [(100.0, 150.0)], "sweeps": 1}


def test_projecting_at_the_last_step_is_post_processing(prior):
    plain = drawn(DDIM(eta=0.0), nothing_known(), prior, 2).draws
    onto = lambda: OntoPhysics(prior, Physics(**QUICK))
    inside = Projected(inner=DDIM(eta=0.0), schedule="end:1", projector=onto())
    after = onto()(plain, posed(nothing_known(), prior).problem)
    assert torch.equal(drawn(inside, nothing_known(), prior, 2).draws, after)
    assert not torch.equal(after, plain)


def test_a_schedule_that_never_fires_changes_no_bit(prior, walk):
    onto = OntoPhysics(prior, Physics(**QUICK))
    for method, measurement in ((DDIM(eta=0.0), nothing_known()), (PiGDM(), measured(walk))):
        never = Projected(inner=method, schedule="last:0", projector=onto)
        found = drawn(never, measurement, prior, 2)
        assert torch.equal(found.draws, drawn(method, measurement, prior, 2).draws)
        assert not found.known


def test_physics_is_told_of_each_sample_whatever_the_batch(prior):
    onto = OntoPhysics(prior, Physics(**QUICK))
    method = Projected(inner=DDIM(eta=0.0), schedule="end:1", projector=onto)
    put = posed(nothing_known(), prior)
    levels = MOTION.levels(put.problem, method, 3, zoo.card("motion"))
    whole, parts = (
        solve(prior, put.problem, method, levels=levels, samples=3, batch=batch)
        for batch in (3, 2)
    )
    assert set(whole.known) == {
        "residual_force", "residual_torque", "residual_vertical_force", "fell",
    }  # fmt: skip
    for name, value in whole.known.items():
        assert len(value) == 3
        torch.testing.assert_close(parts.known[name], value, rtol=0.1, atol=0.1)
    assert 0 < whole.known["residual_force"].max() < 100.1 * 2**0.5
    assert (whole.known["residual_vertical_force"] < 0.1).all()


def test_a_motion_is_restored_by_name(walk):
    """Known frames are met, the draws are motions, and a recipe says what was run."""
    recipe = Recipe("pigdm", {"eta": 0.5}, 5, 2, prior="motion", label="walk")
    samples = restore(recipe, measured(walk))
    assert samples.draws.shape == (2, *SHAPE)
    first = to_motions(samples.draws)[0]
    assert root_relative_distance(first[:10], walk[:10]) < 20
    assert samples.provenance["domain"] == "motion"
    ran = Recipe(**samples.provenance["recipe"])
    assert torch.equal(restore(ran, measured(walk)).draws, samples.draws)
    for label in (11, None, "run"):
        other = restore(dataclasses.replace(recipe, label=label), measured(walk))
        assert torch.equal(other.draws, samples.draws) == (label == 11)


def test_physics_is_a_setting_of_a_recipe(walk):
    settings = {"inner": "pigdm", "inner.eta": 0.5, "schedule": "end:1"}
    samples = restore(Recipe("projected", settings, 3, 1, prior="motion"), measured(walk))
    ran = samples.provenance["recipe"]["settings"]
    assert settings.items() <= ran.items()
    assert len(samples.known["residual_force"]) == 1


def test_every_method_that_can_work_does(prior, walk):
    """All of the registry but those that want rounded data or exact ones; SMC's twist is quick."""
    exact, noisy = measured(walk), measured(walk, "trackers:head,hands | frames", 0.01)
    for name, method in ((name, METHODS[name]) for name in METHODS):
        if name == "projected":
            method = dataclasses.replace(method, projector=OntoPhysics(prior, CleanUp()))
        if name == "smc":
            method = dataclasses.replace(method, particles=2, twist=PiGDM())
        for measurement in (exact, noisy):
            if name == "cells" or (name == "projection" and measurement is noisy):
                with pytest.raises(OperatorAbilityError):
                    drawn(method, measurement, prior, 2, 2)
            else:
                assert drawn(method, measurement, prior, 2, 2).draws.isfinite().all()


def test_physics_has_no_place_where_there_is_none(prior, walk):
    with pytest.raises(HDaggerError, match="Use pigdm"):
        Projected(inner=METHODS["ddrm"])
    with pytest.raises(OperatorAbilityError, match="physics"):
        Projected(inner=PiGDM()).require(posed(measured(walk), prior).problem)
    assert "projector" not in settings_of(METHODS["projected"])


def test_data_are_put_to_the_prior_as_they_are(prior, walk):
    """The posed operator of normalised motions gives the data that the domain's gives."""
    x = to_signal([walk])
    z = prior.normalise(x)
    for text in ("none", "frames", "trackers:head,hands", "trackers:feet | frames"):
        put = posed(measured(walk, text), prior)
        assert put.problem.residual(z).abs().max() < 1e-12
        assert (put.finish(z)[0] - x).abs().max() < 1e-12
        off = put.problem.residual(z + 1)
        rows = MOTION.operator(text, SHAPE, {"frames": KNOWN})
        expected = -rows(prior.scale.double().expand(SHAPE)[None])
        torch.testing.assert_close(off, expected, rtol=1e-9, atol=1e-12)


def test_noise_of_each_feature_keeps_the_decomposition(prior, walk):
    """Denoising in the units of the prior is white noise of all its numbers."""
    noise = (0.3 * prior.scale.double()).expand(SHAPE).clone()
    noise[~KNOWN] = torch.inf
    y = to_signal([walk])[0]
    put = posed(Measurement(y, "none", noise, {}, SHAPE, "motion"), prior)
    assert put.problem.sigma_y == 1
    H = put.problem.H
    assert isinstance(H, FrameWise)
    norms = checks.dense(H).norm(dim=1).unflatten(0, SHAPE)
    torch.testing.assert_close(0.3 * norms, KNOWN[:, None].double().expand(SHAPE))
    assert H.rank == int(KNOWN.sum()) * SIZE
    ragged = noise.clone()
    ragged[0, 0] *= 2
    assert posed(Measurement(y, "none", ragged, {}, SHAPE, "motion"), prior).problem.H.rank > 0


def test_known_frames_are_kept_and_the_rest_is_filled(prior, walk):
    samples = restore(Recipe("pigdm", {}, 50, 1, prior="motion"), measured(walk))
    done = with_known(to_motions(samples.draws)[0], walk, KNOWN)
    assert (done.points[KNOWN] - walk.points[KNOWN]).abs().max() < 1e-9
    assert done.points.diff(dim=0).norm(dim=-1).max() < 0.3
    assert root_relative_distance(done[10:50], walk[10:50]) < 120
    line = interpolated(walk, KNOWN)
    assert (line.points[KNOWN] - walk.points[KNOWN]).abs().max() < 1e-9


def test_what_differs_at_an_edge_fades_over_six_frames():
    a = stepping(60)
    b = a.shifted(torch.tensor([0.2, 0, 0]).double())
    done = with_known(a, b, torch.arange(60) < 10)
    share = (done.qpos[:, 0] - a.qpos[:, 0]) / 0.2
    assert share[:10].sub(1).abs().max() < 1e-7
    assert (share[9:17].diff() < 0).all()
    assert share[16:].abs().max() < 1e-9
    assert share[12].item() == pytest.approx((4 / 7) ** 2 * (3 - 8 / 7))


def test_the_first_motion_is_the_one_nearest_to_the_others():
    motions = [stepping(20, seed=seed) for seed in (None, 1)]
    motions.append(motions[0].mirrored())
    motions.insert(0, motions[-1])
    assert central_order(motions)[:2] in ([0, 3], [3, 0])
    apart = [stepping(20), stepping(20, seed=1), stepping(20, seed=2), stepping(25)[5:]]
    order = central_order(apart)
    total = [sum(root_relative_distance(a, b) for b in apart) for a in apart]
    assert [total[k] for k in order] == sorted(total)


def test_hermite_curves_keep_what_is_known_and_the_velocities():
    motion = stepping(60, fps=300.0)
    known = torch.ones(60, dtype=torch.bool)
    known[10:50] = False
    smooth = smoothly_interpolated(motion, known)
    torch.testing.assert_close(smooth.qpos[known], motion.qpos[known])
    error = lambda other: root_relative_distance(other[10:50], motion[10:50])
    assert error(smooth) < 0.1 * error(interpolated(motion, known))
    # A steady turn and a steady walk are such curves.
    qpos = motion.qpos[:1].expand(60, -1).clone()
    qpos[:, 0] = torch.arange(60).double() / 30
    qpos[:, 3:7] = rotations.about_z(0.03 * torch.arange(60).double())
    torch.testing.assert_close(smoothly_interpolated(Motion(qpos, 30.0), known).qpos, qpos)


@pytest.mark.parametrize("known", [torch.ones(7).bool(), torch.arange(7) % 3 > 0])
@pytest.mark.parametrize("shape", [(3, 5), (5, 3), (4, 4)])
def test_frame_wise_keeps_the_contract(known, shape):
    generator = torch.Generator().manual_seed(0)
    randn = lambda *size: torch.randn(*size, generator=generator, dtype=torch.float64)
    H = FrameWise(randn(*shape), known)
    x, y = randn(2, *H.signal_shape), randn(2, *H.data_shape)
    gaps = (checks.adjoint_gap(H, x, y), checks.pinv_gap(H, x), checks.orthonormal_gap(H, x, y))
    assert max(gaps) < 1e-12
    assert max(checks.solve_gap(H, y, 0.3, 0.1), checks.pull_gap(H, y, 0.3, 0.1)) < 1e-12
    if not known.all():
        assert checks.hidden_gap(H, y) == 0
    assert H.rank == int(known.sum()) * min(shape)
    outer = FrameWise(randn(2, shape[0]), torch.arange(7) != 1)
    both = outer @ H
    assert isinstance(both, FrameWise)
    torch.testing.assert_close(both(x), outer(H(x)))
    assert H.known is known
    assert not both.known[1]


def test_trackers_are_where_the_points_are(walk):
    points = points_named("head,hands")
    assert points == ("head", "lhand", "rhand")
    columns = [walk.skeleton.points.index(point) for point in points]
    y = measured(walk, "trackers:head,hands").y
    torch.testing.assert_close(y, walk.points[:, columns].flatten(1), rtol=0, atol=1e-9)
    some = measured(walk, "trackers:head,hands | frames").y
    assert (some[~KNOWN] == 0).all()
    assert torch.equal(some[KNOWN], y[KNOWN])


@pytest.mark.parametrize(
    ("text", "arrays", "says"),
    [
        ("trackers:tail", {}, "tail"),
        ("trackers", {}, "head"),
        ("frames", {}, "known"),
        ("frames:3", {}, "frames alone"),
        ("frames", {"frames": torch.ones(3)}, r"\(3,\)"),
        ("trackers:head | trackers:head", {}, "first"),
        ("blur:2", {}, "trackers"),
    ],
)
def test_operators_that_are_none_are_refused(text, arrays, says):
    with pytest.raises(HDaggerError, match=says) as caught:
        MOTION.operator(text, SHAPE, arrays)
    assert len(str(caught.value).splitlines()) == 1


def test_other_signals_and_other_priors_are_refused(prior, walk):
    card = zoo.card("motion")
    with pytest.raises(ShapeError, match="--prior motion"):
        MOTION.posed(measured(walk), zoo.card("photo"), zoo.load(zoo.card("photo")))
    short = MOTION.measure(to_signal([walk[:20]])[0], "none", {}, 0.1)
    with pytest.raises(ShapeError, match="Pad the motion"):
        MOTION.posed(short, card, prior)
    with pytest.raises(ShapeError, match="encode"):
        MOTION.operator("none", (3, 8, 8), {})


def test_a_plan_of_motions_is_read_as_others_are(tmp_path):
    path = tmp_path / "plan.toml"
    path.write_text('clips = "a"\nheld_out = "../b"\nupdates = 3\n[network]\nlayers = 1')
    plan = MotionPlan.read(path)
    assert (plan.clips, plan.held_out) == (tmp_path / "a", tmp_path / "../b")
    assert (plan.updates, plan.rate, plan.network) == (3, 0.02, NetworkShape(layers=1))
    for text in ('clips = "a"', 'clips = "a"\nheld_out = "b"\ncoarse = 0.1'):
        path.write_text(text)
        with pytest.raises(SettingError, match=r"Start from training/motion\.toml"):
            MotionPlan.read(path)


def test_a_motion_prior_trains_stops_and_goes_on(tmp_path):
    clips = tmp_path / "clips/walk"
    clips.mkdir(parents=True)
    write_motion(clips / "a.npz", stepping(90))
    shape = NetworkShape(width=16, layers=1, heads=2)
    settings = {"hours": 1 / 3600, "batch": 4, "network": shape}
    plan = MotionPlan(clips=tmp_path / "clips", held_out=tmp_path / "clips", **settings)
    first = MotionTraining(plan, tmp_path / "run")
    reports = []
    first.run(reports.append)
    assert reports[-1].loss > 0
    longer = MotionTraining(plan, tmp_path / "run")
    assert longer.step == first.step
    assert longer.done
    again = MotionPrior.load(tmp_path / "run/prior.safetensors")
    assert again.labels == ("walk",)
    card = zoo.card(str(tmp_path / "run/prior.safetensors"))
    assert (card.classes, card.labels, card.channels) == (1, ["walk"], SIZE)
    assert (card.sigma_min, card.sigma_max, card.data_variance) == (0.03, 20.0, 1.0)
    D = again(torch.zeros(1, WINDOW, SIZE, dtype=torch.float64), torch.tensor(1.0))
    assert D.dtype == torch.float64
    with pytest.raises(HDaggerError, match="kick"):
        card.number("kick")


def test_a_class_is_an_argument_and_no_state(prior):
    x = torch.randn(2, *SHAPE, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    sigma = torch.tensor(3.0, dtype=torch.float64)
    card = zoo.card("motion")
    any_class = prior(x, sigma)
    walk = zoo.towards(prior, card, "walk", 1.0)(x, sigma)
    assert torch.equal(prior(x, sigma, torch.tensor([11, 11])), walk)
    assert not torch.allclose(walk, any_class)
    assert torch.equal(prior(x, sigma), any_class)
    both = prior(x, sigma, torch.tensor([11, 0]))
    torch.testing.assert_close(both[0], walk[0])
    assert not torch.allclose(both[1], walk[1])
    with pytest.raises(HDaggerError, match="13"):
        prior(x, sigma, torch.tensor([13, 0]))
    assert card.labels == list(prior.labels)
    assert card.classes == prior.classes == 13


def test_the_pictures_prior_is_no_motion_prior(tmp_path):
    with pytest.raises(HDaggerError, match="motion prior"):
        MotionPrior.load(zoo.card("photo").weights)
    for cut in (0, 100, -1000):
        path = tmp_path / "cut.safetensors"
        path.write_bytes(zoo.card("motion").weights.read_bytes()[:cut])
        with pytest.raises(HDaggerError) as caught:
            MotionPrior.load(path)
        assert len(str(caught.value).splitlines()) == 1


@pytest.fixture
def run(run):
    """Runs ``hdagger motion ARGUMENTS``."""
    return lambda *arguments: run("motion", *arguments)


def test_a_clip_of_another_skeleton_is_projected_and_measured(run, tmp_path):
    (tmp_path / "clip.bvh").write_text(foreign_bvh(stepping(45, seed=0), STYLES["mixamo"]))
    code, out, _ = run("project", "clip.bvh", "-o", "clean.bvh", "--report", "page")
    assert code == 0
    assert "N, as measured" in out
    assert (tmp_path / "page/report.html").read_text().count("data:image/png") == 3
    about = json.loads((tmp_path / "page/summary.json").read_text())
    assert about["projection"]["residual_vertical_force"] < 0.1
    assert [row[""] for row in about["rows"]] == ["given", "projected"]
    assert about["rows"][0]["phys_err"] > 2 * about["rows"][1]["phys_err"]
    budget = about["projection"]["budgets"][0]
    assert f"{budget[0]:g} N {budget[1]:g} N m (1)" in out
    assert f"by {about['projection']['change']:.0f} mm" in out
    code, out, _ = run("metrics", "clip.bvh", "clean.bvh", "--json")
    before, after = map(json.loads, out.splitlines())
    assert after["phys_err"] < 0.5 * before["phys_err"]
    assert (after["margin"], after["fps"]) == (5.0, 30.0)


FEW = ("--samples", 2, "--steps", 3)
LEFT = {"report.html", "summary.json", "samples.npz", "recipe.toml", "measurement.npz"}


def left(folder):
    return {path.name for path in folder.iterdir()} - {".hdagger.json"}


def test_motions_are_drawn(run, tmp_path):
    physics = ("--class", "walk", "--physics", "end:1")
    assert run("sample", *physics, *FEW, "--seed", 5, "-o", "out")[0] == 0
    assert left(tmp_path / "out") == LEFT | {
        f"00{k}.{suffix}" for k in (0, 1) for suffix in ("bvh", "npz", "gif")
    }
    recipe = Recipe.from_toml(tmp_path / "out/recipe.toml")
    assert (recipe.label, recipe.seed, recipe.steps, recipe.samples) == ("walk", 5, 3, 2)
    assert (recipe.method, recipe.settings["inner"]) == ("projected", "ddim")
    assert recipe.settings["inner.eta"] == 0
    samples = PosteriorSamples.load(tmp_path / "out/samples.npz")
    again = restore(recipe, Measurement.load(tmp_path / "out/measurement.npz"))
    assert torch.equal(again.draws, samples.draws)
    for k, motion in enumerate(to_motions(samples.draws)):
        written = read_motion(tmp_path / f"out/{k:03}.npz")
        assert (written.points - motion.points).abs().max() < 1e-6
    about = json.loads((tmp_path / "out/summary.json").read_text())
    force = samples.known["residual_force"].tolist()
    assert about["physics"]["residual_force"] == pytest.approx(force)
    assert about["rows"][1]["phys_err"] == plausibility(motion).row()["phys_err"]
    # One sample after two: nothing of the two is left.
    assert run("sample", "--samples", 1, "--steps", 3, "-o", "out")[0] == 0
    assert left(tmp_path / "out") == LEFT | {"000.bvh", "000.npz", "000.gif"}


def test_settings_of_a_method_reach_it(run, tmp_path):
    for folder, more in (
        ("a", ()),
        ("b", ("--set", "eta=1")),
        ("c", ("--method", "dps", "--set", "strength=0.5")),
    ):
        assert run("sample", "--samples", 1, "--steps", 3, *more, "-o", folder)[0] == 0
    recipes = [Recipe.from_toml(tmp_path / f"{name}/recipe.toml") for name in "abc"]
    assert [recipe.method for recipe in recipes] == ["ddim", "ddim", "dps"]
    assert [recipe.settings["eta"] for recipe in recipes[:2]] == [0, 1]
    assert recipes[2].settings["strength"] == 0.5


def test_a_clip_is_completed_where_it_was(run, tmp_path):
    clip = stepping(50).turned(torch.tensor(0.7).double())
    write_motion(tmp_path / "clip.npz", clip.shifted(torch.tensor([1.0, 2, 0]).double()))
    given = read_motion(tmp_path / "clip.npz")
    assert run("inbetween", "clip.npz", "--keep", "0:10, 40:50", *FEW, "-o", "filled")[0] == 0
    done = read_motion(tmp_path / "filled/000.npz")
    assert len(done) == 50
    kept = [*range(10), *range(40, 50)]
    assert (done.points[kept] - given.points[kept]).abs().max() < 1e-6
    assert (done.points[20:30] - given.points[20:30]).abs().max() > 1e-3
    known = Measurement.load(tmp_path / "filled/measurement.npz").arrays["frames"]
    assert known.nonzero().flatten().tolist() == kept
    about = json.loads((tmp_path / "filled/summary.json").read_text())
    assert [row[""] for row in about["rows"]] == ["given", "000", "001"]
    assert is_made_again(tmp_path / "filled")
    assert about["rows"][0]["root_relative_distance"] == 0
    found = root_relative_distance(done, given)
    assert about["rows"][1]["root_relative_distance"] == pytest.approx(found, abs=0.06)


def test_trackers_and_noise_reach_the_measurement(run, tmp_path):
    write_motion(tmp_path / "clip.npz", stepping(40))
    arguments = ("--trackers", "head,feet", "--noise", 0.05, "--seed", 3)
    assert run("inbetween", "clip.npz", *arguments, *FEW, "-o", "t")[0] == 0
    measurement = Measurement.load(tmp_path / "t/measurement.npz")
    assert measurement.operator == "trackers:head,feet | frames"
    assert measurement.sigma_y == 0.05
    assert int(measurement.arrays["frames"].sum()) == 40
    given = stepping(40).canonical()
    columns = [given.skeleton.points.index(name) for name in ("head", "lankle", "rankle")]
    off = measurement.y[:40] - given.points[:, columns].flatten(1)
    assert 0.04 < off.std() < 0.06
    assert run("denoise", "clip.npz", "--sigma-y", 0.2, *FEW, "-o", "d")[0] == 0
    noise = Measurement.load(tmp_path / "d/measurement.npz").sigma_y
    scale = zoo.load(zoo.card("motion")).scale.double()
    torch.testing.assert_close(noise[:40], (0.2 * scale).expand(40, -1))
    assert noise[40:].isinf().all()
    assert len(read_motion(tmp_path / "d/000.npz")) == 40


@pytest.mark.parametrize(
    "arguments",
    [
        ("metrics", "nothing.bvh"),
        ("project", "clip.bvh", "-o", "clean.txt"),
        ("sample", "--class", "swim"),
        ("sample", "--physics", "sometimes"),
        ("inbetween", "clip.bvh"),
        ("inbetween", "clip.bvh", "--keep", "0:99"),
        ("inbetween", "clip.bvh", "--keep", "5:9"),
        ("inbetween", "clip.bvh", "--keep", "all"),
        ("inbetween", "clip.bvh", "--trackers", "tail"),
        ("inbetween", "clip.bvh", "--keep", "0:9", "--method", "ddrm", "--physics", "end:1"),
        ("inbetween", "long.bvh", "--keep", "0:10"),
        ("inbetween", "clip.bvh", "--keep", "0:9", "--trackers", "head"),
        ("inbetween", "clip.bvh", "--keep", "0:9", "--noise", "0.1"),
        ("inbetween", "clip.bvh", "--trackers", "head", "--noise", "-1"),
        ("inbetween", "clip.bvh", "--trackers", "head", "--noise", "nan"),
        ("inbetween", "clip.bvh", "--keep", "0:9", "--set", "speed=3"),
        ("inbetween", "clip.bvh", "--keep", "0:9", "--method", "cells"),
        ("denoise", "clip.bvh", "--sigma-y", "nan"),
        ("denoise", "clip.bvh", "--sigma-y", "-1"),
        ("sample", "--prior", "photo"),
        ("sample", "--steps", "0"),
        ("sample", "--samples", "0"),
        ("sample", "--seed", "-1"),
    ],
    ids=" ".join,
)
def test_what_a_user_can_mend_is_one_line(run, tmp_path, arguments):
    write_motion(tmp_path / "clip.bvh", stepping(30))
    write_motion(tmp_path / "long.bvh", stepping(90))
    code, _, err = run(*arguments)
    assert code == 2
    assert len(err.strip().splitlines()) == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["clip.bvh", "long.bvh"]


def test_nothing_but_physics_needs_mujoco():
    script = (
        "import sys; sys.modules['mujoco'] = None\n"
        "import hdagger.cli.main, hdagger.domains.motion.drawing\n"
        "import hdagger.domains.motion.benchmark, hdagger.domains.motion.learning\n"
        "from hdagger.domains.motion.simulator import require_mujoco\n"
        "try:\n    require_mujoco()\nexcept Exception as error:\n    print(error)\n"
    )
    assert "pip install 'hdagger[motion]'" in _printed(script)


def test_the_commands_load_neither_torch_nor_mujoco():
    script = (
        "import sys, hdagger.domains.motion.commands\n"
        "print({'torch', 'mujoco', 'PIL'} & set(sys.modules))\n"
    )
    assert _printed(script).strip() == "set()"


def _printed(script):
    command = [sys.executable, "-c", script]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout

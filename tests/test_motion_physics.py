"""The physics projection, in and out of the sampler loop, and the commands on motion."""

import json
import subprocess
import sys

import numpy as np
import pytest
import torch
from motion_clips import STYLES, foreign_bvh, stepping

from hdagger.domains.motion import rotations
from hdagger.domains.motion.cleanup import clean_up
from hdagger.domains.motion.clips import Motion, read_motion, write_motion
from hdagger.domains.motion.features import SIZE, WINDOW
from hdagger.domains.motion.learning import MotionPlan, MotionTraining
from hdagger.domains.motion.metrics import plausibility, root_relative_distance
from hdagger.domains.motion.physics import CleanUp, Physics, Projector
from hdagger.domains.motion.prior import MotionPrior, NetworkShape
from hdagger.domains.motion.sampling import (
    SHAPE,
    FrameWise,
    OntoPhysics,
    draw,
    frames_known,
    interpolated,
    nothing_known,
    points_named,
    sampler_for,
    smoothly_interpolated,
    to_motions,
    to_signal,
    tracked,
    with_known,
)
from hdagger.domains.motion.simulator import ARMATURE, LEAD, between_frames, simulator
from hdagger.errors import HDaggerError
from hdagger.operators.checks import adjoint_gap, orthonormal_gap, pinv_gap
from hdagger.priors import zoo
from hdagger.samplers.pigdm import PiGDM
from hdagger.samplers.projection import Projected, Projection, last

pytest.importorskip("mujoco")


@pytest.fixture(scope="module")
def prior():
    return MotionPrior.load(zoo.checked_weights(zoo.card("motion")))


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
    assert report.vertical == 0
    assert None not in report.budgets
    assert report.force <= 1001 * 2**0.5


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


def test_no_vertical_force_reaches_the_root():
    import mujoco

    model = simulator((100.0, 150.0), 8, 30.0).model
    data = mujoco.MjData(model)
    data.qpos[2] = 2.0
    data.ctrl[:] = 1.0
    mujoco.mj_forward(model, data)
    assert abs(data.qfrc_actuator[2]) < 1e-9
    assert np.abs(data.qfrc_actuator[:2]).max() > 1


def test_projectors_share_a_protocol():
    assert isinstance(Physics(), Projector)
    assert isinstance(CleanUp(), Projector)
    ((after, report),) = CleanUp()([stepping(20, seed=0)])
    assert len(after) == 20
    assert report.budgets == (None,)


QUICK = {"ladder": [(100.0, 150.0)], "sweeps": 1}


def test_projecting_at_the_last_step_is_post_processing(prior):
    plain = draw(sampler_for("ddim", prior, None, None), nothing_known(), 2, steps=5)
    inside = draw(
        sampler_for("ddim", prior, "end:1", Physics(**QUICK)), nothing_known(), 2, steps=5
    )
    after = OntoPhysics(prior, Physics(**QUICK))(plain, nothing_known())
    assert torch.equal(inside, after)
    assert not torch.equal(inside, plain)


def test_a_schedule_that_never_fires_changes_no_bit(prior):
    onto = OntoPhysics(prior, Physics(**QUICK))
    plain = draw(sampler_for("ddim", prior, None, None), nothing_known(), 2, steps=5)
    never = sampler_for("ddim", prior, "last:0", Physics(**QUICK))
    assert torch.equal(draw(never, nothing_known(), 2, steps=5), plain)
    projection = Projection(prior, eta=0.0, schedule=last(0), projector=onto)
    assert torch.equal(draw(projection, nothing_known(), 2, steps=5), plain)
    problem = frames_known(prior, stepping(60).canonical(), torch.arange(60) < 10)
    guided = draw(PiGDM(prior), problem, 1, steps=5)
    projected = draw(Projected(PiGDM(prior), last(0), onto), problem, 1, steps=5)
    assert torch.equal(projected, guided)


def test_known_frames_are_kept_and_the_rest_is_filled(prior):
    motion = stepping(60).canonical()
    known = torch.ones(60, dtype=torch.bool)
    known[10:50] = False
    x = draw(sampler_for("pigdm", prior, None, None), frames_known(prior, motion, known), 1)
    done = with_known(to_motions(prior, x)[0], motion, known)
    assert (done.points[known] - motion.points[known]).abs().max() < 1e-9
    assert done.points.diff(dim=0).norm(dim=-1).max() < 0.3
    line = interpolated(motion, known)
    assert (line.points[known] - motion.points[known]).abs().max() < 1e-9


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


def test_trackers_are_a_linear_operator_with_an_svd(prior):
    generator = torch.Generator().manual_seed(0)
    H = FrameWise(torch.randn(3, SIZE, generator=generator))
    x = torch.randn(2, *SHAPE, generator=generator, dtype=torch.float64)
    y = torch.randn(2, *H.data_shape, generator=generator, dtype=torch.float64)
    assert max(adjoint_gap(H, x, y), pinv_gap(H, x), orthonormal_gap(H, x, y)) < 1e-12
    motion = stepping(60).canonical()
    points = points_named(["head", "hands"])
    columns = [motion.skeleton.points.index(point) for point in points]
    problem = tracked(prior, motion.points[:, columns], points, 0.0)
    assert (problem.H(to_signal(prior, [motion])) - problem.y).abs().max() < 1e-6
    with pytest.raises(HDaggerError, match="tail"):
        points_named(["tail"])


def test_a_motion_prior_trains_stops_and_goes_on(tmp_path):
    clips = tmp_path / "clips/walk"
    clips.mkdir(parents=True)
    write_motion(clips / "a.npz", stepping(90))
    shape = NetworkShape(width=16, layers=1, heads=2)
    plan = MotionPlan(
        tmp_path / "clips", tmp_path / "clips", hours=1 / 3600, batch=4, network=shape
    )
    first = MotionTraining(plan, tmp_path / "run")
    reports = []
    first.run(reports.append)
    assert reports[-1].loss > 0
    longer = MotionTraining(plan, tmp_path / "run")
    assert longer.step == first.step
    assert longer.done
    again = MotionPrior.load(tmp_path / "run/prior.safetensors")
    assert again.classes == ("walk",)
    D = again(torch.zeros(1, WINDOW, SIZE, dtype=torch.float64), torch.tensor(1.0))
    assert D.dtype == torch.float64
    with pytest.raises(HDaggerError, match="kick"):
        again.of("kick")


def test_the_pictures_prior_is_no_motion_prior():
    with pytest.raises(HDaggerError, match="motion prior"):
        MotionPrior.load(zoo.card("photo").weights)
    with pytest.raises(HDaggerError, match="hdagger train"):
        zoo.load(zoo.card("motion"))


@pytest.fixture
def run(run):
    """Runs ``hdagger motion ARGUMENTS``."""
    return lambda *arguments: run("motion", *arguments)


def test_a_clip_of_another_skeleton_is_projected_and_measured(run, tmp_path):
    (tmp_path / "clip.bvh").write_text(foreign_bvh(stepping(45, seed=0), STYLES["mixamo"]))
    code, out, _ = run("project", "clip.bvh", "-o", "clean.bvh", "--report", "page")
    assert code == 0
    assert "0 N vertically" in out
    assert (tmp_path / "page/report.html").read_text().count("data:image/png") == 3
    code, out, _ = run("metrics", "clip.bvh", "clean.bvh", "--json")
    before, after = json.loads(out)
    assert after["phys_err"] < 0.5 * before["phys_err"]
    assert (after["margin"], after["fps"]) == (5.0, 30.0)


def test_motions_are_drawn_and_completed(run, tmp_path):
    code, _, _ = run("sample", "--class", "walk", "--physics", "end:1", "--samples", 1,
                     "--steps", 4, "-o", "out")  # fmt: skip
    assert code == 0
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        "000.bvh", "000.npz", "000.gif", "report.html", "summary.json",
    }  # fmt: skip
    write_motion(tmp_path / "clip.bvh", stepping(60))
    few = ("--samples", 1, "--steps", 4)
    code, _, _ = run("inbetween", "clip.bvh", "--keep", "0:10,50:60", *few, "-o", "filled")
    assert code == 0
    done, given = read_motion(tmp_path / "filled/000.npz"), read_motion(tmp_path / "clip.bvh")
    assert (done.points[:10] - given.points[:10]).abs().max() < 1e-6
    assert run("inbetween", "clip.bvh", "--trackers", "head,hands", *few)[0] == 0
    assert run("denoise", "clip.bvh", *few, "-o", "calm")[0] == 0


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
        "import hdagger.cli.main, hdagger.motion.sampling, hdagger.motion.render\n"
        "import hdagger.bench.motion, hdagger.motion.learning\n"
        "from hdagger.motion.simulator import require_mujoco\n"
        "try:\n    require_mujoco()\nexcept Exception as error:\n    print(error)\n"
    )
    found = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert "pip install 'hdagger[motion]'" in found.stdout

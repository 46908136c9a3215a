"""The humanoid, its clips and their files: kinematics against MuJoCo, BVH of any skeleton."""

import numpy as np
import pytest
import torch
from motion_clips import STYLES, foreign_bvh, stepping

from hdagger.domains.motion import bvh, retarget, rotations
from hdagger.domains.motion.bvh import parse
from hdagger.domains.motion.clips import Motion
from hdagger.domains.motion.features import canonical, decode, encode
from hdagger.domains.motion.files import read_deepmimic, read_motion, write_motion
from hdagger.domains.motion.metrics import (
    Plausibility,
    distance,
    plausibility,
    root_relative_distance,
)
from hdagger.domains.motion.skeleton import HUMANOID
from hdagger.errors import HDaggerError


def random_motion(frames=6, seed=0):
    generator = torch.Generator().manual_seed(seed)
    qpos = torch.randn(frames, HUMANOID.size, generator=generator, dtype=torch.float64)
    return Motion(HUMANOID.normalise(qpos))


def test_rotations_agree_with_each_other():
    generator = torch.Generator().manual_seed(0)
    v = torch.randn(50, 3, generator=generator, dtype=torch.float64)
    q = rotations.from_vector(v)
    m = rotations.to_matrix(q)
    torch.testing.assert_close(torch.linalg.matrix_exp(_cross(v)), m, rtol=0, atol=1e-12)
    again = rotations.from_matrix(m)
    assert (again * q).sum(-1).abs().min() > 1 - 1e-12
    torch.testing.assert_close(rotations.from_vector(rotations.to_vector(q)).abs(), q.abs())
    torch.testing.assert_close(rotations.from_six(rotations.to_six(m)), m, rtol=0, atol=1e-12)
    a, b = v[:25], v[25:]
    turned = rotations.to_matrix(rotations.between(a, b)) @ rotations.unit(a)[..., None]
    torch.testing.assert_close(turned[..., 0], rotations.unit(b), rtol=0, atol=1e-12)
    opposite = rotations.to_matrix(rotations.between(a, -a)) @ a[..., None]
    torch.testing.assert_close(opposite[..., 0], -a, rtol=0, atol=1e-6)


def _cross(v):
    zero = torch.zeros_like(v[:, 0])
    rows = [zero, -v[:, 2], v[:, 1], v[:, 2], zero, -v[:, 0], -v[:, 1], v[:, 0], zero]
    return torch.stack(rows, -1).unflatten(-1, (3, 3))


def test_kinematics_are_those_of_mujoco():
    mujoco = pytest.importorskip("mujoco")
    from xml.etree import ElementTree

    model = mujoco.MjModel.from_xml_string(ElementTree.tostring(HUMANOID.mjcf(), "unicode"))
    data, motion = mujoco.MjData(model), random_motion()
    assert model.body_mass.sum() == pytest.approx(45)
    for frame, qpos in enumerate(motion.qpos):
        data.qpos[:] = qpos.numpy()
        mujoco.mj_kinematics(model, data)
        assert np.abs(data.xpos[1:] - motion.pose.position[frame].numpy()).max() < 1e-6
        turned = data.xmat[1:].reshape(-1, 3, 3)
        assert np.abs(turned - motion.pose.rotation[frame].numpy()).max() < 1e-6


def test_kinematics_are_differentiable_and_batched():
    qpos = random_motion().qpos.view(2, 3, -1).requires_grad_()
    points = HUMANOID.place_points(HUMANOID.pose(qpos))
    assert points.shape == (2, 3, 16, 3)
    (gradient,) = torch.autograd.grad(points[..., -1, :].sum(), qpos)
    slope = gradient[0, 0]
    moved = qpos.detach().clone()
    step = torch.randn(qpos.shape[-1], generator=torch.Generator().manual_seed(1)).double()
    at = lambda h: HUMANOID.place_points(HUMANOID.pose(moved[0, 0] + h * step))[-1].sum()
    expected = (at(1e-6) - at(-1e-6)) / 2e-6
    assert float(slope @ step) == pytest.approx(float(expected), rel=1e-6)


def test_mirror_twice_and_turns_change_nothing():
    motion = random_motion()
    torch.testing.assert_close(motion.mirrored().mirrored().points, motion.points)
    standing = stepping().canonical()
    assert standing.heading()[0].abs() < 1e-9
    assert plausibility(standing.turned(torch.tensor(1.0).double())).skate == pytest.approx(
        plausibility(standing).skate
    )


def test_resampling_keeps_the_motion():
    motion = stepping(121, fps=60.0)
    slow = motion.resampled(30.0)
    assert len(slow) == 61
    assert (slow.points - motion.points[::2]).abs().max() < 1e-9
    assert (slow.resampled(60.0).points - motion.points).abs().max() < 0.01


def test_features_go_there_and_back():
    motion = stepping(60)
    assert (decode(encode(motion.qpos)) - motion.qpos).abs().max() < 1e-9
    turned = motion.turned(torch.tensor(2.0).double()).shifted(torch.ones(3).double() * 0.1)
    features = canonical(encode(turned.shifted(torch.tensor([0, 0, -0.1]).double()).qpos)[None])
    expected = encode(motion.canonical().qpos)
    torch.testing.assert_close(features[0], expected, rtol=0, atol=1e-8)


@pytest.mark.parametrize("suffix", [".bvh", ".npz"])
def test_our_files_come_back(tmp_path, suffix):
    motion, path = stepping(20, fps=24.0), tmp_path / f"clip{suffix}"
    write_motion(path, motion)
    again = read_motion(path)
    assert again.fps == 24.0
    assert (again.points - motion.points).abs().max() < 1e-6


def test_a_long_bvh_is_read_in_parts_that_are_shown(tmp_path, monkeypatch):
    path = tmp_path / "clip.bvh"
    path.write_text(foreign_bvh(stepping(20), STYLES["cmu"]))
    whole, seen = read_motion(path), []
    for module in (bvh, retarget):
        monkeypatch.setattr(module, "AT_ONCE", 8)
    parts = read_motion(path, watch=lambda done, total: seen.append((done, total)))
    assert (parts.points - whole.points).abs().max() < 1e-12
    assert seen == [(8, 20), (16, 20), (20, 20)]


@pytest.mark.parametrize("style", STYLES)
def test_other_skeletons_are_retargeted(tmp_path, style):
    motion, path = stepping(40).turned(torch.tensor(0.7).double()), tmp_path / "theirs.bvh"
    path.write_text(foreign_bvh(motion, STYLES[style]))
    again = read_motion(path)
    assert len(again) == 40
    assert root_relative_distance(again.canonical(), motion.canonical()) < 1.0
    assert (again.lowest - motion.lowest).abs().max() < 0.01
    way = again.qpos[-1, :2].sub(again.qpos[0, :2]).norm()
    assert way == pytest.approx(
        float(motion.qpos[-1, :2].sub(motion.qpos[0, :2]).norm()), rel=0.02
    )


def test_a_table_names_the_joints(tmp_path):
    path = tmp_path / "odd.bvh"
    text = foreign_bvh(stepping(10), STYLES["poser"]).replace("lThigh", "Oberschenkel_1")
    path.write_text(text)
    with pytest.raises(HDaggerError, match=r"recognised as lhip .*--joints"):
        read_motion(path)
    assert len(read_motion(path, {"lhip": "Oberschenkel_1"})) == 10
    for table, says in (({"lhip": "nowhere"}, "nowhere"), ({"tail": "hip"}, "tail")):
        with pytest.raises(HDaggerError, match=says):
            read_motion(path, table)


def _edited(change):
    lines = foreign_bvh(stepping(5), STYLES["cmu"]).splitlines()
    return change(lines)


BROKEN = {
    "empty": "",
    "text": "this is no motion",
    "one joint": "HIERARCHY\nROOT a\n{\nOFFSET 0 0 0\n"
    "CHANNELS 3 Xrotation Yrotation Zrotation\n}\n"
    "MOTION\nFrames: 2\nFrame Time: 0.03\n0 0 0\n0 0 0\n",
    "no frames": _edited(lambda lines: "\n".join(lines[:-5]).replace("Frames: 5", "Frames: 0")),
    "not a number": _edited(lambda lines: "\n".join([*lines[:-1], lines[-1] + " x"])),
    "nan": _edited(
        lambda lines: "\n".join([*lines[:-1], "nan" + lines[-1][lines[-1].index(" ") :]])
    ),
    "cut": _edited(lambda lines: "\n".join(lines)[:-200]),
    "cut hierarchy": _edited(lambda lines: "\n".join(lines[:30])),
    "too many frames": _edited(
        lambda lines: "\n".join(lines).replace("Frames: 5", "Frames: 999999999")
    ),
    "frame time": _edited(
        lambda lines: "\n".join(lines).replace("Frame Time: 0.0", "Frame Time: -")
    ),
    "channels": _edited(lambda lines: "\n".join(lines).replace("CHANNELS 3", "CHANNELS 4", 1)),
    "deep": "HIERARCHY\n" + "".join(f"JOINT j{k}\n{{\nOFFSET 0 0 0\n" for k in range(5000)),
    "no lengths": _edited(
        lambda lines: "\n".join("OFFSET 0 0 0" if "OFFSET" in line else line for line in lines)
    ),
    "far": _edited(
        lambda lines: "\n".join([*lines[:-1], "1e12" + lines[-1][lines[-1].index(" ") :]])
    ),
}


@pytest.mark.parametrize("name", BROKEN)
def test_broken_bvh_files_are_refused_in_one_line(tmp_path, name):
    path = tmp_path / "broken.bvh"
    path.write_text(BROKEN[name])
    with pytest.raises(HDaggerError) as caught:
        read_motion(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_long_file_is_read(tmp_path):
    path = tmp_path / "long.bvh"
    head, _, frames = foreign_bvh(stepping(5), STYLES["mixamo"]).partition("MOTION\n")
    row = frames.splitlines()[-1] + "\n"
    path.write_text(f"{head}MOTION\nFrames: 20000\nFrame Time: 0.008333\n" + row * 20000)
    _, values, _ = parse(path)
    assert values.shape[0] == 20000
    assert len(read_motion(path)) == 20000


@pytest.mark.parametrize("content", ["", "{}", '{"Frames": [[1, 2]]}', '{"Frames": "no"}', "[1]"])
def test_broken_deepmimic_files_are_refused(tmp_path, content):
    path = tmp_path / "clip.txt"
    path.write_text(content)
    with pytest.raises(HDaggerError):
        read_deepmimic(path)


JOINTS = np.array(" ".join(HUMANOID.names))


def test_broken_archives_are_refused(tmp_path):
    path = tmp_path / "clip.npz"
    for arrays in (
        {"qpos": np.zeros((3, 43))},
        {"qpos": np.zeros((3, 7)), "fps": 30.0, "joints": JOINTS},
        {"qpos": np.full((3, 43), np.nan), "fps": 30.0, "joints": JOINTS},
        {"qpos": np.array([{}]), "fps": 30.0, "joints": JOINTS},
        {"qpos": np.zeros((3, 43)), "fps": 30.0, "joints": np.array("root tail")},
    ):
        np.savez(path, **arrays)
        with pytest.raises(HDaggerError, match=r"clip\.npz"):
            read_motion(path)


def test_metrics_by_hand():
    """A rigid body held 20 mm up, then 20 mm in the ground and moved by 10 mm a frame."""
    standing = Motion(HUMANOID.rest().expand(5, -1).clone())
    standing = standing.shifted(-standing.lowest[:, None] * torch.tensor([0, 0, 1.0]).double())
    up = plausibility(standing.shifted(torch.tensor([0, 0, 0.02]).double()))
    assert (up.floating, up.penetrate, up.skate) == pytest.approx((20, 0, 0))
    moves = torch.arange(5.0).double()[:, None] * torch.tensor([0.01, 0, 0]).double()
    down = plausibility(standing.shifted(moves - torch.tensor([0, 0, 0.02]).double()))
    assert (down.floating, down.penetrate, down.skate) == pytest.approx((0, 20, 10))
    assert down.phys_err == pytest.approx(30)
    near = plausibility(standing.shifted(torch.tensor([0, 0, 0.004]).double()))
    assert near.phys_err == 0


def test_a_jump_does_not_count_as_floating_where_it_flies():
    t = torch.arange(20).double() / 30
    motion = Motion(HUMANOID.rest().expand(20, -1).clone())
    motion = motion.shifted(-motion.lowest[:, None] * torch.tensor([0, 0, 1.0]).double())
    height = 3 * t - 9.81 / 2 * t**2
    found = plausibility(motion.shifted(height[:, None] * torch.tensor([0, 0, 1.0]).double()))
    assert found.flight == pytest.approx(18 / 20)
    assert found.grounded < found.floating / 10
    rises = torch.linspace(0, 1, 20)[:, None] * torch.tensor([0, 0, 1.0])
    lifted = plausibility(motion.shifted(rises.double()))  # not by falling
    assert lifted.flight == 0
    assert lifted.grounded == lifted.floating > 100


def test_jerk_is_the_third_derivative_of_the_points():
    t = torch.arange(20).double() / 30
    motion = Motion(HUMANOID.rest().expand(20, -1).clone())
    along = torch.tensor([1.0, 0, 0]).double()
    assert plausibility(motion.shifted(2 * t[:, None] ** 3 * along)).jerk == pytest.approx(12)
    assert plausibility(motion.shifted(t[:, None] ** 2 * along)).jerk == pytest.approx(0, abs=1e-6)
    assert plausibility(motion[:3]).jerk == 0


def test_distances_by_hand():
    a = Motion(HUMANOID.rest().expand(5, -1).clone())
    b = a.shifted(torch.tensor([0.3, 0.4, 0]).double())
    assert distance(a, b) == pytest.approx(500)
    assert root_relative_distance(a, b) == pytest.approx(0, abs=1e-9)
    quarter = a.moved(a.qpos.clone().index_copy(
        1, torch.arange(3, 7), rotations.about_z(torch.full((5,), torch.pi / 2)).double()
    ))  # fmt: skip
    turned = a.points - a.points[:, :1]
    expected = 1e3 * 2**0.5 * turned[..., :2].norm(dim=-1).mean()
    assert root_relative_distance(a, quarter) == pytest.approx(float(expected))


def test_a_row_has_every_number_under_its_own_name():
    numbers = Plausibility(1, 2, 4, 8, 16, 32, 64, 128, 256)
    assert numbers.row() == {
        "phys_err": 7, "penetrate": 1, "float": 2, "skate": 4, "float_grounded": 8,
        "flight": 16, "jerk": 32, "tolerance": 64, "margin": 128, "fps": 256,
    }  # fmt: skip

"""Motions made by rule, and BVH files of skeletons that are not ours, for the tests of motion."""

import math

import torch

from hdagger.domains.motion import rotations
from hdagger.domains.motion.clips import Motion
from hdagger.domains.motion.skeleton import HUMANOID


def stepping(frames=60, fps=30.0, seed=None):
    """Walks forward: legs and arms swing; with a seed, everything jitters and floats."""
    t = torch.arange(frames, dtype=torch.float64) / fps
    swing = 0.35 * torch.sin(2 * math.pi * 0.8 * t)
    qpos = HUMANOID.rest().expand(frames, -1).clone()
    qpos[:, 0] = 0.9 * t
    turn = lambda angle: rotations.from_vector(angle[:, None] * torch.tensor([0.0, -1.0, 0.0]))
    for side, sign in (("r", 1), ("l", -1)):
        qpos[:, HUMANOID.columns[f"{side}hip"]] = turn(sign * swing + 0.1)
        qpos[:, HUMANOID.columns[f"{side}shoulder"]] = turn(-sign * swing)
        bend = 0.25 + 0.25 * torch.sin(2 * math.pi * 0.8 * t + sign * 1.2)
        qpos[:, HUMANOID.columns[f"{side}knee"]] = -bend[:, None]
        qpos[:, HUMANOID.columns[f"{side}ankle"]] = turn(bend - sign * swing - 0.1)
        qpos[:, HUMANOID.columns[f"{side}elbow"]] = 0.4
    qpos[:, HUMANOID.columns["neck"]] = rotations.about_z(0.2 * swing)
    motion = Motion(qpos, fps)
    motion = motion.shifted(-motion.lowest[:, None] * torch.tensor([0.0, 0.0, 1.0]).double())
    if seed is None:
        return motion
    generator = torch.Generator().manual_seed(seed)
    noise = lambda *shape: torch.randn(*shape, generator=generator, dtype=torch.float64)
    qpos = motion.qpos.clone()
    columns = HUMANOID.quaternions
    jitter = rotations.from_vector(0.02 * noise(frames, len(columns), 3))
    qpos[:, columns.flatten()] = rotations.multiply(qpos[:, columns], jitter).flatten(1)
    qpos[:, :3] += 0.004 * noise(frames, 3) + torch.tensor([0.0, 0.0, 0.02])
    qpos[:, 1] += 0.03 * torch.sin(3 * t)
    return motion.moved(qpos)


def between(a, b):
    return rotations.between(torch.tensor(a).double(), torch.tensor(b).double())


STYLES = {
    "cmu": dict(
        up="y", unit=0.0254 / 0.45, order="ZYX", arm=0.0, clavicle=True,
        names={"root": "Hips", "spine": ["LowerBack", "Spine"], "chest": "Spine1",
               "neck": ["Neck", "Neck1"], "head": "Head", "limb": "{Side}{stem}",
               "stems": ("Arm", "ForeArm", "Hand", "UpLeg", "Leg", "Foot", "ToeBase"),
               "clavicle": "{Side}Shoulder"},
    ),
    "mixamo": dict(
        up="y", unit=0.01, order="ZXY", arm=0.0, clavicle=True,
        names={"root": "mixamorig:Hips", "spine": ["mixamorig:Spine", "mixamorig:Spine1"],
               "chest": "mixamorig:Spine2", "neck": ["mixamorig:Neck"], "head": "mixamorig:Head",
               "limb": "mixamorig:{Side}{stem}", "clavicle": "mixamorig:{Side}Shoulder",
               "stems": ("Arm", "ForeArm", "Hand", "UpLeg", "Leg", "Foot", "ToeBase")},
    ),
    "blender": dict(
        up="z", unit=1.0, order="XYZ", arm=-0.7, clavicle=True,
        names={"root": "pelvis", "spine": ["spine.001", "spine.002"], "chest": "spine.003",
               "neck": ["neck"], "head": "head", "limb": "{stem}.{S}", "clavicle": "shoulder.{S}",
               "stems": ("upper_arm", "forearm", "hand", "thigh", "shin", "foot", "toe")},
    ),
    "poser": dict(
        up="y", unit=0.01, order="YXZ", arm=-1.2, clavicle=False,
        names={"root": "hip", "spine": ["abdomen"], "chest": "chest", "neck": ["neck"],
               "head": "head", "limb": "{s}{stem}",
               "stems": ("Shldr", "ForeArm", "Hand", "Thigh", "Shin", "Foot", "Toe")},
    ),
}  # fmt: skip
"""How others call the joints, which way is up, how long a unit is, how far arms hang."""


def foreign_bvh(motion, style):
    """The motion as a BVH file of another skeleton, with another rest pose, as text."""
    names, unit, order = style["names"], style["unit"], style["order"]
    # file = axes @ ours: y up has its x to the left and its z forward; z up faces -y
    axes = {"y": [[0, 1, 0], [0, 0, 1], [1, 0, 0]], "z": [[0, 1, 0], [-1, 0, 0], [0, 0, 1]]}
    axes = torch.tensor(axes[style["up"]], dtype=torch.float64)
    world = motion.pose.rotation
    ours = {name: world[:, k] for k, name in enumerate(HUMANOID.names)}
    place = {body.name: torch.tensor(body.offset).double() for body in HUMANOID.bodies}
    joints = []  # (name, parent, offset in our axes, world rotation)

    def add(name, parent, offset, rotation):
        joints.append((name, parent, torch.as_tensor(offset).double(), rotation))
        return len(joints) - 1

    above = torch.tensor([0.0, 0.0, 0.05]).double()
    root = add(names["root"], -1, [0, 0, 0], ours["root"])
    parent, split = root, len(names["spine"]) + 1
    for k, name in enumerate([*names["spine"], names["chest"]]):
        offset = place["chest"] / split - (above if k == 0 else 0)
        turn = ours["chest"] if name == names["chest"] else ours["root"]
        parent = add(name, parent, offset, turn)
    chest = parent
    for k, name in enumerate([*names["neck"], names["head"]]):
        offset = place["neck"] if k == 0 else [0, 0, 0.05]
        parent = add(name, parent, offset, ours["neck"])
    add(None, parent, [0, 0, 0.1], None)
    arm, forearm, hand, thigh, shin, foot, toe = names["stems"]

    def called(pattern, stem, side):
        full = {"l": "Left", "r": "Right"}[side]
        return pattern.format(Side=full, S=side.upper(), s=side, stem=stem)

    for side, sign in (("l", 1), ("r", -1)):
        angle = style["arm"]
        out = torch.tensor([0.0, sign * math.cos(angle), math.sin(angle)]).double()
        aligned = rotations.to_matrix(between([0.0, 0, -1], out.tolist()))
        start, base = place[f"{side}shoulder"], chest
        if style["clavicle"]:
            base = add(called(names["clavicle"], "", side), chest, start / 2, ours["chest"])
            start = start / 2
        upper = add(called(names["limb"], arm, side), base, start,
                    ours[f"{side}shoulder"] @ aligned.mT)  # fmt: skip
        lower = add(called(names["limb"], forearm, side), upper, 0.2748 * out,
                    ours[f"{side}elbow"] @ aligned.mT)  # fmt: skip
        end = add(called(names["limb"], hand, side), lower, 0.2589 * out,
                  ours[f"{side}elbow"] @ aligned.mT)  # fmt: skip
        add(None, end, 0.1 * out, None)
        hip = add(called(names["limb"], thigh, side), root, place[f"{side}hip"] - above,
                  ours[f"{side}hip"])  # fmt: skip
        knee = add(called(names["limb"], shin, side), hip, place["rknee"], ours[f"{side}knee"])
        ankle = add(called(names["limb"], foot, side), knee, place["rankle"], ours[f"{side}ankle"])
        ball = add(called(names["limb"], toe, side), ankle, [0.1, 0, -0.05], ours[f"{side}ankle"])
        add(None, ball, [0.05, 0, 0], None)

    lines, columns = ["HIERARCHY"], []

    def write(k, depth):
        name, parent, offset, rotation = joints[k]
        pad = "\t" * depth
        kind = "ROOT" if parent < 0 else "JOINT" if name else "End"
        lines.append(f"{pad}{kind} {name or 'Site'}")
        x, y, z = (axes @ offset / unit).tolist()
        lines.extend([f"{pad}{{", f"{pad}\tOFFSET {x:.8f} {y:.8f} {z:.8f}"])
        if name:
            spins = " ".join(f"{axis}rotation" for axis in order)
            moves = "Xposition Yposition Zposition " if parent < 0 else ""
            lines.append(f"{pad}\tCHANNELS {6 if moves else 3} {moves}{spins}")
            turn = axes @ rotation @ axes.mT
            if parent < 0:
                at = motion.pose.position[:, 0] + ours["root"] @ above
                columns.append(at @ axes.mT / unit)
            else:
                turn = (axes @ joints[parent][3] @ axes.mT).mT @ turn
            columns.append(euler(turn, order))
        for child, (_, of, _, _) in enumerate(joints):
            if of == k:
                write(child, depth + 1)
        lines.append(f"{pad}}}")

    write(0, 0)
    rows = torch.cat(columns, 1).tolist()
    lines += ["MOTION", f"Frames: {len(rows)}", f"Frame Time: {1 / motion.fps:.9f}"]
    lines += [" ".join(f"{value:.7f}" for value in row) for row in rows]
    return "\n".join(lines) + "\n"


def euler(m, order):
    """Degrees about three different axes, applied from the left to the right of ``order``."""
    i, j, k = ("XYZ".index(axis) for axis in order)
    sign = 1.0 if (j - i) % 3 == 1 else -1.0
    a = torch.atan2(-sign * m[:, j, k], m[:, k, k])
    b = torch.asin((sign * m[:, i, k]).clamp(-1, 1))
    c = torch.atan2(-sign * m[:, i, j], m[:, i, i])
    return torch.stack([a, b, c], 1).rad2deg()

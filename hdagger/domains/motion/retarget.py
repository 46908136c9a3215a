"""Any human skeleton's motion, given to ours by the names of its joints.

What counts of another skeleton is which way its bones point and how its trunk, head and feet
turn, relative to its rest pose; lengths are scaled by the legs. Its rest pose must stand upright,
whichever axis is up and wherever the arms are.
"""

import re
from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor

from ...errors import FileError, SettingError
from . import rotations
from .bvh import Hierarchy, parse
from .clips import AT_ONCE, Motion, checked, unwatched
from .skeleton import HUMANOID

ALIASES = {
    "root": ("hips", "hip", "pelvis", "root"),
    "chest": (
        "chest4", "chest3", "chest2", "upperchest", "spine3", "spine03", "spine003", "spine2",
        "spine02", "spine002", "thorax", "chest", "spine1", "spine01", "spine001", "spine",
        "torso", "abdomen",
    ),
    "neck": ("head", "neck", "neck1", "upperneck", "neck01"),
    "shoulder": ("upperarm", "uparm", "arm", "shldr", "humerus", "shoulder"),
    "elbow": ("forearm", "lowerarm", "lowarm", "radius", "elbow"),
    "hand": ("hand", "wrist"),
    "hip": ("upleg", "upperleg", "thigh", "femur", "hip"),
    "knee": ("lowerleg", "lowleg", "leg", "shin", "calf", "tibia", "knee"),
    "ankle": ("foot", "ankle"),
}  # fmt: skip
"""What our joints are called elsewhere, the likeliest first; of limbs, without their side."""

SIDES = {"l": "l", "left": "l", "r": "r", "right": "r"}


def read_bvh(
    path: Path, joints: Mapping[str, str], watch: Callable[[int, int], None] = unwatched
) -> Motion:
    """Reads a BVH file and gives its motion to our humanoid.

    Args:
        path: The file.
        joints: Our names of joints -> the file's, for those that are not recognised.
        watch: Called with (frames read, frames in all) where they are many.

    Raises:
        FileError: It is broken, too large, or its joints are not recognised.
        SettingError: ``joints`` names one that does not exist.
    """
    hierarchy, values, seconds = parse(path)
    found = recognise(path, hierarchy, joints)
    pieces: list[Tensor] = []
    for part in torch.from_numpy(values).split(AT_ONCE):
        pieces.append(retarget(path, hierarchy, found, part))
        if len(values) > AT_ONCE:
            watch(sum(map(len, pieces)), len(values))
    return checked(path, torch.cat(pieces), 1 / seconds)


def _split(name: str) -> list[tuple[str, str]]:
    """What a joint's name may mean: (side or nothing, the rest in small letters)."""
    name = re.split(r"[:|]", name)[-1]
    name = re.sub(r"^(mixamorig\d*|bip\d*|def|character\d*)[ _.-]?", "", name, flags=re.IGNORECASE)
    words = "".join(c if c.isalnum() else " " for c in name).lower().strip()
    found = [("", words.replace(" ", ""))]
    for pattern in (r"^(left|right|l|r) ?(.+)$", r"^(.+?) ?(left|right)$", r"^(.+?) (l|r)$"):
        if match := re.match(pattern, words):
            first, second = match.groups()
            side, rest = (first, second) if first in SIDES else (second, first)
            found.append((SIDES[side], rest.replace(" ", "")))
    return found


def recognise(path: Path, hierarchy: Hierarchy, joints: Mapping[str, str]) -> dict[str, int]:
    """Our names of joints, and of the hands -> the file's joints."""
    known = (*HUMANOID.names, "lhand", "rhand")
    meanings = [_split(name) for name in hierarchy.names]
    found: dict[str, int] = {}
    for name in known:
        side, stem = (name[0], name[1:]) if name[1:] in ALIASES and name[0] in "lr" else ("", name)
        for alias in ALIASES[stem]:
            rows = [k for k, meaning in enumerate(meanings) if (side, alias) in meaning]
            if rows:
                found[name] = rows[0]
                break
    found.setdefault("root", 0)
    for name, theirs in joints.items():
        if name not in known or theirs not in hierarchy.names:
            wrong = f"{name!r}" if name not in known else f"{theirs!r}"
            choice = known if name not in known else hierarchy.names
            raise SettingError(
                f"Wanted a joint, one of {', '.join(choice)[:300]}, but got {wrong}. "
                "Mend --joints."
            )
        found[name] = hierarchy.names.index(theirs)
    missing = [name for name in HUMANOID.names if name not in found and name != "neck"]
    if missing:
        raise FileError(
            f"Wanted a human skeleton, but {path} has no joint that is recognised as "
            f"{', '.join(missing)} (it has {', '.join(hierarchy.names)[:200]}). "
            "Name them with --joints."
        )
    return found


def retarget(
    path: Path, hierarchy: Hierarchy, joints: Mapping[str, int], values: Tensor
) -> Float[Tensor, "frames size"]:
    """Coordinates of our humanoid that point its bones where the file's point."""
    rest = hierarchy.rest()
    place, turn = hierarchy.place(values)
    axes, scale = _upright(path, hierarchy, joints, rest)
    rest, place = scale * rest @ axes.mT, scale * place @ axes.mT
    conjugate = rotations.from_matrix(axes)
    turn = rotations.multiply(rotations.multiply(conjugate, turn), rotations.inverse(conjugate))

    feet = [joints["rankle"], joints["lankle"]]
    sole = min(float(rest[k, 2]) for foot in feet for k in _below(hierarchy, foot))
    lift = _ankle_height() - float(rest[feet, 2].mean() - sole)
    hips = place[:, [joints["rhip"], joints["lhip"]]].mean(1)

    qpos = HUMANOID.rest().expand(len(values), -1).clone()
    qpos[:, :3] = hips + hips.new_tensor([0, 0, lift])
    world = {name: turn[:, joints[name]] for name in HUMANOID.names if name in joints}
    for side in "rl":
        for upper, lower, end in (("shoulder", "elbow", "hand"), ("hip", "knee", "ankle")):
            a, b = joints[side + upper], joints[side + lower]
            c = joints.get(side + end, _far(hierarchy, b))
            first, second = place[:, b] - place[:, a], place[:, c] - place[:, b]
            down = rest.new_tensor([0, 0, -1])
            aligned = rotations.between(down, rest[b] - rest[a])
            turned = rotations.multiply(turn[:, a], aligned)
            bone = rotations.to_matrix(turned) @ down
            turned = rotations.multiply(rotations.between(bone, first), turned)
            world[side + upper], angle = _twisted(turned, second)
            qpos[:, HUMANOID.columns[side + lower]] = angle
            hinge = rotations.from_vector(angle * angle.new_tensor([0, -1, 0]))
            world[side + lower] = rotations.multiply(world[side + upper], hinge)
    for body in HUMANOID.bodies:
        if body.joint == "hinge" or body.name not in world:
            continue
        parent = None if body.parent is None else world[body.parent]
        local = world[body.name]
        if parent is not None:
            local = rotations.multiply(rotations.inverse(parent), local)
        qpos[:, HUMANOID.columns[body.name]] = local
    return qpos


def _upright(
    path: Path, hierarchy: Hierarchy, joints: Mapping[str, int], rest: Tensor
) -> tuple[Float[Tensor, "3 3"], float]:
    """The rotation from the file's axes to ours (x forward, z up), and metres per unit."""
    hips = rest[[joints["lhip"], joints["rhip"]]]
    feet = rest[[joints["lankle"], joints["rankle"]]]
    rise = hips.mean(0) - feet.mean(0)
    up = torch.zeros_like(rise)
    largest = int(rise.abs().argmax())
    up[largest] = rise[largest].sign()
    left = hips[0] - hips[1]
    left = left - (left @ up) * up
    leg = sum(
        float((rest[joints[a]] - rest[joints[b]]).norm())
        for side in "lr"
        for a, b in ((f"{side}hip", f"{side}knee"), (f"{side}knee", f"{side}ankle"))
    )
    if not (leg > 0 and float(left.norm()) > 1e-6 * leg and float(rise.norm()) > 0.2 * leg):
        raise FileError(
            f"Wanted a rest pose that stands on two legs, but the offsets in {path} do not "
            "make one. Check the joints, or name them with --joints."
        )
    left = rotations.unit(left)
    axes = torch.stack([torch.linalg.cross(left, up), left, up])
    ours = 2 * sum(
        -HUMANOID.bodies[HUMANOID.index(name)].offset[2] for name in ("rknee", "rankle")
    )
    return axes, ours / leg


def _ankle_height() -> float:
    foot = HUMANOID.bodies[HUMANOID.index("rankle")].solids[0]
    return foot.size[2] - foot.centre[2]


def _below(hierarchy: Hierarchy, k: int) -> list[int]:
    """A joint and all that hangs on it."""
    found = [k]
    for joint in found:
        found += hierarchy.children(joint)
    return found


def _far(hierarchy: Hierarchy, k: int) -> int:
    """What a bone points to, where nothing is named: the joint's first child."""
    children = hierarchy.children(k)
    return children[0] if children else k


def _twisted(
    upper: Float[Tensor, "frames 4"], lower: Float[Tensor, "frames 3"]
) -> tuple[Float[Tensor, "frames 4"], Float[Tensor, "frames 1"]]:
    """An upper bone turned about itself so that its hinge can reach, and the hinge's angle.

    Args:
        upper: Rotation of the upper bone, which points down in its own frame.
        lower: Where the lower bone points, in the world.
    """
    local = rotations.unit((rotations.to_matrix(upper).mT @ lower[..., None])[..., 0])
    aside = local[:, :2].norm(dim=-1)
    twist = torch.atan2(local[:, 1] * local[:, 0].sign(), local[:, 0].abs())
    twist = torch.where(aside < 1e-9, 0.0, twist) * (aside / 0.1).clamp(max=1)
    c, s = twist.cos(), twist.sin()
    forward = local[:, 0] * c + local[:, 1] * s
    angle = torch.atan2(forward, -local[:, 2])
    return rotations.multiply(upper, rotations.about_z(twist)), angle[:, None]

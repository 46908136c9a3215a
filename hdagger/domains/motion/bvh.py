"""BVH files: their hierarchy and channels, read and written. See :mod:`.retarget` for the rest."""

import math
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from ...errors import FileError
from . import rotations
from .clips import AT_ONCE, MOST_FRAMES, Motion
from .skeleton import Solid, Vector

MOST_JOINTS = 512
MOST_NUMBERS = 50_000_000


@dataclass(frozen=True)
class Hierarchy:
    """The joints of a BVH file, parents first.

    Attributes:
        names: As the file has them; End Sites are called after their parent, with ``"*"``.
        parents: -1 for the root.
        offsets: From the parent, in the file's units.
        channels: Of each joint, such as ``("Xposition", ..., "Yrotation")``.
    """

    names: list[str]
    parents: list[int]
    offsets: list[list[float]]
    channels: list[tuple[str, ...]]

    def children(self, k: int) -> list[int]:
        return [c for c, parent in enumerate(self.parents) if parent == k]

    def rest(self) -> Float[Tensor, "joints 3"]:
        """Where the offsets alone put the joints, the root at the origin."""
        places = [torch.zeros(3, dtype=torch.float64)]
        for offset, parent in zip(self.offsets[1:], self.parents[1:], strict=True):
            places.append(places[parent] + places[0].new_tensor(offset))
        return torch.stack(places)

    def place(
        self, values: Float[Tensor, "frames channels"]
    ) -> tuple[Float[Tensor, "frames joints 3"], Float[Tensor, "frames joints 4"]]:
        """Positions and rotations of all joints in the world of the file.

        A position channel takes the place of the offset.
        """
        frames, column = len(values), 0
        places: list[Tensor] = []
        turns: list[Tensor] = []
        for k, (parent, channels) in enumerate(zip(self.parents, self.channels, strict=True)):
            offset = values.new_tensor(self.offsets[k]).repeat(frames, 1)
            turn = values.new_tensor([1, 0, 0, 0]).expand(frames, 4)
            for name in channels:
                axis = "XYZ".index(name[0])
                if name.endswith("position"):
                    offset[:, axis] = values[:, column]
                else:
                    vector = values.new_zeros(frames, 3)
                    vector[:, axis] = values[:, column].deg2rad()
                    turn = rotations.multiply(turn, rotations.from_vector(vector))
                column += 1
            if parent < 0:
                places.append(offset)
                turns.append(turn)
            else:
                above = rotations.to_matrix(turns[parent])
                places.append(places[parent] + (above @ offset[..., None])[..., 0])
                turns.append(rotations.multiply(turns[parent], turn))
        return torch.stack(places, 1), torch.stack(turns, 1)


def parse(path: Path) -> tuple[Hierarchy, np.ndarray, float]:
    """The hierarchy, the values of all channels in every frame, and the seconds of a frame."""
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        raise FileError(f"Wanted a BVH file, but {path} cannot be read ({error}).") from error
    head, separator, motion = text.partition("MOTION")
    if not head.lstrip("\ufeff \t\r\n").upper().startswith("HIERARCHY") or not separator:
        raise broken(path, "no HIERARCHY and MOTION")
    hierarchy = _parse_hierarchy(path, head)
    width = sum(map(len, hierarchy.channels))
    match = re.match(r"\s*Frames:\s*(\S+)\s+Frame\s+Time:\s*(\S+)\s*", motion, re.IGNORECASE)
    if not match:
        raise broken(path, "no 'Frames:' and 'Frame Time:'")
    try:
        frames, seconds = int(match[1]), float(match[2])
    except ValueError as error:
        raise broken(path, f"'Frames: {match[1][:20]}', 'Frame Time: {match[2][:20]}'") from error
    if frames < 2:
        raise broken(path, f"{frames} frames, where a motion has 2 or more")
    if not 0.001 <= seconds <= 1:
        raise broken(path, f"a frame time of {match[2][:20]} s, where 0.001 to 1 is read")
    if frames > MOST_FRAMES or frames * width > MOST_NUMBERS:
        raise broken(path, f"{frames} frames of {width} numbers, more than is read")
    lines = motion[match.end() :].splitlines()
    try:
        values = np.concatenate([
            np.array(" ".join(lines[k : k + AT_ONCE]).split(), dtype=np.float64)
            for k in range(0, max(len(lines), 1), AT_ONCE)
        ])  # fmt: skip
    except ValueError as error:
        raise broken(path, f"a frame that is no numbers ({error})") from error
    if values.size != frames * width:
        raise broken(
            path, f"{values.size} numbers, where {frames} frames of {width} are {frames * width}"
        )
    if not np.isfinite(values).all():
        place = int(np.flatnonzero(~np.isfinite(values))[0])
        raise broken(path, f"a number that is not finite in frame {place // width + 1}")
    return hierarchy, values.reshape(frames, width), seconds


def _parse_hierarchy(path: Path, text: str) -> Hierarchy:
    names: list[str] = []
    parents: list[int] = []
    offsets: list[list[float]] = []
    channels: list[tuple[str, ...]] = []
    stack: list[int] = []
    pending = -1
    lines = [line.split() for line in text.splitlines() if line.strip()][1:]
    for words in lines:
        match words[0].upper():
            case "ROOT" | "JOINT" | "END":
                name = f"{names[stack[-1]]}*" if words[0].upper() == "END" and stack else ""
                names.append(name or " ".join(words[1:]))
                parents.append(stack[-1] if stack else -1)
                offsets.append([0.0] * 3)
                channels.append(())
                pending = len(names) - 1
                if len(names) > MOST_JOINTS:
                    raise broken(path, f"more than {MOST_JOINTS} joints")
                if parents.count(-1) > 1:
                    raise broken(path, "more than one ROOT")
                if words[-1] == "{":
                    names[-1] = names[-1].removesuffix(" {")
                    stack.append(pending)
            case "{" if pending >= 0:
                stack.append(pending)
            case "}" if stack:
                stack.pop()
            case "OFFSET" if stack and len(words) == 4:
                try:
                    offsets[stack[-1]] = [float(word) for word in words[1:]]
                except ValueError as error:
                    raise broken(path, f"an offset that is no numbers ({error})") from error
            case "CHANNELS" if stack and len(words) >= 2:
                kinds = tuple(word[:1].upper() + word[1:].lower() for word in words[2:])
                right = all(re.fullmatch("[XYZ](position|rotation)", kind) for kind in kinds)
                if words[1] != str(len(kinds)) or not right:
                    raise broken(path, f"the channels {' '.join(words[1:])[:60]!r}")
                channels[stack[-1]] = kinds
            case _:
                raise broken(path, f"{' '.join(words)[:60]!r} in its hierarchy")
    if stack or not names:
        raise broken(path, "a hierarchy that is not closed")
    if not np.isfinite(offsets).all():
        raise broken(path, "an offset that is not finite")
    return Hierarchy(names, parents, offsets, channels)


def broken(path: Path, what: str) -> FileError:
    return FileError(f"Wanted a BVH file, but {path} has {what}. Export the clip again.")


def _toe(foot: Solid) -> Vector:
    return (foot.centre[0] + foot.size[0], 0.0, foot.centre[2] - foot.size[2])


def write_bvh(path: Path, motion: Motion) -> None:
    """Writes our humanoid: y up, centimetres, rotations in the order ZXY."""
    hierarchy: list[str] = ["HIERARCHY"]
    swap = torch.tensor([[0, 1, 0], [0, 0, 1], [1, 0, 0]], dtype=torch.float64)
    """Our axes (forward, left, up) in the file's (left, up, forward)."""

    def offset(v: tuple[float, float, float], inside: str) -> str:
        x, y, z = (100 * swap @ torch.tensor(v, dtype=torch.float64)).tolist()
        return f"{inside}OFFSET {x:.6f} {y:.6f} {z:.6f}"

    def write(k: int, indent: str) -> None:
        body, inside = motion.skeleton.bodies[k], indent + "  "
        kind = "ROOT" if body.parent is None else "JOINT"
        place = "" if body.parent else "Xposition Yposition Zposition "
        count = 3 if body.parent else 6
        hierarchy.extend([
            f"{indent}{kind} {body.name}", f"{indent}{{", offset(body.offset, inside),
            f"{inside}CHANNELS {count} {place}Zrotation Xrotation Yrotation",
        ])  # fmt: skip
        for child, parent in enumerate(motion.skeleton.parents):
            if parent == k:
                write(child, inside)
        if k in motion.skeleton.feet or body.tip:
            end = body.tip[1] if body.tip else _toe(body.solids[0])
            hierarchy.extend([
                f"{inside}End Site", f"{inside}{{", offset(end, inside + "  "), f"{inside}}}",
            ])  # fmt: skip
        hierarchy.append(f"{indent}}}")

    write(0, "")
    m = swap @ rotations.to_matrix(motion.skeleton.local(motion.qpos)) @ swap.mT
    x = torch.asin(m[..., 2, 1].clamp(-1, 1))
    z = torch.atan2(-m[..., 0, 1], m[..., 1, 1])
    y = torch.atan2(-m[..., 2, 0], m[..., 2, 2])
    angles = torch.stack([z, x, y], -1).flatten(1) * (180 / math.pi)
    rows = torch.cat([100 * motion.qpos[:, :3] @ swap.mT, angles], 1).tolist()
    lines = [" ".join(f"{value:.6f}" for value in row) for row in rows]
    about = ["MOTION", f"Frames: {len(rows)}", f"Frame Time: {1 / motion.fps:.9f}"]
    path.write_text("\n".join([*hierarchy, *about, *lines, ""]))

"""Files of clips.

``.bvh`` (:mod:`.bvh`), ``.npz`` (arrays ``qpos``, ``fps`` and ``joints``), and DeepMimic's
``.txt`` (JSON whose rows hold the duration of the frame, root position and quaternion, then the
joints, y up).
"""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ...errors import FileError, SettingError
from ...files import check_file, read_arrays
from .bvh import write_bvh
from .clips import Motion, checked, interpolate, unwatched
from .retarget import read_bvh
from .skeleton import HUMANOID

MOST_BYTES = 400_000_000
CLIP_SUFFIXES = (".bvh", ".npz", ".txt")

DEEPMIMIC = (
    "chest", "neck", "rhip", "rknee", "rankle", "rshoulder", "relbow",
    "lhip", "lknee", "lankle", "lshoulder", "lelbow",
)  # fmt: skip
"""The order of the joints in a row of DeepMimic's files."""


def read_motion(
    path: Path,
    joints: dict[str, str] | None = None,
    watch: Callable[[int, int], None] = unwatched,
) -> Motion:
    """Reads a clip, at its own rate.

    Args:
        path: A ``.bvh``, ``.npz`` or DeepMimic ``.txt`` file.
        joints: For BVH: our names of joints -> the file's, where they are not recognised.
        watch: For long BVH files: called with (frames read, frames in all).

    Raises:
        FileError: It is missing, broken, too large, or holds no human that can be recognised.
    """
    check_file(path, "a clip")
    if path.stat().st_size > MOST_BYTES:
        raise FileError(
            f"Wanted a clip of at most {MOST_BYTES // 10**6} MB, but {path} has "
            f"{path.stat().st_size // 10**6} MB. Cut it first."
        )
    match path.suffix.lower():
        case ".bvh":
            return read_bvh(path, joints or {}, watch)
        case ".npz":
            return _read_npz(path)
        case ".txt":
            return read_deepmimic(path)[0]
    raise FileError(
        f"Wanted a clip, but {path} ends in {path.suffix or 'nothing'!r}. "
        "Give a .bvh, a .npz of hdagger, or a .txt of DeepMimic."
    )


def write_motion(path: Path, motion: Motion) -> None:
    """Writes a ``.bvh`` or ``.npz`` file, by its suffix.

    Raises:
        SettingError: It has another suffix.
    """
    match path.suffix.lower():
        case ".bvh":
            write_bvh(path, motion)
        case ".npz":
            joints = np.array(" ".join(motion.skeleton.names))
            with path.open("wb") as file:
                np.savez_compressed(file, qpos=motion.qpos.numpy(), fps=motion.fps, joints=joints)
        case suffix:
            raise SettingError(
                f"Wanted to write .bvh or .npz, but got {suffix!r}. Try -o clean.bvh."
            )


def _read_npz(path: Path) -> Motion:
    arrays = read_arrays(path, "a clip", "Write it with hdagger motion.", MOST_BYTES)
    try:
        qpos = torch.from_numpy(arrays["qpos"].astype(np.float64))
        fps, joints = float(arrays["fps"]), tuple(str(arrays["joints"]).split())
    except (ValueError, KeyError, TypeError) as error:
        raise FileError(
            f"Wanted a clip with qpos, fps and joints, but {path} is not one "
            f"({str(error).splitlines()[0]}). Write it with hdagger motion."
        ) from error
    if joints != HUMANOID.names or qpos.ndim != 2 or qpos.shape[1] != HUMANOID.size:
        raise FileError(
            f"Wanted {HUMANOID.size} coordinates of {', '.join(HUMANOID.names)}, but {path} holds "
            f"{tuple(qpos.shape)} of {', '.join(joints)[:120]}. Convert it to BVH."
        )
    return checked(path, qpos, fps)


def read_deepmimic(path: Path) -> tuple[Motion, bool]:
    """A clip of DeepMimic, at its mean rate, and whether it is a cycle.

    Raises:
        FileError: It is not such a file.
    """
    check_file(path, "a clip")
    try:
        content = json.loads(path.read_text())
        rows = torch.tensor(content["Frames"], dtype=torch.float64)
        cyclic = content.get("Loop") == "wrap"
        durations, values = rows[:, 0], rows[:, 1:]
        (width,) = {values.shape[1]}
        if width != HUMANOID.size or not len(rows) >= 2:
            raise ValueError(f"{len(rows)} rows of {width + 1} numbers")
    except (ValueError, KeyError, TypeError, IndexError, AttributeError, RecursionError) as error:
        raise FileError(
            f"Wanted a clip of DeepMimic ({HUMANOID.size + 1} numbers a frame), but {path} is not "
            f"one ({str(error).splitlines()[0][:120]}). Give a .bvh for other skeletons."
        ) from error
    qpos = torch.zeros(len(rows), HUMANOID.size, dtype=torch.float64)
    qpos[:, :3] = values[:, :3] @ values.new_tensor([[1, 0, 0], [0, 0, 1], [0, -1, 0]])
    qpos[:, 3:7] = _z_up(values[:, 3:7])
    start = 7
    for name in DEEPMIMIC:
        columns = HUMANOID.columns[name]
        width = columns.stop - columns.start
        joint = values[:, start : start + width]
        qpos[:, columns] = _z_up(joint) if width == 4 else joint
        start += width
    duration = float(durations[:-1].mean())
    motion = checked(path, qpos, 1 / duration if duration > 0 else 0.0)
    if (durations[:-1] - duration).abs().max() < 1e-4 * duration:
        return motion, cyclic
    times = torch.cat([durations.new_zeros(1), durations[:-1].clamp(min=0).cumsum(0)])
    at = torch.arange(len(rows), dtype=torch.float64) * duration
    return motion.moved(interpolate(HUMANOID, motion.qpos, times, at)), cyclic


def _z_up(q: Tensor) -> Tensor:
    """A quaternion of a frame with y up and z to the right, in ours."""
    return q[:, [0, 1, 3, 2]] * q.new_tensor([1, 1, -1, 1])

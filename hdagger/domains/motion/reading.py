"""What the commands on motion share: reading clips, their windows, writing folders and pages."""

import html
import json
import tomllib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table

from ...errors import FileError, SettingError
from ...progress import progress

if TYPE_CHECKING:
    from torch import Tensor

    from .clips import Motion
    from .physics import Physics
    from .prior import MotionPrior


def read_clip(path: Path, joints: Path | None = None) -> "Motion":
    """Reads a clip, with a TOML file that tells how its joints are called.

    Raises:
        FileError: Either is broken.
    """
    from ...files import check_file
    from .clips import read_motion

    names: dict[str, str] = {}
    if joints is not None:
        check_file(joints, "a table of joints")
        try:
            names = {str(k): str(v) for k, v in tomllib.loads(joints.read_text()).items()}
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise FileError(
                f"Wanted TOML such as lhip = 'LeftUpLeg', but {joints} is not ({error})."
            ) from error
    with progress(f"reading {path.name}") as watch:
        return read_motion(path, names, watch)


def check_suffix(path: Path) -> None:
    if path.suffix.lower() not in (".bvh", ".npz"):
        raise SettingError(f"Wanted to write .bvh or .npz, but got {path}. Try -o clean.bvh.")


def check_count(samples: int, seed: int, steps: int) -> None:
    if not 1 <= samples <= 1000:
        raise SettingError(f"Wanted 1 to 1000 samples, but got {samples}. Try 4.")
    if not 1 <= steps <= 1000:
        raise SettingError(f"Wanted 1 to 1000 steps, but got {steps}. Try 50.")
    if not 0 <= seed < 2**63:
        raise SettingError(f"Wanted a seed of 0 or more, but got {seed}. Try 0.")


def prior_named(name: str) -> "MotionPrior":
    """The bundled motion prior, or one of a file."""
    from ...priors import zoo
    from .prior import MotionPrior

    return MotionPrior.load(zoo.checked_weights(zoo.card(name)))


def physics_with(watch: Callable[[int, int], None] = lambda done, total: None) -> "Physics":
    """The projector onto physics, if MuJoCo is installed."""
    from .physics import Physics
    from .simulator import require_mujoco

    require_mujoco()
    return Physics(watch=watch)


def window(motion: "Motion") -> tuple["Motion", Callable[["Motion"], "Motion"]]:
    """A clip as the prior sees it, at its rate and over the origin, and the way back.

    Raises:
        SettingError: It is longer than a signal of the prior.
    """
    from .clips import FPS
    from .features import WINDOW

    motion = motion.resampled(FPS)
    if not 2 <= len(motion) <= WINDOW:
        raise SettingError(
            f"Wanted a clip of 2 to {WINDOW} frames at {FPS:.0f} a second, but got {len(motion)}. "
            "Cut it to two seconds."
        )
    heading = motion.heading()[0]
    place = motion.qpos[0, :3] * motion.qpos.new_tensor([1, 1, 0])
    return motion.canonical(), lambda other: other.turned(heading).shifted(place)


def known_frames(text: str, count: int) -> "Tensor":
    """Which frames ``0:10,50:60`` names, ``(count,)``.

    Raises:
        SettingError: It names frames that do not exist, or not the first.
    """
    import torch

    known = torch.zeros(count, dtype=torch.bool)
    for part in text.split(","):
        first, colon, stop = part.partition(":")
        if not (colon and first.isdecimal() and stop.isdecimal()):
            raise SettingError(f"Wanted frames such as 0:10,50:60, but got {part[:40]!r}.")
        if not 0 <= int(first) < int(stop) <= count:
            raise SettingError(
                f"Wanted frames from 0 to {count}, at 30 a second, but got {part[:40]!r}."
            )
        known[int(first) : int(stop)] = True
    if not known[0]:
        raise SettingError(f"Wanted frame 0 among those known, but got {text[:60]!r}. Keep 0:10.")
    return known


def write_folder(folder: Path, motions: Sequence["Motion"]) -> None:
    """Each motion as BVH, as NPZ and as an animation."""
    from ...files import whole_folder
    from .clips import write_motion
    from .render import renderer, write_animation

    with whole_folder(folder) as partial, renderer() as draw:
        for k, motion in enumerate(motions):
            write_motion(partial / f"{k:03}.bvh", motion)
            write_motion(partial / f"{k:03}.npz", motion)
            write_animation(partial / f"{k:03}.gif", motion, draw)


def write_page(
    folder: Path, title: str, motions: Sequence[tuple[str, "Motion"]],
    rows: Sequence[dict[str, Any]], about: dict[str, Any] | None = None,
) -> None:  # fmt: skip
    """``report.html`` with a strip of each motion, the heights of the feet and the numbers."""
    from ... import report
    from ...files import whole_folder
    from .render import foot_heights, renderer, strip

    with whole_folder(folder) as partial, renderer() as draw:
        shown = motions[:12]
        sections = [
            report.Section(
                name, [report.Panel("from the first frame to the last", strip(m, draw))]
            )
            for name, m in shown
        ]
        curves = foot_heights(shown[:3])
        sections.append(
            report.Section("Lowest point of the body", [report.Panel("0 is the ground", curves)])
        )
        numbers = f"<h2>Numbers</h2>{report.table(list(rows))}<p>Millimetres a frame; jerk m/s^3."
        settings = f"<pre>{html.escape(json.dumps(about, indent=2))}</pre>" if about else ""
        wide = "<style>.strip{grid-template-columns:1fr}img{image-rendering:auto}</style>"
        report.write_page(partial / "report.html", title, sections, numbers + settings + wide)
        (partial / "summary.json").write_text(
            json.dumps({"rows": list(rows), "projection": about}, indent=2) + "\n"
        )


def print_rows(rows: Sequence[dict[str, Any]]) -> None:
    """Rows with the same keys as a table on the terminal."""
    table = Table(box=None, pad_edge=False)
    for key in rows[0]:
        table.add_column(key.replace("_", " "), justify="left" if not key else "right")
    for row in rows:
        table.add_row(*(f"{v:.1f}" if isinstance(v, float) else str(v) for v in row.values()))
    Console(width=max(120, Console().width)).print(table)

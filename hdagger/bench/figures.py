"""The figures of the benchmarks, drawn from their rows."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import SettingError
from ..files import whole_file
from ..trials import Row
from .field import NFES

if TYPE_CHECKING:
    from matplotlib.axes import Axes

INK, PALE = "#222222", "#b8b8b8"
COLOURS = {
    "ddrm": "#c8553d",
    "reconstruction": "#8a8a8a",
    "dps": "#8d6a9f",
    "drawn": "#b03060",
    "pigdm, v=1": "#2b6f97",
    "pigdm": "#2b6f97",
    "tmpd": "#e0a030",
    "tmpd, multistep": "#2a8c5a",
}
"""One colour a method, the same in every figure."""

STYLE: dict[Any, Any] = {
    "font.family": "DejaVu Sans",
    "font.size": 9,
    "axes.edgecolor": PALE,
    "axes.labelcolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlelocation": "left",
    "axes.titlesize": 9.5,
    "axes.grid": True,
    "grid.color": "#ececec",
    "xtick.color": INK,
    "ytick.color": INK,
    "lines.linewidth": 1.8,
    "lines.markersize": 4.5,
    "legend.frameon": False,
    "legend.handlelength": 1.4,
    "legend.columnspacing": 1.2,
}


def conditioning(rows: Sequence[Row], path: Path) -> None:
    """Reconstruction guidance and PiGDM as H gets worse conditioned."""
    with axes_in(path, 1, 2, (7.6, 3.0)) as ((misfit, error),):
        for axes, column, title in (
            (misfit, "chi2_dof", "misfit of the data, over what noise leaves"),
            (error, "mean_error", "error of the mean, in posterior sd"),
        ):
            _lines(axes, rows, "value", column)
            axes.set(xscale="log", yscale="log", xlabel="condition number of H", title=title)
            axes.xaxis.set_major_formatter("{x:g}")
            axes.yaxis.set_major_formatter("{x:g}")
        misfit.axhline(1, color=INK, linewidth=0.8, linestyle=":")


def sparsity(rows: Sequence[Row], path: Path) -> None:
    """DDRM and PiGDM as fewer pixels are seen."""
    shown = [row | {"value": 100 * row["value"]} for row in rows]
    with axes_in(path, 1, 2, (7.6, 3.0)) as ((error, covered),):
        _lines(error, shown, "value", "mean_error")
        error.set(title="error of the mean, in posterior sd", ylim=(0, None))
        _lines(
            covered, [row | {"held": 100 * row["coverage_90"]} for row in shown], "value", "held"
        )
        covered.set(title="what the 90 % intervals hold, in %", ylim=(65, 95))
        covered.axhline(90, color=INK, linewidth=0.8, linestyle=":")
        for axes in (error, covered):
            axes.set(xscale="log", xlabel="pixels seen, in % (fewer to the right)")
            axes.set_xticks(sorted({row["value"] for row in shown}), minor=False)
            axes.xaxis.set_major_formatter("{x:g}")
            axes.minorticks_off()
            axes.invert_xaxis()


def budget(rows: Sequence[Row], path: Path) -> None:
    """Error of the mean and of the variance against network evaluations, task by task."""
    tasks = {"sr4": "x4 averaging", "inpaint30": "30 % of the pixels"}
    shown = [row for row in rows if row["method"] in COLOURS]
    present = [task for task in tasks if any(row["task"] == task for row in shown)]
    with axes_in(path, len(present), 2, (7.6, 2.8 * len(present))) as grid:
        for task, (mean, variance) in zip(present, grid, strict=True):
            of = [row for row in shown if row["task"] == task]
            off = [row | {"off": abs(row["variance_ratio"] - 1)} for row in of]
            for axes, data, column, title in (
                (mean, of, "mean_error", "error of the mean, in posterior sd"),
                (variance, off, "off", "error of the variance, as a share"),
            ):
                _lines(axes, data, "nfe", column, floor=0.002)
                axes.set(xscale="log", yscale="log", title=f"{tasks[task]}: {title}")
                axes.set_xticks([nfe for nfe in NFES if any(row["nfe"] == nfe for row in of)])
                axes.xaxis.set_major_formatter("{x:g}")
                axes.yaxis.set_major_formatter("{x:g}")
                axes.minorticks_off()
        for axes in grid[-1]:
            axes.set_xlabel("network evaluations")


def _lines(axes: "Axes", rows: Sequence[Row], x: str, y: str, floor: float = 0.0) -> None:
    """One line for each method; values below ``floor`` are drawn there."""
    for method, colour in COLOURS.items():
        points = sorted((row[x], max(row[y], floor)) for row in rows if row["method"] == method)
        if points:
            axes.plot(*zip(*points, strict=True), "o-", color=colour, label=method)


@contextmanager
def axes_in(path: Path, rows: int, columns: int, inches: tuple[float, float]) -> Iterator[Any]:
    """Axes to draw in, ``rows`` by ``columns``; the picture is written with one legend below."""
    try:
        import matplotlib
    except ImportError as error:
        raise SettingError(
            "Wanted matplotlib for --plot, but it is not installed. "
            "Run pip install 'hdagger[plot]'."
        ) from error
    from matplotlib.figure import Figure

    with matplotlib.rc_context(STYLE), whole_file(path) as partial:
        figure = Figure(inches, layout="constrained", dpi=150)
        grid = figure.subplots(rows, columns, squeeze=False)
        yield grid
        handles, labels = grid[0][0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=len(labels))
        figure.savefig(partial)

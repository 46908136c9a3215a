"""The linear part of JPEG: a picture to its coefficients, before they are rounded.

A JPEG encoder is a linear map, colours to luma and chroma, chroma averaged, 8 x 8 DCT, every
coefficient divided by its step, followed by rounding. The linear map is block-diagonal: one
minimum coded unit (an 8 x 8 square, or the 16 x 16 that shares a chroma block) at a time, by
one small matrix, with up to three more for the units that the right and the lower edge cut.
Its singular value decomposition is that of those matrices; H and H^T go the short way, by the
definition.

References:
    ITU-T T.81, Digital compression and coding of continuous-tone still images, 1992, annexes A
    and K. https://www.w3.org/Graphics/JPEG/itu-t81.pdf
    ITU-T T.871, JPEG File Interchange Format, 2011, section 7 (colours).
    https://www.itu.int/rec/T-REC-T.871
"""

import math
from collections.abc import Iterable, Iterator, Sequence
from typing import TypeAlias, cast

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from ...errors import SettingError, ShapeError
from ...linalg import dct_matrix
from ...operators.base import SVDOperator
from ...tensors import Data, Signal, Spectrum
from .arguments import SAMPLINGS

Sampling: TypeAlias = Sequence[tuple[int, int]]
"""Horizontal and vertical sampling factor of each component."""

Place: TypeAlias = tuple[slice, slice]
Size: TypeAlias = tuple[int, int]
Views: TypeAlias = list[Tensor]
"""Where the numbers of units lie: parts of ``(batch, rows, columns, ...)`` of units."""

PROBES = 256
"""Random units that an encoder's rounding is measured on: to about 4 %."""

AT_ONCE = 2**19
"""Numbers of units that go through their matrix together."""

MOST_SAMPLES = 4
"""Luma samples for one of chroma, at most; beyond, the matrices grow large."""

YCC = torch.tensor(
    [[0.299, 0.587, 0.114], [-0.168735892, -0.331264108, 0.5], [0.5, -0.418687589, -0.081312411]],
    dtype=torch.float64,
)
"""Colours to luma and chroma (T.871 section 7)."""

LUMA = """
16 11 10 16  24  40  51  61   12 12 14 19  26  58  60  55
14 13 16 24  40  57  69  56   14 17 22 29  51  87  80  62
18 22 37 56  68 109 103  77   24 35 55 64  81 104 113  92
49 64 78 87 103 121 120 101   72 92 95 98 112 100 103  99"""
CHROMA = """
17 18 24 47 99 99 99 99   18 21 26 66 99 99 99 99   24 26 56 99 99 99 99 99
47 66 99 99 99 99 99 99   99 99 99 99 99 99 99 99   99 99 99 99 99 99 99 99
99 99 99 99 99 99 99 99   99 99 99 99 99 99 99 99"""


def quality_tables(quality: int) -> Int[Tensor, "2 8 8"]:
    """The quantisation tables of luma and chroma that libjpeg takes for a quality of 1 to 100.

    References:
        T.81 tables K.1 and K.2; scaled as in the Independent JPEG Group's jpeg_quality_scaling:
        100 / (2 quality) below 50, 2 - quality / 50 from there.
    """
    if not 1 <= quality <= 100:
        raise SettingError(f"A JPEG quality is 1 to 100, but got {quality}. Try 10.")
    scale = 5000 // quality if quality < 50 else 200 - 2 * quality
    steps = [[int(step) for step in text.split()] for text in (LUMA, CHROMA)]
    base = torch.tensor(steps).view(2, 8, 8)
    return ((base * scale + 50) // 100).clamp(1, 255)


def quality_of(table: Int[Tensor, "8 8"]) -> int:
    """The quality, 1 to 100, whose table of luma is nearest to this one."""
    gaps = [float((quality_tables(q)[0] - table).abs().sum()) for q in range(1, 101)]
    return 1 + gaps.index(min(gaps))


class Units(nn.Module):
    """All the minimum coded units of one size, a rectangle of them, and their matrix's SVD.

    Args:
        place: The pixels that they cover, rows and columns.
        size: Pixels of one, rows and columns.
        blocks: Of each component, the blocks that they cover and how many one has, likewise.
        matrix: From the pixels of one to its coefficients, ``(m, n)``.
        error: Deviation that an encoder's rounding of samples gives each coefficient, ``(m,)``.

    Attributes:
        u, s, vt: The decomposition of the matrix.
    """

    u: Tensor
    s: Tensor
    vt: Tensor
    error: Tensor

    def __init__(
        self,
        place: Place,
        size: Size,
        blocks: Sequence[tuple[Place, Size]],
        matrix: Tensor,
        error: Tensor,
    ) -> None:
        super().__init__()
        self.place, self.size, self.blocks = place, size, blocks
        self.grid = tuple(
            (part.stop - part.start) // step for part, step in zip(place, size, strict=True)
        )
        u, s, vt = torch.linalg.svd(matrix, full_matrices=True)
        for name, value in (("u", u), ("s", s), ("vt", vt), ("error", error)):
            self.register_buffer(name, value)

    def __len__(self) -> int:
        return math.prod(self.grid)

    def pixels(self, x: Signal) -> Views:
        """Their pixels in pictures."""
        return [tiled(x[:, :, *self.place], self.size).permute(0, 2, 4, 1, 3, 5)]

    def coefficients(self, planes: Iterable[Tensor]) -> Views:
        """Their coefficients in the components' ``(batch, rows, columns, 64)`` of blocks."""
        return [
            tiled(plane[:, *place].movedim(3, 1), size).permute(0, 2, 4, 3, 5, 1)
            for plane, (place, size) in zip(planes, self.blocks, strict=True)
        ]

    def rows(self, z: Tensor) -> Tensor:
        """Numbers that all units have one after the other, ``(batch, rows, columns, of each)``."""
        return z.unflatten(1, (*self.grid, -1))


def tiled(plane: Tensor, size: Size) -> Tensor:
    """The two last axes cut into tiles: ``(..., tiles down, rows, tiles across, columns)``."""
    return plane.unflatten(-1, (-1, size[1])).unflatten(-3, (-1, size[0]))


def through(matrix: Tensor, source: Views, target: Views) -> None:
    """Writes the numbers of each unit, times the matrix, to their places; a few rows at a time."""
    batch, down, across = source[0].shape[:3]
    step = max(1, AT_ONCE // (batch * across * max(matrix.shape)))
    for k in range(0, down, step):
        rows = torch.cat([part[:, k : k + step].flatten(3) for part in source], 3)
        written(rows @ matrix.T, [part[:, k : k + step] for part in target])


def written(numbers: Tensor, target: Views) -> None:
    """Puts the numbers of each unit, ``(batch, rows, columns, of each)``, where they lie."""
    sizes = [part.shape[3:].numel() for part in target]
    for part, found in zip(target, numbers.split(sizes, 3), strict=True):
        part.copy_(found.view(part.shape))


class JpegTransform(SVDOperator):
    """A picture -> its JPEG coefficients in units of their quantisation steps, not rounded.

    The data are flat: component after component, block after block along the rows, each block
    in natural order (the constant first). Parts of blocks that lie beyond the edge repeat it, as
    libjpeg has them.

    Args:
        signal_shape: ``(channels, height, width)`` in [-1, 1], 1 or 3 channels, any size.
        tables: Quantisation steps of each component, ``(channels, 8, 8)``, for samples of
            0 to 255.
        sampling: Sampling factors of each component.
        colours: The matrix from the picture's channels to the components; by default luma and
            chroma for three channels.
    """

    def __init__(
        self,
        signal_shape: tuple[int, int, int],
        tables: Int[Tensor, "channels 8 8"],
        sampling: Sampling,
        colours: Float[Tensor, "channels channels"] | None = None,
    ) -> None:
        super().__init__()
        channels, height, width = signal_shape
        if channels not in (1, 3) or len(tables) != channels or len(sampling) != channels:
            raise ShapeError(
                f"JPEG has 1 component or 3, but got a signal of shape {signal_shape}, "
                f"{len(tables)} tables and {len(sampling)} sampling factors. Give one each."
            )
        if (tables < 1).any():
            raise SettingError(
                "Wanted quantisation steps of 1 or more, but the tables hold "
                f"{int(tables.min())}. Save the picture again."
            )
        if channels == 1:
            sampling = [(1, 1)]
        self.most = max(h for h, _ in sampling), max(v for _, v in sampling)
        if math.prod(self.most) > MOST_SAMPLES or any(
            self.most[0] % h or self.most[1] % v for h, v in sampling
        ):
            raise SettingError(
                f"Wanted a chroma subsampling of {', '.join(SAMPLINGS)}, but got factors "
                f"{list(sampling)}. Save the picture as PNG, and restore that."
            )
        if colours is None:
            colours = YCC if channels == 3 else torch.ones(1, 1, dtype=torch.float64)
        self.sampling = tuple(sampling)
        self.signal_shape = signal_shape
        self.tables = tables.to(torch.float64)
        self.colours = colours.to(torch.float64)
        self.grids = [self._grid(factors, height, width) for factors in self.sampling]
        self.data_shape = (64 * sum(rows * columns for rows, columns in self.grids),)
        self._units = nn.ModuleList(self._all_units())

    def coefficients(self, x: Signal, whole: bool = False) -> Data:
        """The data, straight from the definition.

        Args:
            x: Pictures in [-1, 1], ``(batch, channels, height, width)``.
            whole: Whether samples are rounded on the way, as an encoder of bytes does.
        """
        parts, dct, colours = [], dct_matrix(8).to(x), self.colours.to(x)
        of_components = zip(colours, self.sampling, self.tables.to(x), strict=True)
        for colour, factors, table in of_components:
            values = torch.einsum("j,bjhw->bhw", colour, x).mul_(127.5)
            if whole:
                offset = 127.5 * colour.sum()
                values = values.add_(offset).round_().sub_(offset)
            blocks = tiled(self._subsampled(values, factors, whole), (8, 8)).transpose(2, 3)
            parts.append((dct @ blocks @ dct.T).div_(table).flatten(1))
        return torch.cat(parts, dim=1)

    def forward(self, x: Signal) -> Data:
        self.check_signal(x)
        return self.coefficients(x)

    def adjoint(self, y: Data) -> Signal:
        _, height, width = self.signal_shape
        x = y.new_zeros(len(y), *self.signal_shape)
        for k, plane in enumerate(self._planes(y, 1 / self.tables)):
            across, down = self._reduction(self.sampling[k])
            plane = without_edge(plane, -(-height // down), plane.shape[2]) / (across * down)
            plane = plane.repeat_interleave(down, 1).repeat_interleave(across, 2)
            plane = without_edge(plane, height, width)
            x.addcmul_(plane[:, None], 127.5 * self.colours[k, :, None, None].to(y))
        return x

    def decode(self, y: Data) -> Signal:
        """A picture with these coefficients, chroma repeated: what decoders show.

        Where no edge cuts a block, ``coefficients(decode(y)) = y``, as for the pseudoinverse;
        but the picture is gray where luma alone says something, which the shortest is not.
        """
        _, height, width = self.signal_shape
        x, back = y.new_zeros(len(y), *self.signal_shape), torch.linalg.inv(self.colours) / 127.5
        for k, plane in enumerate(self._planes(y, self.tables)):
            across, down = self._reduction(self.sampling[k])
            plane = plane.repeat_interleave(down, 1).repeat_interleave(across, 2)
            x.addcmul_(plane[:, None, :height, :width], back[:, k, None, None].to(y))
        return x

    def _planes(self, y: Data, scale: Float[Tensor, "channels 8 8"]) -> Iterator[Tensor]:
        """Each component's samples, up to whole blocks, of coefficients times a scale."""
        dct, sizes = dct_matrix(8).to(y), [64 * rows * columns for rows, columns in self.grids]
        for k, part in enumerate(y.split(sizes, dim=1)):
            blocks = part.unflatten(1, (*self.grids[k], 8, 8)) * scale[k].to(y)
            yield (dct.T @ blocks @ dct).transpose(2, 3).flatten(3, 4).flatten(1, 2)

    def blocks_of(self, visible: Float[Tensor, "1 height width"]) -> Float[Tensor, "blocks 8 8"]:
        """Which samples of each block a mask of pixels shows: those that any visible pixel has.

        What lies beyond the edge is not visible.
        """
        parts = []
        for k, (rows, columns) in enumerate(self.grids):
            across, down = self._reduction(self.sampling[k])
            size = 8 * rows * down - visible.shape[1], 8 * columns * across - visible.shape[2]
            plane = nn.functional.pad(visible, (0, size[1], 0, size[0]))
            plane = nn.functional.max_pool2d(plane, (down, across))[0]
            parts.append(tiled(plane, (8, 8)).transpose(1, 2))
        return torch.cat([part.reshape(-1, 8, 8) for part in parts])

    def _grid(self, factors: tuple[int, int], height: int, width: int) -> tuple[int, int]:
        """Rows and columns of blocks of a component."""
        (h, v), (most_h, most_v) = factors, self.most
        return math.ceil(height * v / most_v / 8), math.ceil(width * h / most_h / 8)

    def _reduction(self, factors: tuple[int, int]) -> tuple[int, int]:
        """How many columns and rows of pixels share a sample of a component."""
        return self.most[0] // factors[0], self.most[1] // factors[1]

    def _subsampled(self, plane: Tensor, factors: tuple[int, int], whole: bool) -> Tensor:
        """One component's samples, up to whole blocks.

        libjpeg repeats the last column before it averages, and the last row after.
        """
        height, width = plane.shape[1:]
        rows, columns = self._grid(factors, height, width)
        across, down = self._reduction(factors)
        full = (0, columns * 8 * across - width, 0, -height % self.most[1])
        plane = nn.functional.pad(plane[:, None], full, mode="replicate")
        plane = nn.functional.avg_pool2d(plane, (down, across))
        if whole and across * down > 1:
            halves = torch.tensor([-1e-3, 1e-3] if across == 2 else [1e-3]).to(plane)
            plane = (plane + halves.repeat(plane.shape[3] // len(halves))).round()
        below = rows * 8 - plane.shape[2]
        return nn.functional.pad(plane, (0, 0, 0, below), mode="replicate")[:, 0]

    def _all_units(self) -> Iterator[Units]:
        """The units that are whole, cut on the right, cut below, cut at the corner."""
        generator = torch.Generator().manual_seed(0)
        channels, height, width = self.signal_shape
        high, wide = 8 * self.most[1], 8 * self.most[0]
        for down in parts_of(height, high):
            for across in parts_of(width, wide):
                size = min(high, down.stop - down.start), min(wide, across.stop - across.start)
                blocks = []
                for h, v in self.sampling:
                    place = blocks_over(down, high, v), blocks_over(across, wide, h)
                    blocks.append((place, self._grid((h, v), *size)))
                count = math.prod((channels, *size))
                basis = torch.eye(count, dtype=torch.float64).view(count, channels, *size)
                probes = torch.randint(256, (PROBES, channels, *size), generator=generator)
                probes = probes.double() / 127.5 - 1
                error = self.coefficients(probes, whole=True) - self.coefficients(probes)
                yield Units(
                    (down, across),
                    size,
                    blocks,
                    self.coefficients(basis).T,
                    error.square().mean(0).sqrt(),
                )

    @property
    def units(self) -> list[Units]:
        """All units, by size."""
        return cast("list[Units]", list(self._units))

    def encoder_error(self) -> Tensor:
        """Deviation of each coefficient by the rounding of samples on an encoder's way, in steps.

        Root mean square over random units: of colours, and again after chroma is averaged, which
        makes the first small and not the second.

        Returns:
            ``(*data)``.
        """
        return self._alike([part.error for part in self.units])

    def of_constant(self, value: float) -> Tensor:
        """The coefficients of a picture of one value, ``(*data)``."""
        of_pixels = [value * part.s * part.vt[: len(part.s)].sum(1) for part in self.units]
        of_units = zip(self.units, of_pixels, strict=True)
        return self._alike([part.u[:, : len(found)] @ found for part, found in of_units])

    def _alike(self, of_units: list[Tensor]) -> Tensor:
        """Data, ``(*data)``, of which all units of a size have the same numbers."""
        y = of_units[0].new_empty(1, *self.data_shape)
        for part, found in zip(self.units, of_units, strict=True):
            written(found.expand(1, *part.grid, -1), part.coefficients(self._blocks(y)))
        return y[0]

    @property
    def singular_values(self) -> Tensor:
        s = torch.cat([part.s.repeat(len(part)) for part in self.units])
        return self.fit(s, min(math.prod(self.signal_shape), *self.data_shape))

    def U(self, z: Spectrum) -> Data:
        y = z.new_empty(len(z), *self.data_shape)
        for part, places in zip(self.units, self._places(z, "u"), strict=True):
            through(part.u, places, part.coefficients(self._blocks(y)))
        return y

    def Ut(self, y: Data) -> Spectrum:
        z = y.new_empty(y.shape)
        for part, places in zip(self.units, self._places(z, "u"), strict=True):
            through(part.u.T, part.coefficients(self._blocks(y)), places)
        return z

    def V(self, z: Spectrum) -> Signal:
        x = z.new_empty(len(z), *self.signal_shape)
        for part, places in zip(self.units, self._places(z, "vt"), strict=True):
            through(part.vt.T, places, part.pixels(x))
        return x

    def Vt(self, x: Signal) -> Spectrum:
        z = x.new_empty(len(x), math.prod(self.signal_shape))
        for part, places in zip(self.units, self._places(z, "vt"), strict=True):
            through(part.vt, part.pixels(x), places)
        return z

    def pinv(self, y: Data) -> Signal:
        x = y.new_empty(len(y), *self.signal_shape)
        least = self.least
        for part in self.units:
            rank, inverse = len(part.s), torch.where(part.s > least, 1 / part.s, 0)
            matrix = (part.vt[:rank].T * inverse) @ part.u[:, :rank].T
            through(matrix, part.coefficients(self._blocks(y)), part.pixels(x))
        return x

    def _blocks(self, y: Data) -> Views:
        """The blocks of each component, ``(batch, rows, columns, 64)``."""
        sizes = [64 * rows * columns for rows, columns in self.grids]
        parts = zip(y.split(sizes, dim=1), self.grids, strict=True)
        return [part.unflatten(1, (*grid, 64)) for part, grid in parts]

    def _places(self, z: Spectrum, side: str) -> list[Views]:
        """Where the coefficients of each part lie in a spectrum.

        Those of all units that have a singular value come first, then the others.
        """
        ranks = [len(part.s) for part in self.units]
        counts = [len(part) for part in self.units]
        sizes = [len(getattr(part, side)) for part in self.units]
        seen = [n * r for n, r in zip(counts, ranks, strict=True)]
        rest = [n * (size - r) for n, r, size in zip(counts, ranks, sizes, strict=True)]
        found = z.split(seen + rest, dim=1)
        pairs = zip(self.units, found[: len(ranks)], found[len(ranks) :], strict=True)
        return [[part.rows(each) for each in pair if each.numel()] for part, *pair in pairs]


def blocks_over(part: slice, unit: int, factor: int) -> slice:
    """The blocks along a part of a side whose whole units have so many each."""
    return slice(part.start // unit * factor, -(-part.stop // unit) * factor)


def parts_of(length: int, unit: int) -> list[slice]:
    """Where whole units lie along a side, and the one that its end cuts, if there are such."""
    whole = length - length % unit
    return [part for part in (slice(0, whole), slice(whole, length)) if part.start < part.stop]


def without_edge(plane: Float[Tensor, "batch h w"], height: int, width: int) -> Tensor:
    """The adjoint of repeating the last row and the last column of a plane of this size."""
    rows = [plane[:, : height - 1], plane[:, height - 1 :].sum(1, keepdim=True)]
    plane = torch.cat(rows, dim=1)
    columns = [plane[:, :, : width - 1], plane[:, :, width - 1 :].sum(2, keepdim=True)]
    return torch.cat(columns, dim=2)

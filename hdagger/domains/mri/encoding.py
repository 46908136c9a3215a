"""What a scanner measures of an image: y_c = M F (S_c x) + noise, for each coil c.

=============  ==================================================  =======================
operator       of what                                             stands on
=============  ==================================================  =======================
``Fourier``    one coil that sees all alike, any mask              ``AlignedOperator``
``Encoding``   coils with maps, any mask                           ``LinearOperator``
``Lines``      the same for whole lines, its data reduced          ``AlignedOperator``
=============  ==================================================  =======================

References:
    Pruessmann et al., SENSE: sensitivity encoding for fast MRI, 1999.
"""

from collections.abc import Callable

import torch
from jaxtyping import Bool, Complex, Float
from torch import Tensor

from ...errors import ShapeError
from ...operators.base import AlignedOperator, LinearOperator
from ...tensors import Data, Signal, Spectrum
from .kspace import image_of, signal_of, to_image, to_kspace

Maps = Complex[Tensor, "coils rows columns"]
Mask = Bool[Tensor, "rows columns"]

RANK_TOLERANCE = 1e-6
"""Share of the largest singular value that still counts; what float32 can tell from zero."""


class Fourier(AlignedOperator):
    """k-space of one coil that sees all of the image alike: V^T is F, and s is the mask.

    Args:
        mask: True where k-space was measured.
    """

    mask: Tensor

    def __init__(self, mask: Mask) -> None:
        super().__init__()
        self.signal_shape, self.data_shape = (2, *mask.shape), (1, *mask.shape)
        self.complex_data = True
        self.register_buffer("mask", mask.to(torch.float64))

    @property
    def visible(self) -> Bool[Tensor, "1 rows columns"]:
        return self.mask.bool()[None]

    @property
    def singular_values(self) -> Tensor:
        return self.mask.flatten().repeat_interleave(2)

    def V(self, z: Spectrum) -> Signal:
        return signal_of(to_image(self.U(z)[:, 0]))

    def Vt(self, x: Signal) -> Spectrum:
        return self.Ut(to_kspace(image_of(x))[:, None])


class Encoding(LinearOperator):
    """k-space of several coils.

    Args:
        maps: What each coil sees, S.
        mask: True where k-space was measured.

    Raises:
        ShapeError: They differ in shape.
    """

    maps: Tensor
    mask: Tensor

    def __init__(self, maps: Maps, mask: Mask) -> None:
        super().__init__()
        if maps.shape[1:] != mask.shape:
            raise ShapeError(
                f"Wanted coil maps of {mask.shape[0]} x {mask.shape[1]} pixels, as k-space has, "
                f"but got {maps.shape[1]} x {maps.shape[2]}. Resample them."
            )
        self.signal_shape, self.data_shape = (2, *mask.shape), tuple(maps.shape)
        self.complex_data = True
        self.register_buffer("maps", torch.view_as_real(maps.to(torch.complex128)))
        self.register_buffer("mask", mask.to(torch.float64))

    @property
    def visible(self) -> Bool[Tensor, "coils rows columns"]:
        return self.mask.bool().expand(self.data_shape)

    def forward(self, x: Signal) -> Data:
        self.check_signal(x)
        coils = torch.view_as_complex(self.maps) * image_of(x)[:, None]
        return self.mask * to_kspace(coils)

    def adjoint(self, y: Data) -> Signal:
        coils = to_image(self.seen(y))
        return signal_of((torch.view_as_complex(self.maps).conj() * coils).sum(1))


class Lines(AlignedOperator):
    """:class:`Encoding` by whole lines, its data reduced to as many numbers as an image has.

    An inverse Fourier transform along the readout leaves white noise white and splits the problem
    into one complex matrix a row, of (coils x lines) by columns; with A = U s V^H its data are
    U^H y, and what U^H loses says nothing of the image. Make one with :func:`reduced`.

    Args:
        s: Singular values of each row's matrix, ``(rows, k)``.
        right: V of each row, ``(rows, columns, columns)``, those with a singular value first.
    """

    s: Tensor
    right: Tensor
    power: Tensor

    def __init__(
        self, s: Float[Tensor, "rows k"], right: Complex[Tensor, "rows columns columns"]
    ) -> None:
        super().__init__(RANK_TOLERANCE)
        rows, k = s.shape
        self.signal_shape, self.data_shape = (2, rows, right.shape[1]), (2 * rows * k,)
        self.register_buffer("s", s.flatten().repeat_interleave(2))
        self.register_buffer("right", torch.view_as_real(right.contiguous()))
        power = torch.fft.fft(right[..., :k], dim=1, norm="ortho").abs().square()
        half = right.shape[1] // 2
        power[:, 1 : (right.shape[1] + 1) // 2] += power[:, half + 1 :].flip(1)
        self.register_buffer("power", power[:, : half + 1].contiguous())
        self.k = k

    @property
    def singular_values(self) -> Tensor:
        return self.s

    def V(self, z: Spectrum) -> Signal:
        _, rows, columns = self.signal_shape
        parts = torch.view_as_complex(z.unflatten(1, (-1, 2)).contiguous())
        cut = rows * self.k
        seen, rest = parts[:, :cut].unflatten(1, (rows, -1)), parts[:, cut:]
        whole = torch.cat([seen, rest.unflatten(1, (rows, columns - self.k))], dim=2)
        return signal_of(torch.einsum("rnk,brk->brn", torch.view_as_complex(self.right), whole))

    def Vt(self, x: Signal) -> Spectrum:
        right = torch.view_as_complex(self.right)
        z = torch.einsum("rnk,brn->brk", right, image_of(x).conj()).conj()
        z = torch.cat([z[..., : self.k].flatten(1), z[..., self.k :].flatten(1)], dim=1)
        return torch.view_as_real(z.resolve_conj()).flatten(1)

    def amplification(self, sigma_y: float) -> Float[Tensor, "rows columns"]:
        """The deviation of each pixel, were all of them white of deviation 1, over sigma_y: the
        g-factor, up to a constant, where that has a limit."""
        _, height, _ = self.signal_shape
        s = self.s[::2].view(height, self.k)
        power = torch.view_as_complex(self.right).abs().square()
        known = torch.einsum("rnk,rk->rn", power[..., : self.k], 1 / (s**2 + sigma_y**2))
        return (known + power[..., self.k :].sum(2) / sigma_y**2).sqrt()

    def data_preconditioner(
        self, covariance: Callable[[Signal], Signal], sigma_y2: float | Tensor, rows: int
    ) -> Callable[[Data], Data]:
        """The diagonal of s V^T C V s, from what C is within a row: its spectrum along one."""
        _, height, width = self.signal_shape
        point = self.s.new_zeros(rows, *self.signal_shape)
        point[:, :, height // 2, width // 2] = 1
        along = covariance(point)[:, :, height // 2].mean(1)
        spectrum = torch.fft.rfft(along.roll(-(width // 2), 1)).real.clamp(min=0)
        variance = torch.einsum("rfk,bf->brk", self.power, spectrum).flatten(1)
        diagonal = self.s**2 * variance.repeat_interleave(2, dim=1) + sigma_y2
        return lambda v: v / diagonal


def reduced(
    y: Complex[Tensor, "coils rows columns"], maps: Maps, lines: Bool[Tensor, " columns"]
) -> tuple[Lines, Float[Tensor, " numbers"]]:
    """The decomposition of an encoding by whole lines, and its reduced data U^H y.

    Args:
        y: k-space.
        maps: What each coil sees.
        lines: Which of the columns of k-space were measured.
    """
    coils, rows, columns = maps.shape
    transform = to_kspace(torch.eye(columns, dtype=torch.complex128), (0,))[lines]
    measured = to_image(y.to(torch.complex128), (-2,))[..., lines].movedim(1, 0).flatten(1)
    many = coils * len(transform) >= columns
    s, right, data = [], [], []
    for row in range(rows):
        A = (maps[:, row, None].to(torch.complex128) * transform).flatten(0, 1)
        if many:
            Q, A = torch.linalg.qr(A)
            b = Q.mH @ measured[row]
        else:
            b = measured[row]
        left, values, adjoint = torch.linalg.svd(A, full_matrices=not many)
        s.append(values)
        right.append(adjoint.mH)
        data.append(left.mH @ b)
    return Lines(torch.stack(s), torch.stack(right)), torch.view_as_real(torch.cat(data)).flatten()

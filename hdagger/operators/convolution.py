"""Blur: convolution over the last two axes of a signal, by what is known of its surroundings.

=============  =================================================  ==========================
boundary       the surroundings                                   stands on
=============  =================================================  ==========================
``unknown``    part of the signal, which is larger than the data  ``LinearOperator``
``mirror``     the signal, mirrored at its edges                  ``SVDOperator`` (DCT-II) for
                                                                  symmetric kernels
``circular``   the signal, continued periodically                 ``SVDOperator`` (Hartley)
=============  =================================================  ==========================

Only the first is true of a photograph. The others bring errors from the edges into the whole
picture, the more the sharper it is to become.

Kernels are ``(rows, columns)``, of any sizes, with their centre at ``(rows // 2, columns // 2)``;
they are applied as a convolution, turned by half a turn, as ``scipy.ndimage.convolve`` does.
"""

from collections.abc import Callable
from typing import TypeAlias, get_args

import torch
from jaxtyping import Float
from torch import Tensor

from ..errors import SettingError, ShapeError
from ..linalg import conjugate_gradients, dct2, fast_length, hartley, idct2
from ..stages import Boundary
from ..tensors import Data, Signal, Spectrum
from .base import LinearOperator, SVDOperator

Kernel: TypeAlias = Float[Tensor, "rows columns"]
BOUNDARIES: tuple[str, ...] = get_args(Boundary)

FLOOR = 1e-4
"""Least share of the largest gain that a preconditioner divides by."""


def convolution(
    signal_shape: tuple[int, ...], kernel: Kernel, boundary: Boundary = "unknown"
) -> LinearOperator:
    """The convolution of signals of this shape, over their last two axes.

    Example:
        >>> kernel = torch.ones(3, 5) / 15
        >>> convolution((1, 8, 8), kernel).data_shape
        (1, 6, 4)
        >>> convolution((1, 8, 8), kernel, "mirror").data_shape
        (1, 8, 8)
    """
    if boundary == "unknown":
        return Convolution(signal_shape, kernel)
    if boundary == "circular":
        return CircularBlur(signal_shape, kernel)
    if boundary != "mirror":
        raise SettingError(
            f"Wanted a boundary, one of {', '.join(BOUNDARIES)}, but got {boundary!r}. "
            "Leave it out for unknown surroundings."
        )
    if symmetric(kernel):
        return MirrorBlur(signal_shape, kernel)
    mirrored = Mirrored(signal_shape, kernel)
    H = Convolution(mirrored.data_shape, kernel) @ mirrored
    assert isinstance(H, LinearOperator)
    return H


def reach(kernel: Kernel) -> tuple[tuple[int, int], tuple[int, int]]:
    """How far a kernel looks beyond the data: (above, below), (left of it, right of it)."""
    rows, columns = kernel.shape
    return ((rows - 1) // 2, rows // 2), ((columns - 1) // 2, columns // 2)


def symmetric(kernel: Kernel) -> bool:
    """Whether it is the same upside down and from right to left, about a pixel's centre."""
    odd = kernel.shape[0] % 2 == kernel.shape[1] % 2 == 1
    limit = 1e-15 * kernel.abs().max()
    return odd and all(bool(((kernel - kernel.flip(k)).abs() <= limit).all()) for k in (0, 1))


def gains_of(kernel: Kernel, circle: tuple[int, int]) -> Float[Tensor, "down across"] | None:
    """|k|^2 of the Fourier coefficients of a kernel; None on a circle that is too small for it."""
    if kernel.shape[0] > circle[0] or kernel.shape[1] > circle[1]:
        return None
    return torch.fft.rfft2(kernel, s=circle).abs().square()


class Convolution(LinearOperator):
    """Convolution whose surroundings are unknown: the data are what no edge has a part in.

    With C the cut to those, and K the convolution on a circle no smaller than the signal, H = C K.
    ``pull`` works with the Fourier coefficients of the signal, where K is diagonal on the circle
    of the signal's size; there (r2 |k|^2 + sigma_y2)^-1, exact but for C, makes the iteration
    short.

    Args:
        signal_shape: ``(..., height, width)``, larger than the data by the kernel's size less 1.
        kernel: ``(rows, columns)``.
    """

    response: Tensor
    on_circle: Tensor
    kernel: Tensor
    twice: Tensor

    def __init__(self, signal_shape: tuple[int, ...], kernel: Kernel) -> None:
        super().__init__()
        *rest, height, width = signal_shape
        rows, columns = kernel.shape
        if rows > height or columns > width:
            raise ShapeError(
                f"Convolution wants a signal no smaller than its kernel ({rows} x {columns}), "
                f"but got {height} x {width}. Give a larger picture, or a smaller kernel."
            )
        self.signal_shape = signal_shape
        self.data_shape = (*rest, height - rows + 1, width - columns + 1)
        self.first = rows - 1, columns - 1
        response = torch.fft.rfft2(kernel.to(torch.float64), s=(height, width))
        self.register_buffer("response", torch.view_as_real(response))
        self.circle = fast_length(height), fast_length(width)
        on_circle = torch.fft.rfft2(kernel.to(torch.float64), s=self.circle)
        self.register_buffer("on_circle", torch.view_as_real(on_circle))
        self.register_buffer("kernel", kernel.to(torch.float64))
        twice = torch.full((width // 2 + 1,), 2.0, dtype=torch.float64)
        twice[0] = 1
        if width % 2 == 0:
            twice[-1] = 1
        self.register_buffer("twice", twice.sqrt())

    def forward(self, x: Signal) -> Data:
        self.check_signal(x)
        height, width = self.signal_shape[-2:]
        z = torch.view_as_complex(self.on_circle) * torch.fft.rfft2(x, s=self.circle)
        return self._cut(torch.fft.irfft2(z, s=self.circle)[..., :height, :width])

    def adjoint(self, y: Data) -> Signal:
        height, width = self.signal_shape[-2:]
        filled = torch.fft.rfft2(self._filled(y), s=self.circle)
        z = torch.view_as_complex(self.on_circle).conj() * filled
        return torch.fft.irfft2(z, s=self.circle)[..., :height, :width]

    def pull(
        self,
        e: Data,
        r2: float | Tensor,
        sigma_y2: float | Tensor,
        tolerance: float = 1e-4,
        start: Signal | None = None,
    ) -> Signal:
        k = self._k
        project = lambda z: self._fourier(self._filled(self._cut(self._inverse(z))))
        system = lambda z: r2 * k.conj() * project(k * z) + sigma_y2 * z
        gain = self._gain(r2, sigma_y2)
        b = k.conj() * self._fourier(self._filled(e))
        z = conjugate_gradients(
            system,
            b,
            tolerance=tolerance,
            start=None if start is None else self._fourier(start),
            near=lambda z: z / gain,
        )
        return self._inverse(z)

    def preconditioner(
        self, r2: float | Tensor, sigma_y2: float | Tensor
    ) -> Callable[[Tensor], Tensor]:
        gain = self._gain(r2, sigma_y2)
        return lambda x: self._inverse(self._fourier(x) / gain)

    def gains(self, circle: tuple[int, int]) -> Float[Tensor, "rows columns"] | None:
        return gains_of(self.kernel, circle)

    def component(self) -> "Convolution | None":
        return self._of_component()

    @property
    def _k(self) -> Tensor:
        return torch.view_as_complex(self.response)

    def _gain(self, r2: float | Tensor, sigma_y2: float | Tensor) -> Tensor:
        gain = r2 * self._k.abs().square()
        return torch.maximum(gain + sigma_y2, FLOOR * gain.max())

    def _fourier(self, x: Signal) -> Tensor:
        """The half of the Fourier coefficients that tells all, scaled to keep lengths."""
        return self.twice * torch.fft.rfft2(x, norm="ortho")

    def _inverse(self, z: Tensor) -> Signal:
        return torch.fft.irfft2(z / self.twice, s=self.signal_shape[-2:], norm="ortho")

    def _cut(self, x: Signal) -> Data:
        return x[..., self.first[0] :, self.first[1] :]

    def _filled(self, y: Data) -> Signal:
        return torch.nn.functional.pad(y, (self.first[1], 0, self.first[0], 0))


class Mirrored(LinearOperator):
    """A signal with its mirror images around it, the edge repeated: d c b a | a b c d | d c b a.

    Args:
        signal_shape: ``(..., height, width)``.
        kernel: As far as it reaches; it may be larger than the signal.
    """

    rows: Tensor
    columns: Tensor

    def __init__(self, signal_shape: tuple[int, ...], kernel: Kernel) -> None:
        super().__init__()
        *rest, height, width = signal_shape
        self.signal_shape = signal_shape
        for name, side, (before, after) in zip(
            ("rows", "columns"), (height, width), reach(kernel), strict=True
        ):
            wrapped = torch.arange(-before, side + after) % (2 * side)
            self.register_buffer(name, torch.minimum(wrapped, 2 * side - 1 - wrapped))
        self.data_shape = (*rest, len(self.rows), len(self.columns))

    def forward(self, x: Signal) -> Data:
        self.check_signal(x)
        return x[..., self.rows[:, None], self.columns]

    def adjoint(self, y: Data) -> Signal:
        height, width = self.signal_shape[-2:]
        down = y.new_zeros(*y.shape[:-2], height, y.shape[-1]).index_add(-2, self.rows, y)
        return y.new_zeros(*y.shape[:-2], height, width).index_add(-1, self.columns, down)


class MirrorBlur(SVDOperator):
    """Convolution with a symmetric kernel, the signal mirrored outside, diagonal in the DCT-II.

    The mirror repeats the edge pixel (d c b a | a b c d | d c b a). V is the inverse DCT, the
    singular values are the sizes of the kernel's cosine series, whose signs go into U.

    Args:
        signal_shape: ``(..., height, width)``, of any size.
        kernel: ``(rows, columns)``, odd sizes, the same upside down and from right to left.
        rank_tolerance: See :class:`~hdagger.operators.base.SVDOperator`.

    References:
        Strang, The discrete cosine transform, 1999. https://doi.org/10.1137/S0036144598336745
        Ng, Chan and Tang, A fast algorithm for deblurring models with Neumann boundary
        conditions, 1999. https://doi.org/10.1137/S1064827598341384
    """

    kernel: Tensor
    s: Tensor
    sign: Tensor

    def __init__(
        self,
        signal_shape: tuple[int, ...],
        kernel: Kernel,
        rank_tolerance: float | None = None,
    ) -> None:
        super().__init__(rank_tolerance)
        if not symmetric(kernel):
            raise ShapeError(
                "MirrorBlur wants a kernel of odd sizes that is the same upside down and from "
                f"right to left, but got another of {kernel.shape[0]} x {kernel.shape[1]}. "
                "Use unknown surroundings, or circular ones."
            )
        gain = kernel.to(torch.float64)
        for side, length in zip(signal_shape[-2:], kernel.shape, strict=True):
            u, t = torch.arange(side), torch.arange(length) - length // 2
            cosines = torch.cos(torch.pi * u[:, None].double() * t / side)
            gain = (cosines @ gain).T
        self.register_buffer("kernel", kernel.to(torch.float64))
        self.register_buffer("s", gain.abs().expand(signal_shape).flatten())
        self.register_buffer("sign", torch.where(gain < 0, -1.0, 1.0).to(gain))
        self.signal_shape = self.data_shape = signal_shape

    def gains(self, circle: tuple[int, int]) -> Float[Tensor, "rows columns"] | None:
        return gains_of(self.kernel, circle)

    def component(self) -> "MirrorBlur | None":
        return self._of_component("s")

    @property
    def singular_values(self) -> Tensor:
        return self.s

    def U(self, z: Spectrum) -> Data:
        return idct2(self.sign * z.unflatten(1, self.data_shape))

    def Ut(self, y: Data) -> Spectrum:
        return (self.sign * dct2(y)).flatten(1)

    def V(self, z: Spectrum) -> Signal:
        return idct2(z.unflatten(1, self.signal_shape))

    def Vt(self, x: Signal) -> Spectrum:
        return dct2(x).flatten(1)


class CircularBlur(SVDOperator):
    """Convolution with any kernel, the signal continued periodically.

    In the Hartley basis, which is real, a convolution is the gain ``|k|`` followed by an
    all-pass filter ``k / |k|``: V is the Hartley transform, and U applies the filter to it.

    Args:
        signal_shape: ``(..., height, width)``.
        kernel: ``(rows, columns)``, no larger than the signal.
        rank_tolerance: See :class:`~hdagger.operators.base.SVDOperator`.
    """

    kernel: Tensor
    response: Tensor
    phase: Tensor
    s: Tensor

    def __init__(
        self,
        signal_shape: tuple[int, ...],
        kernel: Kernel,
        rank_tolerance: float | None = None,
    ) -> None:
        super().__init__(rank_tolerance)
        rows, columns = kernel.shape
        height, width = signal_shape[-2:]
        if rows > height or columns > width:
            raise ShapeError(
                f"CircularBlur wants a kernel no larger than the image ({height} x {width}), but "
                f"got {rows} x {columns}. Crop the kernel, or enlarge the image."
            )
        k = torch.zeros(height, width, dtype=torch.float64)
        k[:rows, :columns] = kernel
        response = torch.fft.fft2(k.roll((-(rows // 2), -(columns // 2)), (0, 1)))
        gain = response.abs()
        phase = torch.where(gain > 0, response / gain, 1)
        self.register_buffer("kernel", kernel.to(torch.float64))
        self.register_buffer("response", torch.view_as_real(response[:, : width // 2 + 1].clone()))
        self.register_buffer("phase", torch.view_as_real(phase))
        self.register_buffer("s", gain.expand(signal_shape).flatten())
        self.signal_shape = self.data_shape = signal_shape

    def gains(self, circle: tuple[int, int]) -> Float[Tensor, "rows columns"] | None:
        return gains_of(self.kernel, circle)

    def component(self) -> "CircularBlur | None":
        return self._of_component("s")

    @property
    def singular_values(self) -> Tensor:
        return self.s

    def forward(self, x: Signal) -> Data:
        self.check_signal(x)
        return self._filtered(x, torch.view_as_complex(self.response))

    def adjoint(self, y: Data) -> Signal:
        return self._filtered(y, torch.view_as_complex(self.response).conj())

    def U(self, z: Spectrum) -> Data:
        return self._all_pass(self.V(z), torch.view_as_complex(self.phase))

    def Ut(self, y: Data) -> Spectrum:
        return self.Vt(self._all_pass(y, torch.view_as_complex(self.phase).conj()))

    def V(self, z: Spectrum) -> Signal:
        return hartley(z.unflatten(1, self.signal_shape))

    def Vt(self, x: Signal) -> Spectrum:
        return hartley(x).flatten(1)

    @staticmethod
    def _filtered(x: Tensor, response: Tensor) -> Tensor:
        return torch.fft.irfft2(response * torch.fft.rfft2(x), s=tuple(x.shape[-2:]))

    @staticmethod
    def _all_pass(x: Tensor, phase: Tensor) -> Tensor:
        return torch.fft.ifft2(torch.fft.fft2(x) * phase).real

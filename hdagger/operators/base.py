"""What an operator can do: four rungs, each adding one ability.

======================  ==========================  ===============================
rung                    adds                        enough for
======================  ==========================  ===============================
``Operator``            ``forward``                 DPS, reconstruction guidance
``PinvOperator``        ``pinv``                    noiseless PiGDM, projection
``LinearOperator``      ``adjoint``                 PiGDM, TMPD
``SVDOperator``         ``U, Ut, V, Vt``,           DDRM
                        ``singular_values``
======================  ==========================  ===============================

A linear operator of one's own needs ``forward`` and ``adjoint``; the rest follows from them by
conjugate gradients.

Signals are real; a complex signal is two real channels. Data may be complex, and count then as
a real vector space of twice the dimension: the inner product is Re<u, v>, ``rank`` counts real
numbers, sigma_y is the deviation of the real and of the imaginary part each (E|n|^2 = 2
sigma_y^2), the adjoint is the real one, Re(H^H y), and ``U`` and ``Ut`` map between complex data
and real coefficients.

Operators hold their constants in float64 and compute in the precision of the module:
``operator.float()`` moves one to float32.
"""

import abc
import math
from collections.abc import Callable
from copy import copy
from functools import cached_property
from typing import TypeVar

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from ..errors import ShapeError
from ..linalg import conjugate_gradients
from ..tensors import Data, Signal, Spectrum

Linear = TypeVar("Linear", bound="LinearOperator")

NORM_ROUNDS = 10
"""Of the power iteration that tells the largest singular value."""


class Operator(nn.Module, abc.ABC):
    """A map H from a signal x to clean data H(x), perhaps non-linear.

    Attributes:
        signal_shape: Shape of one signal, without the batch axis.
        data_shape: Shape of the data of one signal.
    """

    signal_shape: tuple[int, ...]
    data_shape: tuple[int, ...]
    differentiable: bool = True
    """Whether the gradient of H tells anything; that of a rounding is zero."""
    complex_data: bool = False
    """Whether H(x) is complex."""

    def __matmul__(self, inner: "Operator", /) -> "Operator":
        """x -> self(inner(x)): :func:`hdagger.operators.chain.compose` puts itself here."""
        raise NotImplementedError("hdagger.operators.chain was not imported")

    def seen_by(self, outer: "Operator") -> "Operator | None":
        """outer(self(x)), where this operator knows a better form of it than ``compose`` does.

        A JPEG's data are numbers; what follows it works on the picture that they decode to.
        """
        return None

    @abc.abstractmethod
    def forward(self, x: Signal) -> Data:
        """Clean data H(x). No noise is added here: that is the measurement's business."""

    def own(self, x: Tensor) -> Tensor:
        """x on the device and in the precision of the operator; in float64 if it holds nothing."""
        held = next((b for b in self.buffers() if b.is_floating_point() or b.is_complex()), None)
        return x.double() if held is None else x.to(held.device, held.dtype.to_real())

    @property
    def signal_size(self) -> int:
        """How many numbers a signal holds."""
        return math.prod(self.signal_shape)

    @property
    def data_size(self) -> int:
        """How many real numbers the data hold, those that are not visible included."""
        return math.prod(self.data_shape) * (2 if self.complex_data else 1)

    @property
    def visible(self) -> Bool[Tensor, "..."] | None:
        """True for the data that were seen: ``(*data)``, or ``(batch, *data)``; None for all.

        What y holds elsewhere is not looked at, and H(x) is 0 there.
        """
        return None

    def seen(self, y: Data) -> Data:
        """The data, zero where they are not visible, whatever y holds there."""
        return y if self.visible is None else torch.where(self.visible, y, 0)

    @property
    def seen_size(self) -> int:
        """How many real numbers are seen."""
        if self.visible is None:
            return self.data_size
        rows = len(self.visible) if self.visible.ndim > len(self.data_shape) else 1
        return int(self.visible.sum()) // rows * (2 if self.complex_data else 1)

    @property
    def rank(self) -> int:
        """The degrees of freedom of what noise leaves of the data: as many as are seen.

        Of operators with singular values only those coefficients that are not zero.
        """
        return self.seen_size

    @property
    def onto(self) -> bool:
        """Whether all data are data of some signal: H(pinv(y)) = y for every y."""
        return False

    @property
    def one_to_one(self) -> bool:
        """Whether the data determine the signal: pinv(H(x)) = x for every x."""
        return False

    def check_signal(self, x: Tensor) -> None:
        if tuple(x.shape[1:]) != self.signal_shape:
            raise ShapeError(
                f"{type(self).__name__} works on signals of shape "
                f"{('batch', *self.signal_shape)}, but got {tuple(x.shape)}. Resize the signal, "
                f"or build the operator for signal_shape={tuple(x.shape[1:])}."
            )


class PinvOperator(Operator):
    """An operator with a generalised inverse: H(pinv(H(x))) = H(x)."""

    @abc.abstractmethod
    def pinv(self, y: Data) -> Signal:
        """A signal that explains y, the shortest one where H is linear."""

    def null(self, x: Signal) -> Signal:
        """The part of x that H does not see: x - pinv(H(x))."""
        return x - self.pinv(self(x))


class LinearOperator(PinvOperator):
    """A linear map: Re<H x, y> = <x, adjoint(y)>.

    A subclass gives ``forward`` and ``adjoint``. ``solve``, ``pinv`` and ``pull`` are found by
    conjugate gradients; one that knows them in closed form gives its own.
    """

    @abc.abstractmethod
    def adjoint(self, y: Data) -> Signal:
        """The real adjoint applied to y: H^T y, and Re(H^H y) for complex data."""

    @cached_property
    def norm(self) -> float:
        """The largest singular value; from below, where it has to be iterated for."""
        generator = torch.Generator().manual_seed(0)
        x = self.own(torch.randn(1, *self.signal_shape, generator=generator))
        gain = 1.0
        for _ in range(NORM_ROUNDS):
            x = x / x.norm().clamp(min=1e-300)
            x = self.adjoint(self(x))
            gain = float(x.norm()) ** 0.5
        return gain or 1.0

    def solve(self, y: Data, r2: float | Tensor, sigma_y2: float | Tensor) -> Data:
        """(r2 H H^T + sigma_y2 I)^-1 y; the pseudoinverse where that matrix is singular.

        Data that are not visible have no part in it: the answer is zero there.

        Args:
            y: Data, ``(batch, *data)``.
            r2: Variance of the signal around its estimate, above 0.
            sigma_y2: Variance of the noise on the data, 0 or above.
        """
        if sigma_y2 == 0:
            return self(self._normal(self.pinv(y))) / r2
        system = lambda u: r2 * self(self.adjoint(u)) + sigma_y2 * u
        return conjugate_gradients(system, self.seen(y))

    def pinv(self, y: Data) -> Signal:
        return self._normal(self.adjoint(self.seen(y)))

    def pull(
        self,
        e: Data,
        r2: float | Tensor,
        sigma_y2: float | Tensor,
        tolerance: float = 1e-4,
        start: Signal | None = None,
    ) -> Signal:
        """H^T (r2 H H^T + sigma_y2 I)^-1 e: what a residual says of the signal, over r2.

        Found in the space of signals, from (r2 H^T H + sigma_y2 I) x = H^T e, which loses no
        digits where sigma_y2 is small beside r2.

        Args:
            e: Residual y - H(x), ``(batch, *data)``.
            r2: Variance of the signal around its estimate, above 0.
            sigma_y2: Variance of the noise on the data, 0 or above.
            tolerance: Of the residual of that equation, as a share of H^T e.
            start: Where the iteration starts, such as the answer at a neighbouring level.
        """
        system = lambda x: r2 * self.adjoint(self(x)) + sigma_y2 * x
        near = self.preconditioner(r2, sigma_y2)
        b = self.adjoint(self.seen(e))
        return conjugate_gradients(system, b, tolerance=tolerance, start=start, near=near)

    def preconditioner(
        self, r2: float | Tensor, sigma_y2: float | Tensor
    ) -> Callable[[Tensor], Tensor] | None:
        """A cheap map close to (r2 H^T H + sigma_y2 I)^-1, symmetric and positive; or None."""
        return None

    def data_preconditioner(
        self, covariance: Callable[[Signal], Signal], sigma_y2: float | Tensor, rows: int
    ) -> Callable[[Data], Data] | None:
        """A cheap map close to (H C H^T + sigma_y2 I)^-1, symmetric and positive; or None.

        Args:
            covariance: x -> C x, about the same at every place.
            sigma_y2: Variance of the noise on the data, above 0.
            rows: Of the batch, each with a C of its own.
        """
        return None

    def gains(self, circle: tuple[int, int]) -> Float[Tensor, "rows columns"] | None:
        """By how much H^T H multiplies Fourier coefficients, if H is a convolution; or None.

        What is near an edge need not follow.

        Args:
            circle: Rows and columns of the circle on which the coefficients are taken, of which
                ``rfft2`` keeps ``(rows, columns // 2 + 1)``.
        """
        return None

    def component(self) -> "LinearOperator | None":
        """What H does to one component, ``(1, *rest)``, if that is the same for all; or None.

        Components are the first of three axes of signals and data, such as colours. Then their
        mixtures, such as brightness, have nothing to do with each other in the data either.
        """
        return None

    def _of_component(self: Linear, *buffers: str) -> Linear | None:
        """This operator for one component; these of its buffers list one after the other."""
        if len(self.signal_shape) < 3:
            return None
        one, count = copy(self), self.signal_shape[0]
        first = lambda held: held[..., : held.shape[-1] // count]
        one._buffers = self._buffers | {name: first(self.get_buffer(name)) for name in buffers}
        one.signal_shape, one.data_shape = (1, *self.signal_shape[1:]), (1, *self.data_shape[1:])
        return one

    def _normal(self, x: Signal) -> Signal:
        """(H^T H)^+ x, for x in the range of H^T."""
        return conjugate_gradients(lambda v: self.adjoint(self(v)), x, tolerance=1e-13)


class SVDOperator(LinearOperator):
    """A linear map known by its singular value decomposition H = U diag(s) Vt.

    A subclass gives ``U``, ``Ut``, ``V``, ``Vt`` (real, orthonormal, square) and
    ``singular_values``; the rest follows. ``forward`` and ``adjoint`` may be given in a faster
    form.

    Args:
        rank_tolerance: Singular values up to this share of the largest count as zero for
            ``pinv``, ``solve`` and DDRM alike. By default what rounding leaves of r of them in
            their precision, 8 eps sqrt(r): in float32 .002 for three million.
    """

    def __init__(self, rank_tolerance: float | None = None) -> None:
        super().__init__()
        self.rank_tolerance = rank_tolerance

    @property
    @abc.abstractmethod
    def singular_values(self) -> Tensor:
        """The min(n, m) singular values, zeros included, in the order that Vt returns.

        Shape ``(r,)``, or ``(batch, r)`` where every signal has an operator of its own.
        """

    @abc.abstractmethod
    def U(self, z: Spectrum) -> Data:
        """Data from all m coefficients."""

    @abc.abstractmethod
    def Ut(self, y: Data) -> Spectrum:
        """All m coefficients of the data, those with a singular value first."""

    @abc.abstractmethod
    def V(self, z: Spectrum) -> Signal:
        """The signal from all n coefficients."""

    @abc.abstractmethod
    def Vt(self, x: Signal) -> Spectrum:
        """All n coefficients of the signal, those with a singular value first."""

    @cached_property
    def norm(self) -> float:
        """The largest singular value."""
        return float(self.singular_values.max())

    @property
    def observed(self) -> Tensor:
        """True for the singular values that are not zero, in the shape of ``singular_values``."""
        return self.singular_values > self.least

    @property
    def least(self) -> Tensor:
        """Singular values up to this one count as zero."""
        s = self.singular_values
        tolerance = self.rank_tolerance
        if tolerance is None:
            tolerance = 8 * torch.finfo(s.dtype).eps * s.shape[-1] ** 0.5
        return tolerance * s.max()

    @property
    def rank(self) -> int:
        observed = self.observed
        return int(observed.sum()) // (len(observed) if observed.ndim == 2 else 1)

    @property
    def onto(self) -> bool:
        return self.rank == self.data_size

    @property
    def one_to_one(self) -> bool:
        return self.rank == self.signal_size

    def spectral_data(self, y: Data) -> Spectrum:
        """What the data say of each coefficient of the signal: (Ut y) / s, 0 where s is."""
        s = self.singular_values
        return torch.where(self.observed, self.Ut(self.seen(y))[:, : s.shape[-1]] / s, 0)

    def forward(self, x: Signal) -> Data:
        self.check_signal(x)
        s = self.singular_values
        return self.U(self.fit(s * self.Vt(x)[:, : s.shape[-1]], self.data_size))

    def adjoint(self, y: Data) -> Signal:
        s = self.singular_values
        z = s * self.Ut(self.seen(y))[:, : s.shape[-1]]
        return self.V(self.fit(z, self.signal_size))

    def pinv(self, y: Data) -> Signal:
        return self.V(self.fit(self.spectral_data(y), self.signal_size))

    def solve(self, y: Data, r2: float | Tensor, sigma_y2: float | Tensor) -> Data:
        s2 = torch.where(self.observed, self.singular_values**2, 0)
        gain = r2 * self.fit(s2.expand(len(y), -1), self.data_size) + sigma_y2
        return self.seen(self.U(torch.where(gain > 0, self.Ut(self.seen(y)) / gain, 0)))

    def pull(
        self,
        e: Data,
        r2: float | Tensor,
        sigma_y2: float | Tensor,
        tolerance: float = 1e-4,
        start: Signal | None = None,
    ) -> Signal:
        s = torch.where(self.observed, self.singular_values, 0)
        share = torch.where(s > 0, s / (r2 * s**2 + sigma_y2), 0)
        z = share * self.Ut(self.seen(e))[:, : s.shape[-1]]
        return self.V(self.fit(z, self.signal_size))

    @staticmethod
    def fit(z: Tensor, size: int) -> Tensor:
        """Coefficients, cut or filled with zeros to ``size`` of them."""
        return nn.functional.pad(z, (0, size - z.shape[-1]))


class AlignedOperator(SVDOperator):
    """An operator whose coefficients are its data, one for one: U is the identity.

    Of complex data the real and the imaginary part are two coefficients, side by side.
    """

    def U(self, z: Spectrum) -> Data:
        if self.complex_data:
            return torch.view_as_complex(z.unflatten(1, (*self.data_shape, 2)).contiguous())
        return z.unflatten(1, self.data_shape)

    def Ut(self, y: Data) -> Spectrum:
        return (torch.view_as_real(y) if self.complex_data else y).flatten(1)

"""What an operator can do: four rungs, each adding one ability.

======================  ==========================  ===============================
rung                    adds                        enough for
======================  ==========================  ===============================
``Operator``            ``forward``                 DPS, reconstruction guidance
``PinvOperator``        ``pinv``                    noiseless PiGDM, projection
``LinearOperator``      ``adjoint``, ``solve``      PiGDM
``SVDOperator``         ``U, Ut, V, Vt``,           DDRM
                        ``singular_values``
======================  ==========================  ===============================

Operators hold their constants in float64 and compute in the precision of the module:
``operator.float()`` moves one to float32.
"""

import abc
import math

import torch
from torch import Tensor, nn

from ..errors import ShapeError
from ..tensors import Data, Signal, Spectrum


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

    def __matmul__(self, inner: "Operator") -> "Operator":
        """x -> self(inner(x)); see :func:`hdagger.operators.chain.compose`."""
        from .chain import compose

        return compose(self, inner)

    @abc.abstractmethod
    def forward(self, x: Signal) -> Data:
        """Clean data H(x). No noise is added here: that is the measurement's business."""

    @property
    def rank(self) -> int:
        """How many independent numbers H(x) holds; the degrees of freedom of a residual."""
        return math.prod(self.data_shape)

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
    """A linear map: <H x, y> = <x, adjoint(y)>."""

    @abc.abstractmethod
    def adjoint(self, y: Data) -> Signal:
        """The adjoint applied to y (conjugate transpose, for complex data)."""

    @abc.abstractmethod
    def solve(self, y: Data, r2: float | Tensor, sigma_y2: float | Tensor) -> Data:
        """(r2 H H^T + sigma_y2 I)^-1 y; the pseudoinverse where that matrix is singular.

        Args:
            y: Data, ``(batch, *data)``.
            r2: Variance of the signal around its estimate, above 0.
            sigma_y2: Variance of the noise on the data, 0 or above.
        """


class SVDOperator(LinearOperator):
    """A linear map known by its singular value decomposition H = U diag(s) Vt.

    A subclass gives ``U``, ``Ut``, ``V``, ``Vt`` (real, orthonormal, square) and
    ``singular_values``; the rest follows, and is not to be overridden.

    Args:
        rank_tolerance: Singular values up to this share of the largest count as zero for
            ``pinv``, ``solve`` and DDRM alike. By default what rounding leaves.
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

    @property
    def observed(self) -> Tensor:
        """True for the singular values that are not zero, in the shape of ``singular_values``."""
        s = self.singular_values
        tolerance = self.rank_tolerance
        if tolerance is None:
            tolerance = s.shape[-1] * torch.finfo(s.dtype).eps
        return s > tolerance * s.max()

    @property
    def rank(self) -> int:
        observed = self.observed
        return int(observed.sum()) // (len(observed) if observed.ndim == 2 else 1)

    @property
    def onto(self) -> bool:
        return self.rank == math.prod(self.data_shape)

    @property
    def one_to_one(self) -> bool:
        return self.rank == math.prod(self.signal_shape)

    def spectral_data(self, y: Data) -> Spectrum:
        """What the data say of each coefficient of the signal: (Ut y) / s, 0 where s is."""
        s = self.singular_values
        return torch.where(self.observed, self.Ut(y)[:, : s.shape[-1]] / s, 0)

    def forward(self, x: Signal) -> Data:
        self.check_signal(x)
        s = self.singular_values
        return self.U(self.fit(s * self.Vt(x)[:, : s.shape[-1]], math.prod(self.data_shape)))

    def adjoint(self, y: Data) -> Signal:
        s = self.singular_values
        return self.V(self.fit(s * self.Ut(y)[:, : s.shape[-1]], math.prod(self.signal_shape)))

    def pinv(self, y: Data) -> Signal:
        return self.V(self.fit(self.spectral_data(y), math.prod(self.signal_shape)))

    def solve(self, y: Data, r2: float | Tensor, sigma_y2: float | Tensor) -> Data:
        s2 = torch.where(self.observed, self.singular_values**2, 0)
        gain = r2 * self.fit(s2.expand(len(y), -1), math.prod(self.data_shape)) + sigma_y2
        return self.U(torch.where(gain > 0, self.Ut(y) / gain, 0))

    @staticmethod
    def fit(z: Tensor, size: int) -> Tensor:
        """Coefficients, cut or filled with zeros to ``size`` of them."""
        return nn.functional.pad(z, (0, size - z.shape[-1]))


class AlignedOperator(SVDOperator):
    """An operator whose coefficients are its data, one for one: U is the identity."""

    def U(self, z: Spectrum) -> Data:
        return z.unflatten(1, self.data_shape)

    def Ut(self, y: Data) -> Spectrum:
        return y.flatten(1)

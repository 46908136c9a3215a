"""An inverse problem as the samplers see it: data, operator and noise."""

import math
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from jaxtyping import Float
from torch import Tensor

from .errors import SettingError, ShapeError
from .operators.base import LinearOperator, Operator, PinvOperator, SVDOperator
from .operators.quantisation import Quantiser
from .operators.whitened import whitened
from .tensors import Data, Signal, Spectrum


@dataclass(frozen=True)
class Problem:
    """y = H(x) + N(0, sigma_y^2 I), a row of y for every sample wanted.

    :meth:`of` makes one from a measurement as it comes. Complex data are a real vector space
    of twice the dimension: sigma_y is the deviation of each real component.

    Attributes:
        y: Data, ``(batch, *data)``.
        H: The operator.
        sigma_y: Standard deviation of the noise, in the units of y; 0 for exact data.
        at_most: Whether the noise may be less, since sigma_y stands for what is known roughly too.
            Data that are nearer than it says then tell nothing.
    """

    y: Data
    H: Operator
    sigma_y: float = 0.0
    at_most: bool = False

    @classmethod
    def of(cls, y: Tensor, H: Operator, sigma_y: float | Tensor = 0.0) -> "Problem":
        """The problem of one measurement; here, once, the data are held against the operator.

        Args:
            y: Data, ``(*data)``, real or complex as H gives them.
            H: The operator.
            sigma_y: Standard deviation of the noise, in the units of y: a number, or one for
                each number of y, ``(*data)``. Infinite means not seen: what y holds there has no
                influence on anything.

        Raises:
            ShapeError: y is not what H gives.
            SettingError: The noise is negative or no number, in part zero, or y is not finite.
        """
        _check_data(y, H)
        y = y.to(torch.complex128 if y.is_complex() else torch.float64)
        if isinstance(sigma_y, Tensor) and sigma_y.ndim > 0:
            y, H, sigma_y = _with_noise_of_its_own(y, H, sigma_y.to(torch.float64))
        sigma_y = float(sigma_y)
        check_noise(H, sigma_y)
        y = H.seen(y[None])
        if not y.isfinite().all():
            count = int((~y.isfinite()).sum())
            raise SettingError(
                f"Wanted finite data, but {count} of {y.numel()} numbers are not. "
                "Give them infinite noise, or a mask."
            )
        return cls(y, H, sigma_y)

    def rows(self, count: int) -> "Problem":
        """The same measurement for ``count`` samples."""
        return replace(self, y=self.y.expand(count, *self.y.shape[1:]))

    def to(self, device: torch.device | str, dtype: torch.dtype | None = None) -> "Problem":
        """The same on another device, in another precision; H itself is moved, as a module is."""
        if dtype is not None and self.y.is_complex():
            y = self.y.to(device, dtype.to_complex())
        else:
            y = self.y.to(device, dtype)
        return replace(self, y=y, H=self.H.to(device, dtype))

    def residual(self, x: Signal) -> Data:
        """y - H(x), 0 where nothing is seen."""
        return self.H.seen(self.y - self.H(x))

    def towards_data(self, x: Signal, r2: float | Tensor) -> Signal:
        """What the data add to x, if x0 ~ N(x, r2 I).

        It is r2 H^T (r2 H H^T + sigma_y^2 I)^-1 (y - H x); with it x becomes the mean of x0 given
        y, and the least of ``|y - H x0|^2 / sigma_y^2 + |x0 - x|^2 / r2``. Of exact data it is
        pinv(y) - pinv(H x), which needs no more of H than a pseudoinverse.
        """
        H = self.H
        if isinstance(H, LinearOperator):
            return r2 * H.pull(self.residual(x), r2, self.sigma_y**2)
        assert isinstance(H, PinvOperator)
        return H.pinv(self.y) - H.pinv(H(x))

    @cached_property
    def spectral(self) -> "SpectralData":
        """The data in the basis of the operator, which has a singular value decomposition."""
        H = self.H
        assert isinstance(H, SVDOperator)
        n = math.prod(H.signal_shape)
        s_bar = torch.where(H.observed, self.sigma_y / H.singular_values, torch.inf)
        unseen = n - s_bar.shape[-1]
        if unseen > 0:
            s_bar = torch.nn.functional.pad(s_bar, (0, unseen), value=torch.inf)
        return SpectralData(H, H.fit(H.spectral_data(self.y), n), s_bar)


@dataclass(frozen=True)
class SpectralData:
    """What the data say of every coefficient of Vt x.

    Attributes:
        H: The operator.
        y_bar: (Ut y) / s, 0 where nothing is observed: ``(batch, n)``.
        s_bar: The noise sigma_y / s on it, infinite for nothing observed: ``(n,)``, or
            ``(batch, n)``.
    """

    H: SVDOperator
    y_bar: Spectrum
    s_bar: Float[Tensor, "*rows n"]


def check_noise(H: Operator, sigma_y: float) -> None:
    """Can data of H have noise of sigma_y?

    Raises:
        SettingError: It is negative or not finite, or H rounds, after which there is none.
    """
    if not 0 <= sigma_y < math.inf:
        raise SettingError(
            f"Wanted noise of 0 or more, but got sigma_y = {sigma_y}. Try 0.1, or an array "
            "that is infinite where nothing was seen."
        )
    if sigma_y > 0 and isinstance(H, Quantiser):
        raise SettingError(
            f"Wanted no noise beside data that are rounded, as those of {type(H).__name__} are, "
            f"but got sigma_y = {sigma_y:g}. Leave --sigma-y out: the rounding is the noise."
        )


def _check_data(y: Tensor, H: Operator) -> None:
    name = type(H).__name__
    if tuple(y.shape) != H.data_shape:
        raise ShapeError(
            f"Wanted data of shape {H.data_shape}, as {name} gives for signals of shape "
            f"{H.signal_shape}, but got {tuple(y.shape)}. Build the operator for these data."
        )
    with torch.no_grad():
        given = H(torch.zeros(1, *H.signal_shape, dtype=torch.float64, device=y.device))
    H.complex_data = given.is_complex()
    if given.is_complex() != y.is_complex():
        kinds = ("real", "complex")
        raise ShapeError(
            f"Wanted {kinds[given.is_complex()]} data, as {name} gives, but got "
            f"{kinds[y.is_complex()]} ones. Take their real part, or write the operator for them."
        )


def _with_noise_of_its_own(
    y: Tensor, H: Operator, noise: Tensor
) -> tuple[Tensor, Operator, float]:
    """Data, operator and one noise for all, from a noise for each number."""
    if tuple(noise.shape) != H.data_shape:
        raise ShapeError(
            f"Wanted noise of the shape of the data, {H.data_shape}, but got "
            f"{tuple(noise.shape)}. Give one number, or one for each."
        )
    if noise.isnan().any() or (noise < 0).any():
        raise SettingError("Wanted noise of 0 or more, but some of it is negative or no number.")
    seen = noise.isfinite()
    levels = noise[seen].unique()
    if len(levels) == 0:
        raise SettingError("Wanted some data that are seen, but all of the noise is infinite.")
    if len(levels) > 1 and levels[0] == 0:
        raise SettingError(
            "Wanted noise above 0, or no noise at all, but some of it is 0 and some is not. "
            f"Set the zeros to a small number, such as {float(levels[1]) / 100:.2g}."
        )
    sigma_y = 1.0 if len(levels) > 1 else float(levels[0])
    unit = noise if len(levels) > 1 else torch.where(seen, 1.0, torch.inf)
    white = whitened(H, unit)
    return white.white(y[None])[0], white, sigma_y

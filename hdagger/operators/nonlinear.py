"""What a sensor or a screen does to each value by itself."""

from ..errors import SettingError
from ..tensors import Data, Signal
from .base import PinvOperator


class Clip(PinvOperator):
    """H(x) = clip(gain x, -1, 1): over-exposure, the "HDR" task of the papers.

    Args:
        signal_shape: Shape of one signal, in [-1, 1].
        gain: Above 0; the papers take 2.

    References:
        Song et al., Pseudoinverse-Guided Diffusion Models, ICLR 2023, section 4.3, with
        pinv(y) = y / gain. https://openreview.net/forum?id=9_gsMA8MRKQ
    """

    def __init__(self, signal_shape: tuple[int, ...], gain: float = 2.0) -> None:
        super().__init__()
        if not gain > 0:
            raise SettingError(f"Clip wants a gain above 0, but got {gain}. Try 2.")
        self.gain = gain
        self.signal_shape = self.data_shape = signal_shape

    def forward(self, x: Signal) -> Data:
        self.check_signal(x)
        return (self.gain * x).clamp(-1, 1)

    def pinv(self, y: Data) -> Signal:
        return y / self.gain


class Gamma(PinvOperator):
    """The values from 0 (black, -1) to 1 (white) to a power; black and below stay black.

    Args:
        signal_shape: Shape of one signal, in [-1, 1].
        power: Above 0; 2.2 darkens, 1 / 2.2 brightens.
    """

    def __init__(self, signal_shape: tuple[int, ...], power: float) -> None:
        super().__init__()
        if not power > 0:
            raise SettingError(f"Gamma wants a power above 0, but got {power}. Try 2.2.")
        self.power = power
        self.signal_shape = self.data_shape = signal_shape

    def forward(self, x: Signal) -> Data:
        self.check_signal(x)
        return self._bent(x, self.power)

    def pinv(self, y: Data) -> Signal:
        return self._bent(y, 1 / self.power)

    @staticmethod
    def _bent(x: Signal, power: float) -> Signal:
        return 2 * ((x + 1) / 2).clamp(min=0) ** power - 1

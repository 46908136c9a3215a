"""An operator on pictures, seen from the codes of an autoencoder."""

from collections.abc import Callable

from jaxtyping import Bool
from torch import Tensor

from ..errors import OperatorAbilityError
from ..tensors import Data, Signal
from .base import Operator, PinvOperator


class Decoded(PinvOperator):
    """H(decode(z)), for a signal z that is the code of a picture.

    Its pseudoinverse is encode(pinv(y)): as good as the autoencoder's round trip.

    Args:
        H: The operator on pictures.
        decode: From codes to pictures, differentiable.
        encode: From pictures to codes.
        code_shape: Shape of one code, without the batch axis.
    """

    def __init__(
        self,
        H: Operator,
        decode: Callable[[Tensor], Tensor],
        encode: Callable[[Tensor], Tensor],
        code_shape: tuple[int, ...],
    ) -> None:
        super().__init__()
        self.H, self.decode, self.encode = H, decode, encode
        self.signal_shape, self.data_shape = code_shape, H.data_shape
        self.complex_data = H.complex_data

    @property
    def visible(self) -> Bool[Tensor, "..."] | None:
        return self.H.visible

    @property
    def rank(self) -> int:
        return self.H.rank

    def forward(self, x: Signal) -> Data:
        self.check_signal(x)
        return self.H(self.decode(x))

    def pinv(self, y: Data) -> Signal:
        if not isinstance(self.H, PinvOperator):
            raise OperatorAbilityError(
                f"pinv needs an operator that is a PinvOperator, but {type(self.H).__name__} is "
                "not. Use --method dps."
            )
        return self.encode(self.H.pinv(y))

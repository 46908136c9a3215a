"""A matrix of few entries, and its transpose beside it, so that the adjoint is exact."""

import math
import warnings

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ..tensors import Data, Signal
from .base import LinearOperator


class Sparse(LinearOperator):
    """x -> A x for flat signals and data. Entries of the same place are added.

    Args:
        rows: The place in the data of each entry.
        columns: Its place in the signal.
        values: The entries.
        signal_shape: Of a signal.
        data_shape: Of its data.

    Example:
        >>> place = torch.tensor([0, 0, 1])
        >>> H = Sparse(place, torch.tensor([0, 1, 1]), torch.tensor([1.0, 2.0, 3.0]), (2,), (2,))
        >>> H(torch.tensor([[1.0, 1.0]], dtype=torch.float64))
        tensor([[3., 3.]], dtype=torch.float64)
    """

    matrix: Tensor
    transpose: Tensor

    def __init__(
        self,
        rows: Int[Tensor, " entries"],
        columns: Int[Tensor, " entries"],
        values: Float[Tensor, " entries"],
        signal_shape: tuple[int, ...],
        data_shape: tuple[int, ...],
    ) -> None:
        super().__init__()
        self.signal_shape, self.data_shape = signal_shape, data_shape
        shape = math.prod(data_shape), math.prod(signal_shape)
        places = torch.stack([rows, columns])
        matrix = torch.sparse_coo_tensor(places, values.double(), shape, check_invariants=True)
        matrix = matrix.coalesce()
        self.register_buffer("matrix", _by_rows(matrix))
        self.register_buffer("transpose", _by_rows(matrix.t().coalesce()))

    @property
    def entries(self) -> int:
        """How many there are."""
        return self.matrix.values().numel()

    def forward(self, x: Signal) -> Data:
        self.check_signal(x)
        return (self.matrix @ x.flatten(1).T).T.unflatten(1, self.data_shape)

    def adjoint(self, y: Data) -> Signal:
        return (self.transpose @ y.flatten(1).T).T.unflatten(1, self.signal_shape)


def _by_rows(matrix: Tensor) -> Tensor:
    """In compressed rows, with places of 32 bits, which take half as long to read."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Sparse CSR tensor support", UserWarning)
        rows = matrix.to_sparse_csr()
        return torch.sparse_csr_tensor(
            rows.crow_indices().int(),
            rows.col_indices().int(),
            rows.values(),
            rows.shape,
            check_invariants=True,
        )

"""Names for the tensors that travel through hdagger, and the noise that is drawn for them.

Axis names are shared: where one function mentions ``*signal`` twice, both tensors have
the same trailing shape, and the test run checks it.
"""

from collections.abc import Callable, Sequence
from typing import TypeAlias

import numpy as np
import torch
from jaxtyping import Float, Inexact, Int
from torch import Tensor

Signal: TypeAlias = Float[Tensor, "batch *signal"]
Data: TypeAlias = Inexact[Tensor, "batch *data"]
Coefficients: TypeAlias = Float[Tensor, "batch *coefficients"]
Spectrum: TypeAlias = Inexact[Tensor, "batch _"]
Level: TypeAlias = Float[Tensor, ""]
Label: TypeAlias = Int[Tensor, " batch"]
Noise: TypeAlias = Callable[[tuple[int, ...]], Tensor]
"""Standard normals of the shape asked for; the first axis is the batch."""


def device_at_hand() -> str:
    """Where networks compute: ``"cuda"`` where there is a GPU, else ``"cpu"``."""
    return "cuda" if torch.cuda.is_available() else "cpu"


class SampleNoise:
    """Standard normals, from one stream a row: a seed belongs to a sample.

    They are drawn in float32, five times faster than in float64.

    Row i gives the same bits whatever the other rows are, however many there are, and on
    whatever device they end: the streams are drawn on the CPU and moved.

    Args:
        seed: The seed of the run.
        rows: What tells the rows apart: for each row its key, a tuple of whole numbers such
            as ``(item, sample)``.
        device: Where the noise is wanted.
        dtype: In which precision.

    Example:
        >>> alone = SampleNoise(0, [(3, 1)])
        >>> among = SampleNoise(0, [(0, 0), (3, 1)])
        >>> bool((alone((1, 5))[0] == among((2, 5))[1]).all())
        True
    """

    def __init__(
        self,
        seed: int,
        rows: Sequence[tuple[int, ...]],
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float64,
    ) -> None:
        self.streams = [self._stream(seed, key) for key in rows]
        self.device = device
        self.dtype = dtype

    def __call__(self, shape: tuple[int, ...]) -> Tensor:
        assert shape[0] == len(self.streams), "one row of noise for each stream"
        rows = [
            torch.randn(shape[1:], generator=stream, dtype=torch.float32)
            for stream in self.streams
        ]
        drawn = rows[0][None] if len(rows) == 1 else torch.stack(rows)
        return drawn.to(self.device, self.dtype)

    @staticmethod
    def _stream(seed: int, key: tuple[int, ...]) -> torch.Generator:
        state = np.random.SeedSequence(seed, spawn_key=key).generate_state(1, np.uint64)
        return torch.Generator().manual_seed(int(state[0] >> np.uint64(1)))


def like(y: Data, noise: Noise) -> Data:
    """White noise of deviation 1, in the real and the imaginary part each, of the shape of y."""
    z = noise(tuple(y.shape))
    return torch.complex(z, noise(tuple(y.shape))) if y.is_complex() else z

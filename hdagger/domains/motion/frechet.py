"""Frechet distance between sets of motions, in the codes of an autoencoder.

Two sets of codes are compared as if they were Gaussian,

    d^2 = |m_1 - m_2|^2 + tr(C_1 + C_2 - 2 (C_1 C_2)^(1/2)).

The autoencoder is small and trained here, with a fixed seed, on windows of training clips: the
distances are comparable with each other, and with no paper's. The unit is the total variance of
the codes of these windows, so 1 is far. Few samples are apart from any set by chance; so much as
training windows are, drawn anew and as many, is the floor.

References:
    Heusel et al., GANs trained by a two time-scale update rule converge to a local Nash
    equilibrium, 2017. https://arxiv.org/abs/1706.08500
"""

from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor, nn

from .clips import Motion, unwatched
from .features import SIZE, WINDOW, canonical, encode
from .learning import SPEEDS, Crops, class_names

Watch = Callable[[int, int], None]
"""Told how many updates are done, and of how many."""

CODE = 32
WIDTH = 64
UPDATES = 1500
BATCH = 64
REFERENCE = 4000
"""How many training windows samples are compared with."""


def frechet(a: Float[Tensor, "samples code"], b: Float[Tensor, "others code"]) -> float:
    """d^2 of two sets of two vectors or more."""
    a, b = a.double(), b.double()
    first, second = torch.cov(a.mT), torch.cov(b.mT)
    values, vectors = torch.linalg.eigh(first)
    root = vectors * values.clamp(min=0).sqrt() @ vectors.mT
    cross = torch.linalg.eigvalsh(root @ second @ root).clamp(min=0).sqrt().sum()
    apart = (a.mean(0) - b.mean(0)).square().sum()
    return max(0.0, float(apart + first.trace() + second.trace() - 2 * cross))


class Autoencoder(nn.Module):
    """Windows of features -> 32 numbers -> windows: convolutions over time, four times shorter.

    Args:
        windows: What it is trained on, ``(windows, 60, 106)``.
        updates: Of AdamW, each on 64 windows.
        watch: Is told of them.
    """

    def __init__(
        self, windows: Float[Tensor, "windows frames features"], updates: int = UPDATES,
        watch: Watch = unwatched,
    ) -> None:  # fmt: skip
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            self.mean = windows.mean((0, 1))
            self.scale = windows.std((0, 1)).clamp(min=0.05)
            self.encoder = nn.Sequential(
                nn.Conv1d(SIZE, WIDTH, 4, 2, 1), nn.GELU(), nn.Conv1d(WIDTH, WIDTH, 4, 2, 1),
                nn.GELU(), nn.Flatten(), nn.Linear(WIDTH * WINDOW // 4, CODE),
            )  # fmt: skip
            self.decoder = nn.Sequential(
                nn.Linear(CODE, WIDTH * WINDOW // 4), nn.Unflatten(1, (WIDTH, WINDOW // 4)),
                nn.GELU(), nn.ConvTranspose1d(WIDTH, WIDTH, 4, 2, 1),
                nn.GELU(), nn.ConvTranspose1d(WIDTH, SIZE, 4, 2, 1),
            )  # fmt: skip
            self._train(windows, updates, watch)
        self.requires_grad_(False)

    def _train(self, windows: Tensor, updates: int, watch: Watch) -> None:
        optimiser = torch.optim.AdamW(self.parameters(), 2e-3)
        rate = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, updates)
        for done in range(updates):
            x = self._normalised(windows[torch.randint(len(windows), (BATCH,))])
            optimiser.zero_grad()
            (self.decoder(self.encoder(x)) - x).square().mean().backward()
            optimiser.step()
            rate.step()
            watch(done + 1, updates)

    def _normalised(self, windows: Tensor) -> Tensor:
        return ((windows - self.mean) / self.scale).mT

    def forward(
        self, windows: Float[Tensor, "windows frames features"]
    ) -> Float[Tensor, "windows code"]:
        """The codes."""
        return self.encoder(self._normalised(windows))

    def unexplained(self, windows: Float[Tensor, "windows frames features"]) -> float:
        """The share of the windows' variance that does not come back."""
        x = self._normalised(windows)
        lost = (self.decoder(self.encoder(x)) - x).square().mean()
        return float(lost / x.var(0).mean())


class FrechetDistance:
    """Distance from training windows.

    Args:
        windows: Training windows to learn the code from and to compare with.
        others: Drawn as they were, for the floor.
        updates: Of the autoencoder.
        watch: Is told of them.
    """

    def __init__(
        self, windows: Float[Tensor, "windows frames features"],
        others: Float[Tensor, "others frames features"], updates: int = UPDATES,
        watch: Watch = unwatched,
    ) -> None:  # fmt: skip
        self.autoencoder = Autoencoder(windows, updates, watch)
        codes = self.autoencoder(windows)
        self.scale = codes.var(0).sum().sqrt()
        self.reference = codes / self.scale
        self.others = self.autoencoder(others) / self.scale

    def __call__(self, motions: Sequence[Motion]) -> float:
        """From motions of 60 frames at the prior's rate."""
        windows = canonical(torch.stack([encode(motion.qpos) for motion in motions])).float()
        return frechet(self.autoencoder(windows) / self.scale, self.reference)

    def floor(self, count: int) -> float:
        """From as many training windows."""
        return frechet(self.others[:count], self.reference)


def from_clips(folder: Path, watch: Watch = unwatched) -> FrechetDistance:
    """The distance from windows of ``folder/CLASS/*``, drawn as in training.

    Raises:
        FileError: There is no clip, or one is broken.
    """
    crops = Crops.read(folder, class_names(folder), SPEEDS)
    generator = torch.Generator().manual_seed(0)
    draws = [
        torch.multinomial(crops.weights, count, replacement=True, generator=generator)
        for count in (REFERENCE, 1000)
    ]
    return FrechetDistance(crops.at(draws[0]), crops.at(draws[1]), watch=watch)

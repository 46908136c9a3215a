"""Priors whose posterior is known exactly: the yardsticks of every sampler."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ..linalg import hartley
from ..tensors import Level, Noise, Signal


class GaussianPrior(nn.Module):
    """x0 ~ N(mean, cov), with its exact denoiser, posterior and samples.

    Signals are flat, ``(batch, n)``. A covariance of zero is a prior of one point.

    Args:
        mean: ``(n,)``.
        cov: ``(n, n)``, symmetric and positive semi-definite; by default the identity.
    """

    mean: Tensor
    cov: Tensor

    def __init__(self, mean: Float[Tensor, " n"], cov: Float[Tensor, "n n"] | None = None) -> None:
        super().__init__()
        self.register_buffer("mean", mean.to(torch.float64))
        cov = torch.eye(len(mean)) if cov is None else cov
        self.register_buffer("cov", cov.to(torch.float64))

    def forward(self, x: Signal, sigma: Level) -> Signal:
        """mean + cov (cov + sigma^2 I)^-1 (x - mean)."""
        total = self.cov + sigma**2 * torch.eye(len(self.mean), dtype=self.cov.dtype)
        return self.mean + torch.linalg.solve(total, (x - self.mean).T).T @ self.cov

    def posterior(
        self, H: Float[Tensor, "m n"], y: Float[Tensor, " m"], sigma_y: float
    ) -> tuple[Tensor, Tensor]:
        """Mean ``(n,)`` and covariance ``(n, n)`` of x0 given y = H x0 + N(0, sigma_y^2 I)."""
        gain = _gain(H, self.cov, sigma_y)
        return self.mean + gain @ (y - H @ self.mean), self.cov - gain @ H @ self.cov

    def sample(self, count: int, noise: Noise) -> Signal:
        """``count`` exact draws, ``(count, n)``."""
        values, vectors = torch.linalg.eigh(self.cov)
        root = vectors * values.clamp(min=0).sqrt()
        return self.mean + noise((count, len(self.mean))) @ root.T


class GaussianField(nn.Module):
    """A stationary periodic Gaussian field on ``(1, size, size)``, with its exact denoiser.

    The power falls with the wave number k as (k^2 + 1)^(-slope); a pixel has mean 0 and
    variance 1.

    Args:
        size: Pixels a side.
        slope: How smooth the field is.
    """

    power: Tensor

    def __init__(self, size: int, slope: float = 1.5) -> None:
        super().__init__()
        k = torch.fft.fftfreq(size, dtype=torch.float64) * size
        power = (k[:, None] ** 2 + k**2 + 1) ** -slope
        self.register_buffer("power", power / power.mean())
        self.size = size

    def forward(self, x: Signal, sigma: Level) -> Signal:
        """Wiener's filter."""
        return hartley(self.power / (self.power + sigma**2) * hartley(x))

    def sample(self, count: int, noise: Noise) -> Signal:
        """``count`` exact draws, ``(count, 1, size, size)``."""
        return hartley(self.power.sqrt() * noise((count, 1, self.size, self.size)))

    def flat(self) -> GaussianPrior:
        """The same prior of flat signals, whose posterior is known."""
        n = self.size**2
        units = torch.eye(n, dtype=torch.float64).view(n, 1, self.size, self.size)
        cov = hartley(self.power * hartley(units)).view(n, n)
        return GaussianPrior(torch.zeros(n), (cov + cov.T) / 2)


class GaussianMixture(nn.Module):
    """x0 ~ sum of w_k N(mu_k, std^2 I), with its exact denoiser, posterior and samples.

    Args:
        means: mu, ``(K, n)``.
        weights: w, ``(K,)``, of sum 1; by default all equal.
        std: Standard deviation of every component, above 0.
    """

    means: Tensor
    weights: Tensor

    def __init__(
        self,
        means: Float[Tensor, "K n"],
        weights: Float[Tensor, " K"] | None = None,
        std: float = 1.0,
    ) -> None:
        super().__init__()
        weights = torch.full((len(means),), 1 / len(means)) if weights is None else weights
        self.register_buffer("means", means.to(torch.float64))
        self.register_buffer("weights", weights.to(torch.float64))
        self.std = std

    def responsibilities(self, x: Signal, sigma: float | Level) -> Float[Tensor, "batch K"]:
        """p(component | x) for x = x0 + sigma * noise."""
        closeness = x @ self.means.T - self.means.square().sum(1) / 2
        return torch.softmax(self.weights.log() + closeness / (self.std**2 + sigma**2), dim=1)

    def forward(self, x: Signal, sigma: Level) -> Signal:
        """(std^2 x + sigma^2 E[mu_k | x]) / (std^2 + sigma^2)."""
        mean = self.responsibilities(x, sigma) @ self.means
        v = self.std**2
        return (v * x + sigma**2 * mean) / (v + sigma**2)

    def posterior(
        self, H: Float[Tensor, "m n"], y: Float[Tensor, " m"], sigma_y: float
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Weights ``(K,)``, means ``(K, n)`` and the one covariance ``(n, n)`` of x0 given y."""
        m, n = H.shape
        cov = self.std**2 * torch.eye(n, dtype=H.dtype)
        gain = _gain(H, cov, sigma_y)
        residual = y - self.means @ H.T
        spread = torch.distributions.MultivariateNormal(
            torch.zeros(m, dtype=H.dtype),
            H @ cov @ H.T + sigma_y**2 * torch.eye(m, dtype=H.dtype),
        )
        weights = torch.softmax(self.weights.log() + spread.log_prob(residual), dim=0)
        return weights, self.means + residual @ gain.T, cov - gain @ H @ cov

    def sample(self, count: int, noise: Noise) -> Signal:
        """``count`` exact draws, ``(count, n)``."""
        uniform = torch.special.ndtr(noise((count, 1)))
        component = torch.searchsorted(self.weights.cumsum(0), uniform)
        component = component.squeeze(1).clamp(max=len(self.means) - 1)
        return self.means[component] + self.std * noise((count, self.means.shape[1]))


def _gain(H: Tensor, cov: Tensor, sigma_y: float) -> Tensor:
    """cov H^T (H cov H^T + sigma_y^2 I)^-1, the pseudoinverse where that is singular."""
    total = H @ cov @ H.T + sigma_y**2 * torch.eye(len(H), dtype=H.dtype)
    return cov @ H.T @ torch.linalg.pinv(total, hermitian=True)

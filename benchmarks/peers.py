"""Posterior samplers of other packages, on priors and operators of hdagger.

A peer gets the same network and the same H, and the settings that its own documentation shows:
azula 0.11 (https://github.com/probabilists/azula) and deepinv 0.5 (https://deepinv.github.io).
"""

import math
from collections.abc import Callable
from typing import TypeAlias

import torch
from torch import Tensor, nn

from hdagger.operators.base import LinearOperator, SVDOperator
from hdagger.priors.base import Denoiser
from hdagger.problem import Problem
from hdagger.samplers.base import on_rung

STEPS = 50
ITERATIONS = 5
"""Of MMPS's solver, of which azula does one by default: too few for a blur."""
LOWEST, HIGHEST = 0.002, 10.0
"""Noise levels that a walk passes, evenly in their logarithm. Both packages begin higher by
default: fewer steps are left for the rest, and deepinv's conjugate gradients diverge."""

Peer: TypeAlias = Callable[[Denoiser, Problem, int], Tensor]
"""(prior, problem, seed) -> a sample for each row of the data, ``(batch, *signal)``."""


def azula_mmps(prior: Denoiser, problem: Problem, seed: int) -> Tensor:
    """azula's moment matching, with y flat, since its solvers reduce the last axis alone."""
    from azula.denoise import Denoiser as AzulaDenoiser
    from azula.denoise import DiracPosterior
    from azula.guidance import MMPSDenoiser
    from azula.linalg.covariance import IsotropicCovariance
    from azula.noise import VESchedule
    from azula.sample import DDIMSampler

    levels = VESchedule(LOWEST, HIGHEST)

    class Network(AzulaDenoiser):
        schedule = levels

        def forward(self, x_t: Tensor, t: Tensor, **_: object) -> DiracPosterior:
            return DiracPosterior(prior(x_t, levels.sigma(t)))

    H = problem.H
    on_rung(H, LinearOperator, "azula's MMPS", "a sampler of hdagger")
    torch.manual_seed(seed)
    conditional = MMPSDenoiser(
        Network(),
        y=problem.y.flatten(1),
        A=lambda x: H(x).flatten(1),
        cov_y=IsotropicCovariance(problem.y.new_tensor(problem.sigma_y**2)),
        iterations=ITERATIONS,
    )
    sampler = DDIMSampler(conditional, steps=STEPS, silent=True)
    return sampler(sampler.init((len(problem.y), *H.signal_shape)).to(problem.y))


def deepinv_moment_matching(prior: Denoiser, problem: Problem, seed: int) -> Tensor:
    """deepinv's moment matching, which solves by three iterations of conjugate gradients."""
    from deepinv.physics import (  # pyright: ignore[reportMissingImports]
        GaussianNoise,
        LinearPhysics,
    )
    from deepinv.sampling import (  # pyright: ignore[reportMissingImports]
        AncestralSolver,
        MomentMatchingDataFidelity,
        PosteriorDiffusion,
        VarianceExplodingDiffusion,
    )

    H = problem.H
    on_rung(H, LinearOperator, "deepinv's moment matching", "a sampler of hdagger")
    assert isinstance(H, LinearOperator)
    physics = LinearPhysics(
        A=lambda x, **_: H(x.to(problem.y)),
        A_adjoint=lambda y, **_: H.adjoint(y),
        noise_model=GaussianNoise(problem.sigma_y),
    )
    generator = torch.Generator().manual_seed(seed)
    sampler = PosteriorDiffusion(
        MomentMatchingDataFidelity(),
        denoiser=_Module(prior),
        sde=VarianceExplodingDiffusion(sigma_min=LOWEST, sigma_max=HIGHEST),
        solver=AncestralSolver(t_start=1.0, t_end=0.0, num_steps=STEPS, rng=generator),
        minus_one_one=False,
    )
    return sampler(problem.y, physics, x_init=(len(problem.y), *H.signal_shape))


def deepinv_ddrm(prior: Denoiser, problem: Problem, seed: int) -> Tensor:
    """deepinv's DDRM on the singular values of H, one for each coefficient of the signal."""
    from deepinv.physics import (  # pyright: ignore[reportMissingImports]
        DecomposablePhysics,
        GaussianNoise,
    )
    from deepinv.sampling import DDRM  # pyright: ignore[reportMissingImports]

    H = problem.H
    on_rung(H, SVDOperator, "deepinv's DDRM", "moment matching")
    assert isinstance(H, SVDOperator)
    physics = DecomposablePhysics(
        U=lambda z: H.U(H.fit(z[:, : H.data_size], H.data_size)),
        U_adjoint=lambda y: H.fit(H.Ut(y)[:, : H.singular_values.shape[-1]], H.signal_size),
        V=H.V,
        V_adjoint=H.Vt,
        mask=H.fit(H.singular_values, H.signal_size)[None],
        img_size=H.signal_shape,
        noise_model=GaussianNoise(problem.sigma_y),
    )
    torch.manual_seed(seed)
    levels = torch.logspace(math.log10(10), math.log10(LOWEST), STEPS).tolist()
    return DDRM(_Module(prior), sigmas=levels)(problem.y, physics)


class _Module(nn.Module):
    """A prior as the module that deepinv asks for, at one level for the whole batch."""

    def __init__(self, prior: Denoiser) -> None:
        super().__init__()
        self.prior = prior

    def forward(self, x: Tensor, sigma: Tensor | float) -> Tensor:
        return self.prior(x, torch.as_tensor(sigma).flatten()[0].to(x))


PEERS: dict[str, Peer] = {
    "azula-mmps": azula_mmps,
    "deepinv-mm": deepinv_moment_matching,
    "deepinv-ddrm": deepinv_ddrm,
}

"""A conditional diffusion model: the denoiser of one task, which sees the data beside the noise.

    D(x, sigma, c) = E[x0 | x, y],    c the data in the signal's frame,

by the same network and loss as a prior's. Its walk is a prior's, and draws from p(x0 | y) without
guidance; another task needs another training. With the block averages of a picture as data it is
the upsampler of SR3 and of ADM.

References:
    Saharia et al., Palette: Image-to-Image Diffusion Models, 2022, section 3.
    https://arxiv.org/abs/2111.05826
    Saharia et al., Image Super-Resolution via Iterative Refinement (SR3), 2021, section 2.
    https://arxiv.org/abs/2104.07636
"""

from dataclasses import replace
from functools import partial
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from ..priors.base import Counted
from ..priors.unet import UNetDenoiser, UNetShape
from ..problem import Problem
from ..samplers.ddim import DDIM
from ..samplers.walk import karras_levels
from ..tensors import Noise, Signal
from .base import Specialist, in_frame, unlabelled

WALK = DDIM(eta=0.0, solver="multistep")
LEVELS = karras_levels(20, low=0.02, high=20.0)
"""Of Gaussian signals of a deviation of .14 to .6 the samples then have 1.02 to 1.04 times the
variance; ten steps of Heun's, as many calls, leave .71 to .78 of it."""


class Conditional(Specialist, UNetDenoiser):
    """E[x0 | x, y], and samples of p(x0 | y) by a walk of 20 calls.

    Args:
        shape: Of the network; as many channels are given as a picture has.
    """

    kind = "conditional"
    title: ClassVar[str] = "Palette"

    def __init__(self, shape: UNetShape) -> None:
        super().__init__(replace(shape, given=shape.channels))

    def taught(
        self,
        x0: Signal,
        given: Signal,
        sigma: Float[Tensor, " batch"],
        generator: torch.Generator,
    ) -> Tensor:
        noise = torch.randn(x0.shape, generator=generator, device=generator.device).to(x0)
        return self.loss(x0, sigma, noise, unlabelled(x0), given)

    def restored(self, problem: Problem, noise: Noise) -> tuple[Signal, int]:
        denoiser = Counted(partial(self, given=in_frame(problem)))
        return WALK.sample(denoiser, problem, LEVELS, noise), denoiser.nfe

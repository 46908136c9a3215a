"""Towards a label: wrappers that turn a prior into the prior of one class.

Both stand for p(x) p(label | x)^guidance, seen at every level as a denoiser: 1 is the plain
conditional prior, more is more typical than true. What comes out is a function D(x, sigma) as
every sampler wants it, and its gradient is that of the whole.

References:
    Ho and Salimans, Classifier-Free Diffusion Guidance, 2022, eq. 6.
    https://arxiv.org/abs/2207.12598
    Dhariwal and Nichol, Diffusion Models Beat GANs on Image Synthesis, 2021, section 4.
    https://arxiv.org/abs/2105.05233
"""

from collections.abc import Callable

import torch
from torch import Tensor

from ..tensors import Label, Level, Signal
from .base import Denoiser, LabelledDenoiser, moments

Classifier = Callable[[Signal, Level], Tensor]
"""log p(label | x), ``(batch, classes)``."""


class ClassifierFree:
    """D = D(x) + guidance (D(x, label) - D(x)), by two evaluations of the prior, or one at 1.

    Args:
        prior: Knows its classes, and, for a guidance other than 1, "any".
        label: One for all, or one for each row.
        guidance: How far towards the label.
    """

    def __init__(self, prior: LabelledDenoiser, label: int | Label, guidance: float = 1.0) -> None:
        self.prior = prior
        self.label = torch.as_tensor(label)
        self.guidance = guidance

    def __call__(self, x: Signal, sigma: Level) -> Signal:
        D = self.prior(x, sigma, _for_rows(self.label, x))
        if self.guidance == 1:
            return D
        free = self.prior(x, sigma)
        return free + self.guidance * (D - free)

    def moments(self, x: Signal, sigma: Level) -> tuple[Signal, Signal | None]:
        """See :func:`hdagger.priors.base.moments`; a guided mean is of no law with a variance."""
        if self.guidance != 1:
            return self(x, sigma), None
        return moments(self.prior, x, sigma, _for_rows(self.label, x))


class ClassifierGuided:
    """D + guidance sigma^2 grad log p(label | x), the gradient at the present x.

    Args:
        prior: Any denoiser.
        classifier: Of noisy pictures.
        label: One for all, or one for each row.
        guidance: How far towards the label.
    """

    def __init__(
        self, prior: Denoiser, classifier: Classifier, label: int | Label, guidance: float = 1.0
    ) -> None:
        self.prior = prior
        self.classifier = classifier
        self.label = torch.as_tensor(label)
        self.guidance = guidance

    def __call__(self, x: Signal, sigma: Level) -> Signal:
        rows = _for_rows(self.label, x)[:, None]

        def log_probability(x: Signal) -> Tensor:
            return self.classifier(x, sigma).gather(1, rows).sum()

        gradient = torch.func.grad(log_probability)(x)
        return self.prior(x, sigma) + self.guidance * sigma**2 * gradient


def _for_rows(label: Tensor, x: Signal) -> Label:
    return label.to(x.device).expand(len(x))

"""Physics as a projector of the sampler loop: the place that DDRM's projection onto data has too.

Where PhysDiff puts it is its schedule: see :class:`hdagger.samplers.ranges.Schedule`.
"""

from collections.abc import Mapping

import torch
from torch import Tensor

from ...problem import Problem
from ...tensors import Signal
from .physics import Projector, Report
from .prior import MotionPrior
from .windows import to_motions, to_signal


class OntoPhysics:
    """Predictions of the prior -> what the simulator makes of them.

    Args:
        prior: Whose signals they are.
        projector: Motions -> plausible ones.

    Attributes:
        reports: Of the latest projection, one for each row.
    """

    def __init__(self, prior: MotionPrior, projector: Projector) -> None:
        self.prior = prior
        self.projector = projector
        self.reports: list[Report] = []

    def __call__(self, D: Signal, problem: Problem) -> Signal:
        results = self.projector(to_motions(self.prior.denormalise(D.double().cpu())))
        self.reports = [report for _, report in results]
        return self.prior.normalise(to_signal([motion for motion, _ in results])).to(D)

    def told(self) -> Mapping[str, Tensor]:
        """The residual wrench that each sample took, and how many segments fell under it."""
        if not self.reports:
            return {}
        numbers = {
            "residual_force": [report.force for report in self.reports],
            "residual_torque": [report.torque for report in self.reports],
            "residual_vertical_force": [report.vertical for report in self.reports],
            "fell": [report.budgets.count(None) for report in self.reports],
        }
        return {name: torch.tensor(of_each) for name, of_each in numbers.items()}

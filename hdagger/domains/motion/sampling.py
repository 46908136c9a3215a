"""Drawing motions: from the prior, from what was observed, and with physics in the loop.

The physics is a projector of the sampler loop (:mod:`hdagger.samplers.projection`), the slot
that DDRM's projection onto data has too; where PhysDiff puts it is its schedule.

What can be observed is linear in the features: known frames, all of them with noise, or
trackers, whose world coordinates are sums of the root's and of those relative to it.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from ...errors import SettingError
from ...operators.base import SVDOperator
from ...operators.spectral import Identity, Inpainting
from ...priors.base import Denoiser
from ...samplers.base import CorrectedSampler, Problem, Sampler, Step, karras_levels
from ...samplers.ddim import DDIM
from ...samplers.ddrm import DDRM
from ...samplers.pigdm import PiGDM
from ...samplers.projection import Projected, schedule
from ...tensors import Data, SampleNoise, Signal, Spectrum
from . import rotations
from .clips import FPS, Motion
from .features import SIZE, WINDOW, column, decode, encode
from .metrics import root_relative_distance
from .physics import Projector, Report
from .prior import HIGH, LOW, MotionPrior
from .skeleton import HUMANOID

SHAPE = (WINDOW, SIZE)
STEPS = 50


def to_motions(prior: MotionPrior, x: Signal) -> list[Motion]:
    """Signals of the prior -> motions at its rate."""
    return [Motion(HUMANOID.normalise(decode(row)), FPS) for row in prior.restore(x.double())]


def to_signal(prior: MotionPrior, motions: Sequence[Motion]) -> Signal:
    """Motions of 60 frames at the prior's rate -> its signals, in float64."""
    return prior.normalise(encode(torch.stack([motion.qpos for motion in motions])))


def padded(motion: Motion) -> Motion:
    """A motion of 60 frames: the last one held."""
    hold = motion.qpos[-1:].expand(WINDOW - len(motion), -1)
    return motion.moved(torch.cat([motion.qpos, hold]))


def central_first(motions: Sequence[Motion]) -> list[Motion]:
    """The same motions, the one nearest to all others first, then the next."""
    apart = [sum(root_relative_distance(a, b) for b in motions) for a in motions]
    order = sorted(range(len(motions)), key=lambda k: apart[k])
    return [motions[k] for k in order]


class OntoPhysics:
    """A projector of the sampler loop: predictions -> what the simulator makes of them.

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
        results = self.projector(to_motions(self.prior, D))
        self.reports = [report for _, report in results]
        return to_signal(self.prior, [motion for motion, _ in results])


class FrameWise(SVDOperator):
    """The same linear map of the features in every frame: H = I (x) A.

    Args:
        rows: A, ``(data, features)``.
    """

    left: Tensor
    right: Tensor
    s: Tensor

    def __init__(self, rows: Float[Tensor, "data features"]) -> None:
        super().__init__()
        left, s, right = torch.linalg.svd(rows.double())
        self.register_buffer("left", left)
        self.register_buffer("right", right)
        self.register_buffer("s", s.repeat(WINDOW))
        self.seen = len(s)
        self.signal_shape = SHAPE
        self.data_shape = (WINDOW, len(rows))

    @property
    def singular_values(self) -> Tensor:
        return self.s

    def U(self, z: Spectrum) -> Data:
        return z.unflatten(1, self.data_shape) @ self.left.mT

    def Ut(self, y: Data) -> Spectrum:
        return (y @ self.left).flatten(1)

    def V(self, z: Spectrum) -> Signal:
        seen = z[:, : WINDOW * self.seen].unflatten(1, (WINDOW, -1))
        rest = z[:, WINDOW * self.seen :].unflatten(1, (WINDOW, -1))
        return torch.cat([seen, rest], -1) @ self.right

    def Vt(self, x: Signal) -> Spectrum:
        z = x @ self.right.mT
        return torch.cat([z[..., : self.seen].flatten(1), z[..., self.seen :].flatten(1)], 1)


def frames_known(prior: MotionPrior, motion: Motion, known: Bool[Tensor, " frames"]) -> Problem:
    """In-betweening: some frames of a motion of 60 frames, whose first stands at the origin."""
    H = Inpainting(known[:, None].expand(SHAPE).clone())
    return Problem(H(to_signal(prior, [motion])), H)


def noisy(prior: MotionPrior, motion: Motion, sigma_y: float) -> Problem:
    """Denoising: all features, with noise of sigma_y in the units of the prior."""
    H = Identity(SHAPE)
    return Problem(to_signal(prior, [motion]), H, sigma_y)


TRACKERS = {"head": ("head",), "hands": ("lhand", "rhand"), "feet": ("lankle", "rankle")}


def tracked(
    prior: MotionPrior, positions: Float[Tensor, "frames trackers 3"], points: Sequence[str],
    noise: float,
) -> Problem:  # fmt: skip
    """Trackers: positions of points in the world, with noise.

    Args:
        prior: The prior.
        positions: In metres; the first frame's root stands over the origin and faces x.
        points: Which points, of :attr:`Skeleton.points` and not the root.
        noise: Standard deviation of each coordinate, metres.
    """
    rows = torch.zeros(3 * len(points), SIZE, dtype=torch.float64)
    for k, point in enumerate(points):
        for axis in range(3):
            rows[3 * k + axis, column(point, axis)] = 1
            if axis < 2:
                rows[3 * k + axis, axis] = 1
    y = positions.flatten(1).double() - rows @ prior.mean.double()
    unit = float(prior.scale[column("head", 0)])
    H = FrameWise(rows * prior.scale.double() / unit)
    return Problem((y / unit)[None], H, noise / unit)


def points_named(names: Sequence[str]) -> tuple[str, ...]:
    """Points of the body that trackers are called after: ``head``, ``hands``, ``feet``, ...

    Raises:
        SettingError: There is no such point.
    """
    found: list[str] = []
    for name in names:
        points = TRACKERS.get(name, (name,))
        if not all(point in HUMANOID.points[1:] for point in points):
            choice = ", ".join([*TRACKERS, *HUMANOID.points[1:]])
            raise SettingError(f"Wanted trackers, some of {choice}, but got {name!r}.")
        found += points
    return tuple(dict.fromkeys(found))


def nothing_known() -> Problem:
    """No data: samples of the prior."""
    return Problem(torch.zeros(1, *SHAPE, dtype=torch.float64), Identity(SHAPE))


def draw(
    sampler: Sampler,
    problem: Problem,
    count: int,
    seed: int = 0,
    steps: int = STEPS,
    watch: Callable[[Step], None] = lambda step: None,
) -> Signal:
    """Samples, each with a stream of noise of its own, ``(count, 60, 106)``."""
    rows = replace(problem, y=problem.y.expand(count, *problem.y.shape[1:]))
    levels = karras_levels(steps, low=LOW, high=HIGH)
    return sampler.sample(rows, levels, SampleNoise(seed, [(0, k) for k in range(count)]), watch)


METHODS: dict[str, Callable[[Denoiser], Sampler]] = {"pigdm": PiGDM, "ddrm": DDRM}


def sampler_for(
    method: str, prior: MotionPrior, physics: str | None, projector: Projector | None
) -> Sampler:
    """How to draw from what is known, perhaps with physics in the loop.

    Args:
        method: A name in METHODS, or ``"ddim"`` for the prior alone, as PhysDiff has it.
        prior: The prior.
        physics: When to project, as a text; nothing for never.
        projector: Onto what.

    Raises:
        SettingError: There is no such method, or it has no slot for a projector.
    """
    makers: dict[str, Callable[[Denoiser], Sampler]] = METHODS | {
        "ddim": lambda prior: DDIM(prior, eta=0.0)
    }
    if method not in makers:
        raise SettingError(f"Wanted a method, one of {', '.join(METHODS)}, but got {method!r}.")
    sampler = makers[method](prior)
    if physics is None or projector is None:
        return sampler
    if not isinstance(sampler, CorrectedSampler):
        raise SettingError(f"{method} has no place for --physics. Use --method pigdm.")
    return Projected(sampler, schedule(physics), OntoPhysics(prior, projector))


def interpolated(motion: Motion, known: Bool[Tensor, " frames"]) -> Motion:
    """The baseline: unknown frames between known ones, along straight lines and great circles."""
    at, qpos = known.nonzero()[:, 0], motion.qpos.clone()
    for frame in (~known).nonzero()[:, 0].tolist():
        before, after = at[at < frame], at[at > frame]
        low = int(before[-1]) if len(before) else int(after[0])
        high = int(after[0]) if len(after) else low
        share = torch.tensor((frame - low) / max(high - low, 1), dtype=qpos.dtype)
        qpos[frame] = torch.lerp(motion.qpos[low], motion.qpos[high], share)
        columns = motion.skeleton.quaternions
        turns = rotations.slerp(motion.qpos[low][columns], motion.qpos[high][columns], share)
        qpos[frame, columns.flatten()] = turns.flatten()
    return motion.moved(qpos)


def smoothly_interpolated(motion: Motion, known: Bool[Tensor, " frames"]) -> Motion:
    """The other baseline: cubic Hermite curves, which keep the velocities at the edges of gaps.

    Rotations are vectors from the frame before the gap. Two frames on each side of a gap have to
    be known.
    """
    qpos, columns = motion.qpos.clone(), motion.skeleton.quaternions
    at = known.nonzero()[:, 0]
    for low, high in zip(at[:-1].tolist(), at[1:].tolist(), strict=True):
        if high == low + 1:
            continue
        edges = motion.qpos[[low - 1, low, high, high + 1]]
        start = edges[1, columns]
        vectors = rotations.to_vector(
            rotations.multiply(rotations.inverse(start), edges[:, columns])
        )
        before, left, right, after = torch.cat([edges, vectors.flatten(1)], 1)
        u = torch.linspace(0, 1, high - low + 1, dtype=qpos.dtype)[1:-1, None]
        bend = (1 - u) * (left - before) - u * (after - right)
        curve = torch.lerp(left, right, u**2 * (3 - 2 * u)) + (high - low) * u * (1 - u) * bend
        turns = rotations.from_vector(curve[:, qpos.shape[1] :].unflatten(1, (-1, 3)))
        qpos[low + 1 : high] = curve[:, : qpos.shape[1]]
        qpos[low + 1 : high, columns.flatten()] = rotations.multiply(start, turns).flatten(1)
    return motion.moved(qpos)


def with_known(
    motion: Motion, given: Motion, known: Bool[Tensor, " frames"], blend: int = 6
) -> Motion:
    """The motion with its known frames as given, the difference fading over ``blend`` frames."""
    at = known.nonzero()[:, 0]
    frames = torch.arange(len(motion))
    nearest = at[(frames[:, None] - at).abs().argmin(1)]
    share = (1 - (frames - nearest).abs().double() / (blend + 1)).clamp(min=0)[:, None]
    share = share**2 * (3 - 2 * share)
    qpos = motion.qpos + share * (given.qpos - motion.qpos)[nearest]
    columns = motion.skeleton.quaternions
    mine, theirs = motion.qpos[:, columns], given.qpos[:, columns]
    gap = rotations.multiply(theirs[nearest], rotations.inverse(mine[nearest]))
    fading = rotations.from_vector(share[..., None] * rotations.to_vector(gap))
    qpos[:, columns.flatten()] = rotations.multiply(fading, mine).flatten(1)
    qpos[known] = given.qpos[known]
    return motion.moved(qpos)

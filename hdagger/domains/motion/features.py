"""Motions as the numbers that a network sees, and back.

A frame is 106 numbers: the root's position (3) and its rotation in six (6), the ball joints in
six numbers each, the hinge angles, then every other point: x and y relative to the root, and
its height. World positions are sums of two of them, so that trackers stay linear.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from . import rotations
from .skeleton import HUMANOID

WINDOW = 60
"""Frames of a signal of the prior: two seconds."""

BALLS = tuple(body.name for body in HUMANOID.bodies if body.joint == "ball")
HINGES = tuple(body.name for body in HUMANOID.bodies if body.joint == "hinge")
ROOT = slice(0, 3)
HINGE = slice(9 + 6 * len(BALLS), 9 + 6 * len(BALLS) + len(HINGES))
POINTS = slice(HINGE.stop, HINGE.stop + 3 * (len(HUMANOID.points) - 1))
SIZE = POINTS.stop
TURNS = slice(3, 3 + 6 * (1 + len(BALLS)))

_ball_columns = torch.cat(
    [torch.arange(3, 7)]
    + [torch.arange(HUMANOID.columns[name].start, HUMANOID.columns[name].stop) for name in BALLS]
)
_hinge_columns = torch.tensor([HUMANOID.columns[name].start for name in HINGES])


def encode(qpos: Float[Tensor, "*frames size"]) -> Float[Tensor, "*frames features"]:
    """Coordinates -> features."""
    points = HUMANOID.place_points(HUMANOID.pose(qpos))[..., 1:, :]
    points = points - qpos[..., None, :3] * qpos.new_tensor([1, 1, 0])
    turns = rotations.to_matrix(qpos[..., _ball_columns].unflatten(-1, (-1, 4)))
    return torch.cat(
        [
            qpos[..., :3],
            rotations.to_six(turns).flatten(-2),
            qpos[..., _hinge_columns],
            points.flatten(-2),
        ],
        -1,
    )


def decode(features: Float[Tensor, "*frames features"]) -> Float[Tensor, "*frames size"]:
    """Features -> coordinates; the points, which the rotations already tell, are not used."""
    qpos = features.new_zeros(*features.shape[:-1], HUMANOID.size)
    qpos[..., :3] = features[..., ROOT]
    turns = rotations.from_six(features[..., TURNS].unflatten(-1, (-1, 6)))
    qpos[..., _ball_columns] = rotations.from_matrix(turns).flatten(-2)
    qpos[..., _hinge_columns] = features[..., HINGE]
    return qpos


def canonical(
    features: Float[Tensor, "batch frames features"],
) -> Float[Tensor, "batch frames features"]:
    """Moved and turned so that the first frame stands over the origin and faces x."""
    x = features.clone()
    x[..., :2] -= x[:, :1, :2].clone()
    forward = rotations.unit(x[:, 0, 3:5])
    c, s = forward[:, 0], forward[:, 1]
    turn = torch.stack([torch.stack([c, s], -1), torch.stack([-s, c], -1)], -2)
    for columns in (slice(0, 9), POINTS):
        vectors = x[..., columns].unflatten(-1, (-1, 3))
        vectors[..., :2] = vectors[..., :2] @ turn[:, None].mT
    return x


def column(point: str, axis: int) -> int:
    """Where the coordinate of a point is, relative to the root in x and y."""
    return POINTS.start + 3 * (HUMANOID.points.index(point) - 1) + axis

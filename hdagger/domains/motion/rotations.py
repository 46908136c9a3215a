"""Rotations as unit quaternions (w, x, y, z), on the last axis of tensors of any shape."""

import torch
from jaxtyping import Float
from torch import Tensor

SMALL = 1e-12


def multiply(a: Float[Tensor, "*#n 4"], b: Float[Tensor, "*#n 4"]) -> Float[Tensor, "*n 4"]:
    """The rotation b, then a."""
    aw, av, bw, bv = a[..., :1], a[..., 1:], b[..., :1], b[..., 1:]
    w = aw * bw - (av * bv).sum(-1, keepdim=True)
    return torch.cat(
        [w, aw * bv + bw * av + torch.linalg.cross(*torch.broadcast_tensors(av, bv))], -1
    )


def inverse(q: Float[Tensor, "*n 4"]) -> Float[Tensor, "*n 4"]:
    return q * q.new_tensor([1, -1, -1, -1])


def unit(v: Float[Tensor, "*n k"]) -> Float[Tensor, "*n k"]:
    return v / v.norm(dim=-1, keepdim=True).clamp(min=SMALL)


def from_vector(v: Float[Tensor, "*n 3"]) -> Float[Tensor, "*n 4"]:
    """The rotation about v by \\|v\\| radians: the exponential map."""
    half = v.norm(dim=-1, keepdim=True) / 2
    return torch.cat([half.cos(), v / 2 * torch.sinc(half / torch.pi)], -1)


def to_vector(q: Float[Tensor, "*n 4"]) -> Float[Tensor, "*n 3"]:
    """The logarithm: axis times angle, the angle at most pi."""
    q = torch.where(q[..., :1] < 0, -q, q)
    sine = q[..., 1:].norm(dim=-1, keepdim=True)
    angle = 2 * torch.atan2(sine, q[..., :1])
    return q[..., 1:] * torch.where(sine > SMALL, angle / sine.clamp(min=SMALL), 2.0)


def to_matrix(q: Float[Tensor, "*n 4"]) -> Float[Tensor, "*n 3 3"]:
    w, x, y, z = q.unbind(-1)
    rows = [
        1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y),
        2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x),
        2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y),
    ]  # fmt: skip
    return torch.stack(rows, -1).unflatten(-1, (3, 3))


def from_matrix(m: Float[Tensor, "*n 3 3"]) -> Float[Tensor, "*n 4"]:
    """By the largest of the four components, which keeps the division safe."""
    xx, yy, zz = m[..., 0, 0], m[..., 1, 1], m[..., 2, 2]
    squares = torch.stack(
        [1 + xx + yy + zz, 1 + xx - yy - zz, 1 - xx + yy - zz, 1 - xx - yy + zz], -1
    )
    wx, wy, wz = (
        m[..., 2, 1] - m[..., 1, 2],
        m[..., 0, 2] - m[..., 2, 0],
        m[..., 1, 0] - m[..., 0, 1],
    )
    xy, xz, yz = (
        m[..., 1, 0] + m[..., 0, 1],
        m[..., 0, 2] + m[..., 2, 0],
        m[..., 2, 1] + m[..., 1, 2],
    )
    products = torch.stack(
        [
            torch.stack([squares[..., 0], wx, wy, wz], -1),
            torch.stack([wx, squares[..., 1], xy, xz], -1),
            torch.stack([wy, xy, squares[..., 2], yz], -1),
            torch.stack([wz, xz, yz, squares[..., 3]], -1),
        ],
        -2,
    )
    largest = squares.argmax(-1)[..., None, None].expand(*squares.shape[:-1], 1, 4)
    return unit(products.gather(-2, largest).squeeze(-2))


def to_six(m: Float[Tensor, "*n 3 3"]) -> Float[Tensor, "*n 6"]:
    """The first two columns, which a network can predict without a jump.

    References:
        Zhou et al., On the Continuity of Rotation Representations in Neural Networks, 2019.
        https://arxiv.org/abs/1812.07035
    """
    return m[..., :2].mT.flatten(-2)


def from_six(six: Float[Tensor, "*n 6"]) -> Float[Tensor, "*n 3 3"]:
    """The nearest rotation in the sense of Gram and Schmidt."""
    first = unit(six[..., :3])
    second = unit(six[..., 3:] - (first * six[..., 3:]).sum(-1, keepdim=True) * first)
    return torch.stack([first, second, torch.linalg.cross(first, second)], -1)


def between(a: Float[Tensor, "*#n 3"], b: Float[Tensor, "*#n 3"]) -> Float[Tensor, "*n 4"]:
    """The shortest rotation from the direction a to the direction b."""
    a, b = torch.broadcast_tensors(unit(a), unit(b))
    w = 1 + (a * b).sum(-1, keepdim=True)
    sideways = torch.linalg.cross(a, unit(a.roll(1, -1) + a.new_tensor([0.1, 0.2, 0.3])))
    axis = torch.where(w > 1e-9, torch.linalg.cross(a, b), sideways)
    return unit(torch.cat([w, axis], -1))


def slerp(
    a: Float[Tensor, "*#n 4"], b: Float[Tensor, "*#n 4"], share: Tensor
) -> Float[Tensor, "*n 4"]:
    """The rotation ``share`` of the shorter way from a to b."""
    turn = to_vector(multiply(inverse(a), b))
    return multiply(a, from_vector(share * turn))


def continuous(q: Float[Tensor, "frames *joints 4"]) -> Float[Tensor, "frames *joints 4"]:
    """The same rotations, each quaternion on the side of the one before."""
    flips = torch.where((q[1:] * q[:-1]).sum(-1, keepdim=True) < 0, -1.0, 1.0).to(q)
    return torch.cat([q[:1], q[1:] * flips.cumprod(0)])


def about_z(angle: Float[Tensor, "*n"]) -> Float[Tensor, "*n 4"]:
    nothing = torch.zeros_like(angle)
    return torch.stack([(angle / 2).cos(), nothing, nothing, (angle / 2).sin()], -1)

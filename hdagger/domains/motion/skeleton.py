"""The humanoid: a table of bodies, its forward kinematics, and its MJCF, made from the table.

45 kg and 1.6 m; lengths and masses are those that DeepMimic published. Coordinates ``qpos``
of a frame, 43 numbers: root position (3) and quaternion (4), then for every other body in the
order of the table a quaternion (4, a ball joint) or an angle (1, a hinge).

References:
    Peng, Abbeel, Levine and van de Panne, DeepMimic, 2018. https://arxiv.org/abs/1804.02717
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal
from xml.etree import ElementTree

import torch
from jaxtyping import Float
from torch import Tensor

from . import rotations

Vector = tuple[float, float, float]
HINGE_AXIS = (0.0, -1.0, 0.0)


@dataclass(frozen=True)
class Solid:
    """A shape that a body is made of; a capsule's axis is its z.

    Attributes:
        kind: What it is.
        mass: In kg.
        centre: In the body's frame, metres.
        size: Radius; radius and half length; or half sides.
    """

    kind: Literal["sphere", "capsule", "box"]
    mass: float
    centre: Vector
    size: tuple[float, ...]


@dataclass(frozen=True)
class Body:
    """A body and the joint that ties it to its parent.

    Attributes:
        name: Of both.
        parent: Name of the parent, none for the root.
        joint: Its kind; a hinge turns about -y.
        offset: Of the joint, in the parent's frame.
        solids: What it is made of.
        tip: The name and place of a point at its far end.
        stiffness: Of the servo that drives the joint, N m / rad.
        torque: The most that the servo gives, N m.
    """

    name: str
    parent: str | None
    joint: Literal["free", "ball", "hinge"]
    offset: Vector
    solids: tuple[Solid, ...]
    tip: tuple[str, Vector] | None = None
    stiffness: float = 0.0
    torque: float = 0.0

    @property
    def width(self) -> int:
        """How many coordinates the joint has."""
        return {"free": 7, "ball": 4, "hinge": 1}[self.joint]


@dataclass(frozen=True)
class Pose:
    """Where the bodies are.

    Attributes:
        position: Of the joints, ``(*frames, bodies, 3)``.
        rotation: Of the bodies, ``(*frames, bodies, 3, 3)``.
    """

    position: Float[Tensor, "*frames bodies 3"]
    rotation: Float[Tensor, "*frames bodies 3 3"]

    def place(self, body: int, points: Float[Tensor, "points 3"]) -> Float[Tensor, "*f points 3"]:
        """Points of a body's frame in the world."""
        turned = points.to(self.position) @ self.rotation[..., body, :, :].mT
        return self.position[..., body, None, :] + turned


@dataclass(frozen=True)
class Skeleton:
    """A tree of bodies, parents first, children depth first as MuJoCo orders them."""

    bodies: tuple[Body, ...]

    @cached_property
    def names(self) -> tuple[str, ...]:
        return tuple(body.name for body in self.bodies)

    @cached_property
    def parents(self) -> tuple[int, ...]:
        return tuple(
            -1 if body.parent is None else self.names.index(body.parent) for body in self.bodies
        )

    @cached_property
    def columns(self) -> dict[str, slice]:
        """Where in ``qpos`` the rotation of each joint is; of the root, its quaternion."""
        end, found = 3, {}
        for body in self.bodies:
            width = 4 if body.joint == "free" else body.width
            found[body.name] = slice(end, end + width)
            end += width
        return found

    @property
    def size(self) -> int:
        """How many coordinates a frame has."""
        return sum(body.width for body in self.bodies)

    @cached_property
    def quaternions(self) -> Tensor:
        """The columns of every quaternion: ``(balls and root, 4)``."""
        starts = [self.columns[body.name].start for body in self.bodies if body.joint != "hinge"]
        return torch.tensor(starts)[:, None] + torch.arange(4)

    @cached_property
    def points(self) -> tuple[str, ...]:
        """The joints and the tips that errors are measured on."""
        return (*self.names, *(body.tip[0] for body in self.bodies if body.tip))

    def index(self, name: str) -> int:
        return self.names.index(name)

    def rest(self) -> Float[Tensor, " size"]:
        """Standing upright with the arms down, the root at the origin."""
        qpos = torch.zeros(self.size, dtype=torch.float64)
        qpos[self.quaternions[:, 0]] = 1
        return qpos

    def normalise(self, qpos: Float[Tensor, "frames size"]) -> Float[Tensor, "frames size"]:
        """The same motion with unit quaternions that do not jump from frame to frame."""
        qpos = qpos.clone()
        turns = rotations.continuous(rotations.unit(qpos[:, self.quaternions]))
        qpos[:, self.quaternions.flatten()] = turns.flatten(1)
        return qpos

    def local(self, qpos: Float[Tensor, "*frames size"]) -> Float[Tensor, "*frames bodies 4"]:
        """The rotation of every joint, hinges too."""
        axis = qpos.new_tensor(HINGE_AXIS)
        turns = []
        for body in self.bodies:
            values = qpos[..., self.columns[body.name]]
            turns.append(rotations.from_vector(values * axis) if body.joint == "hinge" else values)
        return torch.stack(turns, -2)

    def pose(self, qpos: Float[Tensor, "*frames size"]) -> Pose:
        """Forward kinematics: differentiable, for any number of leading axes."""
        local = rotations.to_matrix(self.local(qpos))
        position, rotation = [qpos[..., :3]], [local[..., 0, :, :]]
        offsets = qpos.new_tensor([body.offset for body in self.bodies])
        for k, parent in enumerate(self.parents[1:], start=1):
            position.append(position[parent] + rotation[parent] @ offsets[k])
            rotation.append(rotation[parent] @ local[..., k, :, :])
        return Pose(torch.stack(position, -2), torch.stack(rotation, -3))

    def place_points(self, pose: Pose) -> Float[Tensor, "*frames points 3"]:
        """Where ``points`` are."""
        tips = [
            pose.place(k, _tensor([body.tip[1]])) for k, body in enumerate(self.bodies) if body.tip
        ]
        return torch.cat([pose.position, *tips], -2)

    @cached_property
    def _solids(self) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        """Of every solid: its body, centre, mass, radius, and half of what the radius rounds."""
        rows = []
        for k, body in enumerate(self.bodies):
            for solid in body.solids:
                match solid.kind:
                    case "sphere":
                        radius, half = solid.size[0], (0.0, 0.0, 0.0)
                    case "capsule":
                        radius, half = solid.size[0], (0.0, 0.0, solid.size[1])
                    case "box":
                        radius, half = 0.0, solid.size
                rows.append((k, solid.centre, solid.mass, radius, half))
        body, *rest = zip(*rows, strict=True)
        centre, mass, radius, half = map(_tensor, rest)
        return torch.tensor(body), centre, mass, radius, half

    def centre_of_mass(self, pose: Pose) -> Float[Tensor, "*frames 3"]:
        body, centre, mass, _, _ = self._solids
        turned = (pose.rotation[..., body, :, :] * centre.to(pose.position)[:, None]).sum(-1)
        share = (mass / mass.sum()).to(turned)
        return ((pose.position[..., body, :] + turned) * share[:, None]).sum(-2)

    def lowest(self, pose: Pose) -> Float[Tensor, "*frames"]:
        """Height of the lowest point of the surface, exactly."""
        body, *rest = self._solids
        centre, _, radius, half = (values.to(pose.position) for values in rest)
        up = pose.rotation[..., body, 2, :]
        middle = pose.position[..., body, 2] + (up * centre).sum(-1)
        return (middle - radius - (up.abs() * half).sum(-1)).amin(-1)

    @cached_property
    def feet(self) -> tuple[int, ...]:
        """The bodies that are boxes."""
        return tuple(k for k, body in enumerate(self.bodies) if body.solids[0].kind == "box")

    def soles(self, pose: Pose) -> Float[Tensor, "*frames feet 4 3"]:
        """The corners of the soles: heels (right, left), then toes."""
        corners = []
        for k in self.feet:
            solid = self.bodies[k].solids[0]
            signs = _tensor([[-1, -1, -1], [-1, 1, -1], [1, -1, -1], [1, 1, -1]])
            corners.append(pose.place(k, _tensor(solid.centre) + signs * _tensor(solid.size)))
        return torch.stack(corners, -3)

    def mjcf(self) -> ElementTree.Element:
        """The bodies on a floor, for MuJoCo: no servos yet."""
        root = ElementTree.Element("mujoco")
        world = ElementTree.SubElement(root, "worldbody")
        ElementTree.SubElement(
            world, "geom", name="floor", type="plane", size="40 40 1", contype="2", conaffinity="1"
        )
        made = {}
        for body in self.bodies:
            above = world if body.parent is None else made[body.parent]
            node = ElementTree.SubElement(above, "body", name=body.name, pos=_text(body.offset))
            made[body.name] = node
            if body.joint == "free":
                ElementTree.SubElement(node, "freejoint", name=body.name)
            else:
                axis = {"axis": _text(HINGE_AXIS)} if body.joint == "hinge" else {}
                ElementTree.SubElement(node, "joint", axis, name=body.name, type=body.joint)
            for solid in body.solids:
                ElementTree.SubElement(
                    node, "geom", type=solid.kind, size=_text(solid.size), mass=str(solid.mass),
                    pos=_text(solid.centre), contype="1", conaffinity="0",
                )  # fmt: skip
        return root


def _tensor(numbers: Sequence[Any]) -> Tensor:
    return torch.tensor(numbers, dtype=torch.float64)


def _text(numbers: tuple[float, ...]) -> str:
    return " ".join(f"{number:.6g}" for number in numbers)


def _arm(side: str, left: int) -> tuple[Body, ...]:
    upper = Solid("capsule", 1.5, (0, 0, -0.14), (0.045, 0.09))
    lower = Solid("capsule", 1.0, (0, 0, -0.12), (0.04, 0.0675))
    hand = (0.0, 0.0, -0.2589)
    return (
        Body(f"{side}shoulder", "chest", "ball", (-0.024, 0.1831 * left, 0.2435), (upper,),
             stiffness=400, torque=150),
        Body(f"{side}elbow", f"{side}shoulder", "hinge", (0, 0, -0.2748),
             (lower, Solid("sphere", 0.5, hand, (0.04,))), (f"{side}hand", hand),
             stiffness=300, torque=90),
    )  # fmt: skip


def _leg(side: str, left: int) -> tuple[Body, ...]:
    thigh = Solid("capsule", 4.5, (0, 0, -0.21), (0.055, 0.15))
    shin = Solid("capsule", 3.0, (0, 0, -0.2), (0.05, 0.155))
    foot = Solid("box", 1.0, (0.045, 0, -0.0225), (0.0885, 0.045, 0.0275))
    return (
        Body(f"{side}hip", "root", "ball", (0, 0.0849 * left, 0), (thigh,),
             stiffness=500, torque=300),
        Body(f"{side}knee", f"{side}hip", "hinge", (0, 0, -0.4215), (shin,),
             stiffness=500, torque=225),
        Body(f"{side}ankle", f"{side}knee", "ball", (0, 0, -0.4099), (foot,),
             stiffness=150, torque=135),
    )  # fmt: skip


HUMANOID = Skeleton(
    (
        Body("root", None, "free", (0, 0, 0), (Solid("sphere", 6, (0, 0, 0.07), (0.09,)),)),
        Body("chest", "root", "ball", (0, 0, 0.2362),
             (Solid("sphere", 14, (0, 0, 0.12), (0.11,)),), stiffness=1000, torque=300),
        Body("neck", "chest", "ball", (0, 0, 0.2239),
             (Solid("sphere", 2, (0, 0, 0.175), (0.1025,)),), ("head", (0, 0, 0.175)),
             stiffness=100, torque=75),
        *_arm("r", -1),
        *_arm("l", 1),
        *_leg("r", -1),
        *_leg("l", 1),
    )
)  # fmt: skip

"""The humanoid in MuJoCo: servos at the joints, a bounded residual wrench at the root.

The wrench has two horizontal forces and a torque, and no vertical force, which could hold a
floating body up. All control is MuJoCo's own (servos, and a guide body that the root's torque
turns to), so that one call simulates a whole motion, and a batch of them on all cores.

The damping d of the servos is stiff for a step h. MuJoCo's implicit integrators solve
(M + h d) a = f for it, but find the forces of contact with M alone, which are then too weak: feet
creep and bounce. Explicit steps with h d added to the inertia of each joint are the same motion
in the air, and contacts know of it. Set-points between frames lie on splines, since a velocity
that jumps, and with it the damper's force, shakes the feet loose at every frame.

References:
    Todorov, Erez and Tassa, MuJoCo: A physics engine for model-based control, IROS 2012.
    https://doi.org/10.1109/IROS.2012.6386109
    Yuan and Kitani, Residual Force Control for Agile Human Behavior Imitation, NeurIPS 2020.
    https://arxiv.org/abs/2006.07364
"""

import ctypes.util
import os
from dataclasses import dataclass
from functools import cache, cached_property, lru_cache
from typing import Any
from xml.etree import ElementTree

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from ...errors import HDaggerError
from . import rotations
from .clips import Motion
from .skeleton import HUMANOID, Skeleton

STEP = 1 / 180
ARMATURE = 0.02
"""Inertia of a joint's drive, kg m^2."""

LEAD = 0.1
"""Seconds: damping over stiffness of the servos, by which set-points run ahead."""

RESIDUAL = (0, 1, 3, 4, 5)
"""The components of a wrench (force, torque) that the residual has: not the vertical force."""

MASS = 45.0

ROOT_TURN = slice(4, 8)
"""The root's quaternion in a full state of MuJoCo, after the time and the root's position."""


@dataclass(frozen=True)
class Simulator:
    """The humanoid with servos and a residual wrench, in MuJoCo.

    Its sensors are the force on the root that neither gravity nor the ground explains, in the
    root's axes, and the three components of the residual torque.

    Attributes:
        skeleton: The humanoid.
        force: Bound of each horizontal component of the residual force, N.
        torque: Bound of each component of the residual torque, N m.
        substeps: Simulation steps a frame.
        fps: Frames a second.
    """

    skeleton: Skeleton
    force: float
    torque: float
    substeps: int
    fps: float

    @cached_property
    def model(self) -> Any:
        """The MuJoCo model."""
        mujoco = require_mujoco()
        root = self.skeleton.mjcf()
        ElementTree.SubElement(
            root, "option", timestep=f"{1 / (self.fps * self.substeps):.10f}",
            integrator="Euler", iterations="20", cone="elliptic",
        )  # fmt: skip
        world = root.find("worldbody")
        assert world is not None
        floor, body = world.find("geom"), world.find("body")
        assert floor is not None
        assert body is not None
        floor.attrib |= {
            "friction": "1.2 .01 .001", "solref": f"{2 * STEP:.4f} 1", "solimp": ".98 .999 .0005",
        }  # fmt: skip
        ElementTree.SubElement(body, "site", name="root")
        ElementTree.SubElement(world, "site", name="world")
        guide = ElementTree.SubElement(world, "body", name="guide", mocap="true")
        ElementTree.SubElement(guide, "site", name="guide")
        actuators = ElementTree.SubElement(root, "actuator")
        sensors = ElementTree.SubElement(root, "sensor")
        ElementTree.SubElement(sensors, "force", site="root")
        for joint in self.skeleton.bodies[1:]:
            axes = ("1 0 0", "0 1 0", "0 0 1") if joint.joint == "ball" else ("1",)
            damping = joint.stiffness * LEAD
            for node in root.iterfind(f".//joint[@name='{joint.name}']"):
                node.set("armature", str(ARMATURE + damping / (self.fps * self.substeps)))
            for axis in axes:
                ElementTree.SubElement(
                    actuators, "position", joint=joint.name, gear=axis, kp=str(joint.stiffness),
                    kv=str(damping), forcerange=f"-{joint.torque} {joint.torque}",
                )  # fmt: skip
        for number, axis in enumerate(RESIDUAL):
            linear = axis < 3
            kp, kv = (100 * MASS, 20 * MASS) if linear else (1500, 150)
            most = max(self.force if linear else self.torque, 1e-9)
            ElementTree.SubElement(
                actuators, "general", name=f"residual{number}", site="root",
                refsite="world" if linear else "guide",
                gear=" ".join("1" if k == axis else "0" for k in range(6)), biastype="affine",
                gainprm=str(kp), biasprm=f"0 -{kp} -{kv}", forcerange=f"-{most} {most}",
            )  # fmt: skip
            if not linear:
                ElementTree.SubElement(sensors, "actuatorfrc", actuator=f"residual{number}")
        return mujoco.MjModel.from_xml_string(ElementTree.tostring(root, encoding="unicode"))

    def start(self, qpos: Float[Tensor, " size"], velocity: np.ndarray) -> np.ndarray:
        """The full state of MuJoCo, the body lifted out of the ground."""
        mujoco = require_mujoco()
        data = mujoco.MjData(self.model)
        data.qpos[:], data.qvel[:] = qpos.numpy(), velocity
        data.qpos[2] -= min(0.0, float(self.skeleton.lowest(self.skeleton.pose(qpos))))
        state = np.empty(mujoco.mj_stateSize(self.model, _full()))
        mujoco.mj_getState(self.model, data, state, _full())
        return state

    def velocity(self, first: Tensor, second: Tensor) -> np.ndarray:
        """Generalised velocity from one frame to the next."""
        mujoco = require_mujoco()
        found = np.zeros(self.model.nv)
        mujoco.mj_differentiatePos(self.model, found, 1 / self.fps, first.numpy(), second.numpy())
        return found


@lru_cache(maxsize=64)
def simulator(budget: tuple[float, float], substeps: int, fps: float) -> Simulator:
    return Simulator(HUMANOID, *budget, substeps, fps)


@cache
def offscreen() -> str | None:
    """The library that MuJoCo can draw with where there is no display."""
    return next((name for name in ("EGL", "OSMesa") if ctypes.util.find_library(name)), None)


def require_mujoco() -> Any:
    """The module mujoco, an optional dependency.

    Raises:
        HDaggerError: It is not installed.
    """
    if library := offscreen():
        os.environ.setdefault("MUJOCO_GL", library.lower())
    try:
        import mujoco
        import mujoco.rollout
    except ImportError as error:
        raise HDaggerError(
            "Wanted to simulate, but MuJoCo is not installed. Run: pip install 'hdagger[motion]'"
        ) from error
    return mujoco


def _full() -> Any:
    return require_mujoco().mjtState.mjSTATE_FULLPHYSICS


def set_points(motion: Motion) -> Float[Tensor, "frames servos"]:
    """Of the servos: rotation vectors of the balls, angles of the hinges."""
    found = []
    for body in motion.skeleton.bodies[1:]:
        values = motion.qpos[:, motion.skeleton.columns[body.name]]
        found.append(rotations.to_vector(values) if body.joint == "ball" else values)
    return torch.cat(found, 1)


def between_frames(x: Tensor, substeps: int) -> Tensor:
    """A row for every simulation step, on cubic Hermite splines."""
    t = (torch.arange(substeps, dtype=x.dtype) / substeps)[:, None]
    slope = torch.gradient(x, dim=0)[0][:, None]
    start, way, first, last = x[:-1, None], x.diff(dim=0)[:, None], slope[:-1], slope[1:]
    bend = 3 * way - 2 * first - last + t * (first + last - 2 * way)
    return (start + t * (first + t * bend)).flatten(0, 1)


def control(motion: Motion, points: Tensor, substeps: int) -> np.ndarray:
    """What MuJoCo is given at every step: set-points ahead by the lead, and the root's guide."""
    step = 1 / (motion.fps * substeps)
    joints = between_frames(points, substeps)
    joints = joints + LEAD * torch.gradient(joints, spacing=step, dim=0)[0]
    place = between_frames(motion.qpos[:, :3], substeps)
    ahead = place + 2 * LEAD * torch.gradient(place, spacing=step, dim=0)[0]
    turn = rotations.unit(between_frames(motion.qpos[:, 3:7], substeps))
    spin = rotations.to_vector(rotations.multiply(rotations.inverse(turn[:-1]), turn[1:])) / step
    lead = rotations.from_vector(LEAD * torch.cat([spin, spin[-1:]]))
    torque = torch.zeros(len(joints), 3, dtype=joints.dtype)
    return torch.cat(
        [joints, ahead[:, :2], torque, place, rotations.multiply(turn, lead)], 1
    ).numpy()


def roll(
    humanoid: Simulator, starts: np.ndarray, controls: np.ndarray, threads: int
) -> tuple[np.ndarray, np.ndarray]:
    """States after every step, ``(batch, steps, ...)``, and the residual wrenches of it.

    A wrench is ``(batch, steps, 6)``: the force in the world, as the simulation measures it, and
    the torque.
    """
    mujoco = require_mujoco()
    state = mujoco.mjtState
    spec = state.mjSTATE_CTRL | state.mjSTATE_MOCAP_POS | state.mjSTATE_MOCAP_QUAT
    count = min(threads, len(starts))
    data = [mujoco.MjData(humanoid.model) for _ in range(count)]
    mujoco.set_mju_user_warning(lambda message: None)  # or it writes MUJOCO_LOG.TXT
    try:
        states, sensed = mujoco.rollout.rollout(
            humanoid.model, data, starts, np.ascontiguousarray(controls), control_spec=int(spec)
        )
    finally:
        mujoco.set_mju_user_warning(None)
    turns = np.concatenate([starts[:, None], states[:, :-1]], 1)[..., ROOT_TURN]
    axes = rotations.to_matrix(rotations.unit(torch.from_numpy(turns))).numpy()
    force = np.einsum("btij,btj->bti", axes, sensed[..., :3])
    return states, np.concatenate([force, sensed[..., 3:]], -1)

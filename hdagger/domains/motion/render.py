"""Pictures of motions: strips, animations, and the height of the feet over time.

Where EGL or OSMesa is installed MuJoCo's renderer draws the bodies; elsewhere they are drawn as
sticks, which needs nothing but Pillow.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import torch
from PIL import Image, ImageDraw
from torch import Tensor

from .clips import Motion
from .simulator import offscreen, require_mujoco
from .skeleton import HUMANOID, Body

SIZE = (320, 320)
SKY, GROUND, LINE = (242, 244, 247), (222, 226, 231), (200, 205, 212)
SIDES = {"r": (205, 92, 70), "l": (62, 112, 196)}
TRUNK = (110, 114, 122)
AZIMUTH, TILT, SPAN = 0.6, 0.25, 2.3
"""The camera's way round, its tilt down, in radians, and the metres that it sees."""

Draw = Callable[[Tensor], Image.Image]
"""Coordinates of one frame -> its picture."""


def colour(body: Body) -> tuple[int, int, int]:
    return SIDES.get(body.name[0], TRUNK) if body.name != "root" else TRUNK


@contextmanager
def renderer() -> Iterator[Draw]:
    """The best way to draw that there is here: MuJoCo's, or sticks."""
    if offscreen() is None:
        yield sticks
        return
    try:
        mujoco = require_mujoco()
        root = HUMANOID.mjcf()
        _decorate(root)
        model = mujoco.MjModel.from_xml_string(ElementTree.tostring(root, encoding="unicode"))
        data = mujoco.MjData(model)
        made = mujoco.Renderer(model, SIZE[1], SIZE[0])
    except Exception:  # no MuJoCo, or a library that cannot open a context
        yield sticks
        return
    camera = mujoco.MjvCamera()
    camera.distance, camera.azimuth, camera.elevation = 3.2, 90 + np.degrees(AZIMUTH), -12

    def bodies(qpos: Tensor) -> Image.Image:
        data.qpos[:] = qpos.numpy()
        mujoco.mj_forward(model, data)
        camera.lookat[:] = [float(qpos[0]), float(qpos[1]), 0.75]
        made.update_scene(data, camera)
        return Image.fromarray(made.render())

    try:
        yield bodies
    finally:
        made.close()


def _decorate(root: ElementTree.Element) -> None:
    """Colours, a checkered floor, and a light that goes with the body, as its shadow map must."""
    world = root.find("worldbody")
    assert world is not None
    visual = ElementTree.SubElement(root, "visual")
    ElementTree.SubElement(
        visual, "headlight", ambient=".45 .45 .45", diffuse=".35 .35 .35", specular="0 0 0"
    )
    ElementTree.SubElement(root, "statistic", extent="1.2")  # the metres that shadows reach
    asset = ElementTree.SubElement(root, "asset")
    ElementTree.SubElement(
        asset, "texture", name="floor", type="2d", builtin="checker", width="256", height="256",
        rgb1=".87 .89 .91", rgb2=".78 .81 .84",
    )  # fmt: skip
    ElementTree.SubElement(
        asset, "texture", type="skybox", builtin="flat", width="64", height="384",
        rgb1=".95 .96 .97",
    )  # fmt: skip
    ElementTree.SubElement(
        asset, "material", name="floor", texture="floor", texrepeat="1 1", texuniform="true"
    )
    trunk = world.find("body")
    assert trunk is not None
    ElementTree.SubElement(
        trunk, "light", pos="0 0 5", dir="0 0 -1", directional="true", diffuse=".5 .5 .5",
        mode="trackcom",
    )  # fmt: skip
    floor = world.find("geom")
    assert floor is not None
    floor.set("material", "floor")
    for body in HUMANOID.bodies:
        for node in world.iter("body"):
            if node.get("name") == body.name:
                rgba = " ".join(f"{part / 255:.3f}" for part in colour(body)) + " 1"
                for geom in node.findall("geom"):
                    geom.set("rgba", rgba)


def sticks(qpos: Tensor) -> Image.Image:
    """One frame as sticks over a ground with lines of a metre, the root in the middle."""
    scale = 3
    width, height = SIZE[0] * scale, SIZE[1] * scale
    image = Image.new("RGB", (width, height), SKY)
    canvas = ImageDraw.Draw(image)
    root = qpos[:3] * qpos.new_tensor([1, 1, 0])
    c, s = np.cos(AZIMUTH), np.sin(AZIMUTH)
    unit = width / SPAN

    def flat(point: Tensor) -> tuple[float, float, float]:
        """Where on the picture, and how far."""
        x, y, z = (point - root).tolist()
        across, away = x * c - y * s, x * s + y * c
        up = z * np.cos(TILT) + away * np.sin(TILT)
        return width / 2 + unit * across, height * 0.86 - unit * up, away

    far = 6
    canvas.rectangle(
        (0, flat(root + root.new_tensor([s * far, c * far, 0]))[1], width, height), GROUND
    )
    middle = torch.floor(root)
    for k in range(-8, 9):
        for a, b in (((k, -8, 0), (k, 8, 0)), ((-8, k, 0), (8, k, 0))):
            ends = [flat(middle + middle.new_tensor(end))[:2] for end in (a, b)]
            canvas.line([*ends[0], *ends[1]], LINE, scale)
    pose = HUMANOID.pose(qpos)
    parts = []
    for k, body in enumerate(HUMANOID.bodies):
        for solid in body.solids:
            reach = {"sphere": 0.0, "capsule": solid.size[-1], "box": solid.size[0]}[solid.kind]
            axis = [reach, 0, 0] if solid.kind == "box" else [0, 0, reach]
            ends = [[sign * part for part in axis] for sign in (-1, 1)]
            local = torch.tensor(ends, dtype=qpos.dtype) + qpos.new_tensor(solid.centre)
            thick = solid.size[2] if solid.kind == "box" else solid.size[0]
            parts.append((pose.place(k, local), thick, colour(body)))
    for ends, thick, shade in sorted(parts, key=lambda part: -flat(part[0].mean(0))[2]):
        (x0, y0, _), (x1, y1, _) = flat(ends[0]), flat(ends[1])
        r = unit * thick
        canvas.line([x0, y0, x1, y1], shade, round(2 * r))
        for x, y in ((x0, y0), (x1, y1)):
            canvas.ellipse((x - r, y - r, x + r, y + r), shade)
    return image.resize(SIZE, Image.Resampling.LANCZOS)


def strip(motion: Motion, draw: Draw, count: int = 8) -> Image.Image:
    """Frames from the first to the last, side by side."""
    frames = np.linspace(0, len(motion) - 1, min(count, len(motion))).round().astype(int)
    image = Image.new("RGB", (SIZE[0] * len(frames), SIZE[1]))
    for k, frame in enumerate(frames):
        image.paste(draw(motion.qpos[frame]), (k * SIZE[0], 0))
    return image


def drawn(motion: Motion) -> Image.Image:
    """The same by the best renderer that there is."""
    with renderer() as draw:
        return strip(motion, draw)


def write_animation(
    path: Path, motion: Motion, draw: Draw, fps: int = 15, most: int = 150
) -> None:
    """A GIF that repeats, of the first ``most`` pictures."""
    frames = np.arange(0, len(motion) - 1, motion.fps / min(fps, motion.fps)).astype(int)[:most]
    pictures = [draw(motion.qpos[frame]).quantize(64) for frame in frames]
    pictures[0].save(
        path, save_all=True, append_images=pictures[1:], duration=round(1000 / fps), loop=0
    )


def foot_heights(motions: Sequence[tuple[str, Motion]]) -> Image.Image:
    """The lowest point of the body over time, a curve for each motion, in centimetres."""
    width, height, edge = 900, 260, 46
    image = Image.new("RGB", (width, height), "white")
    canvas = ImageDraw.Draw(image)
    curves = [(name, 100 * motion.lowest, motion.seconds) for name, motion in motions]
    top = max(5.0, max(float(low.max()) for _, low, _ in curves)) * 1.1
    bottom = min(-2.0, min(float(low.min()) for _, low, _ in curves)) * 1.1
    place = lambda value: edge / 2 + (height - edge) * (top - value) / (top - bottom)
    for value in (bottom, 0.0, top):
        canvas.line([edge, place(value), width, place(value)], LINE if value else (90, 90, 90))
        canvas.text((4, place(value) - 6), f"{value:.0f} cm", (90, 90, 90))
    for k, (name, low, seconds) in enumerate(curves):
        shade = [SIDES["r"], SIDES["l"], TRUNK][k % 3]
        x = np.linspace(edge, width - 4, len(low))
        canvas.line(list(zip(x, place(low).tolist(), strict=True)), shade, 2)
        canvas.text((edge + 120 * k, height - 16), name, shade)
        canvas.text((width - 70, height - 16), f"{seconds:.1f} s", (90, 90, 90))
    return image

"""Critical curves, where an image is infinitely magnified, and caustics, where they come from."""

import numpy as np
import torch
from torch import Tensor

from .lenses import Lens
from .shooting import Frame

FINE = 400
"""Points a side of the grid on which the curves are found."""

Curve = np.ndarray
"""x and y of points along a line, ``(points, 2)``, in arcsec."""


def magnification(lens: Lens, x: Tensor, y: Tensor) -> Tensor:
    """1 / det A, A being the derivative of beta by theta; its sign is the parity of the image."""
    x, y = (place.detach().clone().requires_grad_() for place in (x, y))
    beta = lens.traced(x, y)
    (a, b), (c, d) = (
        torch.autograd.grad(part.sum(), (x, y), retain_graph=True, materialize_grads=True)
        for part in beta
    )
    return 1 / (a * d - b * c)


def critical_curves(lens: Lens, image: Frame) -> list[Curve]:
    """Where det A = 0 in the frame of an image."""
    import contourpy

    grid = Frame(FINE, FINE, max(image.rows, image.columns) * image.scale / FINE)
    x, y = grid.centres()
    determinant = (1 / magnification(lens, x, y)).clamp(-10, 10).nan_to_num(0)
    lines = contourpy.contour_generator(x[0].numpy(), y[:, 0].numpy(), determinant.numpy())
    return [np.asarray(line) for line in lines.lines(0.0)]


def caustics(lens: Lens, image: Frame) -> list[Curve]:
    """The critical curves, traced to the source; and the cut, where a singular centre shows."""
    around = torch.linspace(0, 2 * torch.pi, 200, dtype=torch.float64)
    cuts = [
        np.stack(
            [(part.x + 1e-4 * around.cos()).numpy(), (part.y + 1e-4 * around.sin()).numpy()], 1
        )
        for part in lens.parts
        if hasattr(part, "x")
    ]
    traced = []
    for line in [*critical_curves(lens, image), *cuts]:
        x, y = torch.from_numpy(line.T.copy())
        traced.append(torch.stack(lens.traced(x, y), 1).numpy())
    return traced

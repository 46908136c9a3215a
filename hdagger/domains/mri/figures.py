"""Pictures of complex images."""

import math

import torch
from jaxtyping import Bool, Complex, Float
from PIL import Image
from torch import Tensor

Picture = Float[Tensor, "rows columns"]


def gray(magnitude: Picture, top: float) -> Image.Image:
    """From 0 (black) to ``top`` (white)."""
    steps = (magnitude / max(top, 1e-12)).clamp(0, 1).mul(255).round().to(torch.uint8)
    return Image.fromarray(steps.numpy()).convert("RGB")


def phase(image: Complex[Tensor, "rows columns"], top: float) -> Image.Image:
    """The phase as a hue, red for 0, as bright as the magnitude."""
    hue = (image.angle() / (2 * math.pi)).remainder(1).mul(255).round().to(torch.uint8)
    value = (image.abs() / max(top, 1e-12)).clamp(0, 1).sqrt().mul(255).round().to(torch.uint8)
    full = torch.full_like(hue, 180)
    return Image.fromarray(torch.stack([hue, full, value], -1).numpy(), "HSV").convert("RGB")


def sampled(mask: Bool[Tensor, "rows columns"]) -> Image.Image:
    """What of k-space was measured, in white."""
    return gray(mask.double(), 1)

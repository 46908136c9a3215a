"""The linear system of a drawn step, whole and by components."""

from dataclasses import replace

import pytest
import torch

from hdagger.covariance import LocalSpectra
from hdagger.domains.pictures.bands import PictureBands
from hdagger.domains.pictures.resample import BlockAverage
from hdagger.domains.pictures.words import operator_for_signal
from hdagger.operators.spectral import Inpainting
from hdagger.rings import RINGS
from hdagger.samplers import systems
from hdagger.samplers.systems import System, Systems
from hdagger.tensors import SampleNoise

F64 = torch.float64
SHAPE = (3, 24, 20)
SIGMA_Y = 0.05

ALIKE = {
    "mask": lambda: Inpainting((torch.rand(1, 24, 20, generator=seeded()) < 0.5).expand(SHAPE)),
    "average": lambda: BlockAverage(SHAPE, 2),
    "blur": lambda: operator_for_signal("gauss:1", SHAPE, {}),
}


def seeded():
    return torch.Generator().manual_seed(0)


def covariance(bands):
    """Two classes of places, spectra that fall, and colours that are smoother."""
    slope = torch.arange(3)[:, None] + torch.arange(1.0, RINGS + 1, dtype=F64) * 0.3
    spectra = torch.stack([(-slope).exp().flatten(), 4 * (-1.5 * slope).exp().flatten()])
    share = torch.rand(1, 1, *bands.shape[1:], generator=seeded(), dtype=F64)
    shares = torch.stack([share, 1 - share]).sqrt()
    return LocalSpectra(bands, spectra[:, None], shares, 1, 4.0)


def made(name):
    """The operator, the system's parts, and data."""
    H = ALIKE[name]()
    C = covariance(PictureBands(H.signal_shape))
    e = H.seen(torch.randn(1, *H.data_shape, generator=seeded(), dtype=F64))
    noise = SampleNoise(0, [(0,)])
    return H, Systems.of(H, C, SIGMA_Y, e, noise), System.of(H, C, SIGMA_Y, e, noise), e


def each(S, work, e):
    """What is made of data, part by part."""
    return S.joined(S.each(work, S.split(e)))


@pytest.mark.parametrize("name", ALIKE)
def test_components_that_are_measured_alike_are_solved_one_by_one(name, monkeypatch):
    monkeypatch.setattr(systems, "ACCURACY", 1e-10)
    H, apart, whole, e = made(name)
    assert len(apart.parts) == 3
    w = each(apart, lambda S, e: S.solved(e, SIGMA_Y), e)
    torch.testing.assert_close(H.seen(whole(w)), e, rtol=0, atol=1e-9)
    torch.testing.assert_close(each(apart, System.__call__, w), whole(w), rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", ["mask", "blur"])
def test_components_take_fewer_iterations_by_themselves(name):
    _, apart, whole, e = made(name)
    calls = []

    def counted(S):
        near = S.near
        return replace(S, near=lambda v: calls.append(v.shape[1]) or near(v))

    counted(whole).solved(e, SIGMA_Y)
    together, _ = sum(calls), calls.clear()
    each(apart, lambda S, e: counted(S).solved(e, SIGMA_Y), e)
    assert sum(calls) < 0.75 * together, (sum(calls), together)


def test_what_mixes_components_is_solved_as_one():
    gray = operator_for_signal("gray", SHAPE, {})
    mask = Inpainting(torch.rand(SHAPE, generator=seeded()) < 0.5)
    for H in (gray, mask):
        C = covariance(PictureBands(SHAPE))
        e, noise = torch.ones(1, *H.data_shape, dtype=F64), SampleNoise(0, [(0,)])
        assert Systems.of(H, C, SIGMA_Y, e, noise).apart is None

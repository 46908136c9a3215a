"""What the field does, by sigpy: SENSE, L1 of wavelets, total variation; at its best strength.

The strength is the one of STRENGTHS whose image is closest to the truth, which favours the peer.

References:
    Lustig, Donoho and Pauly, Sparse MRI, 2007. https://doi.org/10.1002/mrm.21391
    Ong and Lustig, SigPy: a Python package for high performance iterative reconstruction, 2019.
"""

from typing import Any

import numpy as np
import sigpy.mri.app as app

STRENGTHS: dict[str, tuple[float, ...]] = {
    "zero-filled": (0.0,),
    "sense": (0.001, 0.003, 0.01, 0.03, 0.1, 0.3),
    "wavelets": (0.0001, 0.0003, 0.001, 0.003, 0.01, 0.03),
    "variation": (0.0001, 0.0003, 0.001, 0.003, 0.01, 0.03),
}
ITERATIONS = {"sense": 60, "wavelets": 300, "variation": 500}
APPS: dict[str, Any] = {
    "sense": app.SenseRecon,
    "wavelets": app.L1WaveletRecon,
    "variation": app.TotalVariationRecon,
}


def psnr(image: np.ndarray, truth: np.ndarray) -> float:
    """Of the magnitude, dB over the brightest pixel."""
    error = np.abs(image) - np.abs(truth)
    return float(10 * np.log10(np.abs(truth).max() ** 2 / np.mean(error**2)))


def recon(
    method: str, y: np.ndarray, maps: np.ndarray, lines: np.ndarray, truth: np.ndarray
) -> tuple[np.ndarray, float]:
    """An image and the strength of its regularisation."""
    if method == "zero-filled":
        shifted = np.fft.ifftshift(y, (-2, -1))
        coils = np.fft.fftshift(np.fft.ifft2(shifted, norm="ortho"), (-2, -1))
        return (maps.conj() * coils).sum(0), 0.0
    weights = np.broadcast_to(lines, y.shape[1:]).astype(np.float64)
    tried = []
    for strength in STRENGTHS[method]:
        made = APPS[method](
            y.astype(np.complex64),
            maps,
            strength,
            weights=weights.astype(np.float32),
            max_iter=ITERATIONS[method],
            show_pbar=False,
        )
        tried.append((np.asarray(made.run()), strength))
    return max(tried, key=lambda one: psnr(one[0], truth))

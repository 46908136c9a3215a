"""What a picture tells of how it came about."""

from jaxtyping import Float
from torch import Tensor


def noise_deviation(pixels: Float[Tensor, "channels height width"]) -> float:
    """An estimate of the white noise in a picture: from the median of its finest details.

    References:
        Donoho and Johnstone, Ideal spatial adaptation by wavelet shrinkage, 1994, section 4.2,
        with the diagonal Haar coefficients. https://doi.org/10.1093/biomet/81.3.425
    """
    height, width = (side - side % 2 for side in pixels.shape[1:])
    if height < 2 or width < 2:
        return 0.0
    a = pixels[:, :height, :width]
    details = (a[:, ::2, ::2] - a[:, 1::2, ::2] - a[:, ::2, 1::2] + a[:, 1::2, 1::2]).abs() / 2
    return float(details.median() / 0.6745)

"""A classifier of noisy pictures, which can guide a prior towards a label.

References:
    Dhariwal and Nichol, Diffusion Models Beat GANs on Image Synthesis, 2021, section 4.
    https://arxiv.org/abs/2105.05233
"""

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from ..tensors import Label, Level, Signal
from .unet import Encoder, OfNoisyPictures, UNetShape


class PooledEncoder(Encoder):
    """The way down of the U-Net, the mean over space, one number for each label."""

    def __init__(self, shape: UNetShape) -> None:
        super().__init__(shape)
        self.head = nn.Linear(shape.widths[-1], shape.classes)

    def forward(self, x: Tensor, log_level: Float[Tensor, " batch"]) -> Tensor:
        return self.head(self.pooled(x, log_level))

    def pooled(self, x: Tensor, log_level: Float[Tensor, " batch"]) -> Float[Tensor, "batch d"]:
        """What the last layer reads."""
        h, _ = self.encode(x, self.embed_level(log_level))
        return functional.silu(h).mean(dim=(2, 3))


class NoisyClassifier(OfNoisyPictures):
    """log p(label | x) for x = x0 + sigma * noise.

    Args:
        shape: The shape of the network; ``classes`` is above 0.
    """

    net: PooledEncoder
    kind = "classifier"
    architecture = PooledEncoder

    def forward(self, x: Signal, sigma: Float[Tensor, "*rows"]) -> Float[Tensor, "batch classes"]:
        """Logarithms of probabilities, ``(batch, classes)``, in the precision of x.

        Args:
            x: Noisy pictures, ``(batch, channels, height, width)``.
            sigma: Their noise level, one for all ``()`` or one for each ``(batch,)``.
        """
        level = sigma.to(x).expand(len(x)).view(-1, 1, 1, 1)
        return self.net(*self.shown(x, level)).to(x).log_softmax(dim=1)

    def features(self, x: Signal, sigma: Level) -> Float[Tensor, "batch d"]:
        """What the last layer reads, by which sets of pictures are compared."""
        level = sigma.to(x).expand(len(x)).view(-1, 1, 1, 1)
        return self.net.pooled(*self.shown(x, level)).to(x)

    def loss(
        self, x0: Signal, sigma: Float[Tensor, " batch"], noise: Signal, label: Label
    ) -> Tensor:
        """Cross entropy of the label given the noisy picture."""
        return functional.nll_loss(self(x0 + sigma.view(-1, 1, 1, 1) * noise, sigma), label)

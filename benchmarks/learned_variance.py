"""Is the variance right that an ADM network learned? One is trained here, and asked.

    python benchmarks/learned_variance.py PHOTOGRAPHS HELD_OUT OUT [--minutes 10]

trains a small network of guided-diffusion's layout on crops of 16 x 16 in colour, by the hybrid
loss: the squared error of the noise, and the variational bound, whose gradient the mean does not
see. In the bound a relative error of Var[x0 | x] counts with the square of its share of the
step's variance, which is little where steps are small. So each is weighted by the inverse of that
square: the best network stays the same, and is found in minutes. OUT/prior.safetensors is the
prior: `hdagger priors calibrate` takes it, with --size 16. Then crops of the held-out pictures
are asked at each level:

- mse / told: the squared error over the variance that the network tells of it, 1 if right;
- thirds: the same in the third of the pixels that it is surest of, the middle, and the last;
- within: the share of pixels that are off by less than one standard deviation, .68 for Gaussians;
- nats: by how much the likelihood of a pixel is better than with one variance for all.

References:
    Nichol and Dhariwal, Improved Denoising Diffusion Probabilistic Models, 2021, eq. 4 to 6, 15
    and 16. https://arxiv.org/abs/2102.09672
"""

import argparse
import math
import time
from pathlib import Path

import torch
from torch import Tensor

from hdagger.domains.pictures.dataset import Photographs
from hdagger.priors.adm import LAYOUTS, Plan
from hdagger.priors.conventions import VariancePreserving
from hdagger.priors.huggingface import NetworkDenoiser, diffusers

SIDE, BATCH, RATE = 16, 64, 1e-3
LEVELS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 3.0)

LEAST = 0.05
"""Of beta - beta~, the share below which the bound is weighted no more."""

HIGHEST = 5.0
"""The level above which it is not: there a noise told a little wrong is a picture away."""


class Steps:
    """DDPM's chain, in the letters of the paper."""

    def __init__(self, convention: VariancePreserving) -> None:
        bar = 1 / (1 + convention.sigmas**2)
        before = torch.cat([torch.ones(1, dtype=bar.dtype), bar[:-1]])
        beta = 1 - bar / before
        tilde = beta * (1 - before) / (1 - bar)
        tilde[0] = tilde[1]
        clean = beta * before.sqrt() / (1 - bar)
        self.sigma, self.bar, self.clean = convention.sigmas, bar, clean
        self.log_tilde, self.range = tilde.log(), beta.log() - tilde.log()

    def loss(self, network: NetworkDenoiser, x0: Tensor, t: Tensor, noise: Tensor) -> Tensor:
        """The hybrid loss of clean pictures at the timesteps t, ``(batch,)``."""
        sigma, bar, clean, log_tilde, span = (
            values[t].view(-1, 1, 1, 1)
            for values in (self.sigma, self.bar, self.clean, self.log_tilde, self.range)
        )
        noisy = (bar.sqrt() * x0 + (1 - bar).sqrt() * noise).float()
        out = network.net(noisy, t).sample
        told, share = out[:, :3], (out[:, 3:].double() + 1) / 2
        error = sigma * (told - noise).detach()
        bound = torch.where(
            t.view(-1, 1, 1, 1) > 0,
            divergence(clean * error, log_tilde, share * span),
            surprise(error, log_tilde + share * span),
        )
        own = torch.where(sigma > HIGHEST, 1, -torch.expm1(-share.detach().clamp(LEAST, 1) * span))
        return (told - noise).square().mean() + (bound / own.square()).mean() / math.log(2)


def divergence(away: Tensor, log_tilde: Tensor, wider: Tensor) -> Tensor:
    """KL of the step with x0 known, whose log variance is log beta~, from the network's."""
    return (torch.expm1(-wider) + wider + away.square() * (-log_tilde - wider).exp()) / 2


def surprise(error: Tensor, log_variance: Tensor) -> Tensor:
    """-log of the probability that x0 is in its step of 1/255 to each side."""
    edges = torch.stack([error + 1 / 255, error - 1 / 255]) * (-log_variance / 2).exp()
    above, below = torch.special.ndtr(edges)
    return -(above - below).clamp(min=1e-12).log()


def trained(pictures: Photographs, minutes: float) -> NetworkDenoiser:
    """A network of the layout for 64 pixels, with 32 channels and no attention but the middle."""
    torch.manual_seed(0)
    plan = Plan(LAYOUTS[0], 32, 1, (False,) * 4, 3, 6, classes=0, shifts_only=False)
    net = diffusers().UNet2DModel(**plan.config())
    convention = VariancePreserving(plan.layout.schedule, learned_range=True)
    network, steps = NetworkDenoiser(net, convention).train(), Steps(convention)
    mean = torch.optim.swa_utils.AveragedModel(
        network, multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(0.99)
    )
    adam = torch.optim.Adam(net.parameters(), RATE)
    began, update, spent = time.process_time(), 0, 0.0
    while spent < 1:
        for group in adam.param_groups:
            group["lr"] = RATE * min(1, update / 50, 2 * (1 - spent))
        x0 = pictures.draw(BATCH, update)
        t = torch.randint(convention.steps, (BATCH,))
        loss = steps.loss(network, x0, t, torch.randn_like(x0))
        adam.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        adam.step()
        mean.update_parameters(network)
        if update % 200 == 0:
            print(f"update {update}: loss {float(loss.detach()):.3f}", flush=True)
        update += 1
        spent = (time.process_time() - began) / (60 * minutes)
    print(f"{update} updates of {BATCH} crops in {minutes:g} minutes of one core\n")
    kept = mean.module
    assert isinstance(kept, NetworkDenoiser)
    return kept.eval().requires_grad_(False)


@torch.no_grad()
def told(network: NetworkDenoiser, x0: Tensor, sigma: float) -> str:
    """One row of the table."""
    noise = torch.randn(x0.shape, generator=torch.Generator().manual_seed(0))
    D, variance = network.moments(x0 + sigma * noise, torch.tensor(sigma))
    assert variance is not None
    error, variance = (x0 - D).square().flatten(), variance.flatten()
    thirds = [
        error[part].mean() / variance[part].mean() for part in variance.argsort().tensor_split(3)
    ]
    within = (error < variance).float().mean()
    nats = (error.mean().log() + 1 - (variance.log() + error / variance).mean()) / 2
    cells = (error.mean() / variance.mean(), *thirds, within, nats)
    return " | ".join(f"{float(cell):.2f}" for cell in cells)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("photographs", type=Path, help="to train on")
    parser.add_argument("held_out", type=Path, help="to ask about")
    parser.add_argument("out", type=Path, help="folder for the prior")
    parser.add_argument("--minutes", type=float, default=10.0, help="of one core, to train")
    parser.add_argument("--count", type=int, default=512, help="crops to ask about")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    network = trained(Photographs(arguments.photographs, SIDE), arguments.minutes)
    arguments.out.mkdir(parents=True, exist_ok=True)
    network.save(arguments.out / "prior.safetensors")
    x0 = Photographs(arguments.held_out, SIDE).draw(arguments.count, 0)
    print("| sigma | mse / told | surest | middle | least sure | within | nats |")
    print("|---|---|---|---|---|---|---|")
    for sigma in LEVELS:
        print(f"| {sigma:g} | {told(network, x0, sigma)} |", flush=True)


if __name__ == "__main__":
    main()

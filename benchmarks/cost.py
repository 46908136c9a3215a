"""What ADM-256 costs: counted at full size without computing, measured at a quarter of its width.

    python benchmarks/cost.py [--side 256] [--width 64] [--quick]

Floating-point operations and what a gradient keeps are counted on the meta device. A network of
random weights and a quarter of the width is then run for one picture, and its seconds (of this
process, on one thread) are scaled by the operations to the real one. Before that it restores a
picture by the command line, two steps of each method, and the peak of each process's resident
memory is read (a peak counts what the parent held, so this one must not have grown yet).
--quick counts only.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from hdagger.domains.pictures.writing import to_image
from hdagger.priors.adm import LAYOUTS, Plan
from hdagger.priors.conventions import VariancePreserving
from hdagger.priors.huggingface import NetworkDenoiser, empty_unet


def denoiser(width: int) -> NetworkDenoiser:
    attends = (False, False, False, True, True, True)
    plan = Plan(LAYOUTS[2], width, 2, attends, 3, 6, classes=0, shifts_only=False)
    net = empty_unet(plan.config()).requires_grad_(False)
    return NetworkDenoiser(net, VariancePreserving()).eval()


def operations(network: NetworkDenoiser, side: int) -> float:
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        network.net(torch.empty(1, 3, side, side, device="meta"), torch.zeros(1, device="meta"))
    return counter.get_total_flops()


def kept(network: NetworkDenoiser, side: int) -> int:
    """Bytes that a gradient with respect to the picture keeps, beside the weights."""
    weights = {weight.untyped_storage()._cdata for weight in network.parameters()}
    sizes: dict[int, int] = {}
    alive = []

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage._cdata not in weights:
            sizes[storage._cdata] = storage.nbytes()
            alive.append(tensor)
        return tensor

    x = torch.empty(1, 3, side, side, device="meta", requires_grad=True)
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        network.net(x, torch.zeros(1, device="meta"))
    return sum(sizes.values())


def peak(command: list[str]) -> float:
    """Largest resident memory of a program, GB."""
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"{' '.join(command)} failed")
    return usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024) / 1e9


def restored(network: NetworkDenoiser, side: int, folder: Path) -> None:
    """What a whole restoration takes, method by method."""
    network.save(folder / "prior.safetensors")
    to_image(torch.zeros(3, side, side)).save(folder / "photo.png")
    command = [sys.executable, "-m", "hdagger", "restore", str(folder / "photo.png")]
    command += [
        "--prior",
        str(folder / "prior.safetensors"),
        "--blur",
        "gauss:2",
        "--sigma-y",
        "0.1",
    ]
    command += ["--steps", "2", "--samples", "1", "-o", str(folder / "out")]
    for method in (["ddrm"], ["pigdm"], ["dps"], ["dps", "--save-memory"]):
        gigabytes = peak([*command, "--method", *method])
        print(f"restore --method {' '.join(method)}: {gigabytes:.2f} GB", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--side", type=int, default=256)
    parser.add_argument("--width", type=int, default=64)
    parser.add_argument("--quick", action="store_true")
    arguments = parser.parse_args()
    side = arguments.side
    print("| width | parameters | operations a call | gradient keeps | with --save-memory |")
    print("|---|---|---|---|---|")
    counted = {}
    for width in (arguments.width, 256):
        network = denoiser(width)
        size = sum(weight.numel() for weight in network.parameters()) / 1e6
        counted[width] = operations(network, side)
        whole = kept(network, side) / 1e9
        network.net.enable_gradient_checkpointing()
        less = kept(network, side) / 1e9
        print(
            f"| {width} | {size:.1f} M ({4 * size / 1000:.2f} GB) | {counted[width] / 1e12:.2f} T "
            f"| {whole:.2f} GB | {less:.2f} GB |"
        )
    if arguments.quick:
        return
    torch.set_num_threads(1)
    network = denoiser(arguments.width).to_empty(device="cpu")
    for weight in network.parameters():
        torch.nn.init.normal_(weight, std=0.02)
    with tempfile.TemporaryDirectory() as folder:
        restored(network, side, Path(folder))
    x, sigma = torch.randn(1, 3, side, side), torch.tensor(1.0)
    share = counted[256] / counted[arguments.width]
    for title, grad in (("a call", False), ("a call and its gradient", True)):
        x.requires_grad_(grad)
        started = time.process_time()
        with torch.set_grad_enabled(grad):
            D = network(x, sigma)
            if grad:
                torch.autograd.grad(D, x, x)
        seconds = time.process_time() - started
        print(f"{title}: {seconds:.1f} s at width {arguments.width}, {share * seconds:.0f} at 256")


if __name__ == "__main__":
    main()

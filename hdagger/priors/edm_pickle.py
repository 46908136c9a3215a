"""A program that opens a pickle of EDM, which runs the code in it: only on the user's word.

    python -P edm_pickle.py PICKLE CLONE FOLDER

The folder gets *held.json*, the class and what it was made with, and *tensors.safetensors*, the
weights and one call: x, sigma and what the network makes of them. It is a process of its own
because such a pickle imports ``torch_utils`` and ``dnnlib`` by these names.
"""

import json
import pickle
import sys
from pathlib import Path
from typing import Any


def main(source: str, clone: str, folder: str) -> None:
    import torch
    from safetensors.torch import save_file

    sys.path.insert(0, clone)
    with open(source, "rb") as file:
        held = pickle.load(file)
    net = (held["ema"] if isinstance(held, dict) else held).float().eval().requires_grad_(False)
    said = {
        "name": type(net).__name__,
        "args": list(net.init_args),
        "kwargs": dict(net.init_kwargs),
    }
    size, classes = int(net.img_resolution), int(net.label_dim or 0)
    probe: dict[str, Any] = {
        "x": torch.randn(1, int(net.img_channels), size, size),
        "sigma": torch.tensor(0.7),
    }
    labels = torch.zeros(1, classes) if classes else None
    probe["D"] = net(probe["x"], probe["sigma"].expand(1), labels).float()
    tensors = {f"net.{name}": value for name, value in net.state_dict().items()}
    tensors |= {f"probe.{name}": value for name, value in probe.items()}
    save_file(
        {k: v.clone().contiguous() for k, v in tensors.items()},
        Path(folder, "tensors.safetensors"),
    )
    Path(folder, "held.json").write_text(json.dumps(said))


if __name__ == "__main__":
    main(*sys.argv[1:])

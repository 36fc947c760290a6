"""Make a training checkpoint as the original's trainer wrote it.

    python test/tools/fake_checkpoint.py FILE [--preset hybrid] [--scale full]

Real widths and key names of one Kosmos2Model, one CLIPModel, a fusion layer, a recurrent memory and an MLP; random values scaled
so that a forward pass stays finite; beside them the trainer's ``args`` (argparse.Namespace), counters and Adam's two moments.
At full size it needs 8 GB of memory and of disk.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from vla_bt.policy.config import load_preset
from vla_bt.policy.encoders import tokenizers_for
from vla_bt.policy.network import PolicyNetwork

RENAMED = {
    "encoders.kosmos.": "kosmos_model.",
    "encoders.clip.": "clip_model.",
    "fusion.join.0.": "feature_fusion.",
    "memory.cell.": "rnn.",
}
_BLOCK = 1 << 24


def original_names(names: list[str]) -> dict[str, str]:
    """Return our name -> the original trainer's name."""
    found = {}
    for name in names:
        before, after = next(((ours, theirs) for ours, theirs in RENAMED.items() if name.startswith(ours)), ("", ""))
        found[name] = after + name.removeprefix(before)
    heads = [name.rpartition(".")[0] for name in names if name.startswith("head.") and name.endswith(".weight")]
    for name in names:
        if name.startswith("head."):
            module, _, last = name.rpartition(".")
            found[name] = f"actions.mlp.{2 * heads.index(module)}.{last}"
    return found


def values(shape: torch.Size, name: str, block: Tensor, offset: int) -> Tensor:
    """Return plausible weights: ones for norms, zeros for biases, small random numbers elsewhere."""
    if len(shape) == 1 and name.endswith("weight"):
        return torch.ones(shape)
    if name.endswith("bias"):
        return torch.zeros(shape)
    numbers = torch.empty(shape).flatten()
    for start in range(0, numbers.numel(), len(block) - 1000):
        part = numbers[start : start + len(block) - 1000]
        part.copy_(block[offset % 1000 : offset % 1000 + len(part)])
    return numbers.mul_(0.02 if len(shape) < 2 else min(0.1, shape[1:].numel() ** -0.5)).view(shape)


def make(path: Path, preset: str = "hybrid", scale: str = "full", seed: int = 0) -> dict[str, Tensor]:
    """Write the file; returns its model_state_dict."""
    config = load_preset(preset, scale)
    with torch.device("meta"):
        shapes = {name: tensor.shape for name, tensor in PolicyNetwork(config, tokenizers_for(config)).state_dict().items()}
    block = torch.empty(_BLOCK if scale == "full" else _BLOCK >> 6).normal_(generator=torch.Generator().manual_seed(seed))
    names = original_names(list(shapes))
    state = {names[name]: values(shape, name, block, 37 * index) for index, (name, shape) in enumerate(shapes.items())}
    trained = [tensor for name, tensor in state.items() if not name.startswith(("kosmos_model.", "clip_model."))]
    adam: dict[str, Any] = {
        "state": {
            index: {"step": torch.tensor(500.0), "exp_avg": tensor * 1e-3, "exp_avg_sq": tensor**2}
            for index, tensor in enumerate(trained)
        },
        "param_groups": [{"lr": 1e-4, "betas": (0.9, 0.999), "params": list(range(len(trained)))}],
    }
    arguments = argparse.Namespace(batch_size=4, lr=1e-4, epochs=10, data_path="episodes", use_clip=True)
    content = {"epoch": 10, "model_state_dict": state, "optimizer_state_dict": adam, "val_mae": 0.2121, "args": arguments}
    torch.save(content, path)
    return state


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path)
    parser.add_argument("--preset", default="hybrid")
    parser.add_argument("--scale", default="full", choices=("full", "tiny"))
    options = parser.parse_args()
    make(options.file, options.preset, options.scale)

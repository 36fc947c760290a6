"""How much memory a policy will take, told before it is taken.

Promises: counts the real network, built without memory, part by part at the precision asked for; knows that mapped weights which
stay as stored are the file's own pages, and that of a mapped word table only the words used are read; compares with the lesser
of MemAvailable and the container's limit. What does not fit is refused, with what would.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import torch
from torch import nn

from vla_bt.memory.cgroup import cgroup_available
from vla_bt.policy.config import PolicyConfig
from vla_bt.policy.encoders import tokenizers_for
from vla_bt.policy.errors import DoesNotFitError
from vla_bt.policy.loading import empty_network
from vla_bt.policy.network import PolicyNetwork
from vla_bt.policy.shrinking import DTYPES, Shrink, common_type, keep_layers

ALTERNATIVES = ("bf16", "int8", "bf16+layers12", "int8+layers12", "bf16+layers6", "int8+layers6")
_CHECKED_ABOVE = 0.02  # of what is available: less is not worth a second of building
_LIBRARIES = 10_000_000  # tokenizers, kernels' scratch, module objects


@dataclass(frozen=True)
class Part:
    """One part of a network.

    Attributes
    ----------
    name : str
        Such as ``kosmos vision``.
    parameters : int
        Numbers in it.
    private_bytes : int
        Memory of this process.
    mapped_bytes : int
        Pages of the weight file that have to stay in memory.
    """

    name: str
    parameters: int
    private_bytes: int
    mapped_bytes: int


@dataclass(frozen=True)
class Plan:
    """What a policy will take.

    Attributes
    ----------
    how : str
        How it is shrunk.
    parts : list of Part
    loading_bytes : int
        Private memory that only loading needs, beside the parts.
    running_bytes : int
        Private memory of a step, beside the parts.
    """

    how: str
    parts: list[Part]
    loading_bytes: int
    running_bytes: int

    @property
    def private_bytes(self) -> int:
        """Peak of this process's own memory, beyond what it has now."""
        return sum(part.private_bytes for part in self.parts) + max(self.loading_bytes, self.running_bytes)

    @property
    def mapped_bytes(self) -> int:
        """Pages of the weight file a running policy needs."""
        return sum(part.mapped_bytes for part in self.parts)

    @property
    def needed_bytes(self) -> int:
        """All that has to be available."""
        return self.private_bytes + self.mapped_bytes


def available_bytes() -> tuple[int, str]:
    """Return what can still be had, and what sets the limit, in words."""
    free, limited = psutil.virtual_memory().available, cgroup_available()
    if limited is not None and limited < free:
        return limited, "this container's limit"
    return free, "this machine's memory"


def plan(
    config: PolicyConfig,
    how: Shrink,
    stored_dtype: torch.dtype | None = None,
    exact: dict[str, dict[str, Any]] | None = None,
) -> Plan:
    """Predict the memory of a policy.

    Parameters
    ----------
    stored_dtype : torch.dtype, optional
        Type of the weights in a file that will be mapped; None for random weights.
    """
    network = empty_network(config, tokenizers_for(config), exact)
    whole = sum(parameter.numel() for parameter in network.parameters())
    if how.layers:
        keep_layers(network, how.layers)
    tallies: dict[str, list[int]] = {}
    largest = 0
    for name, module, numbers in _weights(network):
        tally = tallies.setdefault(_part(name), [0, 0, 0])
        tally[0] += numbers
        mapped, size = _held(name, module, numbers, how, stored_dtype)
        tally[2 if mapped else 1] += size
        largest = max(largest, numbers)
    parts = [Part(name, *tally) for name, tally in tallies.items()]
    kept = sum(part.private_bytes for part in parts)
    if stored_dtype is None:  # built in float32 first, then changed weight by weight
        loading = max(0, 4 * whole - kept) + (4 * largest if how.precision in ("bf16", "fp16") else 0)
    else:
        loading = _quantising(network, stored_dtype) if how.precision == "int8" else 0
    itemsize = 2 if how.precision in ("bf16", "fp16") else 4
    running = _activations(network) * itemsize
    return Plan(str(how), parts, loading + _LIBRARIES, running + _LIBRARIES)


def _quantising(network: PolicyNetwork, stored: torch.dtype) -> int:
    """Return the bytes torch needs on the way to 8 bits, where float32 is a stop: a linear layer's copies, a recurrent one's."""
    linear = max((module.weight.numel() for module in network.modules() if type(module) is nn.Linear), default=0)
    cell = network.memory.cell
    recurrent = 0
    if isinstance(cell, nn.LSTM | nn.GRU):
        layers = [sum(weight.numel() for weight in layer) for layer in cell.all_weights]
        recurrent = 6 * max(layers) + (0 if stored == torch.float32 else 4 * sum(layers))
    return max(2 * linear if stored == torch.float32 else 6 * linear, recurrent)


def _weights(network: PolicyNetwork) -> Iterator[tuple[str, nn.Module, int]]:
    """Yield every weight with its name, the module it belongs to and how many numbers it has."""
    for prefix, module in network.named_modules():
        for name, tensor in [*module.named_parameters(recurse=False), *module.named_buffers(recurse=False)]:
            yield f"{prefix}.{name}", module, tensor.numel()


def _part(name: str) -> str:
    words = name.split(".")
    if words[0] != "encoders":
        return words[0]
    known = {"vision_model": "vision", "text_model": "text", "image_to_text_projection": "image-to-text"}
    return f"{words[1]} {known.get(words[2], 'projections')}" if words[1] in ("kosmos", "clip") else words[1]


def _held(name: str, module: nn.Module, numbers: int, how: Shrink, stored: torch.dtype | None) -> tuple[bool, int]:
    """Return whether a weight stays in the file's pages, and the bytes it needs."""
    table = name.endswith(("embed_positions.weights", "position_ids"))
    eight = how.precision == "int8" and not name.startswith("head.") and name.rpartition(".")[2].startswith("weight")
    if eight and type(module) in (nn.Linear, nn.LSTM, nn.GRU):
        return False, numbers
    dtype = DTYPES.get(how.precision, torch.float32 if how.precision or stored is None else stored)
    stays = not table and stored is not None and stored == dtype
    if stays and isinstance(module, nn.Embedding) and "position" not in name:
        return True, 0  # of the words only those used are read
    return stays, numbers * (8 if name.endswith("position_ids") else dtype.itemsize)


def _activations(network: PolicyNetwork) -> int:
    """Return the numbers alive at once in the widest layer of a step or of a goal's text."""
    encoders, config = network.encoders, network.config
    side = config.image.width * config.image.height
    widest = 3 * side * 6  # a normalised picture and its makings
    for name, model in (("kosmos", encoders.kosmos), ("clip", encoders.clip)):
        if model is None:
            continue
        vision = model.config.vision_config
        scale = 4 ** len(config.image.stem) * vision.patch_size**2
        tokens = side // scale + 1
        widest = max(widest, tokens * (3 * vision.intermediate_size + 6 * vision.hidden_size))
        part = getattr(config, name)
        widest = max(widest, min(32, part.positions) * (3 * part.text.mlp + 6 * part.text.width))
    return widest


def check(
    config: PolicyConfig,
    how: Shrink,
    stored: Path | None = None,
    exact: dict[str, dict[str, Any]] | None = None,
) -> None:
    """Refuse a policy that would not fit.

    Raises
    ------
    DoesNotFitError
        With one line: what is needed, what there is, and what would fit.
    """
    left, limit = available_bytes()
    if _rough_bytes(config, stored) < _CHECKED_ABOVE * left:
        return
    dtype = None if stored is None else dtype_of(stored)
    wanted = plan(config, how, dtype, exact)
    if wanted.needed_bytes <= left:
        return
    fitting = []
    for text in ALTERNATIVES:
        other = plan(config, Shrink.parse(text), dtype, exact)
        if other.needed_bytes <= left:
            fitting.append(f"@{text} ({other.needed_bytes / 1e9:.1f} GB)")
    advice = f"these would fit: {', '.join(fitting)}" if fitting else "no way to shrink it would make it fit"
    as_is = f" as {how}" if str(how) else ""
    raise DoesNotFitError(
        f"policy {config.name}{as_is} needs {wanted.needed_bytes / 1e9:.1f} GB of memory, {limit} leaves {left / 1e9:.1f} GB; "
        f"{advice}"
    )


def _rough_bytes(config: PolicyConfig, stored: Path | None) -> float:
    """Return a quick upper estimate, without building anything."""
    if stored is not None and stored.is_file():
        return 2.0 * stored.stat().st_size
    towers = [tower for part in (config.kosmos, config.clip) if part for tower in (part.vision, part.text)]
    sources = any(part is not None and part.source for part in (config.kosmos, config.clip))
    numbers = sum(tower.layers * (4 * tower.width**2 + 2 * tower.width * tower.mlp) for tower in towers)
    words = sum(part.vocabulary * part.text.width for part in (config.kosmos, config.clip) if part)
    return float("inf") if sources else 8.0 * (numbers + words + 20e6)


def dtype_of(stored: Path) -> torch.dtype:
    """Return the type that the weights of a file will compute in, unless another is asked for."""
    from vla_bt.policy.stored import open_weights

    found = {tensor.dtype for tensor in open_weights(stored).tensors.values() if tensor.is_floating_point()}
    return common_type(found)

"""Smaller and faster, at a price that is measured: 16-bit and 8-bit weights, fewer layers, shorter texts.

Promises: works weight by weight, so that shrinking a mapped model never holds the original in memory; layers that go are not
even read. The network's configuration says what became of it. int8 is made on the way in and can't be saved: keep the original.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from vla_bt.memory.clearing import clear_caches
from vla_bt.policy.config import Tower
from vla_bt.policy.network import PolicyNetwork
from vla_bt.policy.runtime import NetworkPolicy
from vla_bt.settings import SettingsError

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
PRECISIONS = (*DTYPES, "int8")
_WORD = re.compile(r"(layers|text)([1-9]\d{0,3})")


@dataclass(frozen=True)
class Shrink:
    """What to do; empty or 0 leaves it as stored.

    Attributes
    ----------
    precision : str
        ``fp32``, ``bf16``, ``fp16`` or ``int8`` (weights; dynamic on a CPU, weights only on a GPU).
    layers : int
        Layers kept of each transformer that has more, evenly spread.
    text_tokens : int
        Longer goals are cut to this.
    """

    precision: str = ""
    layers: int = 0
    text_tokens: int = 0

    @classmethod
    def parse(cls, text: str) -> Shrink:
        """Read ``bf16``, ``int8+layers6``, ``text16`` and the like.

        Raises
        ------
        SettingsError
            When it is none of these.
        """
        values: dict[str, Any] = {}
        for word in filter(None, text.split("+")):
            match = _WORD.fullmatch(word)
            key = "precision" if word in PRECISIONS else {"layers": "layers", "text": "text_tokens"}[match[1]] if match else ""
            if not key or key in values:
                known = f"{', '.join(PRECISIONS)}, layersN, textN, or several joined by +"
                raise SettingsError(f"'{text}' is no way to shrink; known: {known}")
            values[key] = word if word in PRECISIONS else int(match[2]) if match else 0
        return cls(**values)

    def __str__(self) -> str:
        """Return what :meth:`parse` reads."""
        layers, text = f"layers{self.layers}" * bool(self.layers), f"text{self.text_tokens}" * bool(self.text_tokens)
        return "+".join(filter(None, (self.precision, layers, text)))


def shrink(policy: NetworkPolicy, how: Shrink) -> NetworkPolicy:
    """Shrink a policy in place; returns it."""
    network = policy.network
    if how.layers:
        keep_layers(network, how.layers)
    if how.text_tokens:
        _shorten_text(policy, how.text_tokens)
    if how.precision == "int8":
        quantise(network)
        policy.eight_bit = True
    else:
        stored = {weight.dtype for weight in network.parameters()}
        wanted = DTYPES[how.precision] if how.precision else common_type(stored)
        if stored != {wanted}:
            network.to(wanted)
    policy.forget()
    return policy


def common_type(stored: Collection[torch.dtype]) -> torch.dtype:
    """Return the one type that weights stored in several compute in: 16-bit only if all are of that one type."""
    (only, *others) = stored or [torch.float32]
    return only if not others and only in DTYPES.values() else torch.float32


def kept(layers: int, keep: int) -> list[int]:
    """Return which of ``layers`` stay when ``keep`` do: first, last, and evenly between."""
    if keep >= layers:
        return list(range(layers))
    return [round(index * (layers - 1) / (keep - 1)) for index in range(keep)] if keep > 1 else [layers - 1]


def keep_layers(network: PolicyNetwork, keep: int) -> None:
    """Take layers out of every transformer that has more than ``keep``."""
    encoders, config = network.encoders, network.config
    if encoders.kosmos is not None and config.kosmos is not None:
        vision, text = encoders.kosmos.vision_model.model.encoder, encoders.kosmos.text_model.model
        vision.layers, text.layers = _picked(vision.layers, keep), _picked(text.layers, keep)
        sizes = encoders.kosmos.config
        sizes.vision_config.num_hidden_layers, sizes.text_config.layers = len(vision.layers), len(text.layers)
        towers = _with(config.kosmos.vision, vision.layers), _with(config.kosmos.text, text.layers)
        config = replace(config, kosmos=replace(config.kosmos, vision=towers[0], text=towers[1]))
    if encoders.clip is not None and config.clip is not None:
        vision, text = encoders.clip.vision_model.encoder, encoders.clip.text_model.encoder
        vision.layers, text.layers = _picked(vision.layers, keep), _picked(text.layers, keep)
        sizes = encoders.clip.config
        sizes.vision_config.num_hidden_layers, sizes.text_config.num_hidden_layers = len(vision.layers), len(text.layers)
        towers = _with(config.clip.vision, vision.layers), _with(config.clip.text, text.layers)
        config = replace(config, clip=replace(config.clip, vision=towers[0], text=towers[1]))
    network.config = config


def _picked(layers: nn.ModuleList, keep: int) -> nn.ModuleList:
    return nn.ModuleList(layers[index] for index in kept(len(layers), keep))


def _with(tower: Tower, layers: nn.ModuleList) -> Tower:
    return replace(tower, layers=len(layers))


def _shorten_text(policy: NetworkPolicy, tokens: int) -> None:
    for name, tokenizer in policy.tokenizers.items():
        part = getattr(policy.config, name)
        if tokens < part.positions:
            policy.network.config = replace(policy.config, **{name: replace(part, positions=max(16, tokens))})
            policy.tokenizers[name] = tokenizer.limited(max(16, tokens))


def quantise(network: PolicyNetwork) -> None:
    """Turn the large layers' weights into 8 bits in place; the head and what is no matrix stay as they are."""
    if network.device.type == "cuda":
        _quantise_weights(network)
        return
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # announces its successor, which is slower here
        for part in (network.encoders, network.fusion, network.memory):
            _quantise_layers(part)
            clear_caches()  # the allocator would keep the copies made on the way
    network.float()


def _quantise_layers(part: nn.Module) -> None:
    """Replace one layer after the other, so that 16-bit weights are never all widened at once."""
    from torch.ao import quantization

    dynamic: Any = torch.ao.nn.quantized.dynamic
    how: dict[type[nn.Module], Any] = {
        nn.Linear: (dynamic.Linear, quantization.per_channel_dynamic_qconfig),
        nn.LSTM: (dynamic.LSTM, quantization.default_dynamic_qconfig),
        nn.GRU: (dynamic.GRU, quantization.default_dynamic_qconfig),
    }
    child: Any
    parents = [parent for parent in part.modules() if any(type(child) in how for child in parent.children())]
    for parent in parents:
        for name in [name for name, child in parent.named_children() if type(child) in how]:
            child = getattr(parent, name)
            kind, child.qconfig = how[type(child)]
            setattr(parent, name, kind.from_float(child.float()))
            del child  # and with it its wide weights, before the next


def _quantise_weights(module: nn.Module) -> None:
    for name, child in module.named_children():
        if type(child) is nn.Linear and name != "action":
            setattr(module, name, EightBitLinear(child))
        else:
            _quantise_weights(child)


class EightBitLinear(nn.Module):
    """A linear layer whose weights are 8 bits at rest, one scale for each output, and computed with in the input's type."""

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        scale = linear.weight.detach().abs().amax(1, keepdim=True).float().clamp_min(1e-12) / 127.0
        self.register_buffer("weight", (linear.weight.detach() / scale).round().to(torch.int8))
        self.register_buffer("scale", scale.to(linear.weight.dtype))
        self.bias = linear.bias
        self.weight: Tensor
        self.scale: Tensor

    def forward(self, values: Tensor) -> Tensor:
        """Return what the linear layer would, up to rounding of its weights."""
        return functional.linear(values, self.weight.to(values.dtype) * self.scale.to(values.dtype), self.bias)


def held_bytes(network: nn.Module) -> int:
    """Return how many bytes the network's weights and tables take, 8-bit ones included."""
    return sum(module_bytes(module) for module in network.modules())


def module_bytes(module: nn.Module) -> int:
    """Return the bytes of a module's own weights and tables, not of the modules inside it."""
    tensors = [*module.parameters(recurse=False), *module.buffers(recurse=False)]
    weights, others = _eight_bit(module)
    return sum(tensor.nbytes for tensor in tensors) + weights + 4 * others


def module_numbers(module: nn.Module) -> int:
    """Return how many numbers a module's own weights are, not counting the modules inside it."""
    weights, others = _eight_bit(module)
    scaled = [module.weight] if isinstance(module, EightBitLinear) else []
    return sum(tensor.numel() for tensor in [*module.parameters(recurse=False), *scaled]) + weights + others


def _eight_bit(module: nn.Module) -> tuple[int, int]:
    """Return how many 8-bit numbers and 32-bit numbers one of torch's quantised layers holds out of sight."""
    dynamic = torch.ao.nn.quantized.dynamic
    if isinstance(module, dynamic.Linear):
        bias = module.bias()
        return module.weight().numel(), 0 if bias is None else bias.numel()
    if isinstance(module, dynamic.modules.rnn.RNNBase):
        rows = {"LSTM": 4, "GRU": 3}[module.mode] * module.hidden_size
        inputs = [module.input_size, *[module.hidden_size] * (module.num_layers - 1)]
        return sum(rows * (width + module.hidden_size) for width in inputs), 2 * rows * module.num_layers
    return 0, 0

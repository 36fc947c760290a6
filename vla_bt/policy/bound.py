"""How fast a step could be at best on this machine: bytes it must read and sums it must make, against what was just measured.

Promises: only weights of layers that really ran are counted; bandwidth is measured on a buffer as large as what is read (a small
network fits into caches, and there the bound must too); the best of several kernels and repeats counts, so that the bound is as
tight as this machine shows. A result below the bound means the clock or the network is not what it seems.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from vla_bt.policy.loading import empty_network
from vla_bt.policy.preprocess import MOTION
from vla_bt.policy.runtime import NetworkPolicy
from vla_bt.policy.shrinking import module_bytes, module_numbers

_REPEATS = 7
_LARGEST_BUFFER = 1 << 29


@dataclass(frozen=True)
class Work:
    """What one frame asks of one stage: numbers and bytes of the weights that ran, floating-point operations."""

    parameters: int
    weight_bytes: int
    flops: int


@dataclass(frozen=True)
class Machine:
    """What this machine was seen to do at best: bytes read in a second, operations in a second at the network's precision."""

    bytes_per_s: float
    flops_per_s: float

    def bound_s(self, work: dict[str, Work]) -> float:
        """Return the least time for the stages one after the other, each limited by reading or by computing [s]."""
        return sum(max(part.weight_bytes / self.bytes_per_s, part.flops / self.flops_per_s) for part in work.values())

    def best(self, other: Machine) -> Machine:
        """Return the better of two measurements in each respect."""
        return Machine(max(self.bytes_per_s, other.bytes_per_s), max(self.flops_per_s, other.flops_per_s))


def stage_of(policy: NetworkPolicy) -> dict[str, nn.Module]:
    """Return the module behind each stage."""
    network = policy.network
    return {"vision": network.encoders, "fusion": network.fusion, "memory": network.memory, "head": network.head}


@contextmanager
def _noting(module: nn.Module, ran: set[nn.Module]) -> Iterator[None]:
    handles = [part.register_forward_hook(lambda part, *_: ran.add(part)) for part in module.modules()]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def touched(module: nn.Module, call: Callable[[], Any]) -> tuple[int, int]:
    """Return how many numbers, and bytes, of the module's weights a call makes run.

    Of word tables only the rows that are used would be read; they are left out.
    """
    ran: set[nn.Module] = set()
    with _noting(module, ran), torch.inference_mode():
        call()
    numbers = size = 0
    inside = {child for part in ran if isinstance(part, nn.MultiheadAttention) for child in part.modules()}
    for part in ran | inside:
        if isinstance(part, nn.Embedding) and part.num_embeddings > 4096:
            continue
        numbers += module_numbers(part)
        size += module_bytes(part)
    return numbers, size


def work_of(policy: NetworkPolicy, step: Callable[[], Any]) -> dict[str, Work]:
    """Return what one frame asks of each stage.

    Parameters
    ----------
    step : callable
        Takes one step of the policy, its goal's text being encoded already.
    """
    flops = _flops(policy)
    found = {}
    for stage, module in stage_of(policy).items():
        numbers, size = touched(module, step)
        found[stage] = Work(numbers, size, flops[stage])
    return found


def _flops(policy: NetworkPolicy) -> dict[str, int]:
    """Count operations on a network of the same configuration without memory, whatever the precision of the real one."""
    config = policy.config
    network = empty_network(config, policy.tokenizers, policy.network.model_configs()).requires_grad_(False)
    views = torch.zeros((1, 1, config.views, 3, config.image.height, config.image.width), dtype=torch.uint8, device="meta")
    text = _meta_text(policy)
    counter = FlopCounterMode(display=False)
    with counter, torch.no_grad():
        network(views, text, torch.zeros((1, 1, MOTION), device="meta"))
    counts = {name: sum(operations.values()) for name, operations in counter.get_flop_counts().items()}
    names = {"vision": "encoders", "fusion": "fusion", "memory": "memory", "head": "head"}
    whole = counts.get("Global", 0)
    found = {stage: counts.get(f"PolicyNetwork.{name}", 0) for stage, name in names.items()}
    found["vision"] = max(found["vision"], whole - sum(found.values()) + found["vision"])
    return found


def _meta_text(policy: NetworkPolicy) -> Any:
    """Return text features of the right shapes, without values."""
    with torch.inference_mode():
        real = policy.network.encoders.text(policy.tokens("go to the cup"))
    moved: dict[str, Any] = {}
    for name, value in real.items():
        if isinstance(value, Tensor):
            moved[name] = torch.empty(value.shape, device="meta")
        else:
            moved[name] = type(value)(torch.empty(value.values.shape, device="meta"), torch.ones(value.mask.shape, device="meta"))
    return moved


def measure(policy: NetworkPolicy, weight_bytes: int) -> Machine:
    """Measure this machine where the policy runs and at its precision."""
    device, dtype = policy.network.device, policy.network.dtype
    return Machine(_bandwidth(device, weight_bytes), _speed(device, dtype, policy.eight_bit))


def _best(call: Callable[[], Any], device: torch.device) -> float:
    """Return the shortest of several calls [s]."""
    times = []
    for _ in range(_REPEATS):
        started = time.perf_counter()
        call()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        times.append(time.perf_counter() - started)
    return min(times[1:])


def _bandwidth(device: torch.device, size: int) -> float:
    """Return bytes read in a second from a buffer of about ``size`` bytes."""
    rows = max(64, min(size, _LARGEST_BUFFER) // 4 // 1024)
    buffer, vector = torch.ones((rows, 1024), device=device), torch.ones(1024, device=device)
    with torch.inference_mode():
        seconds = min(_best(lambda: torch.mv(buffer, vector), device), _best(lambda: buffer.sum(), device))
    return buffer.nbytes / seconds


def _speed(device: torch.device, dtype: torch.dtype, eight_bit: bool) -> float:
    """Return operations in a second of the best of some matrix products."""
    best = 0.0
    for rows, inner, columns in ((256, 1024, 4096), (1024, 1024, 1024), (64, 256, 256)):
        linear: nn.Module = nn.Linear(inner, columns, bias=False)
        if eight_bit and device.type == "cpu":
            linear = torch.ao.quantization.quantize_dynamic(nn.Sequential(linear), {nn.Linear}, dtype=torch.qint8)
        linear = linear.to(device) if eight_bit and device.type == "cpu" else linear.to(device, dtype)
        values = torch.ones((rows, inner), device=device, dtype=dtype)
        repeats = max(1, (1 << 28) // (rows * inner * columns))
        with torch.inference_mode():
            seconds = _best(functools.partial(_repeat, linear, values, repeats), device)
        best = max(best, 2.0 * rows * inner * columns * repeats / seconds)
    return best


def _repeat(call: Callable[[Tensor], Tensor], values: Tensor, repeats: int) -> None:
    for _ in range(repeats):
        call(values)

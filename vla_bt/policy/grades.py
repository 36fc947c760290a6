"""A policy made smaller while it runs, and its caches cleared, each measured.

Promises: shrinking is done in place, layer by layer, so that it needs little memory itself; what is no network (the expert) stays
as it is; what was freed is the change of resident and GPU memory, not an estimate. Back up leads only through loading anew.
"""

from __future__ import annotations

import gc
import sys
from pathlib import Path
from typing import Any

from vla_bt.memory.clearing import clear_caches, resident_mb
from vla_bt.policy.config import PolicyConfig, load_preset
from vla_bt.policy.errors import DoesNotFitError
from vla_bt.policy.names import is_path, shipped, split_name
from vla_bt.policy.port import Grade, Policy, WorkerMemory

PRECISIONS = ("fp32", "bf16", "fp16", "int8")
_NO_MEMORY = ("can't allocate memory", "out of memory", "std::bad_alloc", "Cannot allocate memory")


def kept_layers(config: PolicyConfig) -> int:
    """Return how many layers of each transformer stay at :attr:`Grade.LAYERS`: half the deepest's, 0 without a transformer."""
    parts = [part for part in (config.kosmos, config.clip) if part is not None]
    deepest = max((tower.layers for part in parts for tower in (part.vision, part.text)), default=0)
    return (deepest + 1) // 2


def load(name: str, grade: Grade) -> Policy:
    """Load a policy that is no expert, shrunk on the way in, so that no more than needed is ever held.

    Raises
    ------
    SettingsError
        As :func:`vla_bt.policy.factory.make_network_policy`.
    """
    from vla_bt.policy.factory import DEFAULT, make_network_policy

    if grade is Grade.FULL:
        return make_network_policy(name)
    base, scale, words = split_name(name)
    base = DEFAULT if base == "default" else base
    folder = Path(base).expanduser() if is_path(base) else None if scale else shipped(base)
    if folder is not None:
        from vla_bt.policy.saved import read_card

        config = read_card(folder).config
    else:
        config = load_preset(base, scale)
    given = set(words.split("+"))
    how = [] if given & set(PRECISIONS) else ["int8"]
    layers = kept_layers(config) if grade is Grade.LAYERS and not any(word.startswith("layers") for word in given) else 0
    how += [f"layers{layers}"] * bool(layers)
    policy = make_network_policy(name, how="+".join(how))
    if "int8" not in how and not policy.eight_bit:
        from vla_bt.policy.shrinking import Shrink, shrink

        shrink(policy, Shrink("int8"))  # the name asked for another precision
    return policy


def degrade(policy: Policy, before: Grade, grade: Grade) -> str:
    """Make a policy smaller in place; returns what was done, in words, empty if there was nothing to do."""
    if grade <= before or "torch" not in sys.modules:
        return ""
    from vla_bt.policy.runtime import NetworkPolicy
    from vla_bt.policy.shrinking import Shrink, shrink

    if not isinstance(policy, NetworkPolicy):
        return ""
    how = Shrink("" if policy.eight_bit else "int8", kept_layers(policy.config) if grade >= Grade.LAYERS else 0)
    shrink(policy, how)
    gc.collect()
    clear_caches()
    return str(how)


def label_of(label: str, grade: Grade) -> str:
    """Return what people are told about the weights of a policy of this grade."""
    if grade is Grade.FULL:
        return label
    return f"{label}; {'8-bit' if grade is Grade.INT8 else '8-bit, half the layers'} for want of memory"


def clear(policy: Policy | None) -> None:
    """Give back what is kept but not needed: encoded goals beside the current one, garbage, torch's GPU cache, freed memory."""
    forget = getattr(policy, "clear_cache", None)
    if forget is not None:
        forget()
    gc.collect()
    cuda = _cuda()
    if cuda is not None:
        cuda.empty_cache()
    clear_caches()


def held_mb() -> float:
    """Return resident memory and what torch keeps of the GPU [MB]."""
    cuda = _cuda()
    return resident_mb() + (cuda.memory_reserved() / 1e6 if cuda is not None else 0.0)


def measure(clears: int = 0, cleared_mb: float = 0.0, shrunk_mb: float = 0.0) -> WorkerMemory:
    """Look at this process."""
    cuda = _cuda()
    if cuda is None:
        return WorkerMemory(resident_mb(), 0.0, 0.0, 0.0, clears, cleared_mb, shrunk_mb)
    free, _ = cuda.mem_get_info()
    used = (cuda.memory_allocated() / 1e6, cuda.memory_reserved() / 1e6)
    return WorkerMemory(resident_mb(), *used, free / 1e6, clears, cleared_mb, shrunk_mb)


def is_out_of_memory(error: BaseException) -> bool:
    """Tell whether an exception means that memory ran out: Python's, torch's on a GPU, its allocator's on a CPU, the plan's."""
    if isinstance(error, (MemoryError, DoesNotFitError)):
        return True
    kind = getattr(sys.modules.get("torch"), "OutOfMemoryError", ())
    return isinstance(error, kind) or (
        isinstance(error, (RuntimeError, OSError)) and any(sign in str(error) for sign in _NO_MEMORY)
    )


def _cuda() -> Any:
    """Return ``torch.cuda`` if this process uses it."""
    torch = sys.modules.get("torch")
    return torch.cuda if torch is not None and torch.cuda.is_initialized() else None

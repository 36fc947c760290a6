"""Stored weights into a network: compared first, then put in place without a second copy.

Promises: the network is built without memory and the mapped weights become its own, so that loading takes no memory beyond what
is later changed; tables that no file holds (positions) are computed again; nothing is loaded when anything is missing, unknown
or of another shape, unless that is asked for, and then the label says what is untrained.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from vla_bt.policy.alignment import aligned
from vla_bt.policy.config import PolicyConfig
from vla_bt.policy.encoders import source_sizes, tokenizers_for
from vla_bt.policy.layout import Layout, read_layout
from vla_bt.policy.network import PolicyNetwork
from vla_bt.policy.runtime import NetworkPolicy
from vla_bt.policy.shrinking import common_type
from vla_bt.policy.stored import Stored, digest_of, open_base, open_weights
from vla_bt.policy.tokenizer import GoalTokenizer
from vla_bt.settings import SettingsError

_EXAMPLES = 3


@dataclass(frozen=True)
class Fit:
    """How stored weights and a network compare.

    Attributes
    ----------
    tensors : dict
        Our name -> stored tensor, for those that fit.
    missing : list of str
        What the network needs and nobody stored, in our names.
    unexpected : list of str
        What is stored and the network has no place for, in the file's names.
    shapes : list of str
        What has another shape than the network's, in words.
    """

    tensors: dict[str, Tensor]
    missing: list[str]
    unexpected: list[str]
    shapes: list[str]

    @property
    def whole(self) -> bool:
        """Nothing is missing, unknown or of another shape."""
        return not (self.missing or self.unexpected or self.shapes)

    def report(self) -> list[str]:
        """Return one line for each part and kind of problem."""
        lines = []
        for what, names in (("missing", self.missing), ("unexpected", self.unexpected), ("other shape", self.shapes)):
            groups = Counter(part_of(name) for name in names)
            for part, count in groups.items():
                examples = [name for name in names if part_of(name) == part][:_EXAMPLES]
                lines.append(f"{what}: {part}: {count} ({', '.join(examples)}{', ...' if count > len(examples) else ''})")
        return lines


def part_of(name: str) -> str:
    """Name the part of a network a weight belongs to, such as ``encoders.kosmos.vision_model``."""
    parts = re.split(r"[. ]", name)
    if parts[0] == "encoders":
        return ".".join(parts[:3] if parts[1] in ("kosmos", "clip") else parts[:2])
    return parts[0]


def compare(stored: Stored, network: PolicyNetwork, layout: Layout | None = None) -> Fit:
    """Compare stored weights with a network (on any device, ``meta`` included)."""
    layout = layout or read_layout(stored.tensors)
    wanted = network.state_dict()
    fitting = _from_sources(network.config, layout)
    shapes, unexpected = [], list(layout.unknown)
    for name, tensor in stored.tensors.items():
        ours = layout.names.get(name)
        if ours is None:
            continue
        if ours not in wanted:
            unexpected.append(name)
        elif wanted[ours].shape != tensor.shape:
            shapes.append(f"{ours} {tuple(tensor.shape)} where {tuple(wanted[ours].shape)} is expected")
        else:
            fitting[ours] = tensor
    bad = {line.partition(" ")[0] for line in shapes}
    missing = [name for name in wanted if name not in fitting and name not in bad]
    return Fit(fitting, missing, unexpected, shapes)


def _from_sources(config: PolicyConfig, layout: Layout) -> dict[str, Tensor]:
    """Map the encoders that the file leaves out altogether from the models the configuration names."""
    found: dict[str, Tensor] = {}
    for model in ("kosmos", "clip"):
        part = getattr(config, model)
        if part is None or not part.source or any(name.startswith(f"encoders.{model}.") for name in layout.names.values()):
            continue
        names = read_layout(base := open_base(part.source, part.revision)).names
        found |= {ours: base[theirs] for theirs, ours in names.items() if ours.startswith(f"encoders.{model}.")}
    return found


def empty_network(
    config: PolicyConfig, tokenizers: dict[str, GoalTokenizer], exact: dict[str, dict[str, Any]] | None = None
) -> PolicyNetwork:
    """Build a network without memory for its weights; of sources the configuration names only the sizes are read.

    Raises
    ------
    SettingsError
        With one line, when the sizes (which may come from a file) make no network.
    """
    exact = source_sizes(config) if exact is None else exact
    try:
        with torch.device("meta"):
            return PolicyNetwork(config, tokenizers, exact)
    except SettingsError:
        raise
    except Exception as error:  # transformers raises whatever a wrong size leads to
        text = " ".join(str(error).split())[:200]
        raise SettingsError(f"policy {config.name}: its models' sizes make no network: {type(error).__name__}: {text}") from None


def fill(network: PolicyNetwork, fit: Fit, seed: int = 0) -> None:
    """Give an empty network its weights: those of ``fit`` as they are mapped, random ones where there are none.

    Weights that do not start at a multiple of 64 bytes are copied: mapped ones must compute what copied ones do.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        for name, module in network.named_modules():
            own = [f"{name}.{key}" for key, _ in module.named_parameters(recurse=False)]
            if any(key not in fit.tensors for key in own):
                _initialise(module)
    network.load_state_dict({name: aligned(tensor) for name, tensor in fit.tensors.items()}, strict=False, assign=True)
    network.requires_grad_(True)
    kind = common_type({tensor.dtype for tensor in fit.tensors.values() if tensor.is_floating_point()})
    for module in network.modules():
        _rebuild_tables(module, kind)
    left = [name for name, tensor in [*network.named_parameters(), *network.named_buffers()] if tensor.is_meta]
    if left:
        raise SettingsError(f"policy {network.config.name}: nothing gives {left[0]} its values")


def _initialise(module: nn.Module) -> None:
    """Give the module's own weights memory and random values."""
    for key, parameter in module.named_parameters(recurse=False):
        fresh = torch.empty(parameter.shape, dtype=parameter.dtype).normal_(0.0, 0.02)
        setattr(module, key, nn.Parameter(fresh))
    reset = getattr(module, "reset_parameters", None) or getattr(module, "_reset_parameters", None)
    if callable(reset) and not any(parameter.is_meta for parameter in module.parameters()):
        reset()


def _rebuild_tables(module: Any, dtype: torch.dtype) -> None:
    """Compute again what no file holds: sinusoids and numbered positions."""
    for key, buffer in list(module.named_buffers(recurse=False)):
        if not buffer.is_meta:
            continue
        if key == "weights" and hasattr(module, "make_weights"):
            table = module.get_embedding(len(buffer), module.embedding_dim, module.padding_idx)
        elif key == "position_ids":
            table = torch.arange(buffer.shape[-1]).expand(buffer.shape)
        elif key == "scale" and hasattr(module, "declared_scale"):
            table = torch.tensor(module.declared_scale)
        else:
            continue
        module.register_buffer(key, table.to(dtype) if table.is_floating_point() else table, persistent=False)


def load_weights(
    path: Path,
    config: PolicyConfig,
    tokenizers: dict[str, GoalTokenizer] | None = None,
    exact: dict[str, dict[str, Any]] | None = None,
    label: str = "",
    allow_missing: bool = False,
    whose: str = "",
) -> NetworkPolicy:
    """Load a weight file into the network a configuration describes.

    Parameters
    ----------
    tokenizers : dict, optional
        Default: those the configuration names.
    exact : dict, optional
        The transformers configurations the weights were saved with.
    allow_missing : bool
        Load what fits and start the rest at random instead of refusing.
    whose : str
        What the weights are said not to fit; default: the policy's name.

    Raises
    ------
    SettingsError
        With one line; when weights do not fit, it counts them and names the first of each part.
    """
    stored = open_weights(path)
    tokenizers = tokenizers if tokenizers is not None else tokenizers_for(config)
    network = empty_network(config, tokenizers, exact)
    fit = compare(stored, network)
    if not fit.whole and not allow_missing:
        raise SettingsError(f"{path}: does not fit {whose or f'policy {config.name}'}: {'; '.join(fit.report())}")
    if not fit.tensors:
        raise SettingsError(f"{path}: none of its weights belongs to policy {config.name}")
    fill(network, fit)
    label = label or path.name
    if not fit.whole:
        untrained = sorted({part_of(name) for name in [*fit.missing, *fit.shapes]})
        label = f"{label}, untrained: {', '.join(untrained)}" if untrained else label
    return NetworkPolicy(network, tokenizers, label, weights_hash(stored))


def weights_hash(stored: Stored) -> str:
    """Return the SHA-256 that identifies weights: of the file, or of a folder's tensors."""
    if stored.path.is_dir():
        return digest_of(stored.tensors.values())
    digest = hashlib.sha256()
    with stored.path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()

"""From a training checkpoint to what a robot needs: without optimizer state, without what a base model has, in our own folder.

Promises: outputs stay bit for bit the same (unless another precision is asked for); never more than a tensor's copy in memory; a
weight counts as the base's only if every bit of it is.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from vla_bt.policy.config import PolicyConfig
from vla_bt.policy.encoders import tokenizers_for
from vla_bt.policy.layout import read_layout
from vla_bt.policy.loading import compare, empty_network
from vla_bt.policy.saved import WEIGHTS, Card, is_policy_folder, read_card, write_folder
from vla_bt.policy.stored import BASES, Stored, check_sums, digest_of, open_base, open_weights
from vla_bt.policy.writing import whole_file, write_safetensors
from vla_bt.settings import SettingsError


@dataclass(frozen=True)
class Saving:
    """What a conversion brought: bytes before and after, of optimizer state, and weights left to a base."""

    before_bytes: int
    after_bytes: int
    optimizer_bytes: int
    left_out: dict[str, int]


def convert(path: Path, folder: Path, config: PolicyConfig, dtype: torch.dtype | None = None) -> Saving:
    """Turn a weight file into a policy's folder.

    Raises
    ------
    SettingsError
        When the weights are not exactly those of ``config``, or the folder can't be written.
    """
    stored = open_weights(path)
    if path.is_file():
        check_sums(path)
    tokenizers = tokenizers_for(config)
    network = empty_network(config, tokenizers)
    fit = compare(stored, network)
    if not fit.whole:
        raise SettingsError(f"{path}: does not fit policy {config.name}: {'; '.join(fit.report())}")
    tensors = {name: fit.tensors[name] for name in network.state_dict()}
    write_folder(folder, Card(path.name, config, network.model_configs(), tokenizers), tensors, dtype)
    return Saving(size_of(path), size_of(folder), stored.optimizer_bytes, {})


def slim(path: Path, target: Path, bases: Mapping[str, tuple[str, str]]) -> Saving:
    """Write the weights alone, without those a base model has.

    Parameters
    ----------
    path : Path
        A weight file, or a policy's folder; ``target`` is of the same kind (a file becomes ``.safetensors``).
    bases : mapping
        ``kosmos`` and ``clip`` to (source, revision) of the model the encoders may be equal to.
    """
    folder = is_policy_folder(path)
    if not folder and path.is_dir():
        raise SettingsError(f"{path}: not a policy's folder; give a weight file or such a folder")
    if not folder and target.suffix != ".safetensors":
        raise SettingsError(f"{target}: a slim weight file is named .safetensors")
    stored = open_weights(path / WEIGHTS if folder else path)
    if not folder:
        check_sums(path)
    if stored.bases:
        raise SettingsError(f"{path}: is slim already, its base is {stored.bases[0]['source']}")
    names = read_layout(stored.tensors).names
    ours_to_theirs = {ours: theirs for theirs, ours in names.items()}
    kept, records, left_out = dict(stored.tensors), [], {}
    for model, (source, revision) in bases.items():
        equal = _equal_to_base(stored, ours_to_theirs, model, open_base(source, revision))
        if not equal:
            raise SettingsError(f"{path}: no weight of its {model} equals that of {source}")
        for record in _records(equal, source, revision):
            records.append(record)
            for name in record["names"]:
                del kept[record["prefix"] + name]
        left_out[model] = len(equal)
    metadata = {BASES: json.dumps(records)} if records else {}
    if folder:
        write_folder(target, read_card(path), kept, metadata=metadata)
    else:
        with whole_file(target) as fresh:
            write_safetensors(fresh, kept, metadata=metadata)
    return Saving(size_of(path), size_of(target), stored.optimizer_bytes, left_out)


def _equal_to_base(
    stored: Stored, ours_to_theirs: Mapping[str, str], model: str, base: Mapping[str, Tensor]
) -> list[tuple[str, str, Tensor]]:
    """Return (stored name, the base's name, tensor) of every weight that is the base's to the last bit."""
    equal = []
    for theirs, ours in read_layout(base).names.items():
        name = ours_to_theirs.get(ours) if ours.startswith(f"encoders.{model}.") else None
        if name is None:
            continue
        mine, its = stored.tensors[name], base[theirs]
        if mine.dtype == its.dtype and mine.shape == its.shape and bool(torch.equal(mine, its)):
            equal.append((name, theirs, its))
    return equal


def _records(equal: list[tuple[str, str, Tensor]], source: str, revision: str) -> list[dict[str, Any]]:
    """Group what is left out by what stands before the base's name."""
    groups: dict[str, list[tuple[str, Tensor]]] = {}
    for name, theirs, tensor in equal:
        if not name.endswith(theirs):
            raise SettingsError(f"{name}: can't be left to {source}, where it is called {theirs}")
        groups.setdefault(name.removesuffix(theirs), []).append((theirs, tensor))
    return [
        {
            "prefix": prefix,
            "source": source,
            "revision": revision,
            "names": [theirs for theirs, _ in group],
            "sha256": digest_of(tensor for _, tensor in group),
        }
        for prefix, group in groups.items()
    ]


def size_of(path: Path) -> int:
    """Return the bytes of a file or of a folder's files."""
    return path.stat().st_size if path.is_file() else sum(file.stat().st_size for file in path.iterdir())

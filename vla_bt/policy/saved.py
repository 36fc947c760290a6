"""A policy as a folder: ``model.safetensors``, ``config.json`` and its tokenizers; nothing in it is ever executed.

Promises: what was saved is loaded bit for bit, mapped and not copied, with no download and no look at the folders the encoders
came from (a slim folder's base aside); a folder is there whole or not at all; what does not fit is one line.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from vla_bt.policy.config import PolicyConfig, from_dict
from vla_bt.policy.encoders import text_encoders
from vla_bt.policy.loading import load_weights
from vla_bt.policy.runtime import NetworkPolicy
from vla_bt.policy.tokenizer import GoalTokenizer
from vla_bt.policy.writing import whole_folder, write_safetensors
from vla_bt.settings import SettingsError

FORMAT = 1
WEIGHTS = "model.safetensors"
CARD = "config.json"


class Card(NamedTuple):
    """What a folder says of its policy: label, configuration, the transformers configurations inside, tokenizers."""

    label: str
    config: PolicyConfig
    models: dict[str, dict[str, Any]]
    tokenizers: dict[str, GoalTokenizer]


def save_policy(policy: NetworkPolicy, folder: Path, label: str = "") -> None:
    """Write a policy; an existing policy there is replaced.

    Parameters
    ----------
    label : str
        What people will be told about the weights; empty keeps the policy's own.
    """
    weights = policy.network.state_dict()
    if not all(isinstance(tensor, Tensor) and not tensor.is_quantized for tensor in weights.values()):
        raise SettingsError(f"{folder}: 8-bit weights are made while loading and can't be saved; save the policy they come from")
    card = Card(label or policy.info.label, policy.config, policy.network.model_configs(), policy.tokenizers)
    write_folder(folder, card, weights)


def write_folder(
    folder: Path,
    card: Card,
    tensors: Mapping[str, Tensor],
    dtype: torch.dtype | None = None,
    metadata: Mapping[str, str] | None = None,
) -> None:
    """Write a policy's folder from weights in any memory; ``dtype`` is what they become."""
    content = {"format": FORMAT, "label": card.label, "policy": card.config.to_dict(), "models": card.models}
    with whole_folder(folder, CARD) as fresh:
        write_safetensors(fresh / WEIGHTS, tensors, dtype, metadata)
        for name, tokenizer in card.tokenizers.items():
            tokenizer.save(fresh / f"{name}.tokenizer.json")
        (fresh / CARD).write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def load_policy(folder: Path) -> NetworkPolicy:
    """Load a policy that :func:`save_policy` wrote.

    Raises
    ------
    SettingsError
        With one line, when the folder is absent, damaged, or its weights do not fit its configuration.
    """
    card = read_card(folder)
    whose = f"its {CARD}"
    return load_weights(folder / WEIGHTS, card.config, card.tokenizers, card.models, label=card.label, whose=whose)


def is_policy_folder(path: Path) -> bool:
    """Tell whether a path looks like a policy's folder, sound or not."""
    return path.is_dir() and (path / WEIGHTS).is_file() and (path / CARD).is_file() and "policy" in _json(path / CARD)


def read_card(folder: Path) -> Card:
    """Read everything but the weights."""
    content = _content(folder / CARD)
    config = from_dict(content["policy"], f"{folder / CARD}: policy")
    tokenizers = {
        name: GoalTokenizer.from_file(folder / f"{name}.tokenizer.json", getattr(config, name).positions)
        for name in text_encoders(config)
    }
    models = content["models"]
    if not isinstance(models, dict) or not all(isinstance(sizes, dict) for sizes in models.values()):
        raise SettingsError(f"{folder / CARD}: models: expected a mapping of mappings")
    label = str(content["label"])
    return Card(label if label.isprintable() else repr(label), config, models, tokenizers)


def _content(path: Path) -> dict[str, Any]:
    content = _json(path)
    if content.get("format") != FORMAT:
        raise SettingsError(f"{path}: not a policy of format {FORMAT}")
    if not {"label", "policy", "models"} <= set(content):
        raise SettingsError(f"{path}: expected the entries label, policy, models")
    return content


def _json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise SettingsError(f"{path.parent}: no policy there: {path.name}: {error.strerror}") from None
    except (ValueError, RecursionError) as error:
        raise SettingsError(f"{path}: not JSON: {error}") from None
    if not isinstance(content, dict):
        raise SettingsError(f"{path}: not a policy of format {FORMAT}")
    return content

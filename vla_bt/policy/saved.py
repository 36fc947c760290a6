"""A policy as a folder: ``model.safetensors``, ``config.json`` and its tokenizers; nothing in it is ever executed.

Promises: what was saved is loaded bit for bit, with no download and no look at the folders the encoders came from; a folder is
there whole or not at all; anything missing, damaged or not fitting is one line.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from vla_bt.policy.config import from_dict
from vla_bt.policy.encoders import text_encoders
from vla_bt.policy.network import PolicyNetwork
from vla_bt.policy.runtime import NetworkPolicy
from vla_bt.policy.tokenizer import GoalTokenizer
from vla_bt.settings import SettingsError

FORMAT = 1
WEIGHTS = "model.safetensors"


def save_policy(policy: NetworkPolicy, folder: Path, label: str = "") -> None:
    """Write a policy; an existing policy there is replaced.

    Parameters
    ----------
    label : str
        What people will be told about the weights; empty keeps the policy's own.
    """
    fresh = folder.with_name(f".{folder.name}.new")
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir(parents=True)
    try:
        save_file({name: tensor.contiguous() for name, tensor in policy.network.state_dict().items()}, fresh / WEIGHTS)
        for name, tokenizer in policy.tokenizers.items():
            tokenizer.save(fresh / f"{name}.tokenizer.json")
        content = {
            "format": FORMAT,
            "label": label or policy.info.label,
            "policy": policy.config.to_dict(),
            "models": policy.network.model_configs(),
        }
        (fresh / "config.json").write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
        if folder.exists():
            if not (folder / "config.json").is_file() and any(folder.iterdir()):
                raise SettingsError(f"{folder}: exists and is not a policy's folder; choose another")
            shutil.rmtree(folder)
        fresh.rename(folder)
    except (OSError, SafetensorError) as error:
        raise SettingsError(f"{folder}: the policy can't be written: {error}") from None
    finally:
        shutil.rmtree(fresh, ignore_errors=True)


def load_policy(folder: Path) -> NetworkPolicy:
    """Load a policy that :func:`save_policy` wrote.

    Raises
    ------
    SettingsError
        With one line, when the folder is absent, damaged, or its weights do not fit its configuration.
    """
    content = _content(folder / "config.json")
    config = from_dict(content["policy"], f"{folder / 'config.json'}: policy")
    tokenizers = {
        name: GoalTokenizer.from_file(folder / f"{name}.tokenizer.json", getattr(config, name).positions)
        for name in text_encoders(config)
    }
    try:
        weights = load_file(folder / WEIGHTS)
    except (OSError, SafetensorError) as error:
        raise SettingsError(f"{folder / WEIGHTS}: no weights can be read there: {error}") from None
    with torch.random.fork_rng(devices=[]):
        network = PolicyNetwork(config, tokenizers, content["models"])
    try:
        network.load_state_dict(weights)
    except RuntimeError as error:
        raise SettingsError(f"{folder / WEIGHTS}: does not fit its config.json: {' '.join(str(error).split())[:300]}") from None
    return NetworkPolicy(network, tokenizers, str(content["label"]), file_hash(folder / WEIGHTS))


def _content(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise SettingsError(f"{path.parent}: no policy there: {path.name}: {error.strerror}") from None
    except ValueError as error:
        raise SettingsError(f"{path}: not JSON: {error}") from None
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise SettingsError(f"{path}: not a policy of format {FORMAT}")
    if not {"label", "policy", "models"} <= set(content):
        raise SettingsError(f"{path}: expected the entries label, policy, models")
    return content


def file_hash(path: Path) -> str:
    """Return the SHA-256 of a file, hexadecimal."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()

"""Where pretrained weights may come from: a local folder, or a hub name at a pinned commit.

Promises: safetensors only, never remote code, never a moving branch; with ``HF_HUB_OFFLINE=1`` or a local folder nothing is
downloaded. A wrong source is one clear line.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError

from vla_bt.policy.alignment import aligned
from vla_bt.settings import SettingsError


@dataclass(frozen=True)
class Place:
    """What ``from_pretrained`` is called with."""

    name: str
    revision: str | None


def locate(source: str, revision: str) -> Place:
    """Check a source.

    Raises
    ------
    SettingsError
        When it is neither an existing folder nor a hub name with a 40-digit commit.
    """
    folder = Path(source).expanduser()
    if folder.is_dir():
        if not (folder / "config.json").is_file():
            raise SettingsError(f"{source}: the folder holds no config.json")
        return Place(str(folder), None)
    if not re.fullmatch(r"[\w-][\w.-]*/[\w-][\w.-]*", source):
        raise SettingsError(f"{source}: no such folder, and not a hub name such as openai/clip-vit-base-patch32")
    if not re.fullmatch(r"[0-9a-f]{40}", revision):
        raise SettingsError(f"{source}: no such folder; as a hub name it needs 'revision' with a commit of 40 hexadecimal digits")
    return Place(source, revision)


def read_model(kind: Any, source: str, revision: str) -> Any:
    """Load a transformers model class from a folder or a pinned hub name, in float32, safetensors only."""
    from transformers.utils import logging

    place = locate(source, revision)
    logging.disable_progress_bar()  # its owner is a process with nobody at the screen
    try:
        model, report = kind.from_pretrained(
            place.name, revision=place.revision, use_safetensors=True, trust_remote_code=False, output_loading_info=True
        )
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        raise SettingsError(f"{source}: can't be loaded as {kind.__name__}: {' '.join(str(error).split())[:300]}") from None
    missing = sorted(report["missing_keys"])
    if missing:
        raise SettingsError(f"{source}: {len(missing)} weights of {kind.__name__} are missing there, such as {missing[0]}")
    model.float()
    for parameter in model.parameters():
        parameter.data = aligned(parameter.data)
    return model


def read_sizes(kind: Any, source: str, revision: str) -> dict[str, Any]:
    """Read a transformers configuration class from a folder or a pinned hub name, as plain values."""
    place = locate(source, revision)
    try:
        values: dict[str, Any] = kind.from_pretrained(place.name, revision=place.revision).to_dict()
    except (OSError, ValueError, TypeError) as error:
        raise SettingsError(f"{source}: its config.json can't be read: {' '.join(str(error).split())[:300]}") from None
    if values.get("model_type") != kind.model_type:
        raise SettingsError(f"{source}: holds a {values.get('model_type')} model; expected {kind.model_type}")
    return values

"""Which policies there are, by name. Loads no torch, so that the tree's process can refuse a wrong name too."""

from __future__ import annotations

import importlib.resources
from pathlib import Path

from vla_bt.policy.config import load_preset, preset_names
from vla_bt.settings import SettingsError

SCALES = ("full", "small", "tiny")
DEFAULT = "small-cnn"
"""What the name ``default`` stands for: of the shipped policies the one that drives best."""


def policy_names() -> list[str]:
    """Names that :func:`make_policy` knows."""
    return ["default", "expert", *preset_names()]


def shipped(name: str) -> Path | None:
    """Return the folder of the weights shipped for a preset, None when there are none."""
    folder = Path(str(importlib.resources.files("vla_bt.policy"))) / "weights" / name
    return folder if (folder / "config.json").is_file() else None


def check_name(name: str) -> None:
    """Refuse a policy that does not exist; loads nothing, so that a process without torch can ask.

    Raises
    ------
    SettingsError
        With one line.
    """
    base = split_name(name)[0]
    if is_path(base):
        if not Path(base).expanduser().exists():
            raise SettingsError(f"policy {name}: no such folder")
    elif base not in policy_names():
        load_preset(base)  # says which there are


def is_path(name: str) -> bool:
    """Tell a path from a preset's name."""
    return "/" in name or (name not in preset_names() and Path(name).exists())


def split_name(name: str) -> tuple[str, str, str]:
    """Split ``hybrid@full@int8`` into name, scale and how to shrink; ``@`` may also stand in a path."""
    words: list[str] = []
    while "@" in name and not Path(name).exists():
        name, _, word = name.rpartition("@")
        words.insert(0, word)
    if is_path(name):
        return name, "", "+".join(words)
    scale = words.pop(0) if words and words[0] in SCALES else ""
    return name, scale, "+".join(words)

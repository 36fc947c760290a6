"""What the verbs of ``vla-bt policy`` share: the options that say which policy a weight file is, and reading them."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from vla_bt.settings import SettingsError

if TYPE_CHECKING:
    from vla_bt.policy.config import PolicyConfig


def add_policy_options(parser: argparse.ArgumentParser) -> None:
    """Add what says which policy a weight file is."""
    parser.add_argument("--policy", default="", metavar="NAME", help="what a weight file is: a preset or a .yaml file")
    parser.add_argument(
        "--kosmos", default="", metavar="DIR", help="Kosmos-2's folder, or hub name with @COMMIT: tokenizer, sizes"
    )
    parser.add_argument("--clip", default="", metavar="DIR", help="CLIP's folder, or hub name with @COMMIT: tokenizer, sizes")
    parser.add_argument("--shipped-tokenizers", action="store_true", help="number words by the shipped tokenizers all the same")


def said_config(options: argparse.Namespace) -> PolicyConfig | None:
    """Return the configuration that the options describe, if they do."""
    from vla_bt.policy.config import load_config, load_preset

    if not options.policy:
        if options.kosmos or options.clip:
            raise SettingsError("--kosmos and --clip go with --policy, which says what the weights are")
        return None
    if options.policy.endswith((".yaml", ".yml")):
        config = load_config(Path(options.policy))
    else:
        name, _, scale = options.policy.partition("@")
        config = load_preset(name, scale or "full")
    for part in ("kosmos", "clip"):
        said = getattr(options, part)
        if not said:
            continue
        section = getattr(config, part)
        if section is None:
            raise SettingsError(f"--{part}: policy {config.name} has no {part}")
        source, revision = source_of(said)
        config = replace(config, **{part: replace(section, source=source, revision=revision)})
    return config


def run_config(options: argparse.Namespace) -> PolicyConfig | None:
    """Return :func:`said_config` for a run, refusing tokenizers that number words otherwise than the weights."""
    config = said_config(options)
    if config is not None and not options.shipped_tokenizers:
        from vla_bt.policy.encoders import tokenizers_for
        from vla_bt.policy.inspection import tokenizers_missing

        missing = tokenizers_missing(config, tokenizers_for(config))
        if missing:
            raise SettingsError("; ".join(missing))
    return config


def source_of(text: str) -> tuple[str, str]:
    """Split a folder, or a hub name with its commit, into source and revision."""
    if Path(text).expanduser().is_dir():
        return text, ""
    source, _, revision = text.partition("@")
    return source, revision


def add_allow_missing(parser: argparse.ArgumentParser) -> None:
    """Add the way out of refusing weights that do not fit."""
    parser.add_argument(
        "--allow-missing",
        action="store_true",
        help="load what fits of a weight file and start the rest at random; its label says which parts",
    )


def add_threads_option(parser: argparse.ArgumentParser) -> None:
    """Add how many CPU threads compute."""
    parser.add_argument("--threads", type=int, default=0, metavar="N", help="CPU threads (default: torch's choice)")


def use_threads(options: argparse.Namespace) -> None:
    """Let so many CPU threads compute as the options say.

    Raises
    ------
    SettingsError
        When it is a negative number.
    """
    from vla_bt.policy.runtime import set_threads

    if options.threads < 0:
        raise SettingsError(f"--threads {options.threads}: at least 1 is needed")
    if options.threads:
        set_threads(options.threads)

"""``vla-bt episodes``: look into recorded episodes, check, count, show, plan, collect, augment, replay and exchange them.

    vla-bt episodes ls runs
    vla-bt episodes check runs
    vla-bt episodes export runs --to lerobot --out mine

Promises: no file that is read is changed; a file that is damaged, foreign or hostile is one line and exit code 2.
"""

from __future__ import annotations

import argparse
import importlib
from typing import Any

VERBS: tuple[str, ...] = (
    "ls",
    "show",
    "stats",
    "import",
    "export",
    "view",
    "check",
    "plan",
    "augment",
    "recover",
    "collect",
    "replay",
)
"""Each lives in ``vla_bt/cli/episodes_<verb>.py`` with ``add_parser(verbs)``, which imports nothing heavy before it runs."""

EXAMPLES = """examples:
  vla-bt episodes ls runs                                  one line for each episode
  vla-bt episodes check runs                               what is wrong with them
  vla-bt episodes view runs/episode_20261122_120000_free.h5
  vla-bt episodes export runs --to lerobot --out mine
"""


def add_parser(subparsers: Any) -> None:
    """Add the group."""
    group = subparsers.add_parser(
        "episodes",
        help="look into, check, count, show and exchange recorded episodes",
        description="Look into recorded episodes, check, count, show and exchange them.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    verbs = group.add_subparsers(metavar="VERB", required=True)
    for verb in VERBS:
        importlib.import_module(f"vla_bt.cli.episodes_{verb}").add_parser(verbs)

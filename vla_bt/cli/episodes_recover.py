"""``vla-bt episodes recover``: make episodes of what a killed or stopped recorder left behind."""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path
from typing import Any

EXAMPLES = """examples:
  vla-bt episodes recover                  in runs/
  vla-bt episodes recover /data/episodes --json
"""


def add_parser(verbs: Any) -> None:
    """Add the verb."""
    parser = verbs.add_parser(
        "recover",
        help="make episodes of what a killed recorder left behind",
        description="Make episodes of what a killed, crashed or stopped recorder left behind: a .journal and, with plain "
        "pictures, a .part file for each. What is being recorded is left alone; leftovers go once a whole file has replaced "
        "them.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("folder", nargs="?", type=Path, default=Path("runs"), help="where episodes go (default %(default)s)")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Recover; exit code 1 when something could not be."""
    from vla_bt.episodes.recover import FAILED, RECOVERED, recover
    from vla_bt.settings import SettingsError

    found = []
    try:
        for recovery in recover(options.folder):
            found.append(recovery)
            if not options.json:
                print(recovery.words, flush=True)
    except OSError as error:
        raise SettingsError(
            f"{options.folder}: {os.strerror(error.errno or 0)}; expected the folder that episodes go to"
        ) from None
    failed = sum(recovery.state == FAILED for recovery in found)
    if options.json:
        rows = [
            {
                "journal": recovery.journal.name,
                "state": recovery.state,
                "file": recovery.path.name if recovery.path else None,
                "frames": recovery.frames,
                "damaged": recovery.damaged,
                "why": recovery.why,
            }
            for recovery in found
        ]
        recovered = sum(recovery.state == RECOVERED for recovery in found)
        print(json.dumps({"result": {"episodes": rows, "recovered": recovered, "failed": failed}}))
    elif not found:
        print(f"nothing to recover in {options.folder}")
    return 1 if failed else 0

"""``vla-bt memory soak``: the application over ROS drives for long, to see whether any process grows.

Promises: exit code 0 only if no process surely grows faster than the aim; nothing is left behind, also after Ctrl-C.
"""

from __future__ import annotations

import argparse
import json
import signal
import sys
import time
from pathlib import Path
from typing import Any

from vla_bt.settings import SettingsError

EXAMPLES = """examples:
  vla-bt memory soak --minutes 30 --policy small-cnn
  vla-bt memory soak --minutes 5 --json > soak.json

aim for each process: the 95 % interval of its growth reaches down to 0, or its slope is at most 1 MB/h
"""


def add_parser(subparsers: Any) -> None:
    """Add the verb."""
    parser = subparsers.add_parser(
        "soak",
        help="does any process grow while driving for long?",
        description="Drive the simulated robot over ROS, recording, by goals in ever other words, more than half of them "
        "changed on the way, with two policy reloads, and fit a line through what each process has written to: its "
        "USS without clean pages of files, which others bring and take.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--minutes", type=float, default=30.0, metavar="M", help="for how long (default 30, at least 3)")
    parser.add_argument("--policy", default="default", help="what the worker runs (default: the default policy)")
    parser.add_argument("--folder", type=Path, help="for logs, episodes and the plot (default runs/soak_<time>)")
    parser.add_argument(
        "--json", action="store_true", default=argparse.SUPPRESS, help="print one JSON object instead of the table"
    )
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Run; returns the exit code."""
    from vla_bt.app.memory_soak import draw, soak
    from vla_bt.policy.names import check_name

    if not 3.0 <= options.minutes <= 10_000.0:
        raise SettingsError(f"--minutes is {options.minutes:g}; expected 3 to 10000")
    check_name(options.policy)
    folder = options.folder or Path("runs") / time.strftime("soak_%Y%m%d_%H%M%S")

    def say(words: str) -> None:
        end = "\r" if sys.stderr.isatty() else "\n"
        print(f"{words:120s}", end=end, file=sys.stderr, flush=True)

    signal.signal(signal.SIGTERM, signal.default_int_handler)  # ends like Ctrl-C, tidily
    try:
        outcome = soak(options.policy, 60.0 * options.minutes, folder, (640, 360), say)
    except RuntimeError as problem:
        print(f"vla-bt memory soak: {problem} (logs: {folder})", file=sys.stderr)
        return 1
    except OSError as error:
        raise SettingsError(f"{error.filename or folder}: {error.strerror or error}") from None
    plot = folder / "soak.png"
    draw(outcome, plot)
    (folder / "series.json").write_text(json.dumps(outcome["series"]), encoding="utf-8")
    ok = all(outcome["checks"].values())
    figures = outcome["figures"]
    if options.json:
        result = {"minutes": figures["minutes"], "policy": figures["policy"]}
        print(json.dumps({"result": result, "timing": {"ok": ok, "checks": outcome["checks"], "figures": figures}}, indent=2))
        return 0 if ok else 1
    print(
        f"\n{figures['steps']} steps, {figures['episodes']} episodes, {figures['reloads']} reloads in {figures['minutes']:g} min"
    )
    goals = figures["goals"]
    print(f"{goals['told']} goals told, {goals['different']} different, {goals.get('preempted', 0)} replaced on the way")
    looks, stale, oldest_s = (figures[name] for name in ("looks_driven_by_policy", "stale_moves", "oldest_answer_moved_on_s"))
    print(f"{looks} looks at a robot driven by the policy, {stale} on a stale action; the oldest answer {oldest_s:.2f} s")
    print(f"{'process':10s}{'written [MB]':>14s}{'growth [MB/h]':>15s}   95 % interval")
    for role, growth in figures["growth_mb_h"].items():
        print(
            f"{role:10s}{figures['written_mb'][role]:14.1f}{growth['slope']:15.2f}   {growth['low']:.2f} to {growth['high']:.2f}"
        )
    for words, held in outcome["checks"].items():
        print(f"{'ok  ' if held else 'FAIL'}  {words}")
    print(f"plot: {plot}")
    return 0 if ok else 1

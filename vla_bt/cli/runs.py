"""``vla-bt runs``: what happened in a run, afterwards."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from vla_bt.cli.options import port

PORT = 8078
EXAMPLES = """examples:
  vla-bt runs ls
  vla-bt runs show last
  vla-bt runs why last --at 12.3        who held the robot then, since when, and why
  vla-bt runs why 20261122_2034 --json  at the end of the run whose name begins so
  vla-bt runs view last                 the run in the dashboard, with a time slider

RUN is a name that 'ls' shows, the beginning of one, 'last', or a path with a slash in it (a run's folder, or an .mcap file).
Logs are MCAP with JSON messages: Foxglove opens them, too.
"""


def add_parser(subparsers: Any) -> None:
    """Add the verb."""
    parser = subparsers.add_parser(
        "runs",
        help="list finished runs, look into them, ask why the robot stood",
        description="Every run of the tree writes a log. These verbs read it.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    verbs = parser.add_subparsers(metavar="WHAT", required=True)
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument(
        "--runs-dir", type=Path, metavar="DIR", help="where run logs lie (default: vla_bt/runs in the state directory)"
    )
    answers = argparse.ArgumentParser(add_help=False)
    answers.add_argument("--json", action="store_true", help="print one JSON object")

    listing = verbs.add_parser("ls", parents=[common, answers], help="list the runs, newest last")
    listing.set_defaults(run=_ls)

    show = verbs.add_parser("show", parents=[common, answers], help="a run in figures")
    show.add_argument("name", metavar="RUN")
    show.set_defaults(run=_show)

    why = verbs.add_parser(
        "why",
        parents=[common, answers],
        help="why the robot stood, or moved, at a moment",
        description="Say in words which leaf held the robot and since when, for which causes, who drove, and towards what.",
    )
    why.add_argument("name", metavar="RUN")
    why.add_argument("--at", type=float, metavar="S", help="seconds since the run began (default: its end)")
    why.set_defaults(run=_why)

    view = verbs.add_parser(
        "view",
        parents=[common],
        help="look at a run in the dashboard, with a time slider",
        description="Serve a finished run in the dashboard's page on this machine until Ctrl-C: the tree at every moment, what "
        "was asked and applied, goals, and the camera's pictures where episodes were recorded.",
    )
    view.add_argument("name", metavar="RUN")
    view.add_argument("--port", type=port, default=PORT, help=f"port (default {PORT}; 0 takes a free one)")
    view.add_argument("--episodes", type=Path, metavar="DIR", help="folder of the episodes (default: where they were recorded)")
    view.set_defaults(run=_view)


def _open(options: argparse.Namespace) -> Any:
    from vla_bt.runlog.places import find_run, runs_directory
    from vla_bt.runlog.reader import open_run

    return open_run(find_run(options.name, runs_directory(options.runs_dir)))


def _ls(options: argparse.Namespace) -> int:
    from vla_bt.runlog.places import run_folders, runs_directory
    from vla_bt.runlog.reader import RunLogError, open_run, shown
    from vla_bt.runlog.summary import glance

    directory = runs_directory(options.runs_dir)
    found, broken = [], []
    for folder in run_folders(directory):
        try:
            found.append(glance(open_run(folder)))
        except RunLogError as error:
            broken.append(shown(error))
    if options.json:
        print(json.dumps({"directory": str(directory), "runs": found, "unreadable": broken}, indent=2))
        return 0
    for row in found:
        note = f"  ({shown(row['notes'][0])})" if row["notes"] else ""
        size = f"{row['size'] / 1e6:7.2f} MB"
        print(f"{row['name']:32s} {row['duration_s']:9.1f} s {size}  {row['ending']:12s}  {row['goal']}{note}")
    for line in broken:
        print(line, file=sys.stderr)
    if not found and not broken:
        print(f"no runs in {directory}")
    return 0


def _show(options: argparse.Namespace) -> int:
    from vla_bt.runlog.summary import figures, in_words

    run = _open(options)
    shown = sys.stderr.isatty()

    def progress(t: float) -> None:
        if shown:
            print(f"\r{t:.0f} of {run.last_s:.0f} s", end="", file=sys.stderr, flush=True)

    found = figures(run, progress)
    if shown:
        print("\r", end="", file=sys.stderr)
    print(json.dumps(found, indent=2) if options.json else in_words(found))
    return 0


def _view(options: argparse.Namespace) -> int:
    from vla_bt.dashboard.finished import FinishedRun
    from vla_bt.dashboard.viewing import view

    run = _open(options)
    source = FinishedRun(run, options.episodes)
    for note in run.notes:
        print(f"vla-bt runs: {note}", file=sys.stderr)

    def ready(number: int) -> None:
        print(f"{source.title}: http://localhost:{number}/", flush=True)

    view(source, options.port, ready)
    return 0


def _why(options: argparse.Namespace) -> int:
    from vla_bt.runlog.why import why

    answer = why(_open(options), options.at)
    print(json.dumps(answer.to_dict(), indent=2) if options.json else answer.in_words())
    return 0

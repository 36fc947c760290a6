"""``vla-bt episodes check``: what is wrong with episodes."""

from __future__ import annotations

import argparse
import json
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

EXAMPLES = """examples:
  vla-bt episodes check runs                       every episode below runs
  vla-bt episodes check old/episode_20250808_123136_1box_vert_left.h5
  vla-bt episodes check runs --json | jq .result.codes
  vla-bt episodes check --codes                    every code, its severity and meaning

exit codes: 0 nothing but notes, 1 errors or warnings, 2 wrong use
"""


def add_parser(verbs: Any) -> None:
    """Add the verb."""
    parser = verbs.add_parser(
        "check",
        help="say what is wrong with episodes",
        description="Check episode files, also those of the original format: shapes, attributes, times, units, colour order, "
        "pictures that came after the command, that leak, repeat or changed; and several files against each other: a "
        "demonstration's links, and what is there twice. Files are only read.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("paths", nargs="*", type=Path, metavar="PATH", help="episodes, or folders of them")
    parser.add_argument("--codes", action="store_true", help="list what is checked, and end")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Check; exit code 0 when nothing worse than a note was found, else 1."""
    from vla_bt.cli.episodes_shared import counted
    from vla_bt.episodes.check import CODES, Report, check_files
    from vla_bt.episodes.check_frames import NOTE
    from vla_bt.episodes.finding import episode_files
    from vla_bt.episodes.printable import printable
    from vla_bt.settings import SettingsError

    if options.codes:
        rows = [{"code": code, "severity": severity, "meaning": meaning} for code, (severity, meaning) in CODES.items()]
        lines = [f"{row['code']:30s} {row['severity']:8s} {row['meaning']}" for row in rows]
        print(json.dumps({"result": {"codes": rows}}) if options.json else "\n".join(lines))
        return 0
    if not options.paths:
        raise SettingsError("no PATH; name episodes or folders of them, or ask for --codes")
    by_path: dict[Path, Report] = {}
    for report in check_files(counted(episode_files(options.paths), "checking")):
        known = by_path.get(report.path)
        by_path[report.path] = report if known is None else replace(known, findings=report.findings + known.findings)
        if not options.json:
            for found in report.findings:
                where = f" (frame {_frames(found.frames)})" if found.frames else ""
                print(f"{printable(report.path)}: {found.severity}: {found.code}: {found.words}{where}", flush=True)
    reports = list(by_path.values())
    bad = [report for report in reports if report.worst not in ("", NOTE)]
    codes = Counter(found.code for report in reports for found in report.findings)
    if options.json:
        files = [
            {
                "path": str(report.path),
                "frames": report.frames,
                "findings": [
                    {"code": each.code, "severity": each.severity, "words": each.words, "frames": list(each.frames)}
                    for each in report.findings
                ],
            }
            for report in reports
        ]
        print(json.dumps({"result": {"files": files, "codes": dict(sorted(codes.items())), "bad": len(bad)}}))
    else:
        print(f"{len(reports)} checked, {len(bad)} with errors or warnings")
    return 1 if bad else 0


def _frames(frames: tuple[int, ...]) -> str:
    words = ", ".join(map(str, frames[:6]))
    return f"{words} and {len(frames) - 6} more" if len(frames) > 6 else words

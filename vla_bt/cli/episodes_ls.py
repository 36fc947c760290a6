"""``vla-bt episodes ls``: one line for each episode."""

from __future__ import annotations

import argparse
import json
import math
from pathlib import Path
from typing import Any

EXAMPLES = """examples:
  vla-bt episodes ls                   in runs
  vla-bt episodes ls runs/document --json
"""


def add_parser(verbs: Any) -> None:
    """Add the verb."""
    parser = verbs.add_parser(
        "ls",
        help="list episodes",
        description="List episodes: frames, duration, size, origin, scenario and kind, goal. What can't be read is a line, too.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("paths", nargs="*", type=Path, metavar="PATH", help="episodes, or folders of them (default runs)")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """List; exit code 1 when a file can't be read."""
    from vla_bt.cli.episodes_shared import counted
    from vla_bt.episodes.finding import episode_files
    from vla_bt.episodes.opening import EpisodeError, read
    from vla_bt.episodes.printable import printable

    rows: list[dict[str, Any]] = []
    for path in counted(episode_files(options.paths or [Path("runs")]), "reading"):
        try:
            row = {"path": str(path), "error": "", **_row(read(path, images=False))}
        except EpisodeError as error:
            row = {"path": str(path), "error": str(error).removeprefix(f"{printable(path)}: ")}
        rows.append(row)
        if not options.json:
            print(f"{printable(path)}: {row['error']}" if row["error"] else _line(row), flush=True)
    bad = sum(bool(row["error"]) for row in rows)
    if options.json:
        print(json.dumps({"result": {"episodes": rows, "unreadable": bad}}))
    else:
        frames = sum(row.get("frames", 0) for row in rows)
        size = sum(row.get("bytes", 0) for row in rows)
        unreadable = f", {bad} unreadable" if bad else ""
        print(f"{len(rows) - bad} episodes, {frames} frames, {size / 1e6:.1f} MB{unreadable}")
    return 1 if bad else 0


def _row(content: Any) -> dict[str, Any]:
    told, images = content.attributes, content.parts.get("images")
    goals = content.columns.get("goal_text")
    duration = told.get("total_duration")
    return {
        "frames": images.shape[0] if images is not None and images.shape else 0,
        "size": [images.shape[2], images.shape[1]] if images is not None and len(images.shape) == 4 else None,
        "duration_s": float(duration) if isinstance(duration, (int, float)) and math.isfinite(duration) else None,
        "bytes": content.size_bytes,
        "complete": bool(told.get("complete", True)),
        **{name: str(told.get(name, "")) for name in ("origin", "scenario", "pattern", "distance", "position")},
        "goal": next((str(goal) for goal in goals if goal), "") if goals is not None and goals.dtype == object else "",
    }


def _line(row: dict[str, Any]) -> str:
    from vla_bt.episodes.printable import printable

    kind = " ".join(part for part in (row["scenario"], row["pattern"], row["distance"], row["position"]) if part)
    duration = f"{row['duration_s']:6.1f} s" if row["duration_s"] is not None else f"{'-':>8s}"
    told = f"{row['frames']:3d} frames {duration} {row['bytes'] / 1e6:7.1f} MB  {printable(row['origin'] or 'original', 12):10s}"
    partial = "" if row["complete"] else " partial"
    goal = f'  "{printable(row["goal"], 60)}"' if row["goal"] else ""
    return f"{printable(row['path'], 300)}  {told} {printable(kind, 60)}{partial}{goal}"

"""``vla-bt episodes show``: all that one episode tells, frame by frame."""

from __future__ import annotations

import argparse
import json
import math
from pathlib import Path
from typing import Any

EXAMPLES = """examples:
  vla-bt episodes show runs/episode_20261122_120000_free.h5
  vla-bt episodes show runs/episode_20261122_120000_free.h5 --json
"""

_COLUMNS = ("decided_s", "action_event_types", "source", "mode", "actions", "applied", "goal_text")


def add_parser(verbs: Any) -> None:
    """Add the verb."""
    parser = verbs.add_parser(
        "show",
        help="tell all that is in an episode",
        description="Print an episode's attributes, what it stores and in which units, and its frames one by one.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("path", type=Path, metavar="EPISODE")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Show; exit code 2 when the file can't be read."""
    from vla_bt.episodes.opening import EpisodeError, read
    from vla_bt.settings import SettingsError

    try:
        content = read(options.path, images=False)
    except EpisodeError as error:
        raise SettingsError(str(error)) from None
    if options.json:
        parts = {
            name: {
                "kind": part.kind,
                "shape": list(part.shape),
                "packed": list(part.packed),
                "units": part.units,
                "why": part.why,
            }
            for name, part in content.parts.items()
        }
        columns = {name: column.tolist() for name, column in content.columns.items()}
        result = {"path": str(options.path), "attributes": content.attributes, "stored": parts, "columns": columns}
        print(json.dumps({"result": _plain(result)}))
        return 0
    print("\n".join(_lines(content)))
    return 0


def _plain(value: Any) -> Any:
    """Write what is no finite number as null: JSON has no other word for it."""
    if isinstance(value, dict):
        return {key: _plain(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_plain(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _lines(content: Any) -> list[str]:
    from vla_bt.episodes.printable import printable

    lines = [printable(content.path, 300), ""]
    lines += [f"  {printable(name, 40):24s} {printable(value, 300)}" for name, value in sorted(content.attributes.items())]
    lines += ["", f"  {'stored':24s} {'kind':10s} {'shape':22s} units"]
    for name, part in sorted(content.parts.items()):
        shape = " x ".join(map(str, part.shape))
        about = printable(part.why or part.units, 100) + (f" [{', '.join(part.packed)}]" if part.packed else "")
        lines.append(f"  {printable(name, 40):24s} {printable(part.kind, 12):10s} {shape:22s} {about}".rstrip())
    lines += [f"  {printable(note)}" for note in content.notes]
    rows = {name: content.columns[name] for name in _COLUMNS if name in content.columns}
    count = max((len(column) for column in rows.values()), default=0)
    if count:
        lines += ["", "  frame " + "  ".join(f"{name:{_width(name)}s}" for name in rows)]
    for index in range(min(count, 100)):
        cells = [f"{_cell(name, column, index):{_width(name)}s}" for name, column in rows.items()]
        lines.append(f"  {index:5d} {'  '.join(cells)}".rstrip())
    return lines


def _width(name: str) -> int:
    return {"actions": 21, "applied": 21, "action_event_types": 18, "decided_s": 9, "source": 8}.get(name, 6)


def _cell(name: str, column: Any, index: int) -> str:
    from vla_bt.episodes.printable import printable
    from vla_bt.words import Source

    if index >= len(column):
        return "-"
    value = column[index]
    if name != "actions" and name != "applied" and column.ndim > 1:
        return "?"  # another shape than the format's
    if name == "decided_s" and column.dtype.kind in "fiu":
        since = float(value) - float(column[0])
        return f"+{since:.2f}" if math.isfinite(since) else "-"
    if name == "source" and value in set(map(int, Source)):
        return Source(int(value)).name.lower()
    if column.dtype.kind == "f" and column.ndim == 2:
        return " ".join(f"{float(each):+6.2f}" for each in value[:3])
    return printable(value, 80)

"""``vla-bt episodes plan``: what is there of what a collection plan wants."""

from __future__ import annotations

import argparse
import json
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vla_bt.episodes.plan import Plan, Progress

EXAMPLES = """examples:
  vla-bt episodes plan runs/document
  vla-bt episodes plan runs/document --picture plan.png
  vla-bt episodes plan --plan my_plan.yaml --json
"""


def add_parser(verbs: Any) -> None:
    """Add the verb."""
    parser = verbs.add_parser(
        "plan",
        help="what is there of what a collection plan wants",
        description="Count the demonstrations in a folder by what their attributes say, beside what a plan wants of each kind. "
        "Demonstrations of several linked episodes count once; partial and augmented episodes don't count.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("folder", nargs="?", type=Path, help="where the episodes are (default: none, the plan alone)")
    parser.add_argument("--plan", default="document", help="a shipped plan or a .yaml file (default %(default)s)")
    parser.add_argument("--picture", type=Path, metavar="FILE", help="write a heat map as PNG")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Count; exit code 0 whether or not the plan is complete, 1 when a file could not be read."""
    from vla_bt.cli.episodes_shared import name_bad
    from vla_bt.episodes.plan import Cell, count_progress, load_plan, notes
    from vla_bt.episodes.schema import EpisodeError
    from vla_bt.settings import SettingsError

    if options.picture is not None and options.picture.suffix.lower() != ".png":
        raise SettingsError(f"--picture {options.picture}: the heat map is a PNG; name a file that ends in .png")
    plan = load_plan(options.plan)
    refused: list[str] = []
    try:
        found = _headers(options.folder, refused) if options.folder is not None else []
    except EpisodeError as error:
        raise SettingsError(str(error)) from None
    progress = count_progress(found)
    if options.picture is not None:
        from vla_bt.episodes.plan_picture import draw_plan

        try:
            draw_plan(plan, progress, options.picture)
        except OSError as error:
            raise SettingsError(f"can't write {options.picture}: {error.strerror}") from None
    if options.json:
        cells = sorted(set(plan.targets) | set(progress.there))
        result = {
            "plan": plan.name,
            "about": plan.about,
            "document": plan.document,
            "notes": notes(plan),
            "wanted": plan.total,
            "there": progress.done(plan),
            "episodes": progress.episodes,
            "partial": progress.partial,
            "unplaced": list(progress.unplaced),
            "refused": refused,
            "cells": [
                {**Cell(*cell)._asdict(), "wanted": plan.targets.get(cell, 0), "there": progress.there.get(cell, 0)}
                for cell in cells
            ],
        }
        print(json.dumps({"result": result, "timing": {}}, indent=2))
        return name_bad(refused)
    print("\n".join(table(plan, progress)))
    print("\n".join(["", *(f"note: {line}" for line in notes(plan))]) if notes(plan) else "", end="\n" if notes(plan) else "")
    if options.picture is not None:
        print(f"wrote {options.picture}")
    return name_bad(refused)


def _headers(folder: Path, refused: list[str]) -> list[tuple[str, dict[str, Any]]]:
    from vla_bt.cli.episodes_shared import counted
    from vla_bt.episodes.dataset import headers

    return [(path.name, attributes) for path, attributes in headers(folder, partial(counted, what="reading"), refused)]


def table(plan: Plan, progress: Progress) -> list[str]:
    """Write the progress for people: a line for each scenario and pattern, a column for each distance and position."""
    from vla_bt.episodes.plan import Cell
    from vla_bt.episodes.schema import DISTANCES, PATTERNS, POSITIONS
    from vla_bt.sim.scenes import SCENE_NAMES

    columns = [(distance, position) for distance in DISTANCES for position in POSITIONS]
    lines = [f"{plan.name}: {progress.done(plan)} of {plan.total} demonstrations there ({plan.about})", ""]
    lines.append(f"{'':25s}" + "".join(f"{distance:^24s}" for distance in DISTANCES))
    lines.append(f"{'':25s}" + "".join(f"{position:>8s}" for _, position in columns) + f"{'all':>9s}")
    for scenario in SCENE_NAMES:
        for pattern in PATTERNS:
            cells = [Cell(scenario, pattern, *column) for column in columns]
            pairs = [(progress.there.get(cell, 0), plan.targets.get(cell, 0)) for cell in cells]
            if not any(there or wanted for there, wanted in pairs):
                continue
            row = "".join(f"{f'{there}/{wanted}' if there or wanted else '.':>8s}" for there, wanted in pairs)
            there, wanted = (sum(pair[side] for pair in pairs) for side in (0, 1))
            lines.append(f"{scenario:16s} {pattern:8s}{row}{f'{there}/{wanted}':>9s}")
    extra = sum(max(0, there - plan.targets.get(cell, 0)) for cell, there in progress.there.items())
    left_out = [f"{extra} more than wanted"] if extra else []
    left_out += [f"{progress.partial} partial"] if progress.partial else []
    left_out += [f"{len(progress.unplaced)} of unknown kind, such as {progress.unplaced[0]}"] if progress.unplaced else []
    return [*lines, *(["", "not counted: " + ", ".join(left_out)] if left_out else [])]

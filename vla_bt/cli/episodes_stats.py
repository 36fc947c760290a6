"""``vla-bt episodes stats``: what a set of episodes holds, and what a model must beat on it."""

from __future__ import annotations

import argparse
import json
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

EXAMPLES = """examples:
  vla-bt episodes stats runs/document
  vla-bt episodes stats runs/document --plots plots
  vla-bt episodes stats runs/document --views runs/document/*.recipes.json
  vla-bt episodes stats old --json | jq '.result.actions'
"""


def add_parser(verbs: Any) -> None:
    """Add the verb."""
    parser = verbs.add_parser(
        "stats",
        help="count kinds, actions and baselines",
        description="Count episodes of each kind and actions of each direction, say how balanced they are, and how well "
        "predictors do that don't look: the constant median, holding the last action, the most frequent direction.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("paths", nargs="+", type=Path, metavar="PATH", help="episodes, or folders of them")
    parser.add_argument("--views", nargs="+", type=Path, default=[], metavar="BOOK", help="count these books' views, too")
    parser.add_argument("--plots", type=Path, metavar="DIR", help="write plots (PNG) there")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Count; exit code 1 when a file is no episode, 2 when none is one."""
    from vla_bt.cli.episodes_shared import counted, name_bad
    from vla_bt.episodes.dataset import views_of
    from vla_bt.episodes.finding import episode_files
    from vla_bt.episodes.printable import printable
    from vla_bt.episodes.schema import EpisodeError
    from vla_bt.episodes.stats import collect, figures
    from vla_bt.settings import SettingsError

    refused: list[str] = []
    try:
        books = views_of(options.views, each=partial(counted, what="looking for the views' sources"))
        contents = chain.from_iterable(each.contents() for each in books)
        views = counted(contents, "reading views", sum(map(len, books)))
        found = collect(counted(episode_files(options.paths), "reading"), views, refused)
    except EpisodeError as error:
        raise SettingsError(str(error)) from None
    if not found.episodes:
        name_bad(refused[:-1])
        raise SettingsError(refused[-1])
    result = figures(found)
    plots: list[str] = []
    if options.plots is not None:
        from vla_bt.episodes.stats_plots import draw_stats

        try:
            plots = [str(path) for path in draw_stats(result, options.plots)]
        except OSError as error:
            raise SettingsError(f"{printable(options.plots)}: {error.strerror or error}") from None
    if options.json:
        print(json.dumps({"result": {**result, "plots": plots, "refused": refused}}))
        return name_bad(refused)
    print("\n".join([*_words(result), *(f"wrote {printable(path)}" for path in plots)]))
    return name_bad(refused)


def _words(result: dict[str, Any]) -> list[str]:
    lines = [f"{result['episodes']} episodes, {result['frames']} frames, {result['duration_s']:.0f} s"]
    for kind, counts in result["kinds"].items():
        told = ", ".join(f"{word} {count}" for word, count in counts.items())
        lines.append(f"{kind + ':':10s} {told}  (balance {result['balance'][kind]:.2f})")
    lines.append(f"{'events:':10s} " + ", ".join(f"{word} {count}" for word, count in result["events"].items()))
    for unit, told in result["actions"].items():
        lines += ["", f"actions, {'m/s and rad/s' if unit == 'SI' else unit}: {told['known']} of {told['frames']} known"]
        lines.append("  " + ", ".join(f"{word} {count}" for word, count in told["directions"].items()))
        for axis, about in told.get("axes", {}).items():
            lines.append(
                f"  {axis:10s} {about['mean']:+7.3f} +- {about['deviation']:.3f}, "
                f"{about['least']:+.3f} to {about['greatest']:+.3f}, still {about['still']:.0%}"
            )
        for name, errors in told.get("baselines", {}).items():
            rest = "-" if errors["without_first"] is None else f"{errors['without_first']:.4f}"
            lines.append(f"  MAE of {name.replace('_', ' '):13s} {errors['mae']:.4f}, without frame 0 {rest}")
    return lines

"""``vla-bt episodes augment``: draw augmented views of a folder's episodes, and write some of them as files if asked to."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

EXAMPLES = """examples:
  vla-bt episodes augment runs/document                              the document's 721 general and 481 distance-aware views
  vla-bt episodes augment runs/document --materialise 24 --out runs/views
  vla-bt episodes augment runs/mine --general 100 --distance-aware 0 --seed 7
"""

MOST = 100_000


def add_parser(verbs: Any) -> None:
    """Add the verb."""
    parser = verbs.add_parser(
        "augment",
        help="draw augmented views of a folder's episodes",
        description="Draw recipes for augmented views of a folder's complete episodes and write them beside the episodes, as "
        "general.recipes.json and distance.recipes.json. The views are computed when they are read; --materialise writes some "
        "as files, evenly spread over both books. The same episodes, numbers and seed give the same recipes.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("folder", type=Path, help="where the episodes are")
    parser.add_argument("--plan", default="document", help="whose numbers of views are the defaults (default %(default)s)")
    parser.add_argument("--general", type=_count, metavar="N", help="general views (default: the plan's 'augmented')")
    parser.add_argument("--distance-aware", type=_count, metavar="N", help="distance-aware views (default: the plan's)")
    parser.add_argument("--seed", type=_count, default=0, help="of the drawing (default %(default)s)")
    parser.add_argument("--materialise", type=_count, default=0, metavar="N", help="write N views as files")
    parser.add_argument("--out", type=Path, metavar="DIR", help="where these go (default: FOLDER/views)")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.set_defaults(run=run)


def _count(text: str) -> int:
    if not text.isascii() or not text.isdigit() or int(text) > MOST:
        raise argparse.ArgumentTypeError(f"{text} is no whole number from 0 to {MOST}")
    return int(text)


def run(options: argparse.Namespace) -> int:
    """Draw and write; exit code 0 when everything asked for is there, 1 when a file could not be read."""
    from vla_bt.cli.episodes_shared import name_bad
    from vla_bt.episodes.augment import find_sources, materialise, spread, write_books
    from vla_bt.episodes.dataset import SPLITS, EpisodeDataset, split_of
    from vla_bt.episodes.plan import load_plan
    from vla_bt.episodes.schema import EpisodeError
    from vla_bt.settings import SettingsError

    document = load_plan(options.plan).document
    general = document.get("augmented", 0) if options.general is None else options.general
    distance = document.get("distance_aware", 0) if options.distance_aware is None else options.distance_aware
    if not general + distance:
        raise SettingsError(f"plan {options.plan} tells no number of views; give --general or --distance-aware")
    out = options.out or options.folder / "views"
    began = time.monotonic()
    refused: list[str] = []
    try:
        sources = find_sources(options.folder, _bar("digests", options.json), refused)
        if refused and not sources:
            more = f"; {len(refused) - 1} more can't be read" if len(refused) > 1 else ""
            raise SettingsError(f"{refused[0]}{more}; there is no complete episode to make views of")
        books = write_books(options.folder, sources, general, distance, options.seed)
        episodes = EpisodeDataset.open(options.folder, books.values(), refused=[])
        views = episodes[len(episodes) - sum(len(book.entries) for book in books.values()) :]
        chosen = views.pick(spread(len(views), options.materialise))
        paths = materialise(chosen, out, _bar("views", options.json))
    except EpisodeError as error:
        raise SettingsError(str(error)) from None
    except OSError as error:
        raise SettingsError(f"can't write {error.filename or out}: {error.strerror}") from None
    parts = Counter(split_of(views.group(index)) for index in range(len(views)))
    result = {
        "sources": len(sources),
        "seed": options.seed,
        "books": [
            {
                "file": str(path),
                "bytes": path.stat().st_size,
                "views": len(book.entries),
                "mirrored": sum(recipe.mirror for _, recipe in book.entries),
                "time_jittered": sum(bool(recipe.frames) for _, recipe in book.entries),
                "distances": dict(sorted(Counter(recipe.distance for _, recipe in book.entries if recipe.distance).items())),
                "of_one_source": _range([at for at, _ in book.entries]),
            }
            for path, book in books.items()
        ],
        "views_in_split": {part: parts[part] for part in SPLITS},
        "materialised": [str(path) for path in paths],
        "refused": refused,
    }
    timing = {"wall_s": round(time.monotonic() - began, 3)}
    print(json.dumps({"result": result, "timing": timing}, indent=2) if options.json else "\n".join(_words(result, timing)))
    return name_bad(refused)


def _range(sources: list[int]) -> list[int]:
    """Return how many views the episodes have that have any: the least and the most, one number when they are the same."""
    counts = Counter(sources).values()
    return sorted({min(counts), max(counts)})


def _words(result: dict[str, Any], timing: dict[str, Any]) -> list[str]:
    lines = [f"{result['sources']} episodes, seed {result['seed']}, {timing['wall_s']:.1f} s"]
    for book in result["books"]:
        parts = [f"{book['views']} views, {' or '.join(map(str, book['of_one_source']))} of one episode"]
        parts += [f"{book['mirrored']} mirrored"] if book["mirrored"] else []
        parts += [f"{book['time_jittered']} with time jitter"] if book["time_jittered"] else []
        parts += [f"{count} {label}" for label, count in book["distances"].items()]
        lines.append(f"{book['file']} ({book['bytes'] / 1e3:.0f} kB): {', '.join(parts)}")
    lines.append(
        "split by source: " + ", ".join(f"{part} {count}" for part, count in result["views_in_split"].items()) + " views"
    )
    if result["materialised"]:
        lines.append(f"{len(result['materialised'])} views written as files, such as {result['materialised'][0]}")
    return lines


def _bar(what: str, silent: bool) -> Any:
    """Return what draws progress over itself on a terminal."""

    def shown(done: int, of: int) -> None:
        if not silent and sys.stderr.isatty():
            full = round(30 * done / of)
            end = "\n" if done == of else ""
            print(f"\r{what:9s}[{'#' * full}{'.' * (30 - full)}] {done}/{of}", end=end, file=sys.stderr, flush=True)

    return shown

"""``vla-bt episodes view``: a picture of all frames, and a film."""

from __future__ import annotations

import argparse
import json
from functools import partial
from pathlib import Path
from typing import Any

EXAMPLES = """examples:
  vla-bt episodes view runs/episode_20261122_120000_free.h5           two files beside it: .png and .mp4
  vla-bt episodes view runs --out pictures --only png
"""


def add_parser(verbs: Any) -> None:
    """Add the verb."""
    parser = verbs.add_parser(
        "view",
        help="draw a picture of all frames, and a film",
        description="Write a contact sheet (PNG) and a film (MP4, H.264) of each episode, with the actions as arrows: up is "
        "forward, left is left, an arc is turning.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("paths", nargs="+", type=Path, metavar="PATH", help="episodes, or folders of them")
    parser.add_argument("--out", type=Path, metavar="DIR", help="where they go (default: beside each episode)")
    parser.add_argument("--only", choices=("png", "mp4"), help="write one of the two")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Draw; exit code 1 when a file is no episode, 2 when none is one."""
    from vla_bt.cli.episodes_shared import counted, name_bad, names_for, out_of_way
    from vla_bt.episodes.finding import episode_files
    from vla_bt.episodes.format import EpisodeError, load
    from vla_bt.episodes.pictures import contact_sheet, save_picture
    from vla_bt.episodes.printable import printable
    from vla_bt.episodes.view import write_film
    from vla_bt.settings import SettingsError

    made: list[str] = []
    refused: list[str] = []
    paths = episode_files(options.paths)
    for path, name in zip(counted(paths, "drawing"), names_for(paths), strict=True):
        try:
            episode = load(path)
        except EpisodeError as error:
            refused.append(str(error))
            continue
        if not episode.frames:
            refused.append(f"{printable(path)}: holds no frame")
            continue
        folder = options.out or path.parent
        stem = path.stem if options.out is None else name
        try:
            folder.mkdir(parents=True, exist_ok=True)
            for kind in ("png", "mp4"):
                if options.only in (None, kind):
                    target = folder / f"{stem}.{kind}"
                    with out_of_way(target) as making:
                        if kind == "png":
                            save_picture(contact_sheet(episode), making)
                        else:
                            write_film(episode, making, partial(counted, what=f"filming {printable(stem, 60)}: frame"))
                    made.append(str(target))
                    if not options.json:
                        print(f"wrote {printable(target)}", flush=True)
        except OSError as error:
            raise SettingsError(f"{printable(folder)}: {error.strerror or error}") from None
    if options.json:
        print(json.dumps({"result": {"files": made, "refused": refused}}))
    return max(name_bad(refused), 0 if made else 2)

"""``vla-bt episodes import``: make files of the original program episodes of this one."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

EXAMPLES = """examples:
  vla-bt episodes import old --out runs/old
  vla-bt episodes import old/episode_20250808_123136_1box_vert_left.h5 --out runs/old --channel-order bgr
"""


def add_parser(verbs: Any) -> None:
    """Add the verb."""
    parser = verbs.add_parser(
        "import",
        help="make files of the original program episodes",
        description="Make HDF5 files of the original format (images, actions, action_event_types) episodes of this program. "
        "Pictures in BGR become RGB. Actions that are key presses (0 or +-1.15) stay so and are marked: they are no velocities.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("paths", nargs="+", type=Path, metavar="PATH", help="original files, or folders of them")
    parser.add_argument("--out", required=True, type=Path, metavar="DIR", help="folder of the new episodes")
    parser.add_argument(
        "--channel-order", choices=("bgr", "rgb"), default="", help="of the originals; needed where nothing in them tells"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Import all that can be; exit code 1 when a file could not, 2 when none could."""
    import sys

    from vla_bt.cli.episodes_shared import counted
    from vla_bt.episodes.finding import episode_files
    from vla_bt.episodes.import_original import import_original
    from vla_bt.episodes.printable import printable
    from vla_bt.episodes.schema import EpisodeError
    from vla_bt.settings import SettingsError

    made, refused = [], []
    for path in counted(episode_files(options.paths), "importing"):
        try:
            done = import_original(path, options.out, options.channel_order)
        except EpisodeError as error:
            refused.append(str(error))
            print(error, file=sys.stderr, flush=True)
            continue
        except OSError as error:
            raise SettingsError(f"{printable(options.out)}: {error.strerror or error}") from None
        made.append(
            {
                "source": str(path),
                "path": str(done.path),
                "channel_order": done.channel_order,
                "channel_order_by": done.by,
                "action_unit": done.unit,
                "notes": list(done.notes),
            }
        )
        if not options.json:
            notes = "".join(f"; {note}" for note in done.notes)
            print(f"{printable(done.path)}: {done.channel_order} by {done.by}, actions {done.unit}{notes}", flush=True)
    if options.json:
        print(json.dumps({"result": {"imported": made, "refused": refused}}))
    else:
        print(f"{len(made)} imported, {len(refused)} refused")
    return 0 if not refused else 1 if made else 2

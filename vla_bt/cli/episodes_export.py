"""``vla-bt episodes export``: hand episodes to LeRobot, Foxglove and ROS 2."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

EXAMPLES = """examples:
  vla-bt episodes export runs --to lerobot --out my_dataset
  vla-bt episodes export runs --to mcap --out bags
  vla-bt episodes export runs/episode_20261122_120000_free.h5 --to mcap --out bags
"""


def add_parser(verbs: Any) -> None:
    """Add the verb."""
    parser = verbs.add_parser(
        "export",
        help="write a LeRobotDataset v3.0, or MCAP files",
        description="Write episodes in other programs' formats. lerobot: one LeRobotDataset v3.0 of all of them, with a film. "
        "mcap: a file for each, with standard ROS 2 messages, for Foxglove and 'ros2 bag play'. Units are kept: key presses "
        "stay key presses and are named so.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("paths", nargs="+", type=Path, metavar="PATH", help="episodes, or folders of them")
    parser.add_argument("--to", required=True, choices=("lerobot", "mcap"), help="format")
    parser.add_argument("--out", required=True, type=Path, metavar="DIR", help="folder; for lerobot one that isn't there yet")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Export; exit code 2 when a file is no episode, and nothing half done is left."""
    from vla_bt.episodes.finding import episode_files
    from vla_bt.episodes.printable import printable
    from vla_bt.episodes.schema import EpisodeError
    from vla_bt.settings import SettingsError

    paths = episode_files(options.paths)
    try:
        result = _lerobot(paths, options.out) if options.to == "lerobot" else _mcap(paths, options.out)
    except (EpisodeError, ValueError) as error:
        raise SettingsError(str(error)) from None
    except OSError as error:
        raise SettingsError(f"{printable(options.out)}: {error.strerror or error}") from None
    if options.json:
        print(json.dumps({"result": result}))
        return 0
    print(f"wrote {result['episodes']} episodes, {result['frames']} frames to {printable(options.out)}")
    if result.get("frames_left_out"):
        left_out = result["frames_left_out"]
        print(f"left out: frame 0 of {left_out} episodes of the original format, which don't tell what was commanded there")
    if result["format"].startswith("lerobot"):
        print("timestamp is the frame's number times the period; recorded_s, where the files tell it, is when it was")
    return 0


def _lerobot(paths: list[Path], out: Path) -> dict[str, Any]:
    from vla_bt.cli.episodes_shared import counted
    from vla_bt.episodes.export_lerobot import export_lerobot, left_out
    from vla_bt.episodes.printable import printable
    from vla_bt.settings import SettingsError

    if out.exists() or out.is_symlink():
        raise SettingsError(f"{printable(out)}: is there already; --to lerobot makes a new folder")
    info = export_lerobot(paths, out, counted(paths, "exporting"))
    return {
        "format": "lerobot v3.0",
        "episodes": info["total_episodes"],
        "frames": info["total_frames"],
        "frames_left_out": left_out(out),
        "fps": info["fps"],
    }


def _mcap(paths: list[Path], out: Path) -> dict[str, Any]:
    from vla_bt.cli.episodes_shared import counted, names_for, out_of_way
    from vla_bt.episodes.export_mcap import export_mcap
    from vla_bt.episodes.format import load

    out.mkdir(parents=True, exist_ok=True)
    frames, files = 0, []
    for path, name in zip(counted(paths, "exporting"), names_for(paths), strict=True):
        episode = load(path)
        target = out / f"{name}.mcap"
        with out_of_way(target) as making:
            export_mcap(episode, making)
        frames += episode.frames
        files.append(str(target))
    return {"format": "mcap", "episodes": len(files), "frames": frames, "files": files}

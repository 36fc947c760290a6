"""``vla-bt train``: teach a policy in the simulator."""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
import time
from pathlib import Path
from typing import Any

EXAMPLES = """examples:
  vla-bt train config/train/small-cnn.yaml
  vla-bt train config/train/small-cnn.yaml --out runs/train/mine      started again, it goes on where it was
  vla-bt train config/train/small.yaml --data runs/train/small-cnn/data-0 --start runs/train/small-cnn/best
  vla-bt train config/train/small-cnn.yaml --episodes runs/document runs/document/general.recipes.json
  vla-bt run --policy runs/train/small-cnn/best --scene 2box_hori_left
"""


def add_parser(subparsers: Any) -> None:
    """Add the verb."""
    parser = subparsers.add_parser(
        "train",
        help="teach a policy in the simulator",
        description="Collect drives in the simulator, labelled by the expert, learn from them, let the policy drive and learn "
        "from that; keep the round that drives best. Writes checkpoints, log.csv, a TensorBoard log, progress.png, figures.json "
        "and best/.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("config", type=Path, help="a file such as config/train/small-cnn.yaml")
    parser.add_argument("--out", type=Path, help="folder of the run (default runs/train/<name of the file>)")
    parser.add_argument(
        "--data",
        type=Path,
        metavar="FOLDER",
        help="learn first from drives another run collected, and collect none",
    )
    parser.add_argument(
        "--episodes",
        type=Path,
        nargs="+",
        default=[],
        metavar="PATH",
        help="learn first from recorded episodes, and collect none: folders of 18-frame files, and books of views of them "
        "(only of their training split)",
    )
    parser.add_argument("--start", type=Path, metavar="POLICY", help="folder of a policy whose weights to start from")
    parser.add_argument("--jobs", type=int, metavar="N", help="processes that collect (default: the file's)")
    parser.add_argument("--json", action="store_true", help="print the figures as one JSON object")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Train; exit code 0 when the run is complete."""
    from vla_bt.settings import SettingsError
    from vla_bt.train.settings import load_train_settings

    settings = load_train_settings(options.config)
    if options.jobs is not None:
        if not 1 <= options.jobs <= 64:
            raise SettingsError(f"--jobs is {options.jobs}; expected 1 to 64")
        settings = dataclasses.replace(settings, jobs=options.jobs)
    from vla_bt.sim.engine import SimulatorError
    from vla_bt.train.trainer import Trainer

    folder = options.out or Path("runs/train") / options.config.stem
    given = (("--data", options.data), ("--start", options.start))
    command = f"vla-bt train {options.config}" + "".join(f" {name} {path}" for name, path in given if path is not None)
    if options.episodes:
        command += " --episodes " + " ".join(map(str, options.episodes))
    started = time.monotonic()

    def say(line: str) -> None:
        print(f"{time.monotonic() - started:7.0f} s  {line}", file=sys.stderr, flush=True)

    try:
        figures = Trainer(settings, folder, say, options.data, options.start, options.episodes).run(command)
    except SimulatorError as error:
        raise SettingsError(str(error)) from None
    except OSError as error:
        raise SettingsError(f"{error.filename or folder}: {error.strerror}") from None
    print(json.dumps(figures, indent=2) if options.json else words(figures, folder))
    return 0


def words(figures: dict[str, Any], folder: Path) -> str:
    """Write the figures for people."""
    lines = [f"{figures['frames']} frames of {figures['drives']} drives; {figures['parameters']} parameters"]
    for entry in figures["rounds"]:
        each = entry["trials"] // 2
        lines.append(f"round {entry['round']}: nominal {entry['nominal']} of {each}, hard {entry['hard']} of {each} (validation)")
    lines.append(f"chosen: round {figures['chosen_round']}")
    lines.append(f"{'':16s}{'MAE':>8s}{'raw':>8s}{'no first':>10s}{'<0.1':>8s}{'<0.2':>8s}{'R2 x':>8s}{'R2 y':>8s}{'R2 yaw':>8s}")
    for name, row in figures["validation"].items():
        r2 = "".join(f"{value:8.2f}" if value is not None else f"{'-':>8s}" for value in row["r2"].values())
        lines.append(
            f"{name:16s}{row['mae']:8.3f}{row['mae_raw']:8.3f}{row['mae_without_first']:10.3f}"
            f"{row['within']['0.1']:8.1%}{row['within']['0.2']:8.1%}{r2}"
        )
    lines.append(f"policy: {folder / 'best'}")
    return "\n".join(lines)

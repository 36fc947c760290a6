"""``vla-bt models``: teach several architectures on the same drives and print what came of each."""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

USUAL = ("small", "small-cnn", "pure@small", "case-2@small", "small+layers1")
EXAMPLES = """examples:
  vla-bt models --data runs/train/small-cnn/data-0
  vla-bt models small-cnn pure@small clip-lstm@small --data runs/train/small-cnn/data-0 --json

The table is printed, and written to models.md in the folder of --out.
"""


def add_parser(subparsers: Any) -> None:
    """Add the verb."""
    parser = subparsers.add_parser(
        "models",
        help="compare architectures taught on the same drives",
        description="Teach each policy on the same drives for the same number of frames, then measure error beside baselines, "
        "closed-loop success on validation scenes, latency and size. Interrupted and started again, it goes on.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "policies",
        nargs="*",
        metavar="POLICY",
        help="presets; NAME@small is another architecture at the size of small, NAME+layers1 is NAME its transformers cut to "
        f"one layer once taught (default: {' '.join(USUAL)})",
    )
    parser.add_argument("--data", type=Path, required=True, metavar="FOLDER", help="drives that a training run collected")
    parser.add_argument("--config", type=Path, help="how they are taught (default: the shipped config/train/comparison.yaml)")
    parser.add_argument("--start", type=Path, metavar="POLICY", help="folder of a policy whose weights to start from")
    parser.add_argument("--out", type=Path, default=Path("runs/models"), help="folder of the runs (default %(default)s)")
    parser.add_argument("--json", action="store_true", help="print the rows as JSON")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Compare; exit code 0 when every row was measured."""
    from vla_bt.settings import SettingsError, config_path
    from vla_bt.sim.engine import SimulatorError
    from vla_bt.train.comparison import check_names, compare_models, markdown
    from vla_bt.train.settings import load_train_settings

    settings = load_train_settings(options.config or config_path("train/comparison.yaml"))
    names = list(dict.fromkeys(options.policies or USUAL))
    check_names(names)
    started = time.monotonic()

    def say(line: str) -> None:
        print(f"{time.monotonic() - started:7.0f} s  {line}", file=sys.stderr, flush=True)

    try:
        rows = compare_models(names, settings, options.data, options.out, say, options.start)
        text = markdown(rows)
        (options.out / "models.md").write_text(text + "\n", encoding="utf-8")
    except SimulatorError as error:
        raise SettingsError(str(error)) from None
    except OSError as error:
        raise SettingsError(f"{error.filename or options.out}: {error.strerror}") from None
    print(json.dumps(rows, indent=2) if options.json else text)
    return 0

"""A process that takes memory in steps, page by page, and holds it until it is killed: ``python -m vla_bt.app.hog``.

Prints one line of JSON a step: ``held_mb`` and whether it is ``full``. An allocation that fails ends it with exit code 3.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path


def main(arguments: Sequence[str] | None = None) -> int:
    """Take memory; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m vla_bt.app.hog", description="Take memory in steps and hold it.")
    parser.add_argument("--group", type=Path, required=True, help="directory of the cgroup to enter first")
    parser.add_argument("--total-mb", type=float, required=True)
    parser.add_argument("--step-mb", type=float, default=50.0)
    parser.add_argument("--period-s", type=float, default=1.5)
    options = parser.parse_args(arguments)
    (options.group / "cgroup.procs").write_text("0", encoding="ascii")
    held: list[bytearray] = []
    held_mb = 0.0
    try:
        while held_mb < options.total_mb:
            step_mb = min(options.step_mb, options.total_mb - held_mb)
            held.append(bytearray(b"\1") * int(step_mb * 1e6))  # ones: zeros would be pages nobody has touched
            held_mb += step_mb
            print(json.dumps({"held_mb": round(held_mb, 1), "full": False}), flush=True)
            time.sleep(options.period_s)
    except MemoryError:
        print(json.dumps({"held_mb": round(held_mb, 1), "full": False, "refused": True}), flush=True)
        return 3
    print(json.dumps({"held_mb": round(held_mb, 1), "full": True}), flush=True)
    while True:
        time.sleep(60.0)


if __name__ == "__main__":
    sys.exit(main())

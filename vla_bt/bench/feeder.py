"""A camera bridge without ROS: a process that writes 720p frames into the ring at a steady rate, until its parent is gone.

``python -m vla_bt.bench.feeder --ring FILE --rate 15 --parent PID``
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import time
from pathlib import Path

import numpy as np

from vla_bt.camera.ring import FrameRingWriter

PICTURES = 5
"""More than the ring has slots, and all different: no two frames in a row are alike."""


def main() -> int:
    """Feed the ring; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m vla_bt.bench.feeder", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--ring", type=Path, required=True)
    parser.add_argument("--rate", type=float, required=True, help="frames a second")
    parser.add_argument("--parent", type=int, required=True, help="process whose end is this one's")
    options = parser.parse_args()
    told: list[int] = []
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda number, _: told.append(number))
    random = np.random.default_rng(0)
    pictures = random.integers(0, 256, (PICTURES, 720, 1280, 3), np.uint8)
    writer = FrameRingWriter(options.ring)
    due_s, count = time.monotonic(), 0
    try:
        while not told and os.getppid() == options.parent:
            now_s = time.monotonic()
            writer.write(pictures[count % PICTURES], now_s, now_s)
            count += 1
            due_s = max(due_s + 1.0 / options.rate, now_s)
            time.sleep(max(0.0, due_s - time.monotonic()))
    finally:
        writer.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())

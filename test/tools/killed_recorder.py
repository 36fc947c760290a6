"""Recorders killed with SIGKILL at random moments: ``killed_recorder.py DIRECTORY KILLS HEIGHT WIDTH SEED MOST RAW WAITING``.

A moment is a number of frames up to MOST and a little while after it, so that a busy machine doesn't move it; RAW or jpeg.
Each records into a folder of its own, frame after frame, each as soon as no more than WAITING wait for the disk (with more than
0 a slow one), and counts in memory that outlives it what it has handed over and how many of these the disk had then. Prints both
counts of each as JSON.
"""

import json
import mmap
import os
import random
import signal
import struct
import sys
import time
from pathlib import Path

import numpy as np

from vla_bt.episodes.format import EpisodeWriter, FrameSample
from vla_bt.episodes.recorder import EpisodeRecorder
from vla_bt.words import Mode, Source, Twist

COUNT = struct.Struct("<QQ")
AT_ONCE = 4
WHILE_S = 0.02  # several frames take so long
SLOW_S = 0.01  # a slow disk's for each frame
PATIENCE_S = 60.0


def record(directory: Path, counter: mmap.mmap, height: int, width: int, storage: str, waiting: int) -> None:
    """Record until killed."""
    if waiting:
        append = EpisodeWriter.append

        def slowly(self: EpisodeWriter, sample: FrameSample, dropped_before: int = 0) -> None:
            time.sleep(SLOW_S)
            append(self, sample, dropped_before)

        EpisodeWriter.append = slowly  # type: ignore[method-assign]
    recorder = EpisodeRecorder(directory, 0.1, "killed", storage=storage)
    recorder.start()
    for index in range(10_000):
        image = np.full((height, width, 3), index % 251, np.uint8)
        sample = FrameSample(image, Twist(0.1), Twist(), Source.POLICY, Mode.VLA, index + 1, 0.0, 0.1 * index, 0.1 * index)
        if not recorder.offer(sample):
            raise SystemExit(f"not taken: {recorder.status()}")
        COUNT.pack_into(counter, 0, index + 1, index + 1 - recorder.status().waiting)
        while recorder.status().waiting > waiting:
            time.sleep(0.0002)


def main() -> None:
    """Start them, kill them, tell how far each had come."""
    directory, kills, height, width, seed = Path(sys.argv[1]), *(int(text) for text in sys.argv[2:6])
    most, storage, waiting = int(sys.argv[6]), sys.argv[7], int(sys.argv[8])
    moments = random.Random(seed)
    counts: list[tuple[int, int]] = []
    running: list[tuple[int, int, mmap.mmap]] = []
    for number in range(kills):
        counter = mmap.mmap(-1, COUNT.size)
        child = os.fork()
        if not child:
            try:
                record(directory / f"{number:02d}", counter, height, width, storage, waiting)
            finally:
                os._exit(1)
        running.append((moments.randint(0, most), child, counter))
        while len(running) == AT_ONCE or (running and number == kills - 1):
            due, child, counter = running.pop(0)
            patience_s = time.monotonic() + PATIENCE_S
            while COUNT.unpack_from(counter)[0] < due and time.monotonic() < patience_s:
                time.sleep(0.0005)
            time.sleep(moments.uniform(0.0, WHILE_S))
            os.kill(child, signal.SIGKILL)
            if not os.WIFSIGNALED(os.waitpid(child, 0)[1]):
                raise SystemExit("a recorder ended by itself")
            counts.append(COUNT.unpack_from(counter))
    print(json.dumps(counts))


main()

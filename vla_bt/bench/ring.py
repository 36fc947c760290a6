"""What a 720p frame costs on its way through the ring, beside the plain copy of as many bytes.

Promises: both sides of each comparison move between memories of the same kind and size (as many slots as the ring has), turn by
turn in one process.
"""

from __future__ import annotations

import contextlib
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from vla_bt.bench.figures import Spread, spread
from vla_bt.camera.ring import FrameRingReader, FrameRingWriter, ring_path
from vla_bt.port import Robot

SLOTS = 4
SHAPE = (720, 1280, 3)


@dataclass(frozen=True)
class RingCost:
    """What was measured [s].

    Attributes
    ----------
    bytes : int
        Of one frame.
    write, plain_write : Spread
        Storing a frame (checksum of the picture included), and the bare copy into one of as many arrays.
    copy, plain_copy : Spread
        Copying the newest frame out into new memory, and the same from an array.
    latest : Spread
        Finding the newest frame, without its pixels: what the tree does each tick.
    """

    bytes: int
    write: Spread
    plain_write: Spread
    copy: Spread
    plain_copy: Spread
    latest: Spread


def measure_ring(frames: int) -> RingCost:
    """Write and read ``frames`` frames."""
    random = np.random.default_rng(0)
    pictures = [random.integers(0, 256, SHAPE, np.uint8) for _ in range(SLOTS + 1)]
    plain = np.zeros((SLOTS, *SHAPE), np.uint8)
    times: dict[str, list[float]] = {name: [] for name in ("write", "plain_write", "copy", "plain_copy", "latest")}

    def lap(name: str, began_s: float) -> float:
        now_s = time.perf_counter()
        times[name].append(now_s - began_s)
        return now_s

    with tempfile.TemporaryDirectory(dir="/dev/shm") as folder:
        writer = FrameRingWriter(ring_path(Path(folder)), SHAPE[1], SHAPE[0], SLOTS)
        reader = FrameRingReader(ring_path(Path(folder)))
        try:
            for count in range(frames + SLOTS):
                picture, slot = pictures[count % len(pictures)], count % SLOTS
                began_s = time.perf_counter()
                written = writer.write(picture, began_s, began_s)
                began_s = lap("write", began_s)
                np.copyto(plain[slot], picture)
                began_s = lap("plain_write", began_s)
                reader.latest()
                began_s = lap("latest", began_s)
                pixels = reader.copy(written.sequence)
                began_s = lap("copy", began_s)
                bare = plain[slot].copy()
                lap("plain_copy", began_s)
                assert pixels is not None
                assert pixels.nbytes == bare.nbytes
        finally:
            reader.close()
            writer.close()
    # The first round touches each page for the first time.
    return RingCost(picture.nbytes, *(spread(values[SLOTS:]) for values in times.values()))


@contextlib.contextmanager
def filled_ring(directory: Path) -> Iterator[None]:
    """Keep a ring with a frame in each slot in a runtime directory."""
    writer = FrameRingWriter(ring_path(directory), SHAPE[1], SHAPE[0], SLOTS)
    try:
        for _ in range(SLOTS):
            now_s = time.monotonic()
            writer.write(np.zeros(SHAPE, np.uint8), now_s, now_s)
        yield
    finally:
        writer.close()


def measure_snapshot(robot: Robot, calls: int) -> Spread:
    """Time a port's own snapshot [s]."""
    times: list[float] = []
    for _ in range(calls):
        began_s = time.perf_counter()
        snapshot = robot.snapshot()
        times.append(time.perf_counter() - began_s)
        assert snapshot.frame is not None
    return spread(times)

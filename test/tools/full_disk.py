"""Record onto a small disk until it is full, make room, recover and record on: ``full_disk.py MOUNT STORAGE``.

Run it where MOUNT is an empty tmpfs of a few megabytes. Prints what happened as JSON.
"""

import json
import sys
import time
from pathlib import Path

import numpy as np

from vla_bt.episodes.format import FrameSample, load
from vla_bt.episodes.recorder import EpisodeRecorder
from vla_bt.episodes.recover import recover
from vla_bt.words import Mode, Source, Twist

HEIGHT, WIDTH = 120, 160
directory, storage = Path(sys.argv[1]), sys.argv[2]
random = np.random.default_rng(0)
noise = random.integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8)
recorder = EpisodeRecorder(directory / "runs", 0.1, "full", storage=storage)
index = 0


def sample() -> FrameSample:
    """Return the next frame; its number stands in its tile, large enough to outlive JPEG."""
    global index
    image = noise.copy()
    image[:16, :16] = index % 250
    index += 1
    return FrameSample(image, Twist(0.1), Twist(), Source.POLICY, Mode.VLA, index, 0.0, 0.1 * index, 0.1 * index)


def offer() -> bool:
    """Offer one frame and wait until the disk has it."""
    taken = recorder.offer(sample())
    while recorder.status().waiting:
        time.sleep(0.0005)
    return taken


def contents() -> dict[str, list[int]]:
    """Return the numbers of the frames of every finished episode."""
    return {
        path.name: [round(float(image[4:12, 4:12].mean())) for image in load(path).images]
        for path in sorted((directory / "runs").glob("*.h5"))
    }


ballast = directory / "ballast"
ballast.write_bytes(bytes(2_500_000))
recorder.start()
while offer() and index < 2000:
    pass
full = recorder.status()
refused = [offer() for _ in range(3)]
before = contents()
ballast.unlink()
recovered = [recovery.words for recovery in recover(directory / "runs")]
after = contents()
recorder.stop()
recorder.start()
for _ in range(5):
    offer()
again = recorder.status()
recorder.close()
print(
    json.dumps(
        {
            "words": full.words,
            "episodes": full.episodes,
            "refused": refused,
            "before": before,
            "after": after,
            "recovered": recovered,
            "again": again.words,
            "left": sorted(path.name for path in (directory / "runs").iterdir() if path.suffix != ".h5"),
        }
    )
)

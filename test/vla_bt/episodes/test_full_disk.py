"""A disk that fills up stops the recording with one clear line, and loses nothing that was written."""

from __future__ import annotations

import functools
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from vla_bt.episodes.format import FRAMES

SCRIPT = Path(__file__).parents[2] / "tools" / "full_disk.py"
WAYS = (["unshare", "--user", "--map-root-user", "--mount"], ["unshare", "--mount"])


@functools.cache
def namespace() -> list[str]:
    """How to get mounts of one's own here: as any user, or as root; empty when neither works."""
    if shutil.which("unshare") is not None:
        for way in WAYS:
            probe = [*way, "mount", "-t", "tmpfs", "none", "/mnt"]
            if subprocess.run(probe, capture_output=True, timeout=10).returncode == 0:
                return way
    return []


@pytest.mark.skipif(not namespace(), reason="no mounts in a namespace of one's own here")
@pytest.mark.parametrize("storage", ["raw", "jpeg"])
def test_a_disk_that_fills_up_loses_nothing_that_was_written(tmp_path: Path, storage: str) -> None:
    mount = f'mount -t tmpfs -o size=6m none {tmp_path} && exec "$0" "$@"'
    command = [*namespace(), "sh", "-c", mount, sys.executable, str(SCRIPT), str(tmp_path), storage]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["words"].startswith(f"recording stopped: {tmp_path}/runs: No space left on device")
    assert told["refused"] == [False] * 3
    whole = told["before"]
    assert len(whole) == told["episodes"] >= 2
    numbers = [number for frames in sorted(whole.values()) for number in frames]
    assert numbers == pytest.approx(list(range(FRAMES * len(whole))), abs=3)
    assert {name: told["after"][name] for name in whole} == whole
    if storage == "jpeg":  # the file is made at the end: the disk fills up in the middle of an episode
        assert told["words"].endswith("frames before")
        assert len(told["recovered"]) == 1
        (extra,) = (told["after"][name] for name in told["after"] if name not in whole)
        assert extra == pytest.approx(list(range(len(numbers), len(numbers) + len(extra))), abs=3)
        assert f"the {len(extra)} frames before" in told["words"]
    else:  # its room is taken at the start: it fills up between two
        assert told["recovered"] == []
    assert told["again"] == "recording 5 of 18, 1 dropped"  # the one that the disk did not take
    assert told["left"] == []


FILES = """
import os, sys
from datetime import datetime, timezone
from pathlib import Path
import h5py
import numpy as np
from vla_bt.cli.main import main
from vla_bt.episodes.format import EpisodeInfo, EpisodeWriter, FrameSample, load
from vla_bt.words import Mode, Source, Twist

disk, verb = Path(sys.argv[1]), sys.argv[2]

def fill(left):
    room = os.statvfs(disk)
    with open(disk / "filler", "wb") as file:
        os.posix_fallocate(file.fileno(), 0, room.f_bavail * room.f_bsize - left)

def begin(frames):
    writer = EpisodeWriter(disk, datetime.now(timezone.utc), EpisodeInfo(), 48, 64)
    for index in range(frames):
        image = np.full((48, 64, 3), index, np.uint8)
        writer.append(FrameSample(image, Twist(0.2), None, Source.POLICY, Mode.VLA, index, 0.0, 1.0 * index, 1.0 * index))
    return writer

if verb == "import":
    fill(200_000)
    old = Path(sys.argv[3]) / "episode_20250808_123136_1box_vert_left.h5"
    with h5py.File(old, "w") as file:
        file["images"] = np.random.default_rng(1).integers(0, 255, (18, 48, 64, 3), np.uint8)
        file["actions"] = np.zeros((18, 3))
        file["action_event_types"] = ["episode_start"] + ["stop_action"] * 17
    code = main(["episodes", "import", str(old), "--out", str(disk), "--channel-order", "rgb"])
elif verb == "recover":
    begin(18).give_up()
    fill(200_000)
    before = sorted(path.name for path in disk.iterdir())
    code = main(["episodes", "recover", str(disk)])
    assert sorted(path.name for path in disk.iterdir()) == before
    (disk / "filler").unlink()
    assert main(["episodes", "recover", str(disk)]) == 0
    (disk / "filler").touch()
elif verb == "finish":  # its room was taken at the start
    writer = begin(7)
    fill(0)
    code = load(writer.finish()).frames
else:
    fill(int(verb))
    try:
        begin(1)
    except OSError as error:
        print(os.strerror(error.errno))
    code = 0
print(code, sorted(path.suffix for path in disk.iterdir()))
"""


@pytest.mark.skipif(not namespace(), reason="no mounts in a namespace of one's own here")
@pytest.mark.parametrize(
    "verb, words, left",
    [
        ("import", "No space left on device", "2 ['']"),
        ("recover", "No space left on device", "1 ['', '.h5']"),
        ("finish", "", "7 ['', '.h5']"),
        *((str(room), "No space left on device", "0 ['']") for room in (30_000, 53_000, 61_440, 90_000, 200_000)),
    ],
)
def test_a_full_disk_does_not_end_the_process(tmp_path: Path, verb: str, words: str, left: str) -> None:
    disk, other = tmp_path / "disk", tmp_path / "other"
    disk.mkdir()
    other.mkdir()
    mount = f'mount -t tmpfs -o size=4m none {disk} && exec "$0" "$@"'
    command = [*namespace(), "sh", "-c", mount, sys.executable, "-c", FILES, str(disk), verb, str(other)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert words in done.stdout + done.stderr
    assert done.stdout.splitlines()[-1] == left

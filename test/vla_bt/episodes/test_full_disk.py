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

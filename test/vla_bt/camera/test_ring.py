"""The ring gives whole frames or none, whoever is killed, and never reads what is not a ring."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vla_bt.camera.ring import FrameRingReader, FrameRingWriter, RingError, frame_signature

# Writes frames whose every byte tells the sequence number, as fast as it can.
WRITER = """
import sys, time
import numpy as np
from pathlib import Path
from vla_bt.camera.ring import FrameRingWriter
writer = FrameRingWriter(Path(sys.argv[1]), 640, 480, slots=2)
sequence = writer._sequence
while True:
    sequence += 1
    info = writer.write(np.full((480, 640, 3), sequence % 251, np.uint8), float(sequence), time.monotonic())
    assert info.sequence == sequence
"""


def picture(value: int, width: int = 32, height: int = 20) -> np.ndarray:
    return np.full((height, width, 3), value, np.uint8)


def test_frame_comes_back_as_it_went_in(tmp_path: Path) -> None:
    path = tmp_path / "camera.ring"
    writer = FrameRingWriter(path, 64, 48, slots=3)
    reader = FrameRingReader(path)
    assert reader.latest() is None
    assert "no frame yet" in reader.problem
    pixels = np.random.default_rng(1).integers(0, 256, (48, 64, 3), dtype=np.uint8)
    written = writer.write(pixels, 12.5, 99.25)
    assert written.sequence == 1
    assert reader.latest() == written
    assert reader.problem == ""
    copy = reader.copy(1)
    assert copy is not None
    assert np.array_equal(copy, pixels)
    pixels[:] = 0
    assert copy.any(), "the copy is the reader's own"
    reader.close()
    writer.close()


def test_old_frames_leave_and_unknown_ones_are_none(tmp_path: Path) -> None:
    writer = FrameRingWriter(tmp_path / "r", 32, 20, slots=3)
    reader = FrameRingReader(tmp_path / "r")
    for value in range(1, 6):
        writer.write(picture(value), value, value)
    kept = {sequence: reader.copy(sequence) for sequence in range(-1, 8)}
    assert [sequence for sequence, pixels in kept.items() if pixels is not None] == [3, 4, 5]
    assert all(int(kept[sequence][0, 0, 0]) == sequence for sequence in (3, 4, 5))  # type: ignore[index]
    writer.close()


def test_smaller_frames_keep_their_size_and_larger_ones_are_refused(tmp_path: Path) -> None:
    writer = FrameRingWriter(tmp_path / "r", 32, 20)
    reader = FrameRingReader(tmp_path / "r")
    info = writer.write(picture(7, 20, 32), 0, 0)  # upright, as many pixels
    assert (info.width, info.height) == (20, 32)
    info = writer.write(picture(8, 5, 3), 0, 0)
    copy = reader.copy(info.sequence)
    assert copy is not None
    assert copy.shape == (3, 5, 3)
    with pytest.raises(RingError, match="33x20 is larger"):
        writer.write(picture(1, 33, 20), 0, 0)
    for bad in (np.zeros((20, 32), np.uint8), np.zeros((20, 32, 3), np.float32), np.zeros((0, 32, 3), np.uint8)):
        with pytest.raises(RingError, match="expected"):
            writer.write(bad, 0, 0)  # type: ignore[arg-type]
    assert reader.latest() == info, "refused frames leave no trace"
    writer.close()


@given(row=st.integers(0, 715), column=st.integers(0, 1279), colour=st.integers(0, 2))
@settings(max_examples=30, deadline=None)
def test_signature_sees_a_change_five_pixels_high(row: int, column: int, colour: int) -> None:
    pixels = np.zeros((720, 1280, 3), np.uint8)
    before = frame_signature(pixels)
    pixels[row : row + 5, column, colour] = 1
    assert frame_signature(pixels) != before


def test_file_is_private_and_removed_on_close(tmp_path: Path) -> None:
    path = tmp_path / "r"
    writer = FrameRingWriter(path, 32, 20)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert list(tmp_path.iterdir()) == [path]
    reader = FrameRingReader(path)
    writer.write(picture(1), 0, 0)
    assert reader.latest() is not None
    writer.close()
    assert not path.exists()
    assert reader.latest() is None
    assert "No such file" in reader.problem


def test_reader_follows_a_new_writer_which_goes_on_counting(tmp_path: Path) -> None:
    path = tmp_path / "r"
    killed = FrameRingWriter(path, 32, 20)
    reader = FrameRingReader(path)
    for value in (1, 2, 3):
        killed.write(picture(value), 0, 0)
    assert reader.latest() is not None
    successor = FrameRingWriter(path, 64, 40)  # nobody closed the first
    assert reader.latest() is None
    info = successor.write(picture(9, 64, 40), 0, 0)
    assert info.sequence == 4
    assert reader.latest() == info
    killed.close()
    assert path.exists(), "a late close of the first does not take the second's file"
    successor.close()


def test_half_written_frame_is_invisible(tmp_path: Path) -> None:
    writer = FrameRingWriter(tmp_path / "r", 32, 20, slots=2)
    reader = FrameRingReader(tmp_path / "r")
    info = writer.write(picture(1), 0, 0)
    writer._mapping.words[0, 0] = 2  # a writer killed after it had begun frame 2
    writer._mapping.areas[0, :100] = 77
    assert reader.latest() == info
    assert reader.copy(2) is None
    writer.close()


@pytest.mark.parametrize(("width", "height", "slots"), [(0, 20, 4), (32, 20, 1), (32, 20, 33), (100_000, 100_000, 4)])
def test_absurd_sizes_are_refused(tmp_path: Path, width: int, height: int, slots: int) -> None:
    with pytest.raises(RingError, match="slots of"):
        FrameRingWriter(tmp_path / "r", width, height, slots)
    assert not list(tmp_path.iterdir())


def test_no_room_or_no_directory_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(RingError, match=r"no frame ring of .* MB: No such file or directory"):
        FrameRingWriter(tmp_path / "absent" / "r")


def test_files_that_are_no_rings_are_refused_in_words(tmp_path: Path) -> None:
    path = tmp_path / "r"
    reader = FrameRingReader(path)
    for content in (b"", b"hello", bytes(5000), os.urandom(9000)):
        path.write_bytes(content)
        assert reader.latest() is None
        assert "not a frame ring" in reader.problem
        assert reader.copy(1) is None
        path.unlink()
    os.mkfifo(path)
    assert reader.latest() is None, "a pipe is not waited on"
    path.unlink()
    path.symlink_to("/dev/zero")
    assert reader.latest() is None
    assert str(path) in reader.problem


@given(
    damage=st.lists(st.tuples(st.integers(0, 40), st.integers(0, 2**64 - 1)), min_size=1, max_size=6), cut=st.integers(0, 9000)
)
@settings(max_examples=60, deadline=None)
def test_damaged_rings_never_crash_a_reader(
    tmp_path_factory: pytest.TempPathFactory, damage: list[tuple[int, int]], cut: int
) -> None:
    path = tmp_path_factory.mktemp("ring") / "r"
    writer = FrameRingWriter(path, 32, 20, slots=2)
    for value in (1, 2, 3):
        writer.write(picture(value), 0, 0)
    content = bytearray(path.read_bytes())
    writer.close()
    for word, value in damage:
        content[8 * word : 8 * word + 8] = value.to_bytes(8, "little")
    path.write_bytes(content[: len(content) - cut])
    reader = FrameRingReader(path)
    info = reader.latest()
    for sequence in range(5):
        pixels = reader.copy(sequence)
        assert pixels is None or pixels.size <= 32 * 20 * 3 + 2**13
    if info is not None:
        reader.copy(info.sequence)
    reader.close()


def test_no_torn_frame_from_a_fast_writer_killed_again_and_again(tmp_path: Path) -> None:
    path = tmp_path / "r"
    reader = FrameRingReader(path)
    whole, lost, newest, rings = 0, 0, 0, 0
    for _ in range(3):
        process = subprocess.Popen([sys.executable, "-c", WRITER, str(path)])
        try:
            start = time.monotonic()
            while (info := reader.latest()) is None or info.sequence == newest:
                assert time.monotonic() - start < 20
                assert process.poll() is None
            assert info.sequence > newest, "the count never runs backwards"
            rings += 1
            start = time.monotonic()
            while time.monotonic() - start < 0.7:
                info = reader.latest()
                if info is None:
                    continue
                newest = info.sequence
                pixels = reader.copy(newest)
                if pixels is None:
                    lost += 1
                    continue
                assert pixels.min() == pixels.max() == newest % 251
                assert info.stamp_s == newest
                whole += 1
        finally:
            process.send_signal(signal.SIGKILL)
            process.wait()
        last = reader.latest()
        assert last is not None, "what was whole stays readable"
        newest = last.sequence
    assert rings == 3
    assert whole > 100
    assert lost > 0, "the race was never met: the test shows nothing"


def test_killed_reader_leaves_the_ring_alone(tmp_path: Path) -> None:
    path = tmp_path / "r"
    writer = FrameRingWriter(path, 32, 20)
    writer.write(picture(5), 0, 0)
    script = (
        "import os, sys; from pathlib import Path; from vla_bt.camera.ring import FrameRingReader;"
        "reader = FrameRingReader(Path(sys.argv[1])); assert reader.copy(1) is not None; os.kill(os.getpid(), 9)"
    )
    assert subprocess.run([sys.executable, "-c", script, str(path)], check=False).returncode == -signal.SIGKILL
    assert path.exists()
    assert writer.write(picture(6), 0, 0).sequence == 2
    assert FrameRingReader(path).copy(2) is not None
    writer.close()

"""The emergency stop's latch on the disk: outlives every kind of end, and a full disk."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from vla_bt.ros.gate_node import AlreadyRunningError, LatchFile


def test_a_latched_stop_outlives_a_clean_end(tmp_path: Path) -> None:
    path = tmp_path / "gate.latch"
    first = LatchFile(path)
    assert not first.latched
    assert first.keep(True) == ""
    first.close()
    second = LatchFile(path)
    assert second.latched
    assert second.keep(False) == ""
    second.close()
    assert not path.exists()
    third = LatchFile(path)
    assert not third.latched
    third.close()


def test_a_disk_that_fills_up_loses_no_stop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "gate.latch"
    latch = LatchFile(path)

    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "pwrite", full)
        assert "No space left on device" in latch.keep(True)
        assert latch.latched
        assert "No space left on device" in latch.keep(True), "it is tried again"
    assert latch.keep(True) == ""
    assert path.read_bytes() == b"1"
    latch.close()


def test_its_room_is_taken_at_the_start(tmp_path: Path) -> None:
    path = tmp_path / "gate.latch"
    latch = LatchFile(path)
    assert path.read_bytes() == b"0"
    latch.keep(True)
    assert path.stat().st_size == 1
    latch.close()


def test_a_second_gate_is_refused_while_the_first_lives(tmp_path: Path) -> None:
    first = LatchFile(tmp_path / "gate.latch")
    with pytest.raises(AlreadyRunningError, match="another gate runs in"):
        LatchFile(tmp_path / "gate.latch")
    first.close()
    LatchFile(tmp_path / "gate.latch").close()

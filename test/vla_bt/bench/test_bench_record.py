"""The recording benchmark counts what is really in the files, and says what a user got wrong in one line."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from vla_bt.bench import compression, record
from vla_bt.bench.record import FRAME_BYTES, measure_rate, measure_writing
from vla_bt.cli import bench_record
from vla_bt.cli.main import main
from vla_bt.episodes.recorder import EpisodeRecorder


def test_the_tree_hands_frames_over_and_they_are_counted_in_the_files(tmp_path: Path) -> None:
    cost = measure_rate(tmp_path, 10.0, 2.0)
    assert (cost.by, cost.to) == ("tree", "recorder")
    assert cost.lost == cost.dropped == 0
    assert 3 <= cost.recorded == cost.handed <= 21
    assert cost.recorded + cost.late >= cost.due
    assert list(tmp_path.iterdir()) == [], "it leaves nothing behind"


def test_a_frame_that_is_dropped_is_lost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    offer = EpisodeRecorder.offer
    calls: list[int] = []

    def dropping(self: EpisodeRecorder, sample: Any) -> bool:
        calls.append(1)
        if len(calls) == 3:
            return False
        return offer(self, sample)

    monkeypatch.setattr(EpisodeRecorder, "offer", dropping)
    assert measure_rate(tmp_path, 30.0, 2.0).lost == 1


def test_every_way_of_writing_is_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(record, "BURSTS", 2)
    ways = measure_writing(tmp_path)
    assert [way.name for way in ways] == ["plain write", "recorder", "h5py loop"]
    assert all(way.megabytes_a_second > FRAME_BYTES / 1e6 / 60 and way.cpu_ms > 0 for way in ways)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.sim
def test_compression_loses_nothing_but_in_jpeg(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(compression, "COUNT", 1)
    assert main(["bench", "record", "--compression", "--json"]) == 0
    ways = json.loads(capsys.readouterr().out)["timing"]["ways"]
    assert {way["pictures"] for way in ways} == {"rendered", "noisy"}
    for way in ways:
        lossy = way["name"].startswith("jpeg")
        assert (way["error"] > 0.0) == lossy
        assert way["ratio"] > 5.0 if lossy else way["ratio"] > 0.9


@pytest.mark.parametrize(
    "arguments, words",
    [
        (["--seconds", "1"], "'1' is not a number of seconds from 2 to 600"),
        (["--seconds", "x"], "'x' is not a number of seconds"),
        (["--folder", "/nonexistent"], "/nonexistent: No such file or directory"),
    ],
)
def test_a_users_mistake_is_one_line(arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]) -> None:
    try:
        code: Any = main(["bench", "record", *arguments])
    except SystemExit as stop:
        code = stop.code
    assert code == 2
    assert words in capsys.readouterr().err.splitlines()[-1]


def test_a_disk_without_room_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    usage: Callable[[Path], Any] = bench_record.shutil.disk_usage
    monkeypatch.setattr(bench_record.shutil, "disk_usage", lambda folder: usage(folder)._replace(free=10**8))
    assert main(["bench", "record", "--folder", str(tmp_path)]) == 2
    assert f"{tmp_path}: 0.1 GB are free; 10 s need 1.3 GB" in capsys.readouterr().err

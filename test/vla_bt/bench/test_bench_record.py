"""The recording benchmark counts what is really in the files, and says what a user got wrong in one line."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from vla_bt.bench import compression, record
from vla_bt.bench.figures import spread
from vla_bt.bench.record import FRAME_BYTES, RateCost, measure_rate, measure_writing
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


@pytest.mark.parametrize(
    "handed, recorded, due, code, words",
    [
        (100, 100, 100, 0, "met"),
        (96, 96, 100, 0, "met"),
        (100, 99, 100, 1, "1 of 100 lost at 10 Hz"),
        (94, 94, 100, 1, "6 of 100 never asked for at 10 Hz, as ticks or the camera came late"),
    ],
)
def test_the_exit_code_heeds_what_was_lost_and_what_nobody_asked_for(
    handed: int,
    recorded: int,
    due: int,
    code: int,
    words: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    tick, load = spread([0.001]), {"cores": 2, "cores_busy": 1.0}
    counts = (due, handed, recorded, 0)
    cost = RateCost(10.0, "tree", "recorder", *counts, tick, tick, tick, tick, 0.1, 0.1, 1, load)
    monkeypatch.setattr(record, "measure_rate", lambda *_: cost)
    monkeypatch.setattr(record, "measure_writing", lambda _: [])
    assert main(["bench", "record", "--folder", str(tmp_path)]) == code
    assert capsys.readouterr().out.splitlines()[-1].startswith(f"no frame lost up to 10 Hz: {words}")


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

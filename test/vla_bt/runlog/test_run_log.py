"""The log takes ticks without holding them up, survives its process, a full disk and a slow one, and keeps to its room."""

from __future__ import annotations

import fcntl
import itertools
import json
import resource
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from mcap.reader import make_reader

from vla_bt.app.drive import LockstepRun
from vla_bt.port import Scan
from vla_bt.runlog import log as log_module
from vla_bt.runlog.encoder import Moment
from vla_bt.runlog.log import QUEUE_TICKS, RunLog
from vla_bt.runlog.part import PartWriter
from vla_bt.runlog.places import make_room, run_folders, state_directory
from vla_bt.runlog.reader import RunReader, open_run
from vla_bt.runlog.summary import figures, in_words
from vla_bt.runlog.times import Histogram, Window
from vla_bt.runlog.topics import SCHEMAS, Level, plain
from vla_bt.runlog.why import why
from vla_bt.settings import GateSettings, TreeSettings
from vla_bt.sim.scenes import make_scene
from vla_bt.words import Source

MakeLog = Callable[..., RunLog]
Ticks = tuple[Any, list[Moment]]


def only_run(directory: Path) -> RunReader:
    (folder,) = run_folders(directory)
    return open_run(folder)


def wait_for(condition: Callable[[], bool], limit_s: float = 10.0) -> None:
    end_s = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < end_s
        time.sleep(0.01)


def test_stock_readers_open_it(make_log: MakeLog, ticks: Ticks, tmp_path: Path) -> None:
    log = make_log()
    for moment in ticks[1]:
        log.take(moment)
    log.close("done")
    (path,) = (tmp_path / "runs").rglob("*.mcap")
    seen = set()
    with path.open("rb") as file:
        reader = make_reader(file, validate_crcs=True)
        summary = reader.get_summary()
        assert summary is not None
        assert {channel.topic for channel in summary.channels.values()} == set(SCHEMAS)
        for schema, channel, message in reader.iter_messages():
            assert schema is not None
            assert (schema.encoding, channel.message_encoding) == ("jsonschema", "json")
            content = json.loads(message.data)
            known = json.loads(schema.data)["properties"]
            assert known.keys() & content.keys()
            assert isinstance(content["t"], (int, float))
            seen.add(channel.topic)
    assert seen == set(SCHEMAS)
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700


def test_what_is_read_is_what_happened(make_log: MakeLog, ticks: Ticks, tmp_path: Path) -> None:
    log = make_log(facts={"policy": "expert"})
    for moment in ticks[1]:
        log.take(moment)
    rest = Histogram()
    rest.add(0.002)
    leaves = tuple((name, Histogram()) for name, _ in next(moment.times.leaves for moment in ticks[1] if moment.times))
    log.close("done", Window(leaves, rest, rest, 3))
    run = only_run(tmp_path / "runs")
    found = figures(run)
    assert (found["ticks"], found["dropped"], found["ending"], found["notes"]) == (300, 0, "done", [])
    assert found["duration_s"] == pytest.approx(15.0)
    assert run.head["policy"] == "expert"
    assert found["goals"][0]["state"] == "reached"
    drove_s = 0.05 * sum(moment.request.source.name == "POLICY" for moment in ticks[1])
    assert found["driver_s"]["policy"] == pytest.approx(drove_s, abs=0.1)
    timing = found["timing"]
    assert (timing["ticks"], timing["missed"]) == (201 + 1, 3)  # a window of ten seconds, and the rest
    assert [row[0] for row in timing["leaves"]] == [name for name, _ in leaves]
    assert timing["tick_ms"][0] > 0.0
    assert "deadline(s) missed" in in_words(found)
    for moment in ticks[1][::37]:
        answer = why(run, moment.at_s)
        assert answer.tick == moment.tick
        assert answer.asked == pytest.approx(list(moment.request.twist), abs=1e-3)
    assert run.size < 12_000 * found["duration_s"], "a log is compact: some kilobytes a second"


def test_rows_of_diagnostics_are_kept_when_they_change_and_now_and_then(make_log: MakeLog, ticks: Ticks, tmp_path: Path) -> None:
    log = make_log()
    for count, moment in enumerate(ticks[1]):
        bad = 100 <= count < 140
        row = (
            "camera",
            2 if bad else 0,
            "stale: 0.4 s" if bad else f"{count} frames",
            {"age_ms": float(count), "odd": "\x1b[2J"},
        )
        log.take(moment._replace(rows=[row] if count % 20 == 0 else None))
    log.close("done")
    run = only_run(tmp_path / "runs")
    found = [(entry.t, entry.content["rows"][0]["level"]) for entry in run.entries() if entry.topic == "/diagnostics"]
    changes = [found[0], *(now for before, now in itertools.pairwise(found) if before[1] != now[1])]
    assert [level for _, level in changes] == [0, 2, 0]
    assert changes[1][0] == pytest.approx(ticks[1][100].at_s)
    assert len(found) < 15 / 2  # figures that alone change cost little
    told = figures(run)
    assert told["diagnostics"]["camera"]["times"] == 1
    assert "ERROR  camera: 1 time(s)" in in_words(told)
    assert "\x1b" not in in_words(told)


def test_a_killed_process_leaves_a_log_that_can_be_read(tmp_path: Path) -> None:
    script = f"""
import time
from pathlib import Path
from vla_bt.app.drive import LockstepRun
from vla_bt.settings import GateSettings, TreeSettings
from vla_bt.sim.scenes import make_scene
run = LockstepRun(make_scene("1box_vert_left"), "expert", TreeSettings(), GateSettings(), runs=Path({str(tmp_path)!r}))
while True:
    run.step()
    print(run.robot.now(), flush=True)
    time.sleep(0.02)
"""
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        began_s = None
        for line in process.stdout:
            last_s = float(line)
            began_s = began_s or time.monotonic()
            if time.monotonic() - began_s > 2.5:
                break
        (folder,) = run_folders(tmp_path)
        assert open_run(folder).running
        assert not open_run(folder).notes
        process.send_signal(signal.SIGKILL)
        last_s = max([last_s, *map(float, process.stdout)])
    run = only_run(tmp_path)
    assert run.notes == ["000.mcap: cut short: not closed by its process, which was killed or found the disk full"]
    assert not run.running
    assert last_s * 0.3 < run.last_s <= last_s
    assert why(run).notes == run.notes
    assert figures(run)["ending"] == "cut short"


def test_a_full_disk_ends_the_log_and_nothing_else(make_log: MakeLog, ticks: Ticks, tmp_path: Path) -> None:
    told: list[tuple[Level, str]] = []
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    log = make_log(tell=lambda level, text: told.append((level, text)))
    wait_for(lambda: log.status().folder is not None)
    for moment in ticks[1][:60]:
        log.take(moment)
    wait_for(lambda: log.status().size > 0)
    resource.setrlimit(resource.RLIMIT_FSIZE, (log.status().size + 2000, hard))
    try:
        for moment in ticks[1][60:]:
            log.take(moment)
        wait_for(lambda: log.status().state == "stopped")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert "File too large" in log.status().words
    assert [text for level, text in told if level is Level.ERROR] == [f"{log.status().words}; the robot goes on"]
    log.take(ticks[1][0])
    log.close()
    run = only_run(tmp_path / "runs")
    assert run.notes == ["000.mcap: cut short: not closed by its process, which was killed or found the disk full"]
    assert figures(run)["notes"] == run.notes, "what was flushed before is whole"


def test_a_slow_disk_costs_ticks_of_the_log_never_time_of_the_tick(make_log: MakeLog, ticks: Ticks, tmp_path: Path) -> None:
    disk_works = threading.Event()

    class Slow(PartWriter):
        def add(self, topic: str, time_s: float, message: Any) -> None:
            disk_works.wait(30.0)
            super().add(topic, time_s, message)

    log = make_log(make_part=Slow, patient=False)
    many = [ticks[1][0]._replace(tick=index, at_s=index * 0.05) for index in range(QUEUE_TICKS + 150)]
    began_s = time.thread_time()
    for moment in many:
        log.take(moment)
    assert time.thread_time() - began_s < 0.05, "hundreds of hand-overs together"
    assert log.status().dropped >= 149
    assert "ticks lost" in log.status().words
    disk_works.set()
    log.close(timeout_s=60.0)
    (folder,) = run_folders(tmp_path / "runs")
    last = open_run(folder).last_entries()[-1]
    assert (last.topic, last.content["dropped"]) == ("/end", log.status().dropped)


def test_a_directory_that_can_t_be_made_is_said_and_the_robot_goes_on(make_log: MakeLog, ticks: Ticks, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    log = make_log(directory=tmp_path / "file" / "runs")
    for moment in ticks[1][:20]:
        log.take(moment)
    log.close()
    assert log.status().state == "stopped"
    assert "Not a directory" in log.status().error


def test_what_the_encoder_can_t_take_ends_the_log_in_words(make_log: MakeLog, ticks: Ticks) -> None:
    log = make_log()
    log.take(ticks[1][0]._replace(request=None))  # type: ignore[arg-type]
    log.take(ticks[1][1])
    log.close()
    assert log.status().state == "stopped"
    assert "AttributeError" in log.status().error


def test_without_room_nothing_is_written_and_lines_are_told(make_log: MakeLog, ticks: Ticks, tmp_path: Path) -> None:
    told: list[str] = []
    log = make_log(settings=TreeSettings(run_log_mb=0.0), tell=lambda level, text: told.append(text))
    for moment in ticks[1]:
        log.take(moment)
    log.close()
    assert log.status().state == "off"
    assert not (tmp_path / "runs").exists()
    assert "mode vla" in told
    assert "goal 1 reached: go around the box on the left to the cup" in told


def test_lines_of_one_kind_are_told_once_a_second_and_all_written(make_log: MakeLog, ticks: Ticks, tmp_path: Path) -> None:
    told: list[str] = []
    log = make_log(tell=lambda level, text: told.append(text))
    for index, moment in enumerate(ticks[1][20:60]):  # the driver changes with every tick
        source = Source.IDLE if index % 2 else Source.POLICY
        log.take(moment._replace(request=replace(moment.request, source=source)))
    log.close()
    written = [entry for entry in only_run(tmp_path / "runs").entries() if entry.content.get("name") == "driver"]
    assert len(written) == 40
    assert sum(text.startswith(("idle:", "policy:")) for text in told) <= 3


def test_a_long_run_is_split_and_its_beginning_goes_first(
    make_log: MakeLog, ticks: Ticks, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log_module, "PART_BYTES", 30_000)
    monkeypatch.setattr(log_module, "FLUSH_PERIOD_S", 0.0)
    log = make_log(settings=TreeSettings(run_log_mb=0.2))
    for lap in range(8):
        for moment in ticks[1]:
            shift = 15.0 * lap
            board = {key: replace(entry, at_s=entry.at_s + shift) for key, entry in moment.board.items()}
            log.take(moment._replace(at_s=moment.at_s + shift, tick=moment.tick + 300 * lap, board=board))
    log.close("done")
    run = only_run(tmp_path / "runs")
    assert len(run.paths) > 2
    assert run.paths[0].name != "000.mcap"
    assert run.size <= 200_000
    assert run.first_s > 15.0
    assert run.last_s == pytest.approx(120.0)
    answer = why(run, run.first_s + 5.0)
    assert answer.leaf
    lines = [entry.content["message"] for entry in run.entries() if entry.topic == "/log"]
    assert any(line.startswith("deleted the beginning of this run, 0") for line in lines)


def test_a_part_ends_in_time_because_its_index_is_kept_in_memory(
    make_log: MakeLog, ticks: Ticks, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log_module, "PART_S", 0.0)
    monkeypatch.setattr(log_module, "FLUSH_PERIOD_S", 0.0)
    log = make_log()
    for moment in ticks[1][:40]:
        log.take(moment)
    log.close("done")
    run = only_run(tmp_path / "runs")
    assert len(run.paths) > 2
    assert [entry.content["part"] for entry in run.entries() if entry.topic == "/run"] == list(range(len(run.paths)))
    assert [entry.content["ticks"] for entry in run.entries() if entry.topic == "/end"] == [40]


def test_old_runs_make_room_and_nothing_else_is_touched(tmp_path: Path) -> None:
    for index in range(5):
        folder = tmp_path / f"2026010{index}_000000_ros"
        folder.mkdir()
        (folder / "000.mcap").write_bytes(b"x" * 100_000)
    (tmp_path / "20260100_000000_ros" / "notes.txt").write_text("mine")
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "holiday.jpg").write_bytes(b"x" * 900_000)
    (tmp_path / "link").symlink_to(tmp_path / "photos")
    with (tmp_path / "20260101_000000_ros" / "000.mcap").open("rb") as used:
        fcntl.flock(used, fcntl.LOCK_EX)
        told = make_room(tmp_path, 250_000)
    assert [line.partition(":")[0] for line in told] == [
        "deleted run 20260100_000000_ros (0.1 MB)",
        "deleted run 20260102_000000_ros (0.1 MB)",
        "deleted run 20260103_000000_ros (0.1 MB)",
    ]
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "20260100_000000_ros",
        "20260101_000000_ros",
        "20260104_000000_ros",
        "link",
        "photos",
    ]
    assert (tmp_path / "20260100_000000_ros" / "notes.txt").read_text() == "mine"
    assert (tmp_path / "photos" / "holiday.jpg").exists()


def test_two_runs_of_one_second_have_names_of_their_own(make_log: MakeLog, ticks: Ticks, tmp_path: Path) -> None:
    logs = [make_log() for _ in range(3)]
    for log in logs:
        log.take(ticks[1][0])
        log.close()
    assert len(run_folders(tmp_path / "runs")) == 3


def test_lockstep_writes_no_log_unless_asked() -> None:
    before = run_folders(state_directory())
    run = LockstepRun(make_scene("1box_vert_left"), "expert", TreeSettings(), GateSettings())
    for _ in range(5):
        run.step()
    run.close()
    assert run.log is None
    assert run_folders(state_directory()) == before


def test_no_pixels_and_no_ranges() -> None:
    assert plain(np.zeros((720, 1280, 3), np.uint8)) == "uint8 array (720, 1280, 3)"
    assert plain(Scan(np.array([2.0, 0.5], np.float32), 0.0, 0.1, 3.0)) == {"nearest": 0.5}
    assert plain({"x": float("nan"), "path": Path("/a"), "mode": Level.INFO}) == {"x": None, "path": "/a", "mode": "info"}


def test_the_state_directory_is_the_users(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", "/x/state")
    assert state_directory() == Path("/x/state/vla_bt/runs")
    monkeypatch.setenv("XDG_STATE_HOME", "relative/is/ignored")
    monkeypatch.setenv("HOME", "/nowhere/somebody")
    assert state_directory() == Path("/nowhere/somebody/.local/state/vla_bt/runs")

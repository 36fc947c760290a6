"""A finished run opens in the page: the tree at any moment, goals, changes, and the camera's pictures from its episodes."""

from __future__ import annotations

import json
import re
import shutil
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from vla_bt.app.drive import LockstepRun
from vla_bt.dashboard import protocol
from vla_bt.dashboard.finished import FinishedRun
from vla_bt.episodes.recorder import EpisodeRecorder
from vla_bt.runlog.places import run_folders
from vla_bt.runlog.reader import open_run
from vla_bt.settings import GateSettings, TreeSettings
from vla_bt.sim.scenes import make_scene

pytestmark = pytest.mark.sim


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with ``runs`` and ``episodes`` of five seconds of driving, recorded."""
    folder = tmp_path_factory.mktemp("finished")
    settings = TreeSettings(record_from_start=True, runs_directory=str(folder / "episodes"))
    recorder = EpisodeRecorder(folder / "episodes", settings.frame_period_s)
    scene = make_scene("1box_vert_left")
    run = LockstepRun(scene, "expert", settings, GateSettings(), recorder=recorder, runs=folder / "runs")
    run.robot.set_mode("vla")
    run.robot.give_goal("go around the box on the left to the cup")
    for _ in range(100):
        run.step()
    run.close()
    assert recorder.close(60.0)
    return folder


def source_of(folder: Path, **options: Any) -> FinishedRun:
    return FinishedRun(open_run(run_folders(folder / "runs")[0]), **options)


def texts(wires: Any) -> dict[str, dict[str, Any]]:
    return {content["type"]: content for content in (json.loads(wire) for wire in wires if isinstance(wire, str))}


def test_it_opens_with_all_that_was(finished: Path) -> None:
    source = source_of(finished)
    assert not source.live
    first_s, last_s = source.span()
    assert first_s == 0.0
    assert last_s == pytest.approx(5.0)
    shown = texts(source.opening())
    assert [row["state"] for row in shown["goals"]["rows"]] == ["accepted", "active"]
    changes = shown["transitions"]["rows"]
    assert ["Append frame", "FAILURE", "SUCCESS"] in [row[1:4] for row in changes]
    assert all(before != after for _, _, before, after, _ in changes)
    (episode,) = shown["episodes"]["rows"]
    assert episode["frames"] >= 4
    thumbnail = source.thumbnail(episode["name"])
    assert thumbnail is not None
    assert thumbnail.startswith(b"\xff\xd8")
    assert source.thumbnail("../../etc/passwd") is None


def test_each_moment_is_what_the_live_page_would_have_shown(finished: Path) -> None:
    source = source_of(finished)
    *wires, picture = source.moment(3.0)
    moment = texts(wires)["snapshot"]
    assert (moment["t"], moment["mode"], moment["source"]) == (3.0, "vla", "policy")
    assert len(moment["kinds"]) == len(moment["nodes"])
    assert moment["kinds"][0] == "P"
    assert ["Follow policy", "RUNNING"] in [row[1:3] for row in moment["nodes"]]
    assert moment["gate"]["applied"][0] > 0.1
    assert moment["policy"]["state"] == "ready"
    assert moment["memory"]["level"] == 0
    assert moment["memory"]["total_mb"] > 100.0
    assert moment["recorder"]["state"] == "recording"
    assert isinstance(picture, bytes)
    head, jpeg = protocol.unpack_picture(picture)
    assert jpeg.startswith(b"\xff\xd8")
    assert (head["width"], head["height"]) == (1280, 720)
    assert 0.0 <= head["age_s"] <= 1.2
    assert texts(source.moment(-5.0))["snapshot"]["t"] == 0.0
    assert texts(source.moment(99.0))["snapshot"]["t"] == pytest.approx(5.0)


def test_without_its_episodes_it_shows_the_rest(finished: Path, tmp_path: Path) -> None:
    source = source_of(finished, episodes=tmp_path / "nothing")
    assert texts(source.opening())["episodes"]["rows"] == []
    assert [json.loads(wire)["type"] for wire in source.moment(3.0)] == ["snapshot", "diagnostics"]


def test_it_shows_how_long_leaves_took_and_what_the_diagnostics_said(finished: Path) -> None:
    shown = texts(source_of(finished).moment(3.0)[:-1])
    moment = shown["snapshot"]
    leaves = [name for (_, name, *_), kind in zip(moment["nodes"], moment["kinds"], strict=True) if kind == "L"]
    assert [row[0] for row in moment["leaves"]] == leaves
    assert all(0.0 <= p50 <= p99 <= worst for _, p50, p99, worst in moment["leaves"])
    assert moment["missed"] == 0
    assert 0.0 < moment["tick_ms"][0] <= moment["tick_ms"][1]
    rows = {row["name"]: row for row in shown["diagnostics"]["rows"]}
    assert set(rows) == {"tick", "safety", "camera", "policy", "gate", "goal", "recorder", "run log"}
    assert (rows["policy"]["level"], rows["policy"]["values"]["name"]) == (0, "expert")
    assert rows["recorder"]["values"]["state"] == "recording"


def test_episodes_of_other_runs_are_not_taken(finished: Path, tmp_path: Path) -> None:
    for path in (finished / "episodes").glob("*.h5"):
        shutil.copy(path, tmp_path / path.name)
    (tmp_path / "episode_broken.h5").write_bytes(b"rubbish")
    run = open_run(run_folders(finished / "runs")[0])
    assert FinishedRun(run, tmp_path)._shots
    run.head["started"] = "2040-01-01T00:00:00+00:00"
    assert not FinishedRun(run, tmp_path)._shots


def test_the_verb_serves_it_on_this_machine_and_ends_with_a_signal(finished: Path) -> None:
    command = [
        sys.executable,
        "-m",
        "vla_bt.cli.main",
        "runs",
        "view",
        "last",
        "--runs-dir",
        str(finished / "runs"),
        "--port",
        "0",
    ]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            found = re.search(r"_lockstep, lockstep: http://localhost:(\d+)/$", line)
            assert found, line
            with urllib.request.urlopen(f"http://localhost:{found[1]}/", timeout=20) as page:
                assert page.status == 200
        finally:
            process.send_signal(signal.SIGINT)
        assert process.wait(20) == 0

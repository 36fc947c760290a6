"""The tick hands frames over and never waits; what the disk does is the writer's business and is told in words."""

from __future__ import annotations

import json
import os
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path

import numpy as np
import pytest

from vla_bt.cli.main import main
from vla_bt.episodes import recorder as recorder_module
from vla_bt.episodes.check import check_file
from vla_bt.episodes.format import FRAMES, EpisodeInfo, EpisodeWriter, FrameSample, load
from vla_bt.episodes.recorder import QUEUE_FRAMES, EpisodeRecorder, RecorderStatus
from vla_bt.episodes.recover import recover
from vla_bt.words import Twist

Make = Callable[..., FrameSample]
Clock = Callable[[], datetime]


@pytest.fixture
def recorder(tmp_path: Path, at_noon: Clock) -> Iterator[EpisodeRecorder]:
    made = EpisodeRecorder(tmp_path / "runs", 1.0, "1box_vert_left", at_noon)
    yield made
    assert made.close()


def until(recorder: EpisodeRecorder, wanted: Callable[[RecorderStatus], bool]) -> RecorderStatus:
    end = time.monotonic() + 10.0
    while not wanted(recorder.status()) and time.monotonic() < end:
        time.sleep(0.005)
    assert wanted(recorder.status()), recorder.status()
    return recorder.status()


def test_eighteen_frames_make_an_episode_and_the_next_begins(recorder: EpisodeRecorder, make_sample: Make) -> None:
    assert recorder.status().words == "idle"
    assert not recorder.offer(make_sample(0))
    recorder.start()
    for index in range(FRAMES + 3):
        assert recorder.offer(make_sample(index))
    status = until(recorder, lambda now: now.episodes == 1)
    assert status.words == "recording 3 of 18"
    assert status.last_file is not None
    assert status.last_file.name == "episode_20261122_120000_1box_vert_left.h5"
    assert load(status.last_file).images[:, 0, 0, 0].tolist() == list(range(FRAMES))
    recorder.stop()
    partial = until(recorder, lambda now: now.episodes == 2).last_file
    assert partial is not None
    assert partial.name.endswith("_2_partial.h5")
    assert load(partial).images[:, 0, 0, 0].tolist() == [18, 19, 20]
    assert recorder.status().words == f"idle, last {partial.name}"


def test_frames_are_due_on_a_grid(recorder: EpisodeRecorder, make_sample: Make) -> None:
    assert not recorder.due(0.0)
    recorder.start()
    recorded = []
    for tick in range(600):
        now_s = 10.0 + 0.05 * tick
        if recorder.due(now_s):
            assert recorder.offer(make_sample(0, decided_s=now_s))
            recorded.append(now_s)
    assert np.diff(recorded) == pytest.approx(1.0, abs=0.051)
    assert recorded[-1] - recorded[0] == pytest.approx(len(recorded) - 1, abs=0.051)


def test_after_a_pause_frames_do_not_come_in_a_burst(recorder: EpisodeRecorder, make_sample: Make) -> None:
    recorder.start()
    recorder.offer(make_sample(0, decided_s=0.0))
    recorder.offer(make_sample(1, decided_s=30.0))
    assert not recorder.due(30.95)
    assert recorder.due(31.0)


def test_closing_keeps_what_there_is_as_a_partial_episode(tmp_path: Path, at_noon: Clock, make_sample: Make) -> None:
    recorder = EpisodeRecorder(tmp_path, 1.0, "free", at_noon)
    recorder.start()
    for index in range(17):
        recorder.offer(make_sample(index))
    assert recorder.close()
    assert [path.name for path in tmp_path.iterdir()] == ["episode_20261122_120000_free_partial.h5"]


def test_a_slow_disk_never_holds_the_tick_and_dropped_frames_are_counted(
    recorder: EpisodeRecorder, make_sample: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate, written = threading.Event(), []
    append = EpisodeWriter.append

    def stuck(self: EpisodeWriter, sample: FrameSample, dropped_before: int) -> None:
        gate.wait(30.0)
        append(self, sample, dropped_before)
        written.append(sample)

    monkeypatch.setattr(EpisodeWriter, "append", stuck)
    recorder.start()
    taken = [recorder.offer(make_sample(index)) for index in range(QUEUE_FRAMES + 5)]
    status = recorder.status()
    written_by_then = len(written)
    gate.set()
    assert written_by_then == 0, "every offer returned while the disk was stuck"
    assert taken == [True] * QUEUE_FRAMES + [False] * 5
    assert status.dropped == 5
    assert "5 dropped" in status.words
    until(recorder, lambda now: now.episodes == 1)


def test_offering_copies_nothing(recorder: EpisodeRecorder, make_sample: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[FrameSample] = []
    monkeypatch.setattr(EpisodeWriter, "append", lambda self, sample, dropped_before: seen.append(sample))
    recorder.start()
    sample = make_sample(0)
    recorder.offer(sample)
    end = time.monotonic() + 5.0
    while not seen and time.monotonic() < end:
        time.sleep(0.005)
    assert seen[0] is sample


def test_a_directory_that_cannot_be_made_stops_recording_with_one_line(tmp_path: Path, make_sample: Make) -> None:
    (tmp_path / "file").write_text("")
    recorder = EpisodeRecorder(tmp_path / "file" / "runs", 1.0)
    recorder.start()
    recorder.offer(make_sample(0))
    status = until(recorder, lambda now: now.state == "failed")
    assert status.words == f"recording stopped: {tmp_path}/file/runs: Not a directory"
    assert not recorder.due(1e9)
    assert not recorder.offer(make_sample(1))
    recorder.stop()
    assert recorder.status().words == f"idle; the last recording stopped: {tmp_path}/file/runs: Not a directory"
    assert recorder.close()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_read_only_directory_stops_recording(tmp_path: Path, make_sample: Make) -> None:
    tmp_path.chmod(0o500)
    recorder = EpisodeRecorder(tmp_path, 1.0)
    recorder.start()
    recorder.offer(make_sample(0))
    assert "Permission denied" in until(recorder, lambda now: now.state == "failed").words
    recorder.close()
    tmp_path.chmod(0o700)


def test_a_full_disk_stops_recording_and_a_new_start_tries_again(
    recorder: EpisodeRecorder, make_sample: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:

        def full(*_: object) -> None:
            raise OSError(28, "No space left on device")

        patch.setattr(os, "posix_fallocate", full)
        recorder.start()
        recorder.offer(make_sample(0))
        assert until(recorder, lambda now: now.state == "failed").words.endswith("No space left on device")
    recorder.start()
    for index in range(FRAMES):
        assert recorder.offer(make_sample(index))
    assert until(recorder, lambda now: now.episodes == 1).state == "recording"


def test_a_directory_that_vanishes_stops_recording(recorder: EpisodeRecorder, tmp_path: Path, make_sample: Make) -> None:
    recorder.start()
    recorder.offer(make_sample(0))
    until(recorder, lambda now: now.frames == 1 and now.waiting == 0)
    shutil.rmtree(tmp_path / "runs")
    for index in range(1, FRAMES):
        recorder.offer(make_sample(index))
    assert until(recorder, lambda now: now.state == "failed").words.endswith("No such file or directory")


def test_an_error_in_the_middle_keeps_the_frames_before_it(
    recorder: EpisodeRecorder, tmp_path: Path, make_sample: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    append = EpisodeWriter.append

    def failing(self: EpisodeWriter, sample: FrameSample, dropped_before: int) -> None:
        if self.count == 4:
            raise OSError(5, "Input/output error")
        append(self, sample, dropped_before)

    monkeypatch.setattr(EpisodeWriter, "append", failing)
    recorder.start()
    for index in range(6):
        recorder.offer(make_sample(index))
    words = until(recorder, lambda now: now.state == "failed").words
    assert words.endswith("runs: Input/output error; 'vla-bt episodes recover' makes a file of the 4 frames before")
    (recovery,) = recover(tmp_path / "runs")
    assert recovery.path is not None
    assert load(recovery.path).images[:, 0, 0, 0].tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize("error", [TypeError("no such type"), KeyError("images"), ZeroDivisionError()])
def test_an_error_nobody_thought_of_stops_recording_and_a_new_start_tries_again(
    recorder: EpisodeRecorder, make_sample: Make, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    with monkeypatch.context() as patch:

        def broken(*_: object) -> None:
            raise error

        patch.setattr(EpisodeWriter, "append", broken)
        patch.setattr(EpisodeWriter, "give_up", broken)
        recorder.start()
        recorder.offer(make_sample(0))
        words = until(recorder, lambda now: now.state == "failed").words
        assert words.endswith(f"runs: {type(error).__name__}: {error}".rstrip(": "))
    recorder.start()
    for index in range(FRAMES):
        assert recorder.offer(make_sample(index))
    assert until(recorder, lambda now: now.episodes == 1).state == "recording"


def test_another_picture_size_begins_another_episode(recorder: EpisodeRecorder, make_sample: Make) -> None:
    recorder.start()
    recorder.offer(make_sample(0))
    recorder.offer(make_sample(1, 48, 64))
    status = until(recorder, lambda now: now.episodes == 1)
    assert status.frames == 1
    recorder.stop()
    wide = until(recorder, lambda now: now.episodes == 2).last_file
    assert wide is not None
    assert load(wide).images.shape == (1, 48, 64, 3)


def test_a_picture_that_is_none_stops_recording(recorder: EpisodeRecorder, make_sample: Make) -> None:
    recorder.start()
    assert recorder.offer(make_sample(0))
    assert not recorder.offer(make_sample(1, image=np.zeros((24, 32), np.uint8)))
    assert "expected (height, width, 3) uint8" in recorder.status().words
    until(recorder, lambda now: now.episodes == 1)


def test_hdf5_errors_are_cut_to_the_systems_own_words() -> None:
    long = RuntimeError(
        "Can't decrement id ref count (file write failed: errno = 28, error message = 'No space left on device', buf)"
    )
    assert recorder_module._in_words(long) == "No space left on device"


def test_the_episodes_of_a_demonstration_are_linked(recorder: EpisodeRecorder, make_sample: Make) -> None:
    recorder.label(EpisodeInfo("2box_hori_right", pattern="core", distance="far", position="left", key_pattern="w w q"))
    recorder.start()
    for index in range(2 * FRAMES + 3):
        until(recorder, lambda now: now.waiting < QUEUE_FRAMES)
        assert recorder.offer(make_sample(index))
    first = recorder.status().demonstration
    recorder.label(EpisodeInfo("1box_vert_left"))
    assert recorder.status().demonstration not in ("", first)
    recorder.offer(make_sample(0))
    recorder.stop()
    last = until(recorder, lambda now: now.episodes == 4).last_file
    assert last is not None
    told = sorted(
        (load(path).attributes for path in last.parent.glob("*right*.h5")), key=lambda each: each["demonstration_index"]
    )
    assert [each["demonstration_index"] for each in told] == [0, 1, 2]
    assert {each["demonstration_id"] for each in told} == {first}
    assert [each["previous_episode"] for each in told] == ["", told[0]["episode_name"], told[1]["episode_name"]]
    assert {(each["pattern"], each["distance"], each["position"], each["key_pattern"]) for each in told} == {
        ("core", "far", "left", "w w q")
    }
    assert {each["frame_period_s"] for each in told} == {1.0}
    other = load(last).attributes
    assert (other["scenario"], other["demonstration_index"], other["previous_episode"]) == ("1box_vert_left", 0, "")


def test_what_was_dropped_is_marked_in_the_file(
    recorder: EpisodeRecorder, make_sample: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = threading.Event()
    append = EpisodeWriter.append

    def stuck(self: EpisodeWriter, sample: FrameSample, dropped_before: int) -> None:
        gate.wait(30.0)
        append(self, sample, dropped_before)

    monkeypatch.setattr(EpisodeWriter, "append", stuck)
    recorder.limit_queue(4)
    recorder.start()
    taken = [recorder.offer(make_sample(index)) for index in range(7)]
    status = recorder.status()
    assert taken == [True] * 4 + [False] * 3
    assert (status.waiting, status.dropped) == (4, 3)
    assert json.loads(status.to_json())["words"] == "recording 4 of 18, 3 dropped"
    gate.set()
    until(recorder, lambda now: not now.waiting)
    recorder.offer(make_sample(7))
    recorder.stop()
    path = until(recorder, lambda now: now.episodes == 1).last_file
    assert path is not None
    episode = load(path)
    assert episode.columns["frames_dropped_before"].tolist() == [0, 0, 0, 0, 3]
    assert episode.attributes["frames_dropped"] == 3


def test_large_pictures_fill_the_queue_sooner(
    recorder: EpisodeRecorder, make_sample: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recorder_module, "QUEUE_BYTES", 3 * 24 * 32 * 3)
    gate = threading.Event()
    monkeypatch.setattr(EpisodeWriter, "append", lambda *_: gate.wait(30.0))
    recorder.start()
    assert [recorder.offer(make_sample(index)) for index in range(4)] == [True] * 3 + [False]
    gate.set()


def test_a_deleted_directory_is_noticed_at_the_next_frame(recorder: EpisodeRecorder, tmp_path: Path, make_sample: Make) -> None:
    recorder.start()
    recorder.offer(make_sample(0))
    until(recorder, lambda now: not now.waiting)
    shutil.rmtree(tmp_path / "runs")
    recorder.offer(make_sample(1))
    assert until(recorder, lambda now: now.state == "failed").words == (
        f"recording stopped: {tmp_path}/runs: No such file or directory"
    )


@pytest.mark.parametrize("storage, ending", [("raw", "part"), ("raw", "journal"), ("jpeg", "journal")])
def test_a_deleted_file_is_noticed_at_the_next_frame_and_the_frames_before_it_are_kept(
    tmp_path: Path, at_noon: Clock, make_sample: Make, storage: str, ending: str
) -> None:
    recorder = EpisodeRecorder(tmp_path, 0.1, "free", at_noon, storage)
    recorder.start()
    for index in range(7):
        recorder.offer(make_sample(index, action=Twist(0.1), height=48))
    until(recorder, lambda now: not now.waiting)
    (gone,) = tmp_path.glob(f"*.{ending}")
    gone.unlink()
    recorder.offer(make_sample(7, height=48))
    words = until(recorder, lambda now: now.state == "failed").words
    recorder.close()
    (path,) = tmp_path.iterdir()
    assert words.endswith(f"No such file or directory; the frames before are in {path.name}")
    assert path.name.endswith("_partial.h5")
    episode = load(path)
    assert episode.columns["frame_sequence"].tolist() == list(range(100, 107))
    assert {found.code for found in check_file(path).findings if found.severity == "error"} <= {"duplicate-frames"}
    assert list(recover(tmp_path)) == []


def test_pictures_without_a_journal_are_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "a.h5.part").write_bytes(bytes(1000))
    assert main(["episodes", "recover", str(tmp_path)]) == 1
    assert capsys.readouterr().out == "a.h5.part: its journal is gone, so nothing tells what is in it; delete it\n"
    assert (tmp_path / "a.h5.part").exists()

"""A recorder killed at any moment leaves finished episodes whole and at most one frame unsaved; hostile leftovers are a line."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import numpy as np
import pytest

from vla_bt.cli.main import main
from vla_bt.episodes import writer as writer_module
from vla_bt.episodes.format import FRAMES, EpisodeInfo, EpisodeWriter, FrameSample, load
from vla_bt.episodes.journal import Journal, JournalWriter, left_behind
from vla_bt.episodes.recover import EMPTY, FAILED, FINISHED, RECOVERED, RUNNING, recover, recover_one

Make = Callable[..., FrameSample]
Clock = Callable[[], datetime]
KILLED = Path(__file__).parents[2] / "tools" / "killed_recorder.py"
STEM = "episode_20261122_120000_free"


def begin(directory: Path, clock: Clock, make: Make, frames: int, storage: str = "raw") -> EpisodeWriter:
    writer = EpisodeWriter(directory, clock(), EpisodeInfo(), 24, 32, storage)
    for index in range(frames):
        writer.append(make(index))
    return writer


def leave(directory: Path, clock: Clock, make: Make, frames: int, storage: str = "raw") -> Path:
    """Leave an episode as a crash does; returns its journal."""
    begin(directory, clock, make, frames, storage).give_up()
    return directory / f"{STEM}.h5.journal"


def digests(directory: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in directory.glob("*.h5")}


@pytest.mark.parametrize(
    "kills, height, width, most, storage, waiting",
    [(50, 24, 32, 40, "raw", 0), (8, 24, 32, 40, "jpeg", 0), (4, 720, 1280, 25, "raw", 0), (3, 720, 1280, 60, "raw", 30)],
    ids=["50 kills", "jpeg", "720p", "720p, slow disk"],
)
def test_a_killed_recorder_loses_at_most_the_frame_it_held_and_those_that_waited(
    tmp_path: Path, kills: int, height: int, width: int, most: int, storage: str, waiting: int
) -> None:
    arguments = [tmp_path, kills, height, width, 11, most, storage, waiting]
    done = subprocess.run([sys.executable, KILLED, *map(str, arguments)], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    counts = json.loads(done.stdout)
    running = []
    for number, (count, written) in enumerate(counts):
        directory = tmp_path / f"{number:02d}"
        if not directory.exists():  # killed before it began
            assert count <= 1
            continue
        finished = digests(directory)
        running.append(len(finished) * FRAMES < count)
        for recovery in recover(directory):
            assert recovery.state in (RECOVERED, EMPTY, FINISHED), recovery.words
            assert recovery.damaged == 0
        assert finished.items() <= digests(directory).items(), "recovery touches no finished episode"
        assert all(path.suffix == ".h5" for path in directory.iterdir())
        episodes = sorted((load(path) for path in directory.iterdir()), key=lambda each: each.attributes["demonstration_index"])
        assert [each.attributes["demonstration_index"] for each in episodes] == list(range(len(episodes)))
        assert all(each.attributes["complete"] for each in episodes[:-1])
        seen = [int(image[0, 0, 0]) for each in episodes for image in each.images]
        assert np.allclose(seen, [index % 251 for index in range(len(seen))], atol=2 if storage == "jpeg" else 0)
        assert max(written, count - waiting - 1) <= len(seen) <= count + 1
    assert sum(count for count, _ in counts) > kills
    assert waiting == 0 or max(count - written for count, written in counts) > waiting // 2, "the disk was slow"
    assert any(running), "some were killed in the middle of an episode"


@pytest.mark.parametrize("storage", ["raw", "jpeg"])
@pytest.mark.parametrize("frames, name, complete", [(7, f"{STEM}_partial", False), (FRAMES, STEM, True)])
def test_what_was_left_becomes_the_episode_it_would_have_been(
    tmp_path: Path, at_noon: Clock, make_sample: Make, frames: int, name: str, complete: bool, storage: str
) -> None:
    expected = load(begin(tmp_path / "whole", at_noon, make_sample, frames, storage).finish())
    leave(tmp_path / "left", at_noon, make_sample, frames, storage)
    (recovery,) = recover(tmp_path / "left")
    assert recovery.path == tmp_path / "left" / f"{name}.h5"
    assert recovery.words == f"{name}.h5: {frames} of 18 frames"
    found = load(recovery.path)
    assert found.attributes == {**expected.attributes, "recovered": True}
    assert found.attributes["complete"] is complete
    assert (found.images == expected.images).all()
    for column, values in expected.columns.items():
        np.testing.assert_array_equal(found.columns[column], values)
    assert [path.name for path in (tmp_path / "left").iterdir()] == [f"{name}.h5"]


def test_what_is_being_recorded_is_left_alone(tmp_path: Path, at_noon: Clock, make_sample: Make) -> None:
    writer = begin(tmp_path, at_noon, make_sample, 3)
    before = sorted(tmp_path.iterdir())
    (recovery,) = recover(tmp_path)
    assert recovery.state == RUNNING
    assert sorted(tmp_path.iterdir()) == before
    assert load(writer.finish()).frames == 3


def test_an_episode_without_a_frame_leaves_nothing(tmp_path: Path, at_noon: Clock) -> None:
    writer = EpisodeWriter(tmp_path, at_noon(), EpisodeInfo(), 24, 32)
    writer._journal.close()  # as a kill does
    assert recover_one(tmp_path / f"{STEM}.h5.journal").state == EMPTY
    assert list(tmp_path.iterdir()) == []


def test_a_kill_after_the_name_was_given_leaves_only_a_journal_to_delete(
    tmp_path: Path, at_noon: Clock, make_sample: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer = begin(tmp_path, at_noon, make_sample, FRAMES)
    monkeypatch.setattr(JournalWriter, "remove", JournalWriter.close)
    path = writer.finish()
    before = digests(tmp_path)
    (recovery,) = recover(tmp_path)
    assert (recovery.state, recovery.path) == (FINISHED, path)
    assert digests(tmp_path) == before
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("step", ["resize", "fill", "publish"])
def test_a_kill_in_the_middle_of_finishing_loses_nothing(
    tmp_path: Path, at_noon: Clock, make_sample: Make, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    writer = begin(tmp_path, at_noon, make_sample, 5)

    def killed(*_: object, **__: object) -> None:
        raise SystemExit("killed")

    with monkeypatch.context() as patch:
        if step == "resize":
            patch.setattr(writer_module.h5py.Dataset, "resize", killed)
        else:
            patch.setattr(writer_module, step, killed)
        with pytest.raises(SystemExit):
            writer.finish()
    part = tmp_path / f"{STEM}.h5.part"
    with part.open("r+b") as file:  # what HDF5 keeps of its own there may be in any state
        file.write(os.urandom(2000))
    writer.give_up()
    (recovery,) = recover(tmp_path)
    assert recovery.frames == 5
    assert recovery.path is not None
    assert load(recovery.path).images[:, 0, 0, 0].tolist() == [0, 1, 2, 3, 4]


def test_recovering_can_be_interrupted(
    tmp_path: Path, at_noon: Clock, make_sample: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    leave(tmp_path, at_noon, make_sample, 6)

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(writer_module, "fill", killed)
        with pytest.raises(KeyboardInterrupt):
            list(recover(tmp_path))
    (tmp_path / f"{STEM}_partial.h5.making").write_bytes(b"half a file")
    (recovery,) = recover(tmp_path)
    assert recovery.frames == 6
    assert [path.suffix for path in tmp_path.iterdir()] == [".h5"]


def test_a_picture_the_disk_lost_is_left_out_and_counted(tmp_path: Path, at_noon: Clock, make_sample: Make) -> None:
    path = leave(tmp_path, at_noon, make_sample, 6)
    with Journal(path) as journal:
        offsets = journal.records[1].values["offsets"]
    with (tmp_path / f"{STEM}.h5.part").open("r+b") as file:
        for index in (0, 3):
            file.seek(offsets[index] + 100)
            file.write(b"\xff\x00\xff")
    (recovery,) = recover(tmp_path)
    assert recovery.words == f"{STEM}_partial.h5: 4 of 18 frames, 2 damaged"
    assert recovery.path is not None
    episode = load(recovery.path)
    assert episode.images[:, 0, 0, 0].tolist() == [1, 2, 4, 5]
    assert episode.columns["frames_dropped_before"].tolist() == [1, 0, 1, 0]
    assert episode.columns["action_event_types"].tolist()[0] == "episode_start"
    assert not episode.columns["actions"][0].any()


@pytest.mark.parametrize("cut", [1, 40, 400])
def test_a_torn_record_ends_the_journal(tmp_path: Path, at_noon: Clock, make_sample: Make, cut: int) -> None:
    writer = begin(tmp_path, at_noon, make_sample, 6)
    end = writer._journal.end
    writer.give_up()
    path = tmp_path / f"{STEM}.h5.journal"
    os.truncate(path, end - cut)
    (recovery,) = recover(tmp_path)
    assert (recovery.frames, recovery.damaged) == (5, 0)


def forged(directory: Path, make: Make, clock: Clock, **changes: object) -> Path:
    """Leave a journal whose attributes are not what this program writes."""
    path = leave(directory, clock, make, 3)
    with Journal(path) as journal:
        records = [record.values for record in journal.records]
    path.unlink()
    records[0]["attributes"].update(changes)
    writer = JournalWriter(path)
    for values in records:
        writer.append(values)
    writer.close()
    return path


@pytest.mark.parametrize(
    "changes, words",
    [
        ({"image_height": 10**9}, "pictures of 32 x 1000000000"),
        ({"image_height": -1}, "pictures of 32 x -1"),
        ({"image_height": "24"}, "its attribute image_height is '24'"),
        ({"image_storage": "../../etc"}, "pictures of 32 x 24, ../../etc"),
        ({"scenario": ["x"]}, "its attribute scenario is ['x']"),
        ({"scenario": "x" * 5000}, "its attribute scenario is 'xxx"),
        ({"image_width": 64}, "none of its pictures is there"),
    ],
)
def test_a_forged_journal_is_one_line(
    tmp_path: Path, make_sample: Make, at_noon: Clock, changes: dict[str, object], words: str
) -> None:
    path = forged(tmp_path, make_sample, at_noon, **changes)
    recovery = recover_one(path)
    assert recovery.state == FAILED
    assert words in recovery.words
    assert "\n" not in recovery.words
    assert path.exists()
    assert list(tmp_path.glob("*.h5")) == []


def test_what_is_no_journal_is_one_line(tmp_path: Path, at_noon: Clock, make_sample: Make) -> None:
    (tmp_path / "a.h5.journal").symlink_to("/etc/passwd")
    os.mkfifo(tmp_path / "b.h5.journal")
    (tmp_path / "c.h5.journal").mkdir()
    (tmp_path / "d\x1b[2J.h5.journal").write_bytes(b"")
    (tmp_path / "e.h5.journal").write_bytes(b"VBJ1" + b"\xff" * 40)
    found = {recovery.journal.name[0]: recovery for recovery in recover(tmp_path)}
    assert [found[name].state for name in "abcd"] == [FAILED] * 4
    assert found["e"].state == EMPTY
    assert all("\x1b" not in recovery.words and "\n" not in recovery.words for recovery in found.values())


def test_a_file_of_that_name_with_fewer_frames_is_not_replaced(tmp_path: Path, at_noon: Clock, make_sample: Make) -> None:
    small = begin(tmp_path / "small", at_noon, make_sample, 2).finish()
    path = leave(tmp_path, at_noon, make_sample, 5)
    target = tmp_path / f"{STEM}_partial.h5"
    target.write_bytes(small.read_bytes())
    recovery = recover_one(path)
    assert recovery.state == FAILED
    assert "stands beside it with 2 frames; the journal tells of 5" in recovery.words
    assert load(target).frames == 2
    assert path.exists()


def test_what_was_left_is_told_at_the_next_start(tmp_path: Path, at_noon: Clock, make_sample: Make) -> None:
    assert left_behind(tmp_path) == left_behind(tmp_path / "nowhere") == ""
    leave(tmp_path, at_noon, make_sample, 4)
    told = f"an unfinished episode lies in {tmp_path}: 'vla-bt episodes recover {tmp_path}' makes files of it"
    assert left_behind(tmp_path) == told
    list(recover(tmp_path))
    assert left_behind(tmp_path) == ""


def test_the_command(tmp_path: Path, at_noon: Clock, make_sample: Make, capsys: pytest.CaptureFixture[str]) -> None:
    leave(tmp_path, at_noon, make_sample, 4)
    assert main(["episodes", "recover", str(tmp_path), "--json"]) == 0
    result = json.loads(capsys.readouterr().out)["result"]
    assert (result["recovered"], result["failed"]) == (1, 0)
    assert result["episodes"][0]["file"] == f"{STEM}_partial.h5"
    assert main(["episodes", "recover", str(tmp_path)]) == 0
    assert capsys.readouterr().out == f"nothing to recover in {tmp_path}\n"
    (tmp_path / "x.h5.journal").symlink_to("/etc/passwd")
    assert main(["episodes", "recover", str(tmp_path)]) == 1
    assert main(["episodes", "recover", str(tmp_path / "nowhere")]) == 2

"""The file holds exactly what was handed over, under the original format's names, and is whole after every frame."""

from __future__ import annotations

import math
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from datetime import datetime, timezone
from pathlib import Path

import h5py
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vla_bt.episodes.format import FRAMES, EpisodeError, EpisodeInfo, EpisodeWriter, FrameSample, episode_name, load, safe_name
from vla_bt.episodes.schema import content_crc32
from vla_bt.words import Mode, Source, Twist

Make = Callable[..., FrameSample]
Clock = Callable[[], datetime]


def write(directory: Path, clock: Clock, make: Make, frames: int = FRAMES, scenario: str = "1box_vert_left") -> Path:
    writer = EpisodeWriter(directory, clock(), EpisodeInfo(scenario), 24, 32)
    for index in range(frames):
        writer.append(make(index))
    return writer.finish()


def test_the_original_formats_names_shapes_and_kinds(tmp_path: Path, at_noon: Clock, make_sample: Make) -> None:
    writer = EpisodeWriter(tmp_path, at_noon(), EpisodeInfo("1box_vert_left"), 720, 1280)
    for index in range(FRAMES):
        writer.append(make_sample(index, 720, 1280))
    path = writer.finish()
    assert path.name == "episode_20261122_120000_1box_vert_left.h5"
    with h5py.File(path) as file:
        assert (file["images"].shape, file["images"].dtype) == ((18, 720, 1280, 3), np.uint8)
        assert (file["actions"].shape, file["actions"].dtype) == ((18, 3), np.float32)
        assert file["action_event_types"].shape == (18,)
        events = [text.decode() for text in file["action_event_types"][:]]
        assert events[0] == "episode_start"
        assert events[1:5] == ["start_action", "start_action", "stop_action", "start_action"]
        assert file.attrs["episode_name"] == "episode_20261122_120000_1box_vert_left"
        assert file.attrs["scenario"] == "1box_vert_left"
        assert (file.attrs["action_chunk_size"], file.attrs["num_frames"]) == (8, 18)
        assert file.attrs["total_duration"] == pytest.approx(17.0)


def test_every_value_comes_back(tmp_path: Path, at_noon: Clock, make_sample: Make) -> None:
    episode = load(write(tmp_path, at_noon, make_sample))
    assert episode.frames == FRAMES
    assert episode.attributes["complete"] is True
    assert episode.attributes["schema_version"] == 3
    assert episode.attributes["content_crc32"] == content_crc32(episode.columns) > 0
    assert episode.images[:, 0, 0, 0].tolist() == list(range(FRAMES))
    assert episode.images[5, 3, 3].tolist() == [200, 100, 50]  # red first
    columns = episode.columns
    assert columns["actions"][0].tolist() == [0.0, 0.0, 0.0]
    assert columns["actions"][1] == pytest.approx([0.2, 0.0, -0.1])
    assert columns["applied"][0] == pytest.approx([0.15, 0.0, -0.05])
    assert columns["source"].tolist() == [Source.POLICY] * FRAMES
    assert set(columns["mode"]) == {"vla"}
    assert columns["goal_text"][3] == "go around the box on the left to the cup"
    assert columns["goal_id"].tolist() == [7] * FRAMES
    assert columns["frame_sequence"].tolist() == list(range(100, 118))
    assert columns["exposure_s"][4] == 1e9 + 4
    assert columns["receipt_s"][4] == 54.0
    assert columns["decided_s"][4] == 54.01
    assert columns["odometry"][2].tolist() == [2.0, 0.5, 0.1, 0.1, 0.0, 0.0]
    assert columns["policy_latency_s"][0] == 0.02
    assert columns["weights_hash"][0] == "ab12"


def test_what_a_robot_lacks_is_nan_or_empty(tmp_path: Path, at_noon: Clock, make_sample: Make) -> None:
    writer = EpisodeWriter(tmp_path, at_noon(), EpisodeInfo("free"), 24, 32)
    bare = {"odometry": None, "policy_latency_s": None, "goal_text": "", "goal_id": 0, "weights_hash": ""}
    writer.append(make_sample(0, mode=Mode.MANUAL, source=Source.TELEOP, **bare))
    columns = load(writer.finish()).columns
    assert np.isnan(columns["odometry"][0]).all()
    assert math.isnan(columns["policy_latency_s"][0])
    assert (columns["goal_text"][0], columns["goal_id"][0], columns["mode"][0]) == ("", 0, "manual")


def test_frame_0_is_at_rest_whatever_the_robot_did(tmp_path: Path, at_noon: Clock, make_sample: Make) -> None:
    writer = EpisodeWriter(tmp_path, at_noon(), EpisodeInfo("free"), 24, 32)
    writer.append(make_sample(0, action=Twist(0.5, 0.1, 0.2), applied=Twist(0.5, 0.1, 0.2)))
    episode = load(writer.finish())
    assert episode.columns["actions"][0].tolist() == [0.0, 0.0, 0.0]
    assert episode.columns["applied"][0] == pytest.approx([0.5, 0.1, 0.2])


def test_an_unfinished_episode_is_named_partial_and_never_complete(tmp_path: Path, at_noon: Clock, make_sample: Make) -> None:
    path = write(tmp_path, at_noon, make_sample, frames=5)
    assert path.name == "episode_20261122_120000_1box_vert_left_partial.h5"
    episode = load(path)
    assert episode.attributes["complete"] is False
    assert episode.attributes["num_frames"] == episode.frames == len(episode.columns["actions"]) == 5
    with h5py.File(path) as file:
        assert file["images"].shape[0] == 5


def test_a_name_is_never_taken_twice(tmp_path: Path, at_noon: Clock, make_sample: Make) -> None:
    names = [write(tmp_path, at_noon, make_sample, frames).name for frames in (18, 18, 3, 18)]
    stem = "episode_20261122_120000_1box_vert_left"
    assert names == [f"{stem}.h5", f"{stem}_2.h5", f"{stem}_3_partial.h5", f"{stem}_4.h5"]


def test_until_it_is_finished_it_has_no_episodes_name(tmp_path: Path, at_noon: Clock, make_sample: Make) -> None:
    writer = EpisodeWriter(tmp_path, at_noon(), EpisodeInfo("free"), 24, 32)
    writer.append(make_sample(0))
    assert sorted(path.suffix for path in tmp_path.iterdir()) == [".journal", ".part"]
    writer.finish()
    assert [path.suffix for path in tmp_path.iterdir()] == [".h5"]


FULL = """
import os, sys
from datetime import datetime, timezone
from pathlib import Path
from vla_bt.episodes.format import EpisodeInfo, EpisodeWriter
try:
    EpisodeWriter(Path(sys.argv[1]), datetime.now(timezone.utc), EpisodeInfo("full"), 720, 1280)
except OSError as error:
    print(os.strerror(error.errno), os.listdir(sys.argv[1]))
"""
IN_NAMESPACE = ["unshare", "--user", "--map-root-user", "--mount"]


def can_mount() -> bool:
    if shutil.which("unshare") is None:
        return False
    probe = [*IN_NAMESPACE, "mount", "-t", "tmpfs", "none", "/mnt"]
    return subprocess.run(probe, capture_output=True, timeout=10).returncode == 0


@pytest.mark.skipif(not can_mount(), reason="no mounts in a namespace of one's own here")
@pytest.mark.parametrize("options, words", [("size=20m", "No space left on device []"), ("ro", "Read-only file system []")])
def test_a_disk_without_room_for_all_18_frames_is_refused_at_once(tmp_path: Path, options: str, words: str) -> None:
    mount = f'mount -t tmpfs -o {options} none {tmp_path} && exec "$0" -c "$1" {tmp_path}'
    done = subprocess.run([*IN_NAMESPACE, "sh", "-c", mount, sys.executable, FULL], capture_output=True, text=True, timeout=60)
    assert done.stdout.strip() == words, done.stderr


def test_an_error_while_reserving_leaves_nothing_behind(tmp_path: Path, at_noon: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(OSError, match="No space left"):
        EpisodeWriter(tmp_path, at_noon(), EpisodeInfo("free"), 24, 32)
    assert list(tmp_path.iterdir()) == []


def test_room_for_every_frame_is_taken_when_the_file_is_made(tmp_path: Path, at_noon: Clock) -> None:
    writer = EpisodeWriter(tmp_path, at_noon(), EpisodeInfo("free"), 720, 1280)
    (part,) = tmp_path.glob("*.part")
    assert part.stat().st_blocks * 512 >= FRAMES * 720 * 1280 * 3
    writer.give_up()


@given(st.text(max_size=200))
def test_names_hold_only_harmless_letters(scenario: str) -> None:
    name = safe_name(scenario)
    assert 1 <= len(name) <= 60
    assert all(letter.isascii() and (letter.isalnum() or letter in "_-") for letter in name)


def test_an_episodes_name() -> None:
    started = datetime(2025, 8, 8, 12, 31, 36, tzinfo=timezone.utc)
    assert episode_name(started, "1box_vert_left") == "episode_20250808_123136_1box_vert_left"
    assert episode_name(started, "../../etc/passwd").endswith("_etc-passwd")


def test_long_texts_are_cut_between_letters(tmp_path: Path, at_noon: Clock, make_sample: Make) -> None:
    writer = EpisodeWriter(tmp_path, at_noon(), EpisodeInfo("free"), 24, 32)
    writer.append(make_sample(0, goal_text="é" * 600))
    assert load(writer.finish()).columns["goal_text"][0] == "é" * 256


@pytest.mark.parametrize(
    "content, words",
    [(b"", "is empty (0 bytes)"), (b"no HDF5 at all", "not a readable HDF5 file"), (None, "No such file or directory")],
)
def test_a_file_that_is_no_episode_is_said_in_one_line(tmp_path: Path, content: bytes | None, words: str) -> None:
    path = tmp_path / "episode.h5"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(EpisodeError) as caught:
        load(path)
    assert str(caught.value) == f"{path}: {words}"


def test_another_hdf5_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "other.h5"
    with h5py.File(path, "w") as file:
        file["images"] = np.zeros((2, 4, 4, 3), np.uint8)
        file.attrs["num_frames"] = 2
    with pytest.raises(EpisodeError, match="lacks actions"):
        load(path)

"""The shell: works from a pipe, on pictures, videos, episodes and the camera; a mistake is one line and the shell goes on."""

from __future__ import annotations

import io
import itertools
import sys
from pathlib import Path

import cv2
import h5py
import numpy as np
import pytest

from vla_bt.camera.lens import Picture
from vla_bt.camera.ring import FrameRingWriter, ring_path
from vla_bt.cli.main import main
from vla_bt.cli.policy_shell import COMMANDS, Shell
from vla_bt.policy import frames as sources
from vla_bt.policy.frames import FrameSource
from vla_bt.settings import SettingsError


def talk(
    lines: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *arguments: str
) -> tuple[int, list[str]]:
    monkeypatch.setattr(sys, "stdin", io.StringIO(lines))
    code = main(["policy", "shell", "small-cnn@tiny", *arguments])
    return code, capsys.readouterr().out.splitlines()


def shell() -> tuple[Shell, list[str]]:
    said: list[str] = []
    one = Shell("go to the cup", said.append)
    one.start("small-cnn@tiny", None, "")
    said.clear()
    return one, said


def test_it_works_from_a_pipe(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    lines = (
        "infer 2\ngoal turn left\ninfer\nmemory\nreduce bf16\ninfer\nbenchmark 2\nclear\nload small@tiny\ninfer\nquit\ninfer\n"
    )
    code, out = talk(lines, monkeypatch, capsys)
    assert code == 0
    assert out[0].startswith("small-cnn@tiny (untrained), frames of 128 x 72")
    steps = [line for line in out if line.startswith("drawn picture")]
    assert len(steps) == 5, "nothing after quit"
    assert "text encoded" in steps[0]
    assert "text from cache" in steps[1]
    assert any("times the bound" in line for line in out)
    assert any(line.startswith("weights") and "->" in line for line in out)


def test_mistakes_are_told_and_counted_and_do_not_end_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    code, out = talk("fly\ninfer -1\nload nowhere/x\nreduce int9\nsource x\n\n# a remark\ninfer\n", monkeypatch, capsys)
    assert code == 1
    assert [line.split(":")[0] for line in out if line.startswith("can't")] == ["can't"] * 5
    assert out[-1].startswith("drawn picture 0")


def test_help_names_every_command_and_every_command_exists() -> None:
    one, said = shell()
    one.obey("help")
    assert [line.split()[0] for line in said] == list(COMMANDS)
    assert all(callable(getattr(one, name)) for name in COMMANDS)


def test_what_was_limited_or_is_no_number_is_shown() -> None:
    import torch

    one, said = shell()
    with torch.no_grad():
        one.policy.network.head.action.bias[0] = float("nan")
    one.obey("infer")
    assert "NOT FINITE" in said[-1]
    one.obey("load hybrid@tiny")
    with torch.no_grad():
        one.policy.network.head.action.bias.copy_(torch.tensor([30.0, -30.0]))
    one.obey("infer")
    assert "(+0.500, -0.500, +0.000)" in said[-1]
    assert "before limits (+15." in said[-1]


def test_a_picture_a_video_and_an_episode_are_sources(tmp_path: Path) -> None:
    red = np.zeros((40, 60, 3), np.uint8)
    red[..., 2] = 200  # files are BGR
    cv2.imwrite(str(tmp_path / "room.png"), red)
    frame = FrameSource(str(tmp_path / "room.png"), tmp_path).next(Picture(30, 20))
    assert frame.pixels.shape == (20, 30, 3)
    assert frame.pixels[5, 5].tolist() == [200, 0, 0]

    writer = cv2.VideoWriter(str(tmp_path / "drive.avi"), cv2.VideoWriter.fourcc(*"MJPG"), 10.0, (60, 40))
    for value in (0, 120, 240):
        writer.write(np.full((40, 60, 3), value, np.uint8))
    writer.release()
    video = FrameSource(str(tmp_path / "drive.avi"), tmp_path)
    seen = [video.next(Picture(60, 40)) for _ in range(5)]
    assert [round(float(frame.pixels.mean()) / 120) for frame in seen] == [0, 1, 2, 0, 1], "it starts over"
    assert all(later.time_s > earlier.time_s for earlier, later in itertools.pairwise(seen))

    with h5py.File(tmp_path / "episode.h5", "w") as file:
        file["images"] = np.stack([red, red // 2])
        file["actions"] = np.zeros((2, 3), np.float32)
        file["action_event_types"] = np.array([b"episode_start", b"start_action"])
        file.attrs["num_frames"] = 2
    episode = FrameSource(str(tmp_path / "episode.h5"), tmp_path)
    assert episode.next(Picture(60, 40)).pixels[0, 0].tolist() == [0, 0, 200], "an episode is RGB as it stands"
    assert episode.next(Picture(60, 40)).name == "episode.h5 frame 1"


def test_the_running_camera_is_a_source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "_CAMERA_WAIT_S", 0.05)
    with pytest.raises(SettingsError, match="no new frame within"):
        FrameSource("camera", tmp_path).next(Picture(64, 36))
    ring = FrameRingWriter(ring_path(tmp_path), 64, 36)
    ring.write(np.full((36, 64, 3), 7, np.uint8), 1.0, 2.0)
    source = FrameSource("camera", tmp_path)
    frame = source.next(Picture(64, 36))
    assert (int(frame.pixels[0, 0, 0]), frame.time_s, frame.name) == (7, 2.0, "camera frame 1")
    with pytest.raises(SettingsError, match="no new frame within"):
        source.next(Picture(64, 36))
    ring.close()


def test_what_is_no_source_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "text.txt").write_text("hello")
    (tmp_path / "text.h5").write_text("hello")
    (tmp_path / "text.png").write_text("hello")
    for name in ("nowhere.png", "text.txt", "text.h5", "text.png"):
        with pytest.raises(SettingsError) as caught:
            FrameSource(str(tmp_path / name), tmp_path)
        assert "\n" not in str(caught.value)
        assert name in str(caught.value)

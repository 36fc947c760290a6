"""Sources give every frame once and in order, end when they end, and take a lost camera up again."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vla_bt.camera.source import EndOfSourceError, FrameSource, fit, open_source
from vla_bt.settings import CameraSettings, SettingsError


def write_video(path: Path, frames: int, size: tuple[int, int] = (64, 48)) -> None:
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 10.0, size)
    assert writer.isOpened()
    for index in range(frames):
        writer.write(np.full((size[1], size[0], 3), (0, 0, 20 * index), np.uint8))  # BGR: shades of red
    writer.release()


def play(source: FrameSource, limit: int) -> list[int]:
    """Read until the end; returns each frame's red, in steps of 20."""
    steps: list[int] = []
    while len(steps) < limit:
        try:
            got = source.read()
        except EndOfSourceError:
            break
        assert got is not None
        assert got[0][..., 1:].max() < 12, "red is first"
        steps.append(round(float(got[0][..., 0].mean()) / 20))
    return steps


def test_a_video_is_played_once_in_order(tmp_path: Path) -> None:
    write_video(tmp_path / "a.avi", 8)
    source = open_source(CameraSettings(source=str(tmp_path / "a.avi")))
    assert play(source, 100) == list(range(8))


def test_a_looping_video_begins_again(tmp_path: Path) -> None:
    write_video(tmp_path / "a.avi", 3)
    source = open_source(CameraSettings(source=str(tmp_path / "a.avi"), loop=True))
    assert play(source, 8) == [0, 1, 2, 0, 1, 2, 0, 1]
    source.close()


def test_a_folder_is_played_by_name_and_what_is_no_picture_passed_over(tmp_path: Path) -> None:
    for index in (2, 0, 1):
        cv2.imwrite(str(tmp_path / f"{index}.png"), np.full((20, 30, 3), (0, 0, 20 * index), np.uint8))
    (tmp_path / "1b.png").write_text("not a picture")
    (tmp_path / "notes.txt").write_text("not a picture either")
    assert play(open_source(CameraSettings(source=str(tmp_path))), 100) == [0, 1, 2]


@pytest.mark.parametrize(
    "source, words",
    [
        ("usb:x", "expected usb: and a number"),
        ("csi:", "expected csi: and a number"),
        ("absent.mp4", "is no file or folder"),
    ],
)
def test_what_can_never_work_is_refused_at_once(source: str, words: str) -> None:
    with pytest.raises(SettingsError, match=words):
        open_source(CameraSettings(source=source))


def test_an_empty_folder_and_a_file_that_is_no_video_are_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="holds no picture"):
        open_source(CameraSettings(source=str(tmp_path)))
    (tmp_path / "a.mp4").write_text("not a video")
    with pytest.raises(SettingsError, match="can't open it"):
        open_source(CameraSettings(source=str(tmp_path / "a.mp4"))).read()
    for broken in ("a.png", "b.png"):
        (tmp_path / broken).write_text("not a picture")
    with pytest.raises(SettingsError, match="no frame in it"):
        open_source(CameraSettings(source=str(tmp_path), loop=True)).read()


def test_a_csi_camera_opens_its_pipeline_with_the_numbers_filled_in(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cv2.videoio_registry, "hasBackend", lambda _: True)
    opened: list[tuple[object, ...]] = []

    def open_capture(*arguments: object) -> Device:
        opened.append(arguments)
        return Device()

    source = open_source(CameraSettings(source="csi:2", width=640, height=360, rate_hz=15.0), open_capture)
    assert source.read() is not None
    pipeline, backend = opened[0]
    assert "sensor-id=2" in str(pipeline)
    assert "width=640,height=360,framerate=15/1" in str(pipeline)
    assert "(memory:NVMM)" in str(pipeline)
    assert backend == cv2.CAP_GSTREAMER
    with pytest.raises(SettingsError, match="in braces"):
        open_source(CameraSettings(source="csi:0", csi_pipeline="a ! {b}"), open_capture)


def test_a_csi_camera_without_gstreamer_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cv2.videoio_registry, "hasBackend", lambda _: False)
    with pytest.raises(SettingsError, match="needs an OpenCV with GStreamer"):
        open_source(CameraSettings(source="csi:0"))


class Device:
    """A camera that may be absent, or break after some frames."""

    def __init__(self, frames: int = 10**9, there: bool = True) -> None:
        self.frames = frames
        self.there = there
        self.released = False

    def isOpened(self) -> bool:  # noqa: N802
        return self.there

    def read(self) -> tuple[bool, np.ndarray | None]:
        self.frames -= 1
        return (True, np.zeros((4, 4, 3), np.uint8)) if self.frames >= 0 else (False, None)

    def set(self, wish: int, value: float) -> bool:
        return True

    def release(self) -> None:
        self.released = True


def test_a_lost_camera_is_taken_up_again_with_growing_waits() -> None:
    now = 100.0
    devices: list[Device] = []
    outcomes = iter(
        [Device(2), Device(there=False), Device(there=False), Device(there=False), Device(there=False), Device(1), Device()]
    )

    def opener() -> Device:
        devices.append(next(outcomes))
        opened_s.append(now)
        return devices[-1]

    opened_s: list[float] = []
    source = FrameSource(opener, live=True, clock=lambda: now, wall_clock=lambda: now + 1e9)
    assert source.read() is not None
    got = source.read()
    assert got is not None
    assert got[1] == now + 1e9
    assert source.read() is None
    assert source.problem == "the camera is lost; next try in 0.5 s"
    assert devices[0].released
    frames = 0
    while frames < 2:
        now += 0.125
        if source.read() is not None:
            frames += 1
            assert source.problem == ""
    assert [round(moment - 100.0, 3) for moment in opened_s] == [0.0, 0.5, 1.5, 3.5, 7.5, 11.5, 12.125]
    assert all(device.released for device in devices[:-1]), "every one that failed was let go"


@given(st.integers(1, 400), st.integers(1, 400), st.integers(16, 200), st.integers(16, 200))
@settings(max_examples=60, deadline=None)
def test_fit_gives_the_size_asked_for_and_keeps_proportions(columns: int, rows: int, width: int, height: int) -> None:
    fitted = fit(np.full((rows, columns, 3), 200, np.uint8), width, height)
    assert fitted.shape == (height, width, 3)
    lit_rows, lit_columns = (np.flatnonzero((fitted > 100).any(axis=(axis, 2))).size for axis in (1, 0))
    assert lit_rows == height or lit_columns == width, "it fills the frame in one direction"
    scale = min(width / columns, height / rows)
    assert abs(lit_columns - columns * scale) <= 1
    assert abs(lit_rows - rows * scale) <= 1


def test_fit_leaves_a_frame_of_the_right_size_alone() -> None:
    pixels = np.zeros((20, 40, 3), np.uint8)
    assert fit(pixels, 40, 20) is pixels

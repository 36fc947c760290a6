"""Frames from a CSI or USB camera, a video file or a folder of pictures, through OpenCV.

Promises: a camera that is lost, or not there yet, is tried again after 0.5 s, 1 s, 2 s and then every 4 s, for as long as it
takes, and :attr:`FrameSource.problem` says so; a file or folder ends (:class:`EndOfSourceError`) or begins again. What can never
work (no such file, an OpenCV without GStreamer) is one line at once. Time is injected.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from vla_bt.settings import CameraSettings, SettingsError

FIRST_WAIT_S = 0.5
LONGEST_WAIT_S = 4.0
PICTURES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp")

Pixels = NDArray[np.uint8]


class EndOfSourceError(Exception):
    """A file or folder has been played to its end."""


class Capture(Protocol):
    """What is used of ``cv2.VideoCapture``."""

    def isOpened(self) -> bool:  # noqa: N802 - OpenCV's name
        """Tell whether there is a device or file behind it."""

    def read(self) -> tuple[bool, Any]:
        """Return whether there was a frame, and the frame (BGR)."""

    def set(self, wish: int, value: float) -> bool:
        """Ask a device for a setting; tells whether it took it."""

    def release(self) -> None:
        """Let go of the device."""


class FrameSource:
    """Frames of a device or a file.

    Parameters
    ----------
    opener : callable
        Opens the device or file anew.
    live : bool
        A device: it is waited for and reopened. Otherwise a file: it ends.
    loop : bool
        Begin a file again at its end.
    clock : callable
        Monotonic time [s], for the waits.
    wall_clock : callable
        Seconds since the epoch, for the stamps.

    Attributes
    ----------
    problem : str
        Why there is no frame now, in words; empty while there are frames.
    """

    def __init__(
        self,
        opener: Callable[[], Capture],
        live: bool,
        loop: bool = False,
        clock: Callable[[], float] = time.monotonic,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        self.problem = ""
        self._opener = opener
        self._live = live
        self._loop = loop
        self._clock = clock
        self._wall_clock = wall_clock
        self._capture: Capture | None = None
        self._wait_s = FIRST_WAIT_S
        self._retry_s = -np.inf
        self._fresh = False  # opened, and no frame came yet: a file that begins with its end is broken, not played

    def read(self) -> tuple[Pixels, float] | None:
        """Return the next frame, (height, width, 3) RGB, and when it was taken [s since the epoch]; None while there is none.

        Raises
        ------
        EndOfSourceError
            When a file that does not loop has ended.
        SettingsError
            When a file holds no frame that can be read.
        """
        if self._capture is None and not self._open():
            return None
        assert self._capture is not None
        good, frame = self._capture.read()
        stamp_s = self._wall_clock()
        if good and frame is not None and frame.size:
            self._fresh, self.problem, self._wait_s = False, "", FIRST_WAIT_S
            return _rgb(frame), stamp_s
        self.close()
        if self._live:
            self._wait("the camera is lost")
            return None
        if self._fresh:
            raise SettingsError("no frame in it that OpenCV can read")
        if not self._loop:
            raise EndOfSourceError
        return self.read()

    def close(self) -> None:
        """Let go of the device."""
        if self._capture is not None:
            self._capture.release()
            self._capture = None

    def _open(self) -> bool:
        if self._clock() < self._retry_s:
            return False
        capture = self._opener()
        if capture.isOpened():
            self._capture, self._fresh = capture, True
            return True
        capture.release()
        if not self._live:
            raise SettingsError("OpenCV can't open it as a video")
        self._wait("no camera there")
        return False

    def _wait(self, what: str) -> None:
        self.problem = f"{what}; next try in {self._wait_s:g} s"
        self._retry_s = self._clock() + self._wait_s
        self._wait_s = min(2 * self._wait_s, LONGEST_WAIT_S)


class _Folder:
    """A folder of pictures, in the order of their names, as a capture."""

    def __init__(self, paths: list[Path]) -> None:
        self._paths: Iterator[Path] = iter(paths)

    def isOpened(self) -> bool:  # noqa: N802 - OpenCV's name
        return True

    def read(self) -> tuple[bool, Any]:
        for path in self._paths:
            frame = cv2.imread(str(path))
            if frame is not None:  # one that is no picture is passed over
                return True, frame
        return False, None

    def set(self, wish: int, value: float) -> bool:
        return False

    def release(self) -> None:
        pass


def open_source(settings: CameraSettings, open_capture: Callable[..., Capture] = cv2.VideoCapture) -> FrameSource:
    """Open what ``settings.source`` names.

    Parameters
    ----------
    settings : CameraSettings
        ``source`` is ``csi:N``, ``usb:N``, a video file or a folder of pictures.
    open_capture : callable
        ``cv2.VideoCapture``, or a test's.

    Raises
    ------
    SettingsError
        One line, when it can never work.
    """
    kind, _, number = settings.source.partition(":")
    if kind in {"csi", "usb"}:
        if not number.isdecimal():
            raise SettingsError(f"source '{settings.source}'; expected {kind}: and a number, such as {kind}:0")
        if kind == "usb":
            return FrameSource(lambda: _open_usb(int(number), settings, open_capture), live=True)
        return FrameSource(_csi_opener(int(number), settings, open_capture), live=True)
    path = Path(settings.source).expanduser()
    if path.is_dir():
        paths = sorted(entry for entry in path.iterdir() if entry.suffix.lower() in PICTURES)
        if not paths:
            raise SettingsError(f"source '{path}' holds no picture ({', '.join(PICTURES)})")
        return FrameSource(lambda: _Folder(paths), live=False, loop=settings.loop)
    if not path.is_file():
        raise SettingsError(f"source '{settings.source}' is no file or folder; cameras are csi:N and usb:N")
    return FrameSource(lambda: open_capture(str(path)), live=False, loop=settings.loop)


def _open_usb(number: int, settings: CameraSettings, open_capture: Callable[..., Capture]) -> Capture:
    capture = open_capture(number, cv2.CAP_V4L2)
    # MJPG first: uncompressed, most USB cameras reach 720p at a few frames a second only. A wish not granted is no error.
    capture.set(cv2.CAP_PROP_FOURCC, cv2.VideoWriter.fourcc(*"MJPG"))
    capture.set(cv2.CAP_PROP_FRAME_WIDTH, settings.width)
    capture.set(cv2.CAP_PROP_FRAME_HEIGHT, settings.height)
    capture.set(cv2.CAP_PROP_FPS, round(settings.rate_hz))
    capture.set(cv2.CAP_PROP_BUFFERSIZE, 1)
    return capture


def _csi_opener(number: int, settings: CameraSettings, open_capture: Callable[..., Capture]) -> Callable[[], Capture]:
    if not cv2.videoio_registry.hasBackend(cv2.CAP_GSTREAMER):
        raise SettingsError(f"source '{settings.source}' needs an OpenCV with GStreamer, such as JetPack's; this one has none")
    try:
        pipeline = settings.csi_pipeline.format(
            number=number, width=settings.width, height=settings.height, rate=round(settings.rate_hz)
        )
    except (KeyError, IndexError, ValueError):
        raise SettingsError(
            f"csi_pipeline '{settings.csi_pipeline}'; expected only {{number}}, {{width}}, {{height}}, {{rate}} in braces"
        ) from None
    return lambda: open_capture(pipeline, cv2.CAP_GSTREAMER)


def _rgb(frame: Any) -> Pixels:
    """Return OpenCV's frame, grey, BGR or BGRA, as RGB."""
    pixels = np.asarray(frame, np.uint8)
    if pixels.ndim == 2:
        return np.asarray(cv2.cvtColor(pixels, cv2.COLOR_GRAY2RGB), np.uint8)
    code = cv2.COLOR_BGRA2RGB if pixels.shape[2] == 4 else cv2.COLOR_BGR2RGB
    return np.asarray(cv2.cvtColor(pixels, code), np.uint8)


def fit(pixels: Pixels, width: int, height: int) -> Pixels:
    """Scale a picture to fit inside width x height, keeping its proportions, centred on black.

    Nothing is cut away (what matters may be at the edge) and nothing is stretched (angles keep their meaning).
    """
    rows, columns = pixels.shape[:2]
    if (columns, rows) == (width, height):
        return pixels
    scale = min(width / columns, height / rows)
    new_width, new_height = max(1, round(columns * scale)), max(1, round(rows * scale))
    method = cv2.INTER_AREA if scale < 1.0 else cv2.INTER_LINEAR
    scaled = np.asarray(cv2.resize(pixels, (new_width, new_height), interpolation=method), np.uint8)
    if (new_width, new_height) == (width, height):
        return scaled
    canvas = np.zeros((height, width, 3), np.uint8)
    top, left = (height - new_height) // 2, (width - new_width) // 2
    canvas[top : top + new_height, left : left + new_width] = scaled
    return canvas

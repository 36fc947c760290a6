"""Pictures to try a policy on: an image, a video, an episode, or the camera that is running.

Promises: every source hands out RGB at the size asked for, with a time; at its end it starts over; a bad file is one line.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from vla_bt.camera.lens import UNKNOWN, Lens, Picture, framed
from vla_bt.settings import SettingsError

CAMERA = "camera"
_EPISODES = (".h5", ".hdf5")
_PICTURE_PERIOD_S = 0.2
_CAMERA_WAIT_S = 2.0


class Frame(NamedTuple):
    """A picture (height, width, 3) RGB, its time [s], which it is, in words, and what took it, where that is known."""

    pixels: NDArray[np.uint8]
    time_s: float
    name: str
    lens: Lens = UNKNOWN


class FrameSource:
    """Frames one after the other.

    Parameters
    ----------
    name : str
        File of a picture, a video or an episode, or ``camera`` for the running camera's ring.
    runtime_dir : Path
        Where that ring is.
    """

    def __init__(self, name: str, runtime_dir: Path) -> None:
        self.name = name
        self._last = -1.0
        if name == CAMERA:
            self._frames = _camera(runtime_dir)
            return
        path = Path(name).expanduser()
        if not path.is_file():
            raise SettingsError(f"{name}: no such file; give a picture, a video, an episode (.h5), or the word {CAMERA}")
        read = _episode if path.suffix in _EPISODES else _picture if cv2.haveImageReader(str(path)) else _video
        next(read(path))  # says at once what is wrong
        self._frames = itertools.chain.from_iterable(_again(read, path))

    def next(self, picture: Picture) -> Frame:
        """Return the next frame as a policy wants to see it; times never run backwards."""
        frame = next(self._frames)
        pixels = framed(frame.pixels, frame.lens, picture)
        moment = max(frame.time_s, self._last + _PICTURE_PERIOD_S) if frame.time_s <= self._last else frame.time_s
        self._last = moment
        return Frame(pixels, moment, frame.name)


def _again(read: Callable[[Path], Iterator[Frame]], path: Path) -> Iterator[Iterator[Frame]]:
    while True:
        yield read(path)


def _picture(path: Path) -> Iterator[Frame]:
    pixels = cv2.imread(str(path), cv2.IMREAD_COLOR)
    if pixels is None:
        raise SettingsError(f"{path}: no picture can be read there")
    yield Frame(_rgb(pixels), 0.0, path.name)


def _video(path: Path) -> Iterator[Frame]:
    video = cv2.VideoCapture(str(path))
    try:
        rate = video.get(cv2.CAP_PROP_FPS) or 1.0 / _PICTURE_PERIOD_S
        for count in itertools.count():
            there, pixels = video.read()
            if not there:
                if count == 0:
                    raise SettingsError(f"{path}: neither a picture, a video nor an episode that can be read")
                return
            yield Frame(_rgb(pixels), count / rate, f"{path.name} frame {count}")
    finally:
        video.release()


def _episode(path: Path) -> Iterator[Frame]:
    from vla_bt.episodes.format import EpisodeError, load

    try:
        episode = load(path)
    except EpisodeError as error:
        raise SettingsError(str(error)) from None
    if not episode.frames:
        raise SettingsError(f"{path}: the episode holds no frame")
    times = episode.columns.get("receipt_s", np.arange(episode.frames))
    for index, pixels in enumerate(episode.images):
        yield Frame(pixels, float(times[index] - times[0]), f"{path.name} frame {index}")


def _camera(runtime_dir: Path) -> Iterator[Frame]:
    from vla_bt.camera.ring import FrameRingReader, ring_path

    ring = FrameRingReader(ring_path(runtime_dir))
    last = 0
    while True:
        deadline = time.monotonic() + _CAMERA_WAIT_S
        while True:
            info = ring.latest()
            pixels = ring.copy(info.sequence) if info is not None and info.sequence != last else None
            if info is not None and pixels is not None:
                break
            if time.monotonic() > deadline:
                raise SettingsError(f"no new frame within {_CAMERA_WAIT_S:g} s: {ring.problem or 'the camera stands still'}")
            time.sleep(0.01)
        last = info.sequence
        yield Frame(pixels, info.received_s, f"camera frame {info.sequence}", info.lens)


def _rgb(pixels: object) -> NDArray[np.uint8]:
    return np.ascontiguousarray(cv2.cvtColor(np.asarray(pixels), cv2.COLOR_BGR2RGB), dtype=np.uint8)

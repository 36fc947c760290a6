"""The recorder: takes frames from the tick without ever making it wait, and writes 18-frame episodes in a thread of its own.

Promises: :meth:`EpisodeRecorder.offer` copies and waits for nothing; a frame that finds the queue full is counted and said,
never silently lost; a disk that is full, gone or read-only stops the recording with one clear line and disturbs nothing else; an
episode has its name only once it is safe on the disk.
"""

from __future__ import annotations

import contextlib
import math
import os
import re
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import NamedTuple

import numpy as np

from vla_bt.episodes.format import FRAMES, EpisodeInfo, EpisodeWriter, FrameSample

QUEUE_FRAMES = 32


def utc_now() -> datetime:
    """Return the time of day, for file names only."""
    return datetime.now(timezone.utc)


class RecorderStatus(NamedTuple):
    """How the recorder is doing.

    Attributes
    ----------
    state : str
        ``idle``, ``recording`` or ``failed``.
    frames : int
        Frames of the current episode taken so far.
    episodes : int
        Episodes finished so far, partial ones included.
    dropped : int
        Frames that found the queue full so far.
    last_file : Path or None
        The newest finished episode.
    error : str
        Why the last recording stopped by itself; empty when it did not.
    """

    state: str
    frames: int = 0
    episodes: int = 0
    dropped: int = 0
    last_file: Path | None = None
    error: str = ""

    @property
    def words(self) -> str:
        """One line for people."""
        lost = f", {self.dropped} dropped" if self.dropped else ""
        if self.state == "failed":
            return f"recording stopped: {self.error}"
        if self.state == "recording":
            return f"recording {self.frames} of {FRAMES}{lost}"
        if self.error:
            return f"idle; the last recording stopped: {self.error}"
        return (f"idle, last {self.last_file.name}" if self.last_file is not None else "idle") + lost


@dataclass(frozen=True)
class _Frame:
    sample: FrameSample
    started: datetime | None  # the first of an episode


@dataclass(frozen=True)
class _End:
    """The open episode, if any, ends here."""


class EpisodeRecorder:
    """Records one episode after the other while started.

    Parameters
    ----------
    directory : Path
        Where episodes go.
    frame_period_s : float
        Time between recorded frames [s].
    scenario : str
        Part of each file's name and an attribute in it.
    now : callable
        Time of day for file names (UTC).
    """

    def __init__(
        self, directory: Path, frame_period_s: float, scenario: str = "free", now: Callable[[], datetime] = utc_now
    ) -> None:
        self._directory = directory
        self._period_s = frame_period_s
        self._scenario = scenario
        self._now = now
        self._lock = threading.Condition()
        self._queue: deque[_Frame | _End] = deque()
        self._ended = False
        self._started = False
        self._taken = 0
        self._shape: tuple[int, ...] = ()
        self._due_s = -math.inf
        self._episodes = 0
        self._dropped = 0
        self._last_file: Path | None = None
        self._error = ""
        self._thread = threading.Thread(target=self._write_all, name="episode writer", daemon=True)
        self._thread.start()

    def start(self) -> None:
        """Begin to record: the next frame offered is the first of a new episode. Forgets an earlier failure."""
        with self._lock:
            if not self._started or self._error:
                self._started, self._error, self._taken, self._due_s = True, "", 0, -math.inf

    def stop(self) -> None:
        """End recording, also a failed one; an unfinished episode is kept as a partial one. Returns at once."""
        with self._lock:
            self._end_episode()
            self._started = False

    def due(self, now_s: float) -> bool:
        """Tell whether a frame should be offered now: copying one that isn't due would be for nothing."""
        with self._lock:
            return self._started and not self._error and now_s >= self._due_s - 1e-6

    def offer(self, sample: FrameSample) -> bool:
        """Hand one frame over; False when it was not taken. Never waits for the disk."""
        shape = sample.image.shape
        with self._lock:
            if not self._started or self._error:
                return False
            if len(shape) != 3 or shape[2] != 3 or sample.image.dtype != np.uint8:
                self._end_episode()
                self._error = f"a frame is {shape} {sample.image.dtype}; expected (height, width, 3) uint8"
                return False
            late = sample.decided_s - self._due_s > self._period_s
            self._due_s = (sample.decided_s if late else self._due_s) + self._period_s
            if len(self._queue) >= QUEUE_FRAMES:
                self._dropped += 1
                return False
            if shape != self._shape:
                self._end_episode()
            self._shape = shape
            self._queue.append(_Frame(sample, None if self._taken else self._now()))
            self._taken = (self._taken + 1) % FRAMES  # the writer closes the episode at its 18th frame
            self._lock.notify()
            return True

    def status(self) -> RecorderStatus:
        """Report."""
        with self._lock:
            state = "idle" if not self._started else "failed" if self._error else "recording"
            return RecorderStatus(state, self._taken, self._episodes, self._dropped, self._last_file, self._error)

    def close(self, timeout_s: float = 10.0) -> bool:
        """End recording and wait until everything is written; False when the disk took longer than ``timeout_s``."""
        self.stop()
        with self._lock:
            self._ended = True
            self._lock.notify()
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def _end_episode(self) -> None:
        if self._taken:
            self._queue.append(_End())
            self._taken = 0
            self._lock.notify()

    def _write_all(self) -> None:
        """Run in the thread: the only place that touches files."""
        writer: EpisodeWriter | None = None
        while True:
            with self._lock:
                self._lock.wait_for(lambda: self._queue or self._ended)
                if not self._queue:
                    return
                item = self._queue[0]  # stays until it is written, so that the queue's length counts it
            try:
                if isinstance(item, _Frame):
                    if item.started is not None:
                        height, width, _ = item.sample.image.shape
                        writer = EpisodeWriter(
                            self._directory, item.started, EpisodeInfo(self._scenario, self._period_s), height, width
                        )
                    if writer is not None:
                        writer.append(item.sample)
                if writer is not None and (isinstance(item, _End) or writer.count == FRAMES):
                    finished = writer.finish()
                    writer = None
                    with self._lock:
                        self._episodes, self._last_file = self._episodes + 1, finished
                with self._lock:
                    self._queue.popleft()
            except Exception as error:  # whatever it was: this thread lives on and the status says it
                if writer is not None:
                    with contextlib.suppress(Exception):  # what went wrong first counts
                        writer.give_up()
                    writer = None
                with self._lock:
                    self._queue.clear()
                    self._error, self._taken = f"{self._directory}: {_in_words(error)}", 0


def _in_words(error: Exception) -> str:
    """Return the system's own words; HDF5 wraps them into many of its own."""
    if isinstance(error, OSError) and error.errno:
        return os.strerror(error.errno)
    found = re.search(r"error message = '([^']+)'", str(error))
    if found:
        return found[1]
    words = " ".join(str(error).split())[:200]
    if isinstance(error, (OSError, RuntimeError, ValueError)):
        return words
    return f"{type(error).__name__}: {words}" if words else type(error).__name__

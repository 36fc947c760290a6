"""The recorder: takes frames from the tick without ever making it wait, and writes 18-frame episodes in a thread of its own.

Promises: :meth:`EpisodeRecorder.offer` copies and waits for nothing; the queue holds seconds of frames before one finds it
full, and that one is counted, said and marked in the file, never silently lost; a disk that is full, gone or read-only stops the
recording with one clear line and disturbs nothing else; an episode has its name only once it is safe on the disk, and what has no
name yet ``vla-bt episodes recover`` makes whole.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import re
import secrets
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from pathlib import Path
from typing import NamedTuple

import numpy as np

from vla_bt.episodes.format import FRAMES, EpisodeInfo, EpisodeWriter, FrameSample
from vla_bt.episodes.schema import RAW
from vla_bt.settings import GateSettings, TreeSettings

QUEUE_FRAMES = 32
QUEUE_BYTES = 256 * 1024 * 1024
"""Frames that may wait for the disk: so many, and fewer when they are larger than 720p."""

MAX_LABEL = 500  # characters

SYNC_QUIET = 1
"""With no more than so many frames in the queue there is time to wait until the disk holds them: a power cut then loses none."""


def labels(settings: TreeSettings) -> EpisodeInfo:
    """Return what the settings say of an episode; texts of any length are cut."""
    return EpisodeInfo(
        scenario=settings.record_scenario[:MAX_LABEL],
        pattern=settings.record_pattern,
        distance=settings.record_distance,
        position=settings.record_position,
        key_pattern=settings.record_key_pattern[:MAX_LABEL],
    )


def limits_of(gate: GateSettings) -> str:
    """Return what an episode's attribute ``velocity_limits`` says of a gate."""
    return f"{gate.max_linear_x:g} {gate.max_linear_y:g} {gate.max_angular_z:g}"


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
    waiting : int
        Frames taken that the disk does not have yet.
    demonstration : str
        Id of the current demonstration; empty while idle.
    """

    state: str
    frames: int = 0
    episodes: int = 0
    dropped: int = 0
    last_file: Path | None = None
    error: str = ""
    waiting: int = 0
    demonstration: str = ""

    @property
    def behind(self) -> bool:
        """The disk doesn't keep up."""
        return self.waiting > QUEUE_FRAMES // 4

    def to_json(self) -> str:
        """Return it as one line of JSON."""
        last = str(self.last_file) if self.last_file is not None else ""
        return json.dumps({**self._asdict(), "last_file": last, "words": self.words})

    @property
    def words(self) -> str:
        """One line for people."""
        lost = f", {self.dropped} dropped" if self.dropped else ""
        if self.state == "failed":
            return f"recording stopped: {self.error}"
        if self.state == "recording":
            slow = f", {self.waiting} waiting for the disk" if self.behind else ""
            return f"recording {self.frames} of {FRAMES}{slow}{lost}"
        if self.error:
            return f"idle; the last recording stopped: {self.error}"
        return (f"idle, last {self.last_file.name}" if self.last_file is not None else "idle") + lost


@dataclass(frozen=True)
class _Frame:
    sample: FrameSample
    dropped_before: int
    first: tuple[datetime, EpisodeInfo] | None  # of an episode


@dataclass(frozen=True)
class _End:
    """The open episode, if any, ends here."""


class EpisodeRecorder:
    """Records one episode after the other while started; those between start and stop are one demonstration.

    Parameters
    ----------
    directory : Path
        Where episodes go.
    frame_period_s : float
        Time between recorded frames [s].
    scenario : str
        Part of each file's name and an attribute in it; :meth:`label` tells more.
    now : callable
        Time of day for file names (UTC).
    storage : str
        How pictures are kept, see :class:`vla_bt.episodes.writer.EpisodeWriter`.
    beside : Path, optional
        Where finished episodes will be moved to; see there.
    tick_period_s : float
        From one offer to the next [s], for the file; 0 where nobody knows.
    """

    def __init__(
        self,
        directory: Path,
        frame_period_s: float,
        scenario: str = "free",
        now: Callable[[], datetime] = utc_now,
        storage: str = RAW,
        beside: Path | None = None,
        tick_period_s: float = 0.0,
    ) -> None:
        self._directory, self._beside = directory, beside
        self._period_s, self._tick_s = frame_period_s, tick_period_s
        self._info = EpisodeInfo(scenario, frame_period_s, tick_period_s=tick_period_s)
        self._now = now
        self._storage = storage
        self._lock = threading.Condition()
        self._queue: deque[_Frame | _End] = deque()
        self._most = QUEUE_FRAMES
        self._ended = False
        self._started = False
        self._taken = 0
        self._shape: tuple[int, ...] = ()
        self._due_s = -math.inf
        self._demonstration = ""
        self._index = 0
        self._episodes = 0
        self._dropped = self._dropped_before = 0
        self._last_file: Path | None = None
        self._error = ""
        self._thread = threading.Thread(target=self._write_all, name="episode writer", daemon=True)
        self._thread.start()

    def label(self, info: EpisodeInfo) -> None:
        """Say what is recorded from now on; another label begins another demonstration.

        Links and periods in it are not heeded: they are the recorder's own.
        """
        info = replace(info, frame_period_s=self._period_s, tick_period_s=self._tick_s)
        info = replace(info, demonstration_id="", demonstration_index=0, previous_episode="")
        with self._lock:
            if info != self._info:
                self._info = info
                self._end_episode()
                self._begin_demonstration()

    def start(self) -> None:
        """Begin to record: the next frame offered is the first of a new demonstration. Forgets an earlier failure."""
        with self._lock:
            if not self._started or self._error:
                self._started, self._error, self._taken = True, "", 0
                self._begin_demonstration()

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
            if len(self._queue) >= min(self._most, QUEUE_FRAMES, max(2, QUEUE_BYTES // sample.image.nbytes)):
                self._dropped += 1
                self._dropped_before += 1
                return False
            if shape != self._shape:
                self._end_episode()
            self._shape = shape
            first = None
            if not self._taken:
                info = replace(self._info, demonstration_id=self._demonstration, demonstration_index=self._index)
                self._index += 1
                first = (self._now(), info)
            self._queue.append(_Frame(sample, self._dropped_before, first))
            self._dropped_before = 0
            self._taken = (self._taken + 1) % FRAMES  # the writer closes the episode at its 18th frame
            self._lock.notify()
            return True

    def limit_queue(self, frames: int | None) -> int | None:
        """Let at most so many frames wait from now on, None for as many as usual; those that wait already are kept.

        Returns the bytes of the frames beyond the new limit, which go once they are written; None when nothing has changed.
        """
        most = QUEUE_FRAMES if frames is None else frames
        with self._lock:
            if most == self._most:
                return None
            self._most = most
            waiting = [item.sample.image.nbytes for item in self._queue if isinstance(item, _Frame)]
            return sum(waiting[most:])

    def status(self) -> RecorderStatus:
        """Report."""
        with self._lock:
            state = "idle" if not self._started else "failed" if self._error else "recording"
            demonstration = self._demonstration if self._started else ""
            counts = (self._taken, self._episodes, self._dropped)
            return RecorderStatus(state, *counts, self._last_file, self._error, len(self._queue), demonstration)

    def close(self, timeout_s: float = 10.0) -> bool:
        """End recording and wait until everything is written; False when the disk took longer than ``timeout_s``."""
        self.stop()
        with self._lock:
            self._ended = True
            self._lock.notify()
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def _begin_demonstration(self) -> None:
        self._demonstration = f"demo_{self._now():%Y%m%d_%H%M%S}_{secrets.token_hex(3)}"
        self._index, self._due_s, self._dropped_before = 0, -math.inf, 0

    def _end_episode(self) -> None:
        if self._taken:
            self._queue.append(_End())
            self._taken = 0
            self._lock.notify()

    def _write_all(self) -> None:
        """Run in the thread: the only place that touches files."""
        writer: EpisodeWriter | None = None
        before = ("", "")  # demonstration and name of the episode finished last
        while True:
            with self._lock:
                self._lock.wait_for(lambda: self._queue or self._ended)
                if not self._queue:
                    return
                item = self._queue[0]  # stays until it is written, so that the queue's length counts it
                quiet = len(self._queue) <= SYNC_QUIET
            try:
                if isinstance(item, _Frame):
                    if item.first is not None:
                        started, info = item.first
                        if before[0] == info.demonstration_id:
                            info = replace(info, previous_episode=before[1])
                        height, width, _ = item.sample.image.shape
                        writer = EpisodeWriter(self._directory, started, info, height, width, self._storage, self._beside)
                        demonstration = info.demonstration_id
                    if writer is not None:
                        writer.append(item.sample, item.dropped_before)
                        if quiet and writer.count < FRAMES:
                            writer.sync()
                if writer is not None and (isinstance(item, _End) or writer.count == FRAMES):
                    finished = writer.finish()
                    writer = None
                    before = (demonstration, finished.stem)
                    with self._lock:
                        self._episodes, self._last_file = self._episodes + 1, finished
                with self._lock:
                    self._queue.popleft()
            except Exception as error:  # whatever it was: this thread lives on and the status says it
                kept, saved = 0, None
                if writer is not None:
                    with contextlib.suppress(Exception):  # what went wrong first counts
                        kept = writer.give_up()
                        saved = writer.saved
                    writer = None
                rest = f"; 'vla-bt episodes recover' makes a file of the {kept} frames before" if kept else ""
                rest += f"; the frames before are in {saved.name}" if saved is not None else ""
                with self._lock:
                    self._dropped += sum(isinstance(lost, _Frame) for lost in self._queue)
                    self._queue.clear()
                    self._error, self._taken = f"{self._directory}: {_in_words(error)}{rest}", 0


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

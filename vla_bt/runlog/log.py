"""``RunLog``: takes what each tick hands over and writes it down in a thread of its own.

Promises: :meth:`RunLog.take` only appends to a bounded queue, and loses (and counts) what doesn't fit; whatever goes wrong with
the disk ends the writing, in words, and nothing else; a process that is killed loses about a second; all runs together stay
within the room they were given, and what is deleted for that is said.
"""

from __future__ import annotations

import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from vla_bt import __version__
from vla_bt.control.causes import CauseTable
from vla_bt.runlog.encoder import Encoder, Line, Moment, Node
from vla_bt.runlog.part import PartWriter
from vla_bt.runlog.places import make_room, make_run
from vla_bt.runlog.times import Window
from vla_bt.runlog.topics import FORMAT, Level, plain
from vla_bt.settings import TreeSettings

QUEUE_TICKS = 400
"""Twenty seconds of a usual robot: a disk slower than that loses ticks, not memory."""

DRAIN_PERIOD_S = 0.2
FLUSH_PERIOD_S = 1.0
DISK_PERIOD_S = 5.0
PART_BYTES = 32_000_000
_SUMMARY_BYTES = 16_000  # all schemas once more, and the index of a small part: 11 kB
PART_S = 300.0
"""A part takes at most so long [s]: until it is closed, its writer keeps 0.9 kB of index in memory for each flush."""

TELL_PERIOD_S = 1.0
"""Lines of one kind are told at most this often [s]; the file has them all."""


@dataclass(frozen=True)
class LogStatus:
    """How the log is doing.

    Attributes
    ----------
    state : str
        ``writing``, ``off`` (not asked for), ``stopped`` (by ``error``) or ``closed``.
    folder : Path or None
        The run's folder.
    size : int
        Bytes written so far.
    dropped : int
        Ticks that were lost because the disk was too slow.
    error : str
        Why it stopped; empty when it did not.
    """

    state: str
    folder: Path | None = None
    size: int = 0
    dropped: int = 0
    error: str = ""

    @property
    def words(self) -> str:
        """One line for people."""
        if self.state == "stopped":
            return f"the run log stopped: {self.error}"
        lost = f", {self.dropped} ticks lost" if self.dropped else ""
        where = f" {self.folder.name}, {self.size / 1e6:.1f} MB" if self.folder is not None else ""
        return f"{self.state}{where}{lost}"


class RunLog:
    """The log of one run.

    Parameters
    ----------
    nodes : sequence of Node
        The tree.
    causes : CauseTable
        The table in force.
    settings : TreeSettings
        Written down; gives ``run_log_mb``, what all runs together may take.
    directory : Path or None
        Where runs lie; None writes no file, and lines are told all the same.
    world : str
        Part of the run's name.
    began_s : float
        Port time at which the run begins [s].
    facts : mapping, optional
        More for the log's head: plain values.
    tell : callable, optional
        Takes lines for people, in the log's own thread.
    patient : bool
        :meth:`take` waits for room instead of losing a tick: for worlds whose time waits, too.
    make_part : callable
        Opens a part; tests give one that fails.
    """

    def __init__(
        self,
        nodes: Sequence[Node],
        causes: CauseTable,
        settings: TreeSettings,
        directory: Path | None,
        world: str,
        began_s: float,
        facts: Mapping[str, Any] | None = None,
        tell: Callable[[Level, str], None] | None = None,
        patient: bool = False,
        make_part: Callable[[Path, int], PartWriter] = PartWriter,
    ) -> None:
        self._encoder = Encoder(nodes, causes, began_s, settings.tick_period_s)
        self._limit = round(settings.run_log_mb * 1e6)
        self._directory = directory if self._limit else None
        self._world = world
        self._tell = tell
        self._patient = patient
        self._make_part = make_part
        self._began_ns = time.time_ns()
        started = datetime.fromtimestamp(self._began_ns / 1e9, timezone.utc)
        self._head = {
            "format": FORMAT,
            "world": world,
            "version": __version__,
            "started": started.isoformat(timespec="milliseconds"),
            "began_s": began_s,
            **plain(dict(facts or {})),
            "nodes": [node._asdict() for node in nodes],
            "causes": {name: {"words": cause.words, "effects": _effects(cause)} for name, cause in causes.causes.items()},
            "settings": plain(settings),
        }
        self._started = started
        self._queue: deque[Moment] = deque()
        self._dropped = self._ticks = 0
        self._last_t = 0.0
        self._folder: Path | None = None
        self._part: PartWriter | None = None
        self._parts = self._size = 0
        self._error = ""
        self._told: dict[str, float] = {}
        self._untold: Counter[str] = Counter()
        self._flush_due_s = self._disk_due_s = self._part_due_s = 0.0
        self._reason = ""
        self._times: Window | None = None
        self._ended = False
        self._wake = threading.Event()
        self._thread = threading.Thread(target=self._run, name="run log", daemon=True)
        self._thread.start()

    def take(self, moment: Moment) -> None:
        """Take a tick over; returns at once, unless the log is ``patient``."""
        if len(self._queue) >= QUEUE_TICKS:
            while self._patient and len(self._queue) >= QUEUE_TICKS and self._thread.is_alive():
                self._wake.set()
                time.sleep(0.001)
            if not self._patient:
                self._dropped += 1
                return
        self._queue.append(moment)

    def status(self) -> LogStatus:
        """Report."""
        state = "stopped" if self._error else "off" if self._directory is None else "closed" if self._ended else "writing"
        size = self._size + (self._part.size if self._part is not None else 0)
        return LogStatus(state, self._folder, size, self._dropped, self._error)

    def close(self, reason: str = "ended", times: Window | None = None, timeout_s: float = 5.0) -> None:
        """Write down what is left and why the run ended, and wait for that; the disk may take ``timeout_s`` at most [s].

        ``times`` are those of the last seconds.
        """
        if not self._ended:
            self._reason, self._times, self._ended = reason, times, True
            self._wake.set()
            self._thread.join(timeout_s)

    # ------------------------------------------------------------------ the thread

    def _run(self) -> None:
        self._guarded(self._open)
        while not self._ended:
            self._wake.wait(DRAIN_PERIOD_S)
            if not self._ended:
                self._wake.clear()
            self._guarded(self._drain)
        self._guarded(self._drain)
        self._guarded(self._finish)

    def _guarded(self, step: Callable[[], None]) -> None:
        """Do a step of the log's work; its failure ends the writing, and only that."""
        try:
            step()
        except Exception as error:
            part, self._part = self._part, None
            if part is not None:
                self._size += part.size
                part.give_up()
            words = error.strerror or str(error) if isinstance(error, OSError) else f"{type(error).__name__}: {error}"
            self._error = self._error or f"{self._folder or self._directory}: {words}"
            self._say(Line(Level.ERROR, "log", f"the run log stopped: {self._error}; the robot goes on"))

    def _open(self) -> None:
        if self._directory is None:
            return
        told = make_room(self._directory, self._limit - self._part_room)
        self._folder = make_run(self._directory, self._started, self._world)
        self._next_part(0.0)
        self._say(Line(Level.INFO, "log", f"run log: {self._folder}"))
        for line in told:
            self._note(Line(Level.INFO, "room", line), 0.0)

    @property
    def _part_bytes(self) -> int:
        return min(PART_BYTES, self._limit // 4)

    @property
    def _part_room(self) -> int:
        """What the next part may take: it ends past ``_part_bytes`` by its last flush, and its summary comes on top."""
        return self._part_bytes * 5 // 4 + _SUMMARY_BYTES

    def _next_part(self, t: float) -> None:
        assert self._folder is not None
        self._part = self._make_part(self._folder / f"{self._parts:03d}.mcap", self._began_ns)
        self._part.add("/run", t, {"t": t, **self._head, "part": self._parts})
        self._parts += 1
        self._part_due_s = time.monotonic() + PART_S
        self._encoder.want_full()

    def _drain(self) -> None:
        while self._queue:
            moment = self._queue[0]  # stays until it is written, so that the queue's length counts it
            self._write(moment)
            self._queue.popleft()
            self._flush_if_due()
        self._flush_if_due()

    def _write(self, moment: Moment) -> None:
        try:
            t, messages = self._encoder.encode(moment)
        except Exception:
            self._queue.clear()
            raise
        self._ticks, self._last_t = self._ticks + 1, t
        if self._part is not None:
            for topic, message in messages:
                self._part.add(topic, t, message)
        for line in self._encoder.take_lines():
            self._note(line, t)

    def _flush_if_due(self) -> None:
        now_s, part = time.monotonic(), self._part
        if part is None or now_s < self._flush_due_s:
            return
        self._flush_due_s = now_s + FLUSH_PERIOD_S
        part.flush()
        if now_s >= self._disk_due_s:
            self._disk_due_s = now_s + DISK_PERIOD_S
            part.to_disk()
        if part.size >= self._part_bytes or now_s >= self._part_due_s:
            self._part = None
            part.close()
            self._size += part.size
            assert self._directory is not None
            told = make_room(self._directory, self._limit - self._part_room, self._folder)
            self._next_part(self._last_t)
            for line in told:
                self._note(Line(Level.INFO, "room", line), self._last_t)

    def _finish(self) -> None:
        part = self._part
        if part is not None:
            if self._times is not None:
                part.add("/timing", self._last_t, {"t": self._last_t, **self._times.to_plain()})
            end = {"t": self._last_t, "reason": self._reason, "ticks": self._ticks, "dropped": self._dropped}
            part.add("/end", self._last_t, end)
            part.close()
            self._size += part.size
            self._part = None

    # ------------------------------------------------------------------ lines for people

    def _note(self, line: Line, t: float) -> None:
        if self._part is not None:
            stamp = self._began_ns + round(t * 1e9)
            timestamp = {"sec": stamp // 10**9, "nsec": stamp % 10**9}
            message = {"timestamp": timestamp, "level": int(line.level), "message": line.text, "name": line.kind, "t": t}
            self._part.add("/log", t, message)
        self._say(line)

    def _say(self, line: Line) -> None:
        """Tell people, but not the same kind of thing more than once a second."""
        if self._tell is None:
            return
        now_s = time.monotonic()
        if now_s - self._told.get(line.kind, -TELL_PERIOD_S) < TELL_PERIOD_S:
            self._untold[line.kind] += 1
            return
        self._told[line.kind] = now_s
        more = self._untold.pop(line.kind, 0)
        self._tell(line.level, f"{line.text} ({more} more like this meanwhile)" if more else line.text)


def _effects(cause: Any) -> dict[str, str]:
    return {mode.value: effect.value for mode, effect in cause.effects.items()}

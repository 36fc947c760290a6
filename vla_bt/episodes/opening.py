"""The one way into an episode file, for everything that reads: what is hostile or damaged becomes one line.

Promises: whatever the bytes are, :func:`read` returns or raises :class:`EpisodeError` within a bounded time and memory. The HDF5
library runs in a process for this file alone (:mod:`vla_bt.episodes.reading`), which may crash and never sees another one; a
symbolic link, a pipe or a device is not opened. Threads may share it; a forked process gets a reader of its own.
"""

from __future__ import annotations

import atexit
import errno
import json
import mmap
import os
import socket
import stat
import subprocess
import sys
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vla_bt.episodes.printable import printable
from vla_bt.episodes.schema import EpisodeError

_PATIENCE_S = 90.0  # longer than the reader's own


@dataclass(frozen=True)
class Part:
    """One name in a file.

    Attributes
    ----------
    name : str
    kind : str
        ``text``, or numpy's name of the numbers, or what it is instead.
    shape : tuple of int
    packed : tuple of str
        Filters it went through; empty for plain.
    units : str
        As the dataset's own attribute tells them; empty when it doesn't.
    why : str
        Why it wasn't read; empty for what was or could be.
    """

    name: str
    kind: str
    shape: tuple[int, ...]
    packed: tuple[str, ...]
    units: str
    why: str


@dataclass(frozen=True)
class Content:
    """All that could be read of a file.

    Attributes
    ----------
    path : Path
    size_bytes : int
    attributes : dict
        Texts of at most 4096 letters, numbers, truth values, or lists of at most 64 of these.
    columns : dict of str to ndarray
        Every readable dataset but the images; texts as arrays of str.
    images : ndarray of uint8, shape (n, height, width, 3), or None
        None when they were not asked for or can't be read: then :attr:`parts` says why.
    parts : dict of str to Part
        Every name in the file.
    notes : tuple of str
        What else was left out.
    """

    path: Path
    size_bytes: int
    attributes: dict[str, Any]
    columns: dict[str, NDArray[Any]]
    images: NDArray[np.uint8] | None
    parts: dict[str, Part]
    notes: tuple[str, ...]


def read(path: Path, images: bool = True) -> Content:
    """Read a file as far as it is harmless.

    Parameters
    ----------
    path : Path
        A regular file.
    images : bool
        Read the images, too; without them it takes milliseconds.

    Raises
    ------
    EpisodeError
        When it can't be read at all, or tries to lead elsewhere.
    """
    try:
        descriptor = _open(path)
    except OSError as error:
        raise EpisodeError(f"{printable(path)}: {_in_words(error)}") from None
    try:
        size = os.fstat(descriptor).st_size
        told, memory = _reader.ask(descriptor, images)
    except EpisodeError as error:
        raise EpisodeError(f"{printable(path)}: {error}") from None
    finally:
        os.close(descriptor)
    if told["error"]:
        raise EpisodeError(f"{printable(path)}: {printable(told['error'])}")
    columns: dict[str, NDArray[Any]] = {}
    parts: dict[str, Part] = {}
    for part in told["parts"]:
        name, shape = part["name"], tuple(part["shape"])
        parts[name] = Part(name, part["kind"], shape, tuple(part["packed"]), part["units"], part["why"])
        if "values" in part:
            columns[name] = np.array(part["values"], dtype=object)
        elif "offset" in part:
            kind = np.dtype(part["kind"])
            columns[name] = np.frombuffer(memory, kind, int(np.prod(shape)), part["offset"]).reshape(shape)
    return Content(path, size, told["attributes"], columns, columns.pop("images", None), parts, tuple(told["notes"]))


def _open(path: Path) -> int:
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    found = os.fstat(descriptor)
    if stat.S_ISREG(found.st_mode) and found.st_size:
        return descriptor
    os.close(descriptor)
    if stat.S_ISREG(found.st_mode):
        raise OSError(errno.ENODATA, "")
    raise OSError(errno.EISDIR if stat.S_ISDIR(found.st_mode) else errno.ENXIO, "")


def _in_words(error: OSError) -> str:
    if error.errno == errno.ELOOP:
        return "is a symbolic link; name the file itself"
    if error.errno == errno.EISDIR:
        return "is a folder; name one episode in it"
    if error.errno == errno.ENXIO:
        return "is no regular file"
    if error.errno == errno.ENODATA:
        return "is empty (0 bytes)"
    return os.strerror(error.errno) if error.errno else "can't be opened"


class _Reader:
    """The process that has files read, started when it is needed."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._channel: socket.socket | None = None
        self._owner = 0

    def ask(self, descriptor: int, images: bool) -> tuple[dict[str, Any], Any]:
        """Have one open file read; returns its description and the memory it points into."""
        with self._lock:
            channel = self._running()
            try:
                socket.send_fds(channel, [b"i" if images else b"-"], [descriptor])
                answer, files, _, _ = socket.recv_fds(channel, 16, 1)
            except OSError:
                answer, files = b"", []
            except BaseException:  # interrupted: the answer of this request must not be taken for the next one's
                self._end()
                raise
            if len(answer) != 16 or not files:
                self._end()
                raise EpisodeError("can't be read: the process that reads files was ended")
        try:
            begin, length = int.from_bytes(answer[:8], "little"), int.from_bytes(answer[8:], "little")
            memory = mmap.mmap(files[0], begin + length, access=mmap.ACCESS_COPY)
        finally:
            os.close(files[0])
        return json.loads(memory[begin : begin + length]), memory

    def _running(self) -> socket.socket:
        if self._channel is not None and self._process is not None:
            if self._owner != os.getpid():  # this is a fork: the process belongs to the parent
                self._channel.close()
                self._channel = self._process = None
            elif self._process.poll() is not None:
                self._end()
        if self._channel is None:
            ours, theirs = socket.socketpair()
            ours.settimeout(_PATIENCE_S)
            with theirs:
                self._process = subprocess.Popen(
                    [sys.executable, "-m", "vla_bt.episodes.reading", str(theirs.fileno())],
                    env={**os.environ, "HDF5_PLUGIN_PRELOAD": "::", "OPENBLAS_NUM_THREADS": "1"},  # '::': load no plugins
                    pass_fds=[theirs.fileno()],
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                )
            self._channel, self._owner = ours, os.getpid()
        return self._channel

    def _end(self) -> None:
        if self._channel is not None:
            self._channel.close()
        if self._process is not None:
            if self._process.poll() is None:
                self._process.kill()
            self._process.wait()
        self._channel = self._process = None

    def close(self) -> None:
        """End the process, unless it is another one's."""
        with self._lock:
            if self._owner == os.getpid():
                self._end()


_reader = _Reader()
atexit.register(_reader.close)

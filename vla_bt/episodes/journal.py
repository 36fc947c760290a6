"""The journal of an episode in the making: one record for each frame, so that a killed recorder loses at most the frame it held.

Promises: a record is appended whole or, told by its checksum, not at all; records before a torn one stay readable; whoever
writes a journal holds its lock until its process ends, however it ends. A journal may come from anywhere: what it says of its own
sizes is bounded before it is believed.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import stat
import struct
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

JOURNAL_SUFFIX = ".journal"
MAX_TEXT_BYTES = 64 * 1024
MAX_BLOB_BYTES = 64 * 1024 * 1024
RESERVED_BYTES = 48 * 1024
"""Room for the rows of 18 frames, taken at the start: a disk that fills up later doesn't stop them."""

_HEAD = struct.Struct("<4sIII")  # mark, bytes of text, bytes of blob, CRC-32 of both
_MARK = b"VBJ1"


class JournalBusyError(Exception):
    """Another process is writing this journal."""


@dataclass(frozen=True)
class Record:
    """One record.

    Attributes
    ----------
    values : dict
        Plain numbers, texts, truth values and lists of them.
    blob_at, blob_bytes : int
        Where in the file its bytes lie [bytes]; for :meth:`Journal.blob`.
    """

    values: dict[str, Any]
    blob_at: int
    blob_bytes: int


class JournalWriter:
    """Appends records to a new journal.

    Parameters
    ----------
    path : Path
        Of the journal.

    Raises
    ------
    FileExistsError
        When there is such a file.
    OSError
        When it can't be made.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW, 0o644)
        self._at = 0
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.posix_fallocate(self._fd, 0, RESERVED_BYTES)
        except BaseException:
            self.remove()
            raise

    def append(self, values: dict[str, Any], blob: bytes = b"") -> None:
        """Write one record and hand it to the operating system."""
        text = json.dumps(values, ensure_ascii=False, separators=(",", ":")).encode()
        head = _HEAD.pack(_MARK, len(text), len(blob), zlib.crc32(blob, zlib.crc32(text)))
        self._at += write_at(self._fd, head + text + blob, self._at)

    def read(self, at: int, size: int) -> bytes:
        """Return bytes written before."""
        return os.pread(self._fd, size, at)

    @property
    def end(self) -> int:
        """Where the next record goes [bytes]."""
        return self._at

    def is_there(self) -> bool:
        """Tell whether the file still has a name: nobody reads what is written into a deleted one."""
        return os.fstat(self._fd).st_nlink > 0

    def sync(self) -> None:
        """Wait until the disk holds it."""
        os.fdatasync(self._fd)

    def close(self) -> None:
        """Let go of file and lock; the journal stays."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def remove(self) -> None:
        """Close, and delete the journal."""
        with contextlib.suppress(OSError):
            self.path.unlink()
        self.close()


class Journal:
    """A journal as it was left. Use as a context: its lock is held meanwhile.

    Parameters
    ----------
    path : Path
        Of the journal; no symbolic link.

    Attributes
    ----------
    records : list of Record
        Up to the first torn one.

    Raises
    ------
    JournalBusyError
        When its writer lives.
    OSError
        When it can't be read.
    """

    def __init__(self, path: Path) -> None:
        self._fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
        try:
            if not stat.S_ISREG(os.fstat(self._fd).st_mode):
                raise OSError(errno.EINVAL, "not a regular file")
            try:
                fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise JournalBusyError(str(path)) from None
            self.records = list(self._read())
        except BaseException:
            os.close(self._fd)
            raise

    def __enter__(self) -> Journal:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._fd)

    def blob(self, record: Record) -> bytes:
        """Return a record's bytes."""
        return os.pread(self._fd, record.blob_bytes, record.blob_at)

    def _read(self) -> list[Record]:
        records: list[Record] = []
        at = 0
        while True:
            head = os.pread(self._fd, _HEAD.size, at)
            if len(head) < _HEAD.size:
                return records
            mark, text_bytes, blob_bytes, checksum = _HEAD.unpack(head)
            if mark != _MARK or text_bytes > MAX_TEXT_BYTES or blob_bytes > MAX_BLOB_BYTES:
                return records
            body = os.pread(self._fd, text_bytes + blob_bytes, at + _HEAD.size)
            if len(body) < text_bytes + blob_bytes or zlib.crc32(body) != checksum:
                return records
            try:
                values = json.loads(body[:text_bytes])
            except (ValueError, RecursionError):
                return records
            if not isinstance(values, dict):
                return records
            records.append(Record(values, at + _HEAD.size + text_bytes, blob_bytes))
            at += _HEAD.size + len(body)


def journals(directory: Path) -> list[Path]:
    """List the journals in a directory by name: of episodes in progress or left behind.

    Raises
    ------
    OSError
        When it can't be listed.
    """
    with os.scandir(directory) as entries:
        return sorted(Path(entry.path) for entry in entries if entry.name.endswith(f".h5{JOURNAL_SUFFIX}"))


def left_behind(directory: Path) -> str:
    """Say in a line what an earlier recorder left unfinished, and what to do about it; empty for nothing."""
    try:
        count = len(journals(directory))
    except OSError:
        return ""
    what = "an unfinished episode lies" if count == 1 else f"{count} unfinished episodes lie"
    return f"{what} in {directory}: 'vla-bt episodes recover {directory}' makes files of it" if count else ""


def write_at(descriptor: int, data: bytes | memoryview, at: int) -> int:
    """Write all of ``data`` at an offset [bytes]; returns its size.

    Raises
    ------
    OSError
        When the disk takes no more of it.
    """
    view = memoryview(data)
    done = 0
    while done < len(view):
        done += os.pwrite(descriptor, view[done:], at + done)
    return len(view)

"""One file of a run log: MCAP with JSON messages in zstd chunks, which Foxglove and the mcap tools open as it is.

Promises: after each :meth:`PartWriter.flush` the file is readable up to there, whatever becomes of this process; what a full disk
cuts short is taken back to the last flush; a file that exists is never overwritten.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any, cast

from mcap.writer import CompressionType, Writer

from vla_bt import __version__
from vla_bt.runlog.topics import SCHEMAS, encode, schema_name

CHUNK_BYTES = 256 * 1024
"""A chunk is closed at this size at the latest [bytes]."""


class _File:
    """Gathers what the MCAP writer writes and hands it to the disk whole, or not at all."""

    def __init__(self, path: Path) -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
        self._file = os.open(path, flags, 0o600)
        fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)  # for as long as this process lives: nobody deletes it
        self._waiting = bytearray()
        self.written = 0

    def write(self, data: Any) -> int:
        self._waiting += data
        return len(data)

    def tell(self) -> int:
        return self.written + len(self._waiting)

    def flush(self) -> None:
        if self._file < 0:
            return
        try:
            while self._waiting:
                done = os.write(self._file, self._waiting)
                del self._waiting[:done]
                self.written += done
        except OSError:
            self._waiting.clear()
            raise

    def take_back(self, size: int) -> None:
        """Cut the file to what was whole."""
        with contextlib.suppress(OSError):
            os.ftruncate(self._file, size)
        self.written = size

    def to_disk(self) -> None:
        os.fdatasync(self._file)

    def close(self) -> None:
        if self._file >= 0:
            os.close(self._file)
            self._file = -1


class PartWriter:
    """Writes one part.

    Parameters
    ----------
    path : Path
        The file to be made.
    began_ns : int
        Time of day at which the run began [ns since 1970, UTC].

    Raises
    ------
    OSError
        Here and in every method: the disk is full, or the file can't be made.
    """

    def __init__(self, path: Path, began_ns: int) -> None:
        self._file = _File(path)
        self._began_ns = began_ns
        self._whole = 0
        self._sequence = 0
        self._writer = Writer(cast(IO[bytes], self._file), CHUNK_BYTES, CompressionType.ZSTD)
        self._writer.start("", f"vla_bt {__version__}")
        self._channels = {}
        for topic, schema in SCHEMAS.items():
            number = self._writer.register_schema(schema_name(topic), "jsonschema", encode(schema))
            self._channels[topic] = self._writer.register_channel(topic, "json", number)

    @property
    def size(self) -> int:
        """Bytes on the disk."""
        return self._file.written

    def add(self, topic: str, time_s: float, message: Mapping[str, Any]) -> None:
        """Add a message at ``time_s`` since the run began [s]; it reaches the disk with its chunk."""
        stamp = max(0, self._began_ns + round(time_s * 1e9))
        self._sequence += 1
        self._writer.add_message(self._channels[topic], stamp, encode(message), stamp, self._sequence)

    def flush(self) -> None:
        """Close the chunk and hand it to the system: from now on it survives this process."""
        try:
            self._writer.flush()
        except OSError:
            self._file.take_back(self._whole)
            raise
        self._whole = self._file.written

    def to_disk(self) -> None:
        """Wait until what was flushed survives a power cut, too."""
        self._file.to_disk()

    def close(self) -> None:
        """Write the indexes and close the file."""
        try:
            self.flush()
            self._writer.finish()
            self._file.flush()
        except OSError:
            self._file.take_back(self._whole)
            raise
        finally:
            self._file.close()

    def give_up(self) -> None:
        """Close the file as it is."""
        self._file.close()

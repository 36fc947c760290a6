"""Reading a run log back, whole or cut short, ours or somebody else's.

Promises: nothing in a file makes this take more memory than a few chunks or raise anything but :class:`RunLogError`, one line; a
log cut short is read up to the last chunk that is whole, and :attr:`RunReader.notes` says so in a line each.
"""

from __future__ import annotations

import io
import json
import os
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import zstandard
from mcap.exceptions import EndOfFile, McapError
from mcap.records import Channel, Message
from mcap.stream_reader import StreamReader

from vla_bt.runlog.places import is_written, parts_of
from vla_bt.runlog.topics import FORMAT
from vla_bt.settings import SettingsError

MAGIC = b"\x89MCAP0\r\n"
CHUNK, DATA_END, FOOTER = 0x06, 0x0F, 0x02
OPCODES = range(0x01, 0x10)
_CHUNK_HEAD = struct.Struct("<QQQII")

MAX_CHUNK_BYTES = 16_000_000
"""Ours hold a quarter of a megabyte."""

MAX_MESSAGE_BYTES = 2_000_000
MAX_CHUNKS = 2_000_000


class RunLogError(SettingsError):
    """A run log that can't be used; the message is one line, fit for a user."""


class ChunkPlace(NamedTuple):
    """Where a chunk lies, and what it spans on the file's clock [ns]."""

    part: int
    offset: int
    length: int
    start_ns: int
    end_ns: int


class Entry(NamedTuple):
    """One message: time since the run began [s], topic, content."""

    t: float
    topic: str
    content: dict[str, Any]


class RunReader:
    """Opens a finished run, or one that is being written.

    Parameters
    ----------
    path : Path
        A run's folder, or one part of it.

    Attributes
    ----------
    name : str
        The run's name.
    head : dict
        The ``/run`` message.
    notes : list of str
        What is wrong with the files, a line each.
    running : bool
        A living process writes it.

    Raises
    ------
    RunLogError
        When there is nothing in it that can be read.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.name = path.stem if path.is_file() else path.name
        self.paths = [path] if path.is_file() else [part.path for part in parts_of(path)]
        self.notes: list[str] = []
        self.running = any(is_written(part) for part in self.paths[-1:])
        self.size = 0
        self._chunks: list[ChunkPlace] = []
        self._channels: list[dict[int, str]] = []
        if not self.paths:
            raise RunLogError(f"{path}: no run log in this folder")
        for part, file in enumerate(self.paths):
            self._survey(part, file)
        if not self._chunks:
            why = self.notes[0] if self.notes else "it holds nothing yet"
            raise RunLogError(f"{path}: {why.removeprefix(f'{self.paths[0].name}: ')}")
        self.head = self._read_head()
        self._began_ns = self._chunks[0].start_ns - round(_number(self.head, "t") * 1e9)

    @property
    def first_s(self) -> float:
        """Time of the first message that is left [s]."""
        return (self._chunks[0].start_ns - self._began_ns) / 1e9

    @property
    def last_s(self) -> float:
        """Time of the last message [s]."""
        return max(chunk.end_ns for chunk in self._chunks[-3:]) / 1e9 - self._began_ns / 1e9

    def entries(self, since_s: float = -1.0, until_s: float = float("inf")) -> Iterator[Entry]:
        """Yield the messages of a span of time [s], ends included, in the order they were written."""
        first_ns = self._began_ns + round(since_s * 1e9)
        for chunk in self._chunks:
            if chunk.end_ns >= first_ns and (chunk.start_ns - self._began_ns) / 1e9 <= until_s:
                for entry in self._entries(chunk):
                    if since_s - 1e-6 <= entry.t <= until_s + 1e-6:
                        yield entry

    def from_full(self, time_s: float) -> Iterator[Entry]:
        """Yield all that is needed to know how things stood at ``time_s`` [s]: from the last full set of messages up to then."""
        at_ns = self._began_ns + round(time_s * 1e9)
        last = max((index for index, chunk in enumerate(self._chunks) if chunk.start_ns <= at_ns), default=0)
        first = last
        while first > 0 and not any(
            entry.t <= time_s + 1e-6 and entry.content.get("full") for entry in self._entries(self._chunks[first])
        ):
            first -= 1
        for chunk in self._chunks[first : last + 1]:
            for entry in self._entries(chunk):
                if entry.t <= time_s + 1e-6:
                    yield entry

    def last_entries(self) -> list[Entry]:
        """Return the messages of the last chunk."""
        return list(self._entries(self._chunks[-1]))

    # ------------------------------------------------------------------ files

    def _survey(self, part: int, path: Path) -> None:
        """Note where a file's chunks lie, without reading them."""
        self._channels.append({})
        try:
            size = path.stat().st_size
            with path.open("rb") as file:
                self.size += size
                problem = self._walk(part, file, size)
        except OSError as error:
            problem = error.strerror or str(error)
        if problem and not (self.running and part == len(self.paths) - 1):
            self.notes.append(f"{path.name}: {problem}")

    def _walk(self, part: int, file: BinaryIO, size: int) -> str:
        """Go from record to record; returns what is wrong, empty if nothing."""
        if file.read(8) != MAGIC:
            return "not an MCAP file" if size else "empty"
        position, whole = 8, "cut short: not closed by its process, which was killed or found the disk full"
        while position + 9 <= size:
            opcode, length = struct.unpack("<BQ", file.read(9))
            if opcode not in OPCODES:
                return f"damaged at byte {position}; read up to there"
            if position + 9 + length > size:
                return whole
            if opcode == CHUNK:
                if length < _CHUNK_HEAD.size:
                    return f"damaged at byte {position}; read up to there"
                start_ns, end_ns, _, _, _ = _CHUNK_HEAD.unpack(file.read(_CHUNK_HEAD.size))
                if len(self._chunks) >= MAX_CHUNKS or length > 2 * MAX_CHUNK_BYTES:
                    return f"a chunk of {length} bytes at byte {position}; read up to there"
                if self._chunks and self._chunks[-1].start_ns > start_ns:
                    return f"its time goes back at byte {position}; read up to there"
                self._chunks.append(ChunkPlace(part, position + 9, length, start_ns, max(start_ns, end_ns)))
            if opcode in (DATA_END, FOOTER):
                return ""
            position += 9 + length
            file.seek(position)
        return whole

    def _read_head(self) -> dict[str, Any]:
        first = next(self._entries(self._chunks[0], beginning=True), None)
        if first is None and self.notes:
            raise RunLogError(f"{self.path}: not a run log of vla_bt, or its beginning is damaged ({self.notes[-1]})")
        if first is None or first.topic != "/run":
            raise RunLogError(f"{self.path}: an MCAP file, but not a run log of vla_bt")
        if first.content.get("format") != FORMAT:
            raise RunLogError(f"{self.path}: run log of format {first.content.get('format')!r}; this version reads {FORMAT}")
        return first.content

    def _entries(self, chunk: ChunkPlace, beginning: bool = False) -> Iterator[Entry]:
        """Read a chunk; a damaged one yields what can be read of it, and a note."""
        channels = self._channels[chunk.part]
        if not channels and not beginning:
            opening = next(place for place in self._chunks if place.part == chunk.part)
            if opening is not chunk:
                for _ in self._entries(opening, beginning=True):
                    break
        path = self.paths[chunk.part]
        try:
            with path.open("rb") as file:
                file.seek(chunk.offset)
                data = _content(file.read(chunk.length))
            for record in StreamReader(io.BytesIO(data), skip_magic=True, record_size_limit=MAX_MESSAGE_BYTES).records:
                if isinstance(record, Channel):
                    channels[record.id] = record.topic
                elif isinstance(record, Message):
                    content = json.loads(record.data)
                    yield Entry(_number(content, "t"), channels.get(record.channel_id, "?"), content)
        except EndOfFile:
            return
        except OSError as error:
            self._note(f"{path.name}: {error.strerror}")
        except (McapError, struct.error, ValueError, TypeError, RecursionError, zstandard.ZstdError, KeyError) as error:
            words = " ".join(str(error).split())[:80]
            self._note(f"{path.name}: damaged at byte {chunk.offset}: {words or type(error).__name__}")

    def _note(self, words: str) -> None:
        if words not in self.notes:
            self.notes.append(words)


def _content(record: bytes) -> bytes:
    """Return what is in a chunk record, decompressed to no more than :data:`MAX_CHUNK_BYTES`."""
    _, _, size, checksum, length = _CHUNK_HEAD.unpack_from(record)
    at = _CHUNK_HEAD.size
    compression, at = record[at : at + length], at + length
    packed = record[at + 8 :]
    if size > MAX_CHUNK_BYTES:
        raise ValueError(f"a chunk of {size} bytes")
    if compression == b"zstd":
        reader = zstandard.ZstdDecompressor(max_window_size=MAX_CHUNK_BYTES).stream_reader(packed)
        data = reader.read(size + 1)
    elif compression == b"":
        data = packed
    else:
        raise ValueError(f"compressed with {compression[:10]!r}; expected zstd")
    if len(data) != size or (checksum and zlib.crc32(data) != checksum):
        raise ValueError("its checksum is wrong")
    return data


def _number(content: Any, name: str) -> float:
    value = content[name]
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not -1e12 < value < 1e12:
        raise ValueError(f"{name} is not a number")
    return float(value)


def open_run(path: Path) -> RunReader:
    """Open a run; whatever is wrong with it is one line.

    Raises
    ------
    RunLogError
        When it can't be used.
    """
    try:
        return RunReader(path)
    except (KeyError, ValueError, TypeError, OverflowError) as error:
        if isinstance(error, SettingsError):
            raise
        raise RunLogError(f"{path}: not a run log of vla_bt ({' '.join(str(error).split())[:80]})") from None


def shown(text: object) -> str:
    """Return a text from a file as it may go to a terminal: one line without control characters."""
    return "".join(letter if letter.isprintable() else " " for letter in str(text))[:1000]


def parts_size(path: Path) -> int:
    """Return what a run takes on the disk [bytes]."""
    if path.is_file():
        return os.stat(path).st_size
    return sum(part.size for part in parts_of(path))

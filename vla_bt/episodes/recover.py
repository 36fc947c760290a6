"""Making episodes of what a killed, crashed or stopped recorder left behind: a journal and, with plain pictures, a ``.part``.

Promises: an episode that is being recorded is left alone; what is left behind is deleted only when a whole file holds all that
can be had of it; a frame whose picture is not what the journal says of it is left out and counted; it can be interrupted and run
again.
"""

from __future__ import annotations

import contextlib
import os
import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timezone
from functools import partial
from pathlib import Path
from typing import Any

from vla_bt.episodes.journal import JOURNAL_SUFFIX, MAX_BLOB_BYTES, Journal, JournalBusyError, Record, journals
from vla_bt.episodes.opening import read
from vla_bt.episodes.printable import printable
from vla_bt.episodes.schema import (
    COLUMNS,
    FRAMES,
    NEWER,
    RAW,
    STORAGES,
    EpisodeError,
    EpisodeInfo,
    file_attributes,
    trusted,
)
from vla_bt.episodes.writer import PART_SUFFIX, Row, assemble

RECOVERED, RUNNING, EMPTY, FINISHED, FAILED = "recovered", "being recorded", "empty", "finished before", "failed"
_NAME = re.compile(r"[A-Za-z0-9_-]{1,120}")
_TEMPLATE = file_attributes(EpisodeInfo(), "", datetime(2000, 1, 1, tzinfo=timezone.utc), 1, 1)


@dataclass(frozen=True)
class Recovery:
    """What became of one journal.

    Attributes
    ----------
    journal : Path
        Of the episode; the ``.part`` where that is all there is.
    state : str
        ``recovered``, ``being recorded``, ``empty``, ``finished before`` or ``failed``.
    path : Path or None
        The episode's file, when there is one.
    frames : int
        Frames in it.
    damaged : int
        Frames the journal tells of whose pictures are not there.
    why : str
        Why it failed.
    """

    journal: Path
    state: str
    path: Path | None = None
    frames: int = 0
    damaged: int = 0
    why: str = ""

    @property
    def words(self) -> str:
        """One line for people."""
        if self.state == RECOVERED and self.path is not None:
            lost = f", {self.damaged} damaged" if self.damaged else ""
            return f"{printable(self.path.name)}: {self.frames} of {FRAMES} frames{lost}"
        said = {
            RUNNING: "is being recorded: left alone",
            EMPTY: "held no frame: deleted",
            FINISHED: "was finished already: the rest is deleted",
        }
        return f"{printable(self.journal.name)}: {said.get(self.state, self.why)}"


def recover(directory: Path) -> Iterator[Recovery]:
    """Make files of everything left behind in a directory, one after the other.

    Raises
    ------
    OSError
        When the directory can't be listed.
    """
    for path in journals(directory):
        yield recover_one(path)
    for part in sorted(directory.glob(f"*.h5{PART_SUFFIX}")):
        journal = part.with_name(part.name.removesuffix(PART_SUFFIX) + JOURNAL_SUFFIX)
        if not journal.exists() and part.exists():  # whoever records makes the journal first and deletes it last
            yield Recovery(part, FAILED, why="its journal is gone, so nothing tells what is in it; delete it")


def recover_one(path: Path) -> Recovery:
    """Make a file of one journal."""
    stem = path.name.removesuffix(f".h5{JOURNAL_SUFFIX}")
    if not _NAME.fullmatch(stem):
        return Recovery(path, FAILED, why="not a name this program gives")
    try:
        with Journal(path) as journal:
            return _recover(path, stem, journal)
    except JournalBusyError:
        return Recovery(path, RUNNING)
    except EpisodeError as problem:
        return Recovery(path, FAILED, why=str(problem))
    except OSError as problem:
        return Recovery(path, FAILED, why=os.strerror(problem.errno) if problem.errno else printable(problem))


def _recover(path: Path, stem: str, journal: Journal) -> Recovery:
    directory, part = path.parent, path.parent / f"{stem}.h5{PART_SUFFIX}"
    leftovers = [part, directory / f"{stem}.h5.making", directory / f"{stem}_partial.h5.making", path]
    records = journal.records
    attributes = _attributes(records[0]) if records else {}
    raw = attributes.get("image_storage") == RAW
    rows = records[2 if raw else 1 :]
    for name in (f"{stem}.h5", f"{stem}_partial.h5"):
        made = directory / name
        if made.exists():
            held = trusted(read(made, images=False).attributes).get("num_frames", 0)
            if held < len(rows):
                raise EpisodeError(f"{name} stands beside it with {held} frames; the journal tells of {len(rows)}")
            _delete(leftovers)
            return Recovery(path, FINISHED, made, held)
    if not rows:
        _delete(leftovers)
        return Recovery(path, EMPTY)
    with contextlib.ExitStack() as stack:
        if raw:
            descriptor = os.open(part, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
            stack.callback(os.close, descriptor)
            size = attributes["image_height"] * attributes["image_width"] * 3
            offsets = records[1].values.get("offsets")
            if not isinstance(offsets, list) or not all(type(at) is int and 0 <= at < 1 << 40 for at in offsets):
                raise EpisodeError("damaged: it doesn't say where the pictures are")
            pictures = [partial(os.pread, descriptor, size, at) for at in offsets[: len(rows)]]
        else:
            size = 0
            pictures = [partial(journal.blob, record) for record in rows]
        kept: list[Row] = []
        kept_pictures = []
        lost = damaged = 0
        for record, picture in zip(rows, pictures, strict=False):
            row, data = _row(record), picture()
            if len(data) < size or zlib.crc32(data) != row["image_crc32"]:
                lost, damaged = lost + 1, damaged + 1
                continue
            row["frames_dropped_before"] += lost
            lost = 0
            kept.append(row)
            kept_pictures.append(picture)
        if not kept:
            raise EpisodeError("none of its pictures is there")
        try:
            made = assemble(directory, stem, {**attributes, "recovered": True}, kept, kept_pictures)
        except (TypeError, ValueError, OverflowError) as problem:  # a date, a number or a text that is none
            raise EpisodeError(f"damaged: {printable(problem)}") from None
    _delete(leftovers)
    return Recovery(path, RECOVERED, made, len(kept), damaged)


def _attributes(record: Record) -> dict[str, Any]:
    """Return the attributes a journal begins with, each checked against what this program writes.

    Raises
    ------
    EpisodeError
        When one is missing or of another kind.
    """
    told = record.values.get("attributes")
    if not isinstance(told, dict):
        raise EpisodeError("damaged: it doesn't begin with an episode's attributes")
    found: dict[str, Any] = {}
    for name, example in _TEMPLATE.items():
        value = told.get(name, example if name in NEWER else None)
        if type(value) is not type(example) or (isinstance(value, str) and len(value) > 4096):
            raise EpisodeError(f"damaged: its attribute {name} is {printable(repr(value), 60)}")
        found[name] = value
    height, width = found["image_height"], found["image_width"]
    if found["image_storage"] not in STORAGES or height < 1 or width < 1 or height * width * 3 > MAX_BLOB_BYTES:
        raise EpisodeError(f"damaged: pictures of {width} x {height}, {printable(found['image_storage'], 20)}")
    return found


def _row(record: Record) -> Row:
    """Return a journal's row, checked as far as the file's own types don't."""
    row: Row = {name: record.values.get(name) for name in COLUMNS}
    for name, column in COLUMNS.items():
        value = row[name]
        fits = isinstance(value, str) if column.text_bytes else isinstance(value, list if column.shape else (int, float))
        if not fits or (isinstance(value, str) and len(value.encode("utf-8", "replace")) > column.text_bytes):
            raise EpisodeError(f"damaged: {name} is {printable(repr(value), 60)}")
    return row


def _delete(leftovers: list[Path]) -> None:
    """Delete what a whole file has replaced, the journal last: with it everything can be done again."""
    for path in leftovers:
        with contextlib.suppress(FileNotFoundError):
            path.unlink()

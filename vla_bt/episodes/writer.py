"""Writing episodes: a journal for each frame, then one HDF5 file that gets its name when it is whole.

While an episode is recorded two files stand beside each other: ``<name>.h5.part``, an HDF5 file laid out once with room for
every frame, into which pixels are written and nothing else, and ``<name>.h5.journal``, which takes each frame's row after its
pixels. HDF5 itself is asked at the beginning and at the end only, so no kill between two frames can hurt its structures, and no
frame pays for them. JPEG pictures go into the journal and the file is made at the end.

Promises: room for all 18 plain frames is taken from the disk at the start, so a disk too full is noticed at the first frame and
not at the last; an episode has its name only once it is safe on the disk; whatever happens before, the journal suffices to make a
file of every frame it holds (:mod:`vla_bt.episodes.recover`).
"""

from __future__ import annotations

import contextlib
import errno
import math
import os
import secrets
import zlib
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import h5py
import numpy as np
from numpy.typing import NDArray

from vla_bt.episodes.journal import JOURNAL_SUFFIX, JournalWriter, write_at
from vla_bt.episodes.schema import (
    COLUMNS,
    FRAMES,
    JPEG,
    RAW,
    START,
    EpisodeInfo,
    FrameSample,
    content_crc32,
    episode_name,
    file_attributes,
    row_of,
)
from vla_bt.episodes.units import SI, UNITS, UNKNOWN

PART_SUFFIX = ".part"
JPEG_QUALITY = 95
METADATA_BYTES = 256 * 1024
"""More than everything but the pictures takes."""

Row = dict[str, Any]


class EpisodeWriter:
    """Writes one episode. Use from one thread.

    Parameters
    ----------
    directory : Path
        Where; made if it isn't there.
    started : datetime
        For the name and the attribute ``started``; UTC.
    info : EpisodeInfo
        What is being recorded.
    height, width : int
        Size of every frame [px].
    storage : str
        How pictures are kept: ``raw``, which every HDF5 reader reads, or ``jpeg``.
    beside : Path, optional
        Where finished episodes will be moved to: a name that is taken there is taken.

    Raises
    ------
    OSError
        When the directory can't be written or lacks the room for the whole episode; nothing is left behind then.
    """

    def __init__(
        self,
        directory: Path,
        started: datetime,
        info: EpisodeInfo,
        height: int,
        width: int,
        storage: str = RAW,
        beside: Path | None = None,
    ) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self._directory, self._storage = directory, storage
        self._shape = (height, width, 3)
        self._rows: list[Row] = []
        self._blobs: list[tuple[int, int]] = []  # where each JPEG lies in the journal, and its size
        self._fd = -1
        self.saved: Path | None = None
        """What :meth:`give_up` made of the frames when they could not be left for ``recover``."""
        self._journal, self.name = _claim(directory, beside or directory, episode_name(started, info.scenario))
        self._part = directory / f"{self.name}.h5{PART_SUFFIX}"
        self._attributes = file_attributes(info, self.name, started, height, width, storage)
        try:
            self._journal.append({"attributes": self._attributes})
            if storage == RAW:
                self._offsets = self._lay_out()
                self._journal.append({"offsets": self._offsets})
        except BaseException:
            self.give_up()
            raise

    def _lay_out(self) -> list[int]:
        """Make the HDF5 file with all its room; returns where each frame's pixels go [bytes]."""
        _probe_room(self._part, FRAMES * self._shape[0] * self._shape[1] * 3 + METADATA_BYTES)
        with h5py.File(self._part, "w") as file:
            images = lay_out(file, FRAMES, self._attributes)
            assert images is not None
            offsets = [int(images.id.get_chunk_info(index).byte_offset) for index in range(FRAMES)]
        self._fd = os.open(self._part, os.O_RDWR | os.O_CLOEXEC)
        os.posix_fallocate(self._fd, 0, os.fstat(self._fd).st_size)
        return offsets

    @property
    def count(self) -> int:
        """Frames written so far."""
        return len(self._rows)

    def append(self, sample: FrameSample, dropped_before: int = 0) -> None:
        """Write one frame and hand it to the operating system.

        Parameters
        ----------
        sample : FrameSample
            Of the size told at the start.
        dropped_before : int
            Frames that were due since the last one and are lost.

        Raises
        ------
        OSError
            When the disk takes no more, or somebody deleted the files.
        ValueError
            When the picture has another size.
        """
        if sample.image.shape != self._shape:
            raise ValueError(f"a frame is {sample.image.shape}; this episode's are {self._shape}")
        if not self._journal.is_there() or not self._part_is_there():
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
        at = self.count
        if self._storage == JPEG:
            blob = encode_jpeg(sample.image)
            row = row_of(sample, at, zlib.crc32(blob), dropped_before)
            self._journal.append(row, blob)
            self._blobs.append((self._journal.end - len(blob), len(blob)))
        else:
            pixels = memoryview(np.ascontiguousarray(sample.image)).cast("B")
            write_at(self._fd, pixels, self._offsets[at])
            row = row_of(sample, at, zlib.crc32(pixels), dropped_before)
            self._journal.append(row)
        self._rows.append(row)

    def sync(self) -> None:
        """Wait until the disk holds every frame: then even a power cut takes none of them."""
        if self._fd >= 0:
            os.fdatasync(self._fd)
        self._journal.sync()

    def finish(self) -> Path:
        """Give the file its name, ``..._partial.h5`` when frames are missing, once it is safe on the disk; returns it."""
        if self._storage == JPEG:
            target = assemble(self._directory, self.name, self._attributes, self._rows, self._pictures())
        else:
            target = self._finish_in_place()
        self._journal.remove()
        return target

    def _finish_in_place(self) -> Path:
        name, attributes = told(self._attributes, self.name, self._rows)
        with h5py.File(self._part, "r+") as file:
            for column in file.values():
                column.resize(self.count, axis=0)
            fill(file, attributes, self._rows)
        os.close(self._fd)
        self._fd = -1
        return publish(self._part, self._directory / f"{name}.h5")

    def _pictures(self) -> list[Callable[[], bytes]]:
        """Return what reads each picture written so far."""
        if self._storage == JPEG:
            return [partial(self._journal.read, *place) for place in self._blobs]
        size = self._shape[0] * self._shape[1] * self._shape[2]
        return [partial(os.pread, self._fd, size, at) for at in self._offsets[: self.count]]

    def _part_is_there(self) -> bool:
        """Tell whether the file of pictures, if there is one, still has a name."""
        return self._fd < 0 or os.fstat(self._fd).st_nlink > 0

    def give_up(self) -> int:
        """Let go after an error: what was written stays for ``recover``, a file of no use goes. Returns the frames left.

        Where somebody deleted one of them, both are still open here: then a file is made of them now, :attr:`saved`.
        """
        whole = self._journal.is_there() and self._part_is_there()
        if self.count and not whole:
            with contextlib.suppress(Exception):  # the folder is gone, or the disk: then nothing can be made of it
                self.saved = assemble(self._directory, self.name, self._attributes, self._rows, self._pictures())
        if self._fd >= 0:
            with contextlib.suppress(OSError):
                os.close(self._fd)
            self._fd = -1
        if self.count and whole:
            self._journal.close()
            return self.count
        with contextlib.suppress(OSError):
            self._part.unlink()
        self._journal.remove()
        return 0


def _claim(directory: Path, beside: Path, wanted: str) -> tuple[JournalWriter, str]:
    """Take ``wanted`` as a name, or with a number behind it when it is taken: whoever makes the journal has the name."""
    name, number = wanted, 1
    while True:
        ends = (".h5", f".h5{PART_SUFFIX}", "_partial.h5")
        if not any((place / f"{name}{end}").exists() for place in {directory, beside} for end in ends):
            with contextlib.suppress(FileExistsError):
                return JournalWriter(directory / f"{name}.h5{JOURNAL_SUFFIX}"), name
        number += 1
        name = f"{wanted}_{number}"


def _probe_room(path: Path, size: int) -> None:
    """Make a file that takes ``size`` bytes of the disk for a moment, then none.

    HDF5 may crash when a file that it writes itself finds the disk full, so it only begins where there is room.
    """
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
    try:
        os.posix_fallocate(descriptor, 0, size)
        os.ftruncate(descriptor, 0)
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def in_memory(path: Path) -> Iterator[h5py.File]:
    """Make an HDF5 file in memory, and write it at the end.

    Where HDF5 itself finds the disk full, it may crash the process; this is an OSError.
    """
    with h5py.File(path.name, "w", driver="core", backing_store=False, block_size=1 << 20) as file:
        yield file
        file.flush()
        content = file.id.get_file_image()
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
    try:
        write_at(descriptor, content, 0)
    finally:
        os.close(descriptor)


def lay_out(file: h5py.File, frames: int, attributes: dict[str, Any], unit: str = SI) -> h5py.Dataset | None:
    """Create every dataset with all its room, without writing zeros into the pictures; returns the plain ``images``, if any."""
    for name, column in COLUMNS.items():
        dataset = _reserve(file, name, column.dtype, frames, column.shape, frames)
        asked = name in ("actions", "commanded")
        dataset.attrs["units"] = UNITS[unit] if asked else column.units
        dataset.attrs["frame_of_reference"] = UNITS[unit] if asked and unit == UNKNOWN else column.frame
    file.attrs.update(attributes)
    if attributes["image_storage"] != RAW:
        return None
    shape = (attributes["image_height"], attributes["image_width"], 3)
    return _reserve(file, "images", np.dtype("u1"), frames, shape, 1)  # last: a shorter episode's file is cut at its end


def _reserve(file: h5py.File, name: str, kind: Any, frames: int, shape: tuple[int, ...], rows: int) -> h5py.Dataset:
    plan = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    plan.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)
    if name == "images":
        plan.set_fill_time(h5py.h5d.FILL_TIME_NEVER)
    full = (frames, *shape)
    return file.create_dataset(name, full, kind, chunks=(rows, *shape), maxshape=full, dcpl=plan)


def told(attributes: dict[str, Any], name: str, rows: Sequence[Row]) -> tuple[str, dict[str, Any]]:
    """Return the name of an episode of these rows, at least one, and its final attributes."""
    span_s = rows[-1]["decided_s"] - rows[0]["decided_s"]
    zero_s = math.nan
    if attributes["started"]:  # an imported file may not say
        zero_s = datetime.fromisoformat(attributes["started"]).timestamp() - rows[0]["decided_s"]
    whole = len(rows) == FRAMES
    name = name if whole else f"{name}_partial"
    return name, {
        **attributes,
        "episode_name": name,
        "num_frames": len(rows),
        "total_duration": span_s if math.isfinite(span_s) else attributes["total_duration"],
        "clock_zero_utc_s": zero_s,
        "complete": whole,
        "frames_dropped": sum(row["frames_dropped_before"] for row in rows),
    }


def fill(file: h5py.File, attributes: dict[str, Any], rows: Sequence[Row]) -> None:
    """Write the rows into their columns, and the attributes."""
    for name, column in COLUMNS.items():
        values = [row[name] for row in rows]
        if column.text_bytes:
            file[name][:] = np.array([value.encode() for value in values], dtype=column.dtype)
        else:
            file[name][:] = np.array(values, dtype=column.kind).reshape(len(rows), *column.shape)
    for name, value in {**attributes, "content_crc32": stored_crc32(file)}.items():
        if file.attrs.get(name) == value:
            continue
        if isinstance(value, str):
            file.attrs[name] = value
        else:
            file.attrs.modify(name, value)  # in place: needs no room


def stored_crc32(file: h5py.File) -> int:
    """Return :func:`vla_bt.episodes.schema.content_crc32` of what a file holds."""
    return content_crc32({name: file[name][:] for name in COLUMNS if name in file})


def assemble(
    directory: Path,
    name: str,
    attributes: dict[str, Any],
    rows: Sequence[Row],
    pictures: Sequence[Callable[[], bytes]],
    unit: str = SI,
) -> Path:
    """Make an episode's file of rows and of stored pictures, one at a time; returns its path.

    Parameters
    ----------
    pictures : sequence of callable
        Each returns the pixels or the JPEG of one row.
    unit : str
        Of the actions, see :mod:`vla_bt.episodes.units`.
    """
    rows = [{**row} for row in rows]
    rows[0].update(actions=(0.0, 0.0, 0.0), action_event_types=START)
    name, attributes = told(attributes, name, rows)
    making = directory / f"{name}.h5.making"
    try:
        making.unlink(missing_ok=True)  # an interrupted recovery's; and whatever it was, it is not written through
        with in_memory(making) as file:
            images = lay_out(file, len(rows), attributes, unit)
            if images is not None:
                shape = images.shape[1:]
                for index, picture in enumerate(pictures):
                    images[index] = np.frombuffer(picture(), np.uint8).reshape(shape)
            else:
                _store_jpegs(file, [picture() for picture in pictures])
            fill(file, attributes, rows)
        return publish(making, directory / f"{name}.h5")
    except BaseException:
        with contextlib.suppress(OSError):
            making.unlink()
        raise


def _store_jpegs(file: h5py.File, pictures: Sequence[bytes]) -> None:
    file.create_dataset("images_jpeg", data=np.frombuffer(b"".join(pictures), np.uint8))
    file.create_dataset("images_jpeg_ends", data=np.cumsum([len(picture) for picture in pictures], dtype=np.uint64))


def unused(target: Path) -> Path:
    """Return a name beside a target for what is in the making: one that nobody else has, so that nothing of theirs is hurt."""
    return target.with_name(f".{target.stem}.{secrets.token_hex(4)}.making{target.suffix}")


def publish(made: Path, target: Path) -> Path:
    """Give a file its name once it is safe on the disk; the name then is, too."""
    _sync(made)
    os.replace(made, target)
    _sync(target.parent)
    return target


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def encode_jpeg(image: NDArray[np.uint8], quality: int = JPEG_QUALITY) -> bytes:
    """Return an RGB picture (height, width, 3) as JPEG.

    Raises
    ------
    ValueError
        When it can't be encoded.
    """
    done, data = cv2.imencode(".jpg", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, quality])
    if not done:
        raise ValueError(f"a picture {image.shape} can't be made a JPEG")
    return bytes(data.tobytes())

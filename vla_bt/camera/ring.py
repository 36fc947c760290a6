"""Frame ring: camera frames in a plain memory-mapped file, from one writer process to any number of readers.

Promises: a copy is a whole frame or ``None``, never a torn one: each slot carries its sequence number twice, the writer sets the
first before it touches the slot and the second when it is done, the reader looks at them in the opposite order. A writer or a
reader killed at any moment leaves nothing locked: there are no locks between processes. A writer that comes back makes a new
file in the old one's place and goes on counting; readers notice and follow. A file that is not a ring, or whose header does not
fit its size, is refused in words and never read beyond its end.
"""

from __future__ import annotations

import contextlib
import mmap
import os
import stat
import threading
import zlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vla_bt.camera.lens import UNKNOWN, Lens
from vla_bt.port import FrameInfo

MAGIC = int.from_bytes(b"VBTRING1", "little")
MAX_SLOTS = 32
MAX_SLOT_BYTES = 1 << 28
_HEADER_BYTES = 4096  # file header, then each slot's header; pixels start on a page
_SLOT_HEADER_WORDS = 8

# Words of the file header, all unsigned 64-bit in the machine's own order.
_MAGIC, _SLOTS, _PIXELS, _STRIDE = range(4)
# Words of a slot header.
_BEGIN, _END, _STAMP, _RECEIVED, _WIDTH, _HEIGHT, _SIGNATURE, _LENS = range(8)  # the lens: two 32-bit floats


class RingError(ValueError):
    """A frame or a file that can't be used; the message is one line."""


def frame_signature(pixels: NDArray[np.uint8]) -> int:
    """Checksum of every fifth row: 0.1 ms at 720p, and anything five pixels high that changes is seen."""
    return zlib.crc32(np.ascontiguousarray(pixels[::5]).data)


def ring_path(runtime_dir: Path) -> Path:
    """Where the camera's ring lives in a runtime directory."""
    return runtime_dir / "camera.ring"


class _Barrier:
    """Keeps loads and stores in program order on processors that reorder them (ARM): a release followed by an acquire."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._lock.acquire()

    def __call__(self) -> None:
        self._lock.release()
        self._lock.acquire()


class _Mapping:
    """A mapped ring file: header, slot headers and pixel areas as arrays, bounds checked once against the file's size."""

    def __init__(self, descriptor: int, writable: bool) -> None:
        info = os.fstat(descriptor)
        if not stat.S_ISREG(info.st_mode) or info.st_size < _HEADER_BYTES:
            raise RingError(f"not a frame ring: {info.st_size} bytes")
        access = mmap.ACCESS_WRITE if writable else mmap.ACCESS_READ
        self._map: mmap.mmap | None = mmap.mmap(descriptor, info.st_size, access=access)
        self.identity = (info.st_dev, info.st_ino)
        header = np.frombuffer(self._map, np.uint64, 4)
        magic, slots, pixels, stride = (int(word) for word in header)
        del header
        problem = ""
        if magic != MAGIC:
            problem = "not a frame ring: wrong magic word"
        elif not (0 < slots <= MAX_SLOTS and 0 < 3 * pixels <= stride <= MAX_SLOT_BYTES):
            problem = f"damaged frame ring: {slots} slots of {pixels} pixels in {stride} bytes"
        elif _HEADER_BYTES + slots * stride > info.st_size:
            problem = f"damaged frame ring: {slots} slots of {stride} bytes do not fit {info.st_size} bytes"
        if problem:
            self.close()
            raise RingError(problem)
        self.slots, self.max_pixels = slots, pixels
        self.words = np.frombuffer(self._map, np.uint64, slots * _SLOT_HEADER_WORDS, offset=64).reshape(slots, -1)
        self.times = self.words.view(np.float64)
        whole = np.frombuffer(self._map, np.uint8, slots * stride, offset=_HEADER_BYTES)
        self.areas = whole.reshape(slots, stride)

    def close(self) -> None:
        for name in ("words", "times", "areas"):
            self.__dict__.pop(name, None)
        if self._map is not None:
            self._map.close()
            self._map = None


class FrameRingWriter:
    """The one writer of a ring file (mode 0600). Used from one thread.

    Parameters
    ----------
    path : Path
        The file; a leftover of a killed writer is replaced and its count continued.
    width, height : int
        Largest frame [px]; smaller ones are stored at their own size.
    slots : int
        Frames kept, 2 to 32. Four at 720p take 11 MB.

    Raises
    ------
    RingError
        When the size is absurd or the file can't be made, with the reason.
    """

    def __init__(self, path: Path, width: int = 1280, height: int = 720, slots: int = 4) -> None:
        stride = -(-3 * width * height // mmap.PAGESIZE) * mmap.PAGESIZE
        if width < 1 or height < 1 or stride > MAX_SLOT_BYTES or not 2 <= slots <= MAX_SLOTS:
            raise RingError(f"{path}: {slots} slots of {width}x{height}; expected 2 to {MAX_SLOTS} slots of at most 256 MB")
        self.path = path
        self._barrier = _Barrier()
        self._sequence = _last_sequence(path)
        fresh = path.with_name(f".{path.name}.new")
        descriptor = -1
        try:
            with contextlib.suppress(FileNotFoundError):
                fresh.unlink()
            descriptor = os.open(fresh, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            # Reserve the memory now: a full /dev/shm is an error here, but a bus error at the first write.
            os.posix_fallocate(descriptor, 0, _HEADER_BYTES + slots * stride)
            header = np.array([MAGIC, slots, width * height, stride], np.uint64)
            os.pwrite(descriptor, header.tobytes(), 0)
            self._mapping = _Mapping(descriptor, writable=True)
            os.rename(fresh, path)  # readers see the whole ring or none
        except OSError as error:
            with contextlib.suppress(OSError):
                fresh.unlink()
            size_mb = (_HEADER_BYTES + slots * stride) / 1e6
            raise RingError(f"{path}: no frame ring of {size_mb:.0f} MB: {error.strerror}") from None
        finally:
            if descriptor >= 0:
                os.close(descriptor)

    def write(self, pixels: NDArray[np.uint8], stamp_s: float, received_s: float, lens: Lens = UNKNOWN) -> FrameInfo:
        """Store one frame over the oldest.

        Parameters
        ----------
        pixels : ndarray
            (height, width, 3) uint8 RGB.
        stamp_s, received_s : float
            The header's time and the time of receipt (CLOCK_MONOTONIC) [s].
        lens : Lens
            What the camera sees.

        Raises
        ------
        RingError
            When the frame has another type or shape or more pixels than a slot.
        """
        if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] != 3 or pixels.size == 0:
            raise RingError(f"frame of shape {pixels.shape}, {pixels.dtype}; expected (height, width, 3) uint8")
        height, width = pixels.shape[:2]
        mapping = self._mapping
        if height * width > mapping.max_pixels:
            raise RingError(f"frame of {width}x{height} is larger than the ring's slots of {mapping.max_pixels} pixels")
        info = FrameInfo(self._sequence + 1, float(stamp_s), float(received_s), width, height, frame_signature(pixels), lens)
        slot = info.sequence % mapping.slots
        words, times = mapping.words[slot], mapping.times[slot]
        words[_BEGIN] = info.sequence
        self._barrier()
        times[_STAMP], times[_RECEIVED] = info.stamp_s, info.received_s
        words[_WIDTH], words[_HEIGHT], words[_SIGNATURE] = width, height, info.signature
        words[_LENS : _LENS + 1].view(np.float32)[:] = lens
        np.copyto(mapping.areas[slot, : pixels.size].reshape(pixels.shape), pixels)
        self._barrier()
        words[_END] = info.sequence
        self._sequence = info.sequence
        return info

    def close(self) -> None:
        """Unmap, and remove the file unless another writer has replaced it."""
        identity = self._mapping.identity
        self._mapping.close()
        with contextlib.suppress(FileNotFoundError):
            info = os.stat(self.path)
            if (info.st_dev, info.st_ino) == identity:
                self.path.unlink()


class FrameRingReader:
    """Reads a ring file, whenever there is one. Safe to use from several threads.

    Attributes
    ----------
    problem : str
        Why the last call had no frame, in words; empty when it had one.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.problem = ""
        self._mapping: _Mapping | None = None
        self._refused: tuple[int, int, int] | None = None
        self._lock = threading.Lock()
        self._barrier = _Barrier()

    def latest(self) -> FrameInfo | None:
        """Return the newest whole frame's description, or None when there is none (see :attr:`problem`)."""
        with self._lock:
            mapping = self._follow()
            if mapping is None:
                return None
            newest_first = np.argsort(mapping.words[:, _END])[::-1]  # a writer may be at any of them: the first whole one counts
            found = next((info for slot in newest_first.tolist() if (info := self._info(mapping, slot)) is not None), None)
            self.problem = "" if found is not None else f"{self.path}: no frame yet"
            return found

    def copy(self, sequence: int) -> NDArray[np.uint8] | None:
        """Copy the pixels (height, width, 3) RGB of a frame; None when it was overwritten, torn or never there."""
        found = self.frame(sequence)
        return None if found is None else found[1]

    def frame(self, sequence: int) -> tuple[FrameInfo, NDArray[np.uint8]] | None:
        """Copy a frame with its description; None as :meth:`copy`."""
        with self._lock:
            mapping = self._follow()
            if mapping is None or sequence < 1:
                return None
            slot = sequence % mapping.slots
            info = self._info(mapping, slot)
            if info is None or info.sequence != sequence:
                return None
            size = 3 * info.width * info.height
            pixels = mapping.areas[slot, :size].reshape(info.height, info.width, 3).copy()
            self._barrier()
            return (info, pixels) if int(mapping.words[slot, _BEGIN]) == sequence else None

    def close(self) -> None:
        """Let go of the file."""
        with self._lock:
            self._drop()

    def _info(self, mapping: _Mapping, slot: int) -> FrameInfo | None:
        """Read one slot's header; None when it is empty, being written or makes no sense."""
        words = mapping.words[slot]
        sequence = int(words[_END])
        if sequence == 0:
            return None
        self._barrier()
        row = words.copy()
        self._barrier()
        if int(words[_BEGIN]) != sequence:
            return None
        width, height = int(row[_WIDTH]), int(row[_HEIGHT])
        if not 0 < width * height <= mapping.max_pixels:
            return None
        stamp_s, received_s = row.view(np.float64)[[_STAMP, _RECEIVED]].tolist()
        lens = Lens(*row[_LENS : _LENS + 1].view(np.float32).tolist())
        signature = int(row[_SIGNATURE])
        return FrameInfo(sequence, stamp_s, received_s, width, height, signature, lens if lens.known else UNKNOWN)

    def _follow(self) -> _Mapping | None:
        """Return the mapping of the file that is at the path now, opening it anew after a writer's restart."""
        try:
            info = os.stat(self.path, follow_symlinks=False)
        except OSError as error:
            self._drop()
            self.problem = f"{self.path}: no frame ring: {error.strerror}"
            return None
        if self._mapping is not None and self._mapping.identity == (info.st_dev, info.st_ino):
            return self._mapping
        self._drop()
        if self._refused == (info.st_dev, info.st_ino, info.st_mtime_ns):
            return None  # the same bad file as last time; its problem stands
        try:
            self._mapping = _open(self.path)
            self._refused = None
        except RingError as error:
            self.problem = str(error)
            self._refused = (info.st_dev, info.st_ino, info.st_mtime_ns)
        return self._mapping

    def _drop(self) -> None:
        if self._mapping is not None:
            self._mapping.close()
            self._mapping = None


def _open(path: Path) -> _Mapping:
    """Map an existing ring for reading; a pipe or a link is refused without waiting on it."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise RingError(f"{path}: no frame ring: {error.strerror}") from None
    try:
        return _Mapping(descriptor, writable=False)
    except RingError as error:
        raise RingError(f"{path}: {error}") from None
    finally:
        os.close(descriptor)


def _last_sequence(path: Path) -> int:
    """Return the newest sequence in a killed writer's leftover, so that the count goes on; 0 without one."""
    reader = FrameRingReader(path)
    info = reader.latest()
    reader.close()
    return info.sequence if info is not None else 0

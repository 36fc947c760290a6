"""The process that touches an untrusted HDF5 file, so that nobody else has to: ``python -m vla_bt.episodes.reading SOCKET``.

The HDF5 library crashes on some damaged files, loops on others, and unpacks a kilobyte to gigabytes if a file says so. Here it
does so alone: memory and processor time are bounded, and :mod:`vla_bt.episodes.opening` survives this process.

Promises: only top-level datasets of plain numbers and texts, stored in the file itself, are read; no link is followed, no other
file opened, no filter loaded; what is read is within the limits below. It answers each request (an open file and what is wanted
of it) with one block of shared memory: arrays, then a description of them as JSON.
"""

from __future__ import annotations

import json
import mmap
import os
import resource
import signal
import socket
import struct
import sys
from typing import Any

import h5py
import numpy as np

REPLY = struct.Struct("<QQ")
"""Where the description begins in the block, and its length [bytes]."""

NAMES, ATTRIBUTES = 100, 100
TEXT_LETTERS = 4096  # of a text that is kept
TEXTS = 4096  # rows of texts
VALUES = 64  # of an attribute that is an array
COLUMN_BYTES = 16 << 20
IMAGES_BYTES = 512 << 20
ROOM_BYTES = 256 << 20  # memory beside the images
SECONDS, BYTES_A_SECOND = 2, 20 << 20  # of processor time: the first for any file, more for its images

FILTERS = {1: "gzip", 2: "shuffle", 3: "fletcher32", 32000: "lzf"}
ALIGNMENT = 64


class RefusedError(Exception):
    """A file that is not read; the message is one line."""


def main() -> None:
    """Answer requests until the other side is gone, or the library has met a damaged file: then it may be damaged, too."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the process that asks
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    channel = socket.socket(fileno=int(sys.argv[1]))
    size = _memory_bytes()
    while True:
        wish, files, _, _ = socket.recv_fds(channel, 1, 1)
        if not wish:
            return
        _limit_memory(size + ROOM_BYTES)
        _limit_seconds(SECONDS)
        trusted = True
        try:
            block = _answer(files[0], wish == b"i", size)
        except RefusedError as error:
            block = _describe({"error": str(error)})
        except MemoryError:
            trusted, block = False, _describe({"error": "takes too much memory to read"})
        except Exception as error:  # whatever the library makes of a damaged file
            trusted, block = False, _describe({"error": f"damaged ({_short(error)})"})
        finally:
            os.close(files[0])
        begin, length, block_fd = block
        socket.send_fds(channel, [REPLY.pack(begin, length)], [block_fd])
        os.close(block_fd)
        if not trusted:
            return


def _memory_bytes() -> int:
    with open("/proc/self/statm", encoding="ascii") as file:
        return int(file.read().split()[0]) * mmap.PAGESIZE


def _limit_memory(size: int) -> None:
    resource.setrlimit(resource.RLIMIT_AS, (size, resource.getrlimit(resource.RLIMIT_AS)[1]))


def _limit_seconds(seconds: float) -> None:
    used = resource.getrusage(resource.RUSAGE_SELF)
    limit = int(used.ru_utime + used.ru_stime + seconds) + 1
    resource.setrlimit(resource.RLIMIT_CPU, (limit, resource.getrlimit(resource.RLIMIT_CPU)[1]))


def _answer(descriptor: int, want_images: bool, size: int) -> tuple[int, int, int]:
    """Read one file into a new block; returns where the description begins, its length, and the block's descriptor."""
    try:
        file = h5py.File(f"/proc/self/fd/{descriptor}", "r")
    except OSError as error:
        raise RefusedError(_why_closed(error, os.fstat(descriptor).st_size)) from None
    with file:
        if len(file) > NAMES:
            raise RefusedError(f"holds {len(file)} names; an episode has less than {NAMES}")
        parts = [_part(file, name) for name in file]
        notes: list[str] = []
        attributes = _attributes(file, notes)
        arrays: dict[str, Any] = {}
        begin = 0
        for part in parts:
            if part["why"] or (part["name"] == "images" and not want_images):
                continue
            data = file[part["name"]]
            if part["text"]:
                part["values"] = [_text(value) for value in data[()]]
                continue
            part["offset"] = begin
            arrays[part["name"]] = data
            begin += -(-data.size * data.dtype.itemsize // ALIGNMENT) * ALIGNMENT
        if "images" in arrays:
            images = arrays["images"]
            chunk = int(np.prod(images.chunks)) if images.chunks else 0
            _limit_memory(size + ROOM_BYTES + images.size + 3 * chunk)
            _limit_seconds(SECONDS + images.size / BYTES_A_SECOND)
        block = os.memfd_create("episode")
        if begin:
            os.ftruncate(block, begin)
            with mmap.mmap(block, begin) as memory:
                for part in parts:
                    if "offset" in part:
                        data = arrays[part["name"]]
                        kind = data.dtype.newbyteorder("=")
                        view: Any = np.frombuffer(memory, kind, data.size, part["offset"]).reshape(data.shape)
                        if data.size:
                            data.read_direct(view)
                        part["dtype"], view = kind.str, None  # nothing may point into the memory when it is unmapped
        return _describe({"error": "", "attributes": attributes, "parts": parts, "notes": notes}, block)


def _describe(description: dict[str, Any], block: int | None = None) -> tuple[int, int, int]:
    block = os.memfd_create("episode") if block is None else block
    begin = os.lseek(block, 0, os.SEEK_END)
    data = json.dumps(description).encode("ascii")
    with open(block, "wb", closefd=False) as file:
        file.seek(begin)
        file.write(data)
    return begin, len(data), block


def _part(file: h5py.File, name: str) -> dict[str, Any]:
    """Describe one name of the file and say under ``why`` what speaks against reading it."""
    part: dict[str, Any] = {"name": name, "text": False, "kind": "", "shape": [], "packed": [], "units": "", "why": ""}
    link = file.get(name, getlink=True)
    if isinstance(link, h5py.ExternalLink):
        raise RefusedError(
            f"{name!r} is a link into another file, {link.filename!r}; an episode has none, and it is not followed"
        )
    if isinstance(link, h5py.SoftLink):
        raise RefusedError(f"{name!r} is a link to {link.path!r}; an episode has none, and it is not followed")
    if not isinstance(link, h5py.HardLink):
        raise RefusedError(f"{name!r} is a link of an unknown kind")
    if file.get(name, getclass=True) is not h5py.Dataset:
        return {**part, "why": "is a group or a type, not a dataset"}
    data = h5py.h5d.open(file.id, name.encode("utf-8", "surrogateescape"))
    plan = data.get_create_plist()
    if plan.get_layout() == h5py.h5d.VIRTUAL:
        raise RefusedError(f"{name!r} is assembled from other files; an episode holds its own data, and they are not opened")
    if plan.get_layout() not in (h5py.h5d.COMPACT, h5py.h5d.CONTIGUOUS, h5py.h5d.CHUNKED):
        raise RefusedError(f"{name!r} is stored in an unknown way")
    if plan.get_external_count():
        raise RefusedError(f"{name!r} is stored in another file; an episode holds its own data, and it is not opened")
    filters = [plan.get_filter(index)[0] for index in range(plan.get_nfilters())]
    unknown = [number for number in filters if number not in FILTERS]
    kind = h5py.Dataset(data).dtype
    shape = data.shape
    chunk = plan.get_chunk() if plan.get_layout() == h5py.h5d.CHUNKED else ()
    part |= {"kind": _kind(kind), "shape": list(shape or ()), "packed": [FILTERS.get(number, str(number)) for number in filters]}
    part["units"] = _units(data)
    text = h5py.check_string_dtype(kind)
    part["text"] = text is not None
    sizes = [_bytes(kind, shape or ()), _bytes(kind, chunk)]
    most = IMAGES_BYTES if name == "images" else COLUMN_BYTES
    if shape is None:
        part["why"] = "holds nothing"
    elif unknown:
        part["why"] = f"is packed by filter {unknown[0]}, which is not known here"
    elif text is None and (kind.kind not in "iufb" or kind.itemsize > 8):
        part["why"] = f"holds {_kind(kind)}, neither numbers nor texts"
    elif max(sizes) > most:
        part["why"] = f"would take {_in_words(max(sizes))}; at most {_in_words(most)} are read"
    elif name == "images" and (kind != np.uint8 or len(shape) != 4 or shape[3] != 3 or 0 in shape[1:]):
        part["why"] = f"are {tuple(shape)} {_kind(kind)}, expected (n, height, width, 3) uint8"
    elif name != "images" and not 1 <= len(shape) <= 2:
        part["why"] = f"has the shape {tuple(shape)}, expected one or two dimensions"
    elif text is not None and (len(shape) != 1 or shape[0] > TEXTS):
        part["why"] = f"holds texts of shape {tuple(shape)}, expected one for each frame"
    return part


def _units(data: h5py.h5d.DatasetID) -> str:
    if not h5py.h5a.exists(data, b"units"):
        return ""
    attribute = h5py.AttributeManager(h5py.Dataset(data))
    told = attribute.get_id("units")
    if h5py.check_string_dtype(told.dtype) is None or told.shape != () or told.dtype.itemsize > TEXT_LETTERS:
        return ""
    return _text(attribute["units"])


def _bytes(kind: np.dtype[Any], shape: tuple[int, ...]) -> int:
    count = kind.itemsize
    for length in shape:
        count *= int(length)
    return count


def _in_words(size: int) -> str:
    for unit, each in (("TB", 1 << 40), ("GB", 1 << 30), ("MB", 1 << 20)):
        if size >= each:
            return f"{size / each:.3g} {unit}" if size < 1e6 * each else f"over {10**6} {unit}"
    return f"{size} bytes"


def _kind(kind: np.dtype[Any]) -> str:
    if h5py.check_string_dtype(kind) is not None:
        return "text"
    if h5py.check_ref_dtype(kind) is not None:
        return "references"
    if h5py.check_vlen_dtype(kind) is not None:
        return "arrays of differing lengths"
    return "records" if kind.fields else str(kind.base)[:40]


def _attributes(file: h5py.File, notes: list[str]) -> dict[str, Any]:
    if len(file.attrs) > ATTRIBUTES:
        raise RefusedError(f"holds {len(file.attrs)} attributes; an episode has less than {ATTRIBUTES}")
    found: dict[str, Any] = {}
    for name in file.attrs:
        attribute = file.attrs.get_id(name)
        kind, shape = attribute.dtype, attribute.shape
        count = 1
        for length in shape or ():
            count *= int(length)
        text = h5py.check_string_dtype(kind) is not None
        if shape is None or not (text or kind.kind in "iufb") or count > VALUES or kind.itemsize * count > 1 << 16:
            notes.append(f"attribute {name!r} is {_kind(kind)} of shape {shape}: not read")
            continue
        value = file.attrs[name]
        found[name] = [_plain(each) for each in value.flat] if isinstance(value, np.ndarray) else _plain(value)
    return found


def _plain(value: Any) -> Any:
    if isinstance(value, (bytes, str)):
        return _text(value)
    return value.item() if isinstance(value, np.generic) else value


def _text(value: Any) -> str:
    text = value[: 4 * TEXT_LETTERS].decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
    return text[:TEXT_LETTERS].encode("utf-8", "replace").decode()


def _why_closed(error: OSError, size: int) -> str:
    """Say in a few words why the library can't open a file."""
    import re

    words = str(error)
    short = re.search(r"truncated file: eof = (\d+).*stored_eof = (\d+)", words)
    if short:
        return f"cut short: {short[1]} of {short[2]} bytes are there"
    if "unable to lock file" in words:
        return "is being written"
    if "signature not found" in words:
        return "not a readable HDF5 file"
    return "not a readable HDF5 file: damaged" if size else "not a readable HDF5 file: it is empty"


def _short(error: Exception) -> str:
    words = " ".join(str(error).split()) or type(error).__name__
    return words[:120]


if __name__ == "__main__":
    main()

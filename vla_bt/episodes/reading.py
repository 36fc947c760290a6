"""The processes that touch untrusted HDF5 files, so that nobody else has to: ``python -m vla_bt.episodes.reading SOCKET``.

The HDF5 library crashes on some damaged files, loops on others, and unpacks a kilobyte to gigabytes if a file says so. Here each
file meets it in a fresh process, forked for this file alone, with bounded memory and time; the one that forks never opens a file.

Promises: only top-level datasets of plain numbers and texts, stored in the file itself, are read; no link is followed, no other
file opened, no filter loaded; what is read is within the limits below. Each request (an open file and what is wanted of it) is
answered with one block of shared memory: arrays, then a description of them as JSON.
"""

from __future__ import annotations

import errno
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
ROOM_BYTES = 128 << 20  # memory beside the images
PATIENCE_S = 60  # for any file, however slow the disk
SECONDS, BYTES_A_SECOND = 2, 20 << 20  # of processor time: the first for any file, more for its images

CODEC_BYTES = 1 << 30  # room of addresses, not of memory, for the library that unpacks JPEGs
JPEG, JPEG_ENDS = "images_jpeg", "images_jpeg_ends"  # one JPEG behind the other, and where each ends

FILTERS = {1: "gzip", 2: "shuffle", 3: "fletcher32", 32000: "lzf"}
ALIGNMENT = 64
_UNPACKED_JPEG = 3


class RefusedError(Exception):
    """A file that is not read; the message is one line."""


def main() -> None:
    """Have each file read by a child; end when the other side is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the process that asks
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    channel = socket.socket(fileno=int(sys.argv[1]))
    while True:
        wish, files, _, _ = socket.recv_fds(channel, 1, 1)
        if not wish:
            return
        child = os.fork()
        if not child:
            os._exit(_serve(channel, files[0], wish == b"i"))
        os.close(files[0])
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        if code == _UNPACKED_JPEG:
            import cv2  # noqa: F401 -- so that the next child has it
        elif code:
            _send(channel, _describe({"error": f"damaged: {_last_words(code)}"}))


def _serve(channel: socket.socket, file: int, want_images: bool) -> int:
    """Answer one request, in a process that ends afterwards; returns its exit code."""
    signal.alarm(PATIENCE_S)
    size = _memory_bytes()
    _limit_memory(size + ROOM_BYTES)
    _limit_seconds(SECONDS)
    try:
        _send(channel, _answer(file, want_images, size))
        return _UNPACKED_JPEG if "cv2" in sys.modules else 0
    except RefusedError as error:
        words = str(error)
    except UnicodeError:
        words = "holds a name that is no text"
    except Exception as error:  # whatever the library makes of a damaged file
        no_room = isinstance(error, MemoryError) or getattr(error, "errno", None) == errno.ENOMEM
        words = "takes too much memory to read" if no_room else f"damaged ({_short(error)})"
    _send(channel, _describe({"error": words}))
    return 0


def _send(channel: socket.socket, block: tuple[int, int, int]) -> None:
    begin, length, descriptor = block
    socket.send_fds(channel, [REPLY.pack(begin, length)], [descriptor])
    os.close(descriptor)


def _last_words(code: int) -> str:
    if code == -signal.SIGXCPU:
        return "reading it does not come to an end"
    if code == -signal.SIGALRM:
        return f"reading it takes longer than {PATIENCE_S} s"
    return "the HDF5 library crashes on it" if code < 0 else "reading it fails"


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
        notes: list[str] = []
        attributes = _attributes(file, notes)
        parts = [_part(file, name) for name in file]
        _add_jpeg(parts, attributes)
        begin = images_begin = 0
        for part in parts:
            if part["why"] or (part["name"] == "images" and not want_images) or part["name"] == JPEG:
                continue
            if part["kind"] == "text":
                part["values"] = [_text(value) for value in file[part["name"]][()]]
                continue
            part["offset"] = begin
            kind = np.dtype(part["kind"])
            if part["name"] == "images":
                images_begin = _bytes(kind, part["shape"])
                _limit_memory(
                    size + ROOM_BYTES + images_begin + 3 * part["chunk"] + (CODEC_BYTES if "jpeg" in part["packed"] else 0)
                )
                _limit_seconds(SECONDS + images_begin / BYTES_A_SECOND)
            begin += -(-_bytes(kind, part["shape"]) // ALIGNMENT) * ALIGNMENT
        block = os.memfd_create("episode")
        if begin:
            os.ftruncate(block, begin)
            memory = mmap.mmap(block, begin)
            for part in parts:
                if "offset" in part:
                    _fill(memory, part, file)
        return _describe({"error": "", "attributes": attributes, "parts": parts, "notes": notes}, block)


def _fill(memory: mmap.mmap, part: dict[str, Any], file: h5py.File) -> None:
    """Read one dataset into its place."""
    kind = np.dtype(part["kind"])
    count = _bytes(kind, part["shape"]) // kind.itemsize
    if not count:
        return
    view: Any = np.frombuffer(memory, kind, count, part["offset"]).reshape(part["shape"])
    if "jpeg" in part["packed"]:
        _decode(file[JPEG][()], file[JPEG_ENDS][()], view)
    else:
        file[part["name"]].read_direct(view)


def _add_jpeg(parts: list[dict[str, Any]], attributes: dict[str, Any]) -> None:
    """Where pictures are kept as JPEGs, add the part ``images`` that they make."""
    by_name = {part["name"]: part for part in parts}
    blobs, ends = by_name.get(JPEG), by_name.get(JPEG_ENDS)
    if blobs is None or ends is None or "images" in by_name:
        return
    height, width = (attributes.get(f"image_{side}") for side in ("height", "width"))
    images = {**blobs, "name": "images", "packed": ["jpeg"], "chunk": 0, "units": ""}
    if blobs["why"] or ends["why"]:
        images["why"] = f"can't be read: {JPEG if blobs['why'] else JPEG_ENDS} {blobs['why'] or ends['why']}"
    elif (
        blobs["kind"] != "uint8" or len(blobs["shape"]) != 1 or ends["kind"][:3] not in ("int", "uin") or len(ends["shape"]) != 1
    ):
        images["why"] = f"can't be read: {JPEG} is {blobs['kind']} and {JPEG_ENDS} {ends['kind']}, expected rows of whole numbers"
    elif not all(isinstance(side, int) and 1 <= side <= 1 << 15 for side in (height, width)):
        images["why"] = "can't be read: the attributes image_height and image_width don't tell their size"
    else:
        images["shape"] = [ends["shape"][0], height, width, 3]
        size = _bytes(np.dtype("u1"), images["shape"])
        if size > IMAGES_BYTES:
            images["why"] = f"would take {_in_words(size)}; at most {_in_words(IMAGES_BYTES)} are read"
    parts.append(images)


def _decode(blobs: Any, ends: Any, images: Any) -> None:
    """Unpack the JPEGs; each must have the size the file tells."""
    import cv2

    begin = 0
    for index, end in enumerate(int(value) for value in ends):
        if not begin < end <= len(blobs):
            raise RefusedError(f"picture {index} lies outside {JPEG}")
        picture = cv2.imdecode(blobs[begin:end], cv2.IMREAD_COLOR_RGB)
        if picture is None or picture.shape != images.shape[1:]:
            what = "is no JPEG" if picture is None else f"is {picture.shape[1]} x {picture.shape[0]}"
            raise RefusedError(f"picture {index} {what}; expected {images.shape[2]} x {images.shape[1]}")
        images[index], begin = picture, end


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
    part: dict[str, Any] = {"name": name, "kind": "", "shape": [], "packed": [], "chunk": 0, "units": "", "why": ""}
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
    sizes = [_bytes(kind, shape or ()), _bytes(kind, chunk)]
    part["chunk"] = sizes[1]
    most = IMAGES_BYTES if name in ("images", JPEG) else COLUMN_BYTES
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
    return "records" if kind.fields or kind.subdtype else kind.name


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

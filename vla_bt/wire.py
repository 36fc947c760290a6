"""Fixed binary records for local messages (tree -> gate -> tree, tree <-> policy), and the datagram socket they travel on.

Promises: never pickle; every record starts with a magic word and a version; a record of the wrong length, magic, version or
with non-finite numbers is refused (``WireError``), so that whoever owns the socket can count and ignore it. Sending never
blocks: a full or absent peer loses the message and ``send`` says so.
"""

from __future__ import annotations

import contextlib
import errno
import math
import os
import socket
import struct
from pathlib import Path
from typing import Any

from vla_bt.port import GateStatus, Request
from vla_bt.settings import GateSettings
from vla_bt.words import Source, Twist

VERSION = 4
_HEAD = struct.Struct("<4sH")
_REQUEST = struct.Struct("<3dBIQdQQd")
_STATUS = struct.Struct("<dB3dBQ5dB")
_LIMITS = ("max_linear_x", "max_linear_y", "max_angular_z", "max_linear_acceleration", "max_angular_acceleration")

MAX_DATAGRAM = 60_000


class WireError(ValueError):
    """A datagram that is not a valid record."""


def _frame(magic: bytes, body: bytes) -> bytes:
    return _HEAD.pack(magic, VERSION) + body


def body_of(data: bytes, magic: bytes) -> bytes:
    """Return the record's body after checking magic and version."""
    if len(data) < _HEAD.size:
        raise WireError(f"record of {len(data)} bytes is too short")
    got, version = _HEAD.unpack_from(data)
    if got != magic:
        raise WireError(f"record starts with {got!r}, expected {magic!r}")
    if version != VERSION:
        raise WireError(f"record version {version}, expected {VERSION}")
    return data[_HEAD.size :]


def unpack(layout: struct.Struct, body: bytes) -> tuple[int | float | bytes, ...]:
    """Unpack a body of exactly the layout's size, refusing non-finite numbers."""
    if len(body) != layout.size:
        raise WireError(f"body of {len(body)} bytes, expected {layout.size}")
    values = layout.unpack(body)
    if not all(math.isfinite(value) for value in values if isinstance(value, float)):
        raise WireError("record holds a non-finite number")
    return values


def pack_request(request: Request, sent_s: float) -> bytes:
    """Encode a request for the gate; ``sent_s`` is CLOCK_MONOTONIC, which all processes of a machine share [s]."""
    return _frame(
        b"VBRQ",
        _REQUEST.pack(
            *request.twist,
            int(request.source),
            request.goal_id,
            request.frame_sequence,
            request.valid_for_s,
            request.tick,
            request.stops,
            sent_s,
        ),
    )


def unpack_request(data: bytes) -> tuple[Request, float]:
    """Decode a request and when it was sent [s]; raises :class:`WireError`."""
    x, y, z, source, goal_id, frame, valid_for_s, tick, stops, sent_s = unpack(_REQUEST, body_of(data, b"VBRQ"))
    try:
        kind = Source(int(source))
    except ValueError:
        raise WireError(f"unknown source {source!r}") from None
    twist = Twist(float(x), float(y), float(z))
    return Request(twist, kind, int(goal_id), int(frame), float(valid_for_s), int(tick), int(stops)), float(sent_s)


def pack_gate_status(status: GateStatus) -> bytes:
    """Encode the gate's report, made at its ``received_s``; fault and words are cut at 200 bytes each."""
    limits = [getattr(status.limits, name) for name in _LIMITS]
    fault, words = status.fault.encode()[:200], status.words.encode()[:200]
    head = _STATUS.pack(status.received_s, status.latched, *status.applied, int(status.source), status.stops, *limits, len(fault))
    return _frame(b"VBGS", head + fault + words)


def unpack_gate_status(data: bytes, received_s: float) -> GateStatus:
    """Decode the gate's report: it is as old as when it was made, and received now at the latest; raises :class:`WireError`."""
    body = body_of(data, b"VBGS")
    made_s, latched, x, y, z, source, stops, *limits, length = unpack(_STATUS, body[: _STATUS.size])
    try:
        kind = Source(int(source))
    except ValueError:
        raise WireError(f"unknown source {source!r}") from None
    said = body[_STATUS.size :]
    fault, words = (part.decode("utf-8", "replace") for part in (said[: int(length)], said[int(length) :]))
    applied = Twist(float(x), float(y), float(z))
    in_force: dict[str, Any] = {name: float(value) for name, value in zip(_LIMITS, limits, strict=True)}
    since_s = min(received_s, float(made_s))
    return GateStatus(bool(latched), fault, applied, kind, since_s, int(stops), GateSettings(**in_force), words)


class Mailbox:
    """A named Unix datagram socket: receives at ``path``, sends to other paths. Never blocks.

    The socket file is made with mode 0600 and removed by :meth:`close`, unless it is another's by then; a leftover of a killed
    process is replaced.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        with contextlib.suppress(FileNotFoundError):
            path.unlink()
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.setblocking(False)
        mask = os.umask(0o177)
        try:
            self._socket.bind(str(path))
        finally:
            os.umask(mask)
        self._identity = _identity(path)

    def fileno(self) -> int:
        """File descriptor, for ``select``."""
        return self._socket.fileno()

    def send(self, data: bytes, to: Path) -> bool:
        """Send one datagram; False when nobody listens there or their queue is full."""
        try:
            self._socket.sendto(data, str(to))
        except (FileNotFoundError, ConnectionRefusedError, BlockingIOError):
            return False
        except OSError as error:
            if error.errno == errno.ENOBUFS:
                return False
            raise
        return True

    def receive(self, limit: int = 64) -> list[bytes]:
        """Return up to ``limit`` waiting datagrams, oldest first."""
        waiting: list[bytes] = []
        while len(waiting) < limit:
            try:
                waiting.append(self._socket.recv(MAX_DATAGRAM + 1))
            except BlockingIOError:
                break
        return waiting

    def close(self) -> None:
        """Close and remove the socket file, if it is still this one's."""
        with contextlib.suppress(FileNotFoundError):
            if _identity(self.path) == self._identity:  # looked at while it is open: its number can't be another's yet
                self.path.unlink()
        self._socket.close()


def _identity(path: Path) -> tuple[int, int]:
    """Return what tells one file from another of the same name."""
    info = path.lstat()
    return info.st_dev, info.st_ino


def runtime_directory(name: str = "") -> Path:
    """Return this application's directory for rings and sockets, made with mode 0700.

    ``/dev/shm/vla_bt-<uid>-<name>``; ``name`` keeps two robots or two tests on one machine apart and defaults to the
    ROS domain. ``VLA_BT_RUNTIME_DIR`` overrides the whole path.
    """
    override = os.environ.get("VLA_BT_RUNTIME_DIR")
    domain = os.environ.get("ROS_DOMAIN_ID", "0")
    path = Path(override) if override else Path("/dev/shm") / f"vla_bt-{os.getuid()}-{name or domain}"
    path.mkdir(mode=0o700, parents=False, exist_ok=True)
    if path.stat().st_uid != os.getuid() or (path.is_symlink() and not override):
        raise PermissionError(f"{path} belongs to another user; set VLA_BT_RUNTIME_DIR to a directory of your own")
    return path

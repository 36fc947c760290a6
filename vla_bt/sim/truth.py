"""The simulator's truth, and how it reaches the expert without ROS.

Promises: a :class:`TruthReader` returns a whole record of one moment or None, never a mixture: the writer makes the sequence
number odd while it writes, and a reader compares it before and after its copy. The file is mode 0600; a reader never writes to
it, and killing a reader harms nobody. A record older than ``max_age_s`` is None, never the old value.
"""

from __future__ import annotations

import contextlib
import mmap
import os
import struct
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from vla_bt.words import Twist

MAX_BOXES = 8


@dataclass(frozen=True)
class BoxTruth:
    """A box's footprint: centre and half sizes [m], turn [rad], in the world frame."""

    x: float
    y: float
    half_x: float
    half_y: float
    yaw: float


@dataclass(frozen=True)
class Truth:
    """All that the simulator knows at one moment, in the world frame.

    Attributes
    ----------
    time_s : float
        Simulated time [s].
    x, y, yaw : float
        The robot's pose [m, m, rad].
    twist : Twist
        Its velocity in ``base_link``.
    robot_radius : float
        Radius of its footprint [m].
    cup_x, cup_y : float
        The cup's centre [m].
    boxes : tuple of BoxTruth
        At most :data:`MAX_BOXES`.
    room : tuple of four floats
        Inner faces of the walls: x_min, x_max, y_min, y_max [m].
    side : str
        The side told to pass in this scene: "left" or "right".
    touching : bool
        The robot touches something now.
    touched : bool
        It has touched something since the start.
    scene : str
        The scene's name.
    """

    time_s: float
    x: float
    y: float
    yaw: float
    twist: Twist
    robot_radius: float
    cup_x: float
    cup_y: float
    boxes: tuple[BoxTruth, ...]
    room: tuple[float, float, float, float]
    side: str
    touching: bool
    touched: bool
    scene: str


_MAGIC = b"VBTR0001"
_HEAD = struct.Struct("<8sQ")  # magic, sequence
_BODY = struct.Struct(f"<d7d3d4d??B5s32s{5 * MAX_BOXES}d")
_SIZE = _HEAD.size + _BODY.size
_SEQUENCE = struct.Struct("<Q")
_SEQUENCE_AT = 8


def _pack(truth: Truth, written_s: float) -> bytes:
    if len(truth.boxes) > MAX_BOXES:
        raise ValueError(f"{len(truth.boxes)} boxes; a truth record holds {MAX_BOXES}")
    flat = [value for box in truth.boxes for value in (box.x, box.y, box.half_x, box.half_y, box.yaw)]
    flat += [0.0] * (5 * MAX_BOXES - len(flat))
    head = (written_s, truth.time_s, truth.x, truth.y, truth.yaw, *truth.twist, truth.robot_radius, truth.cup_x, truth.cup_y)
    tail = (truth.touching, truth.touched, len(truth.boxes), truth.side.encode(), truth.scene.encode())
    return _BODY.pack(*head, *truth.room, *tail, *flat)


def _unpack(body: bytes) -> tuple[float, Truth]:
    written_s, time_s, x, y, yaw, vx, vy, wz, radius, cup_x, cup_y, *rest = _BODY.unpack(body)
    room, (touching, touched, count, side, scene), flat = tuple(rest[:4]), rest[4:9], rest[9:]
    boxes = tuple(BoxTruth(*flat[5 * i : 5 * i + 5]) for i in range(min(count, MAX_BOXES)))
    truth = Truth(
        time_s=time_s,
        x=x,
        y=y,
        yaw=yaw,
        twist=Twist(vx, vy, wz),
        robot_radius=radius,
        cup_x=cup_x,
        cup_y=cup_y,
        boxes=boxes,
        room=room,
        side=side.rstrip(b"\0").decode(),
        touching=touching,
        touched=touched,
        scene=scene.rstrip(b"\0").decode(),
    )
    return written_s, truth


class TruthWriter:
    """Writes the newest truth into a small file. One writer at a time; it replaces a leftover file."""

    def __init__(self, path: Path) -> None:
        self.path = path
        with contextlib.suppress(FileNotFoundError):
            path.unlink()
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            os.ftruncate(handle, _SIZE)
            self._map = mmap.mmap(handle, _SIZE)
        finally:
            os.close(handle)
        self._sequence = 0
        _HEAD.pack_into(self._map, 0, _MAGIC, 0)

    def write(self, truth: Truth, now_s: float) -> None:
        """Publish one record, stamped with the writer's CLOCK_MONOTONIC [s]."""
        body = _pack(truth, now_s)
        _SEQUENCE.pack_into(self._map, _SEQUENCE_AT, self._sequence + 1)
        self._map[_HEAD.size : _SIZE] = body
        self._sequence += 2
        _SEQUENCE.pack_into(self._map, _SEQUENCE_AT, self._sequence)

    def close(self) -> None:
        """Close and remove the file."""
        self._map.close()
        with contextlib.suppress(FileNotFoundError):
            self.path.unlink()


class TruthReader:
    """Reads the newest truth; calling it returns a :class:`Truth` or None, as ``ExpertPolicy`` wants it.

    Parameters
    ----------
    path : Path
        Where a :class:`TruthWriter` of any process writes. It may come, go and come again.
    clock : callable
        CLOCK_MONOTONIC [s], the same clock that the writer stamps with.
    max_age_s : float
        An older record is None [s].
    """

    def __init__(self, path: Path, clock: Callable[[], float], max_age_s: float = 0.5) -> None:
        self.path = path
        self.max_age_s = max_age_s
        self._clock = clock
        self._map: mmap.mmap | None = None
        self._inode = -1

    def __call__(self) -> Truth | None:
        """Return the newest record, None when absent, too old, or torn by a writer that died while writing."""
        if not self._open():
            return None
        assert self._map is not None
        for _ in range(3):
            before = self._map[:_SIZE]
            magic, sequence = _HEAD.unpack_from(before)
            (after,) = _SEQUENCE.unpack_from(self._map, _SEQUENCE_AT)
            if magic != _MAGIC or sequence == 0:
                return None
            if sequence == after and sequence % 2 == 0:
                written_s, truth = _unpack(before[_HEAD.size :])
                return truth if 0.0 <= self._clock() - written_s <= self.max_age_s else None
        return None

    def _open(self) -> bool:
        """Map the file, again when a new writer has replaced it."""
        try:
            status = os.stat(self.path)
        except FileNotFoundError:
            self.close()
            return False
        if self._map is not None and status.st_ino == self._inode:
            return True
        self.close()
        if status.st_size != _SIZE:
            return False
        with open(self.path, "rb") as file:
            self._map = mmap.mmap(file.fileno(), _SIZE, prot=mmap.PROT_READ)
        self._inode = status.st_ino
        return True

    def close(self) -> None:
        """Let go of the file."""
        if self._map is not None:
            self._map.close()
        self._map = None
        self._inode = -1

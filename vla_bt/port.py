"""The ``Robot`` port: all that the tree may know of the world, whichever world it runs in.

Adapters: ``vla_bt.ros.robot`` (topics), ``vla_bt.app.lockstep`` (simulator in process, simulated time).
Every value carries ``received_s``, the port's own monotonic time of receipt; ages are ``now() - received_s``. Header stamps are
data. No method blocks.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from vla_bt.camera.lens import UNKNOWN, Lens
from vla_bt.settings import GateSettings
from vla_bt.words import Mode, Source, Twist


@dataclass(frozen=True)
class FrameInfo:
    """A camera frame without its pixels (those stay in the ring; see :meth:`Robot.copy_frame`).

    Attributes
    ----------
    sequence : int
        Counts frames from 1, never repeats while the camera bridge lives.
    stamp_s : float
        Time of exposure as the camera's header says it [s]; its clock may not be ours.
    received_s : float
        Port time of receipt [s].
    width, height : int
        Size [px].
    signature : int
        Checksum of a sample of the pixels: equal signatures mean an unchanged picture.
    lens : Lens
        What the camera sees, unknown without its calibration.
    """

    sequence: int
    stamp_s: float
    received_s: float
    width: int
    height: int
    signature: int = 0
    lens: Lens = UNKNOWN


@dataclass(frozen=True)
class Odometry:
    """Pose in the ``odom`` frame [m, m, rad] and velocity in ``base_link``."""

    x: float
    y: float
    yaw: float
    twist: Twist
    received_s: float


@dataclass(frozen=True)
class Scan:
    """A planar scan in ``base_link``: ``ranges[i]`` [m] at ``angle_min + i * angle_increment`` [rad]; inf = nothing seen."""

    ranges: NDArray[np.float32]
    angle_min: float
    angle_increment: float
    received_s: float

    def __repr__(self) -> str:  # viewers of the blackboard print values: hundreds of ranges would fill their screen
        nearest = float(np.min(self.ranges)) if self.ranges.size else float("inf")
        return f"Scan({self.ranges.size} ranges, nearest {nearest:.2f} m, received_s={self.received_s:.3f})"


@dataclass(frozen=True)
class Battery:
    """Charge as a fraction 0..1."""

    fraction: float
    received_s: float


@dataclass(frozen=True)
class Contact:
    """Unit vector (x, y) in ``base_link`` from the robot towards what it touches."""

    x: float
    y: float
    received_s: float


@dataclass(frozen=True)
class TeleopInput:
    """The newest velocity a person asked for."""

    twist: Twist
    received_s: float


@dataclass(frozen=True)
class Operator:
    """What people asked for since the last snapshot. Requests are handed out exactly once, in order of receipt."""

    teleop: TeleopInput | None = None
    mode_requests: tuple[str, ...] = ()
    goal_requests: tuple[str, ...] = ()
    record_requests: tuple[bool, ...] = ()


@dataclass(frozen=True)
class GateStatus:
    """What the gate last reported.

    Attributes
    ----------
    latched : bool
        Emergency stop latched.
    fault : str
        Empty, or what is wrong in words.
    applied : Twist
        The velocity last published on ``cmd_vel``.
    source : Source
        The source of the request it came from.
    received_s : float
        Port time of receipt [s], or when the gate made it, where that is earlier: what waited for its reader is not fresh.
    stops : int
        Another number after each emergency stop and in each gate process: whoever sees it change has missed a stop, however
        short, and must not go on by itself.
    limits : GateSettings
        The speed and acceleration limits in force; its periods and time-outs are the gate's own business.
    words : str
        Why it applies what it applies, for people.
    """

    latched: bool
    fault: str
    applied: Twist
    source: Source
    received_s: float
    stops: int = 0
    limits: GateSettings = field(default_factory=GateSettings)
    words: str = ""


@dataclass(frozen=True)
class Request:
    """The one request composed after each tick.

    Attributes
    ----------
    twist : Twist
        The velocity asked for.
    source : Source
        Who it came from.
    goal_id : int
        0 when no goal is active.
    frame_sequence : int
        The frame the decision was made on, 0 if none.
    valid_for_s : float
        Time to live from when it was sent, from the gate's own receipt at the latest; the gate caps it.
    tick : int
        Count of the tick that composed it.
    stops : int
        :attr:`GateStatus.stops` as the tick knew it: what was decided before a stop does not move the robot after its reset.
    """

    twist: Twist
    source: Source
    goal_id: int = 0
    frame_sequence: int = 0
    valid_for_s: float = 0.2
    tick: int = 0
    stops: int = 0


@dataclass(frozen=True)
class Snapshot:
    """Everything the ``sense`` leaf copies from the port at one moment."""

    now_s: float
    frame: FrameInfo | None = None
    odometry: Odometry | None = None
    scan: Scan | None = None
    battery: Battery | None = None
    contact: Contact | None = None
    gate: GateStatus | None = None
    operator: Operator = field(default_factory=Operator)


class Robot(Protocol):
    """The world as the tree sees it. Implementations answer from memory and never block."""

    def now(self) -> float:
        """Monotonic seconds of this world (simulated in lockstep)."""

    def snapshot(self) -> Snapshot:
        """Copy a consistent view of all inputs, and hand out the operator's pending requests."""

    def copy_frame(self, sequence: int) -> NDArray[np.uint8] | None:
        """Copy the pixels (height, width, 3) RGB of a frame, or None when it has left the ring."""

    def send(self, request: Request) -> None:
        """Hand one request to the gate."""

    def publish_mode(self, mode: Mode, text: str) -> None:
        """Tell operators the mode and, in words, who drives."""

    def publish_goal_status(self, text: str) -> None:
        """Tell operators the goal ledger's newest line (JSON)."""

    def publish_action(self, twist: Twist) -> None:
        """Publish the policy's raw proposal (``robot/action``)."""

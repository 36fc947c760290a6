"""Deriving the causes of ``config/causes.yaml`` from ages and flags.

Promises: pure functions, each returning the active causes with details in words; an input that is not in ``required_inputs``
never raises a cause; a value that is not finite counts as none. Ages are port time since receipt. A header stamp is data: it
never makes a frame fresh or stale, but one that disagrees with the receipt is named (``camera_stamp_odd``, which the shipped
table ignores).
"""

from __future__ import annotations

import math
from typing import NamedTuple

from vla_bt.control.obstacles import Blocked
from vla_bt.policy.port import PolicyOutput, PolicyStatus
from vla_bt.port import Battery, FrameInfo, GateStatus, Odometry, Scan, TeleopInput
from vla_bt.settings import TreeSettings
from vla_bt.words import Twist

STAMP_TOLERANCE_S = 0.5
"""How far the time between two frames may differ between their stamps and their receipts [s]: more than a busy machine delays."""

ARC_RADIUS_M = 0.5
"""Turning by a radian changes the picture at least as much as driving this far [m]."""

STILL_SPEED = 0.005
"""Slower than this a robot stands: odometry is never quite still [m/s]."""


class CameraWatch(NamedTuple):
    """What is remembered of the camera.

    Attributes
    ----------
    frame : FrameInfo or None
        The newest frame seen.
    seen_s : float
        Time of the last call [s].
    repeats : int
        New frames with the present picture that arrived while the robot was driven.
    driven_m : float
        How far the robot was driven under the present picture [m]; turning counts as an arc of :data:`ARC_RADIUS_M`.
    stamp : str
        What is odd about the newest frame's stamp; empty if nothing.
    """

    frame: FrameInfo | None = None
    seen_s: float = 0.0
    repeats: int = 0
    driven_m: float = 0.0
    stamp: str = ""


def camera_causes(
    watch: CameraWatch, frame: FrameInfo | None, now_s: float, motion: Twist, settings: TreeSettings
) -> tuple[CameraWatch, dict[str, str]]:
    """Watch the camera for silence, a frozen picture and odd stamps.

    Frozen means: ``camera_frozen_frames`` new frames repeated one picture while the robot moved (``motion``: measured, or what
    the gate applies) over at least ``camera_frozen_m``: a way, not a time, so that a robot that has hardly begun to move is not
    suspected. It stays frozen, also at rest, until the picture changes. A signature of 0 says nothing of the picture.

    Returns
    -------
    CameraWatch, dict
        The new memory, and the active ones of ``camera_stale``, ``camera_frozen``, ``camera_stamp_odd``.
    """
    if "camera" not in settings.required_inputs:
        return watch, {}
    if frame is None:
        return watch._replace(seen_s=now_s), {"camera_stale": "no frame yet"}
    age_s = now_s - frame.received_s
    repeats, driven_m = watch.repeats, watch.driven_m
    if watch.frame is None or frame.signature != watch.frame.signature or not frame.signature:
        repeats, driven_m = 0, 0.0
    elif (speed := motion.speed + ARC_RADIUS_M * abs(motion.angular_z)) > STILL_SPEED and age_s <= settings.camera_timeout_s:
        repeats += frame.sequence != watch.frame.sequence
        driven_m += speed * max(0.0, now_s - watch.seen_s)
    stamp = watch.stamp if frame == watch.frame else _odd_stamp(watch.frame, frame)
    watch = CameraWatch(frame, now_s, repeats, driven_m, stamp)
    causes: dict[str, str] = {}
    if age_s > settings.camera_timeout_s:
        causes["camera_stale"] = f"last frame {age_s:.2f} s ago"
    if repeats >= settings.camera_frozen_frames and driven_m >= settings.camera_frozen_m:
        causes["camera_frozen"] = f"{repeats} repeats of one picture over {driven_m:.2f} m of driving"
    if stamp:
        causes["camera_stamp_odd"] = stamp
    return watch, causes


def _odd_stamp(before: FrameInfo | None, frame: FrameInfo) -> str:
    """Compare two frames' stamps with their receipts; the clocks themselves need not agree."""
    if not math.isfinite(frame.stamp_s):
        return "not a time"
    if before is None or not math.isfinite(before.stamp_s) or frame.sequence <= before.sequence:
        return ""
    stamped_s, received_s = frame.stamp_s - before.stamp_s, frame.received_s - before.received_s
    if stamped_s - received_s > STAMP_TOLERANCE_S:
        return f"jumps {stamped_s - received_s:.2f} s into the future"
    if received_s - stamped_s > STAMP_TOLERANCE_S:
        return f"jumps {received_s - stamped_s:.2f} s into the past"
    return "" if stamped_s > 0.0 else "does not advance"


def gate_causes(gate: GateStatus | None, now_s: float, settings: TreeSettings) -> dict[str, str]:
    """Return the active ones of ``estop``, ``gate_fault``, ``gate_silent``. A silent gate's last report still counts."""
    if gate is None:
        return {"gate_silent": "no report yet"}
    causes: dict[str, str] = {}
    if gate.latched:
        causes["estop"] = ""
    if gate.fault:
        causes["gate_fault"] = gate.fault
    age_s = now_s - gate.received_s
    if age_s > settings.gate_timeout_s:
        causes["gate_silent"] = f"last report {age_s:.2f} s ago"
    return causes


def teleop_causes(teleop: TeleopInput | None, now_s: float, settings: TreeSettings) -> dict[str, str]:
    """Return ``teleop_lost`` when the person's last word was to move and nothing followed. After a zero, silence is no loss."""
    if teleop is None or teleop.twist.is_zero():
        return {}
    age_s = now_s - teleop.received_s
    return {"teleop_lost": f"last velocity {age_s:.2f} s ago"} if age_s > settings.teleop_timeout_s else {}


def policy_causes(
    status: PolicyStatus, output: PolicyOutput | None, awaited_since_s: float | None, now_s: float, settings: TreeSettings
) -> dict[str, str]:
    """Watch the policy.

    Parameters
    ----------
    status : PolicyStatus
        What its client reports; anything but ``ready`` is ``policy_dead``, with the reason.
    output : PolicyOutput or None
        The newest output; ``policy_not_finite`` lasts until a finite one arrives.
    awaited_since_s : float or None
        Since when an answer has been awaited [s]; None when none is.
    """
    causes: dict[str, str] = {}
    if status.state != "ready":
        causes["policy_dead"] = f"{status.state}: {status.detail}" if status.detail else status.state
    elif awaited_since_s is not None and now_s - awaited_since_s > settings.policy_output_timeout_s:
        causes["policy_silent"] = f"no answer for {now_s - awaited_since_s:.2f} s"
    if output is not None and not output.step.finite:
        causes["policy_not_finite"] = ""
    return causes


def memory_causes(unloaded: bool, available_mb: float, step: str, blind: str = "") -> dict[str, str]:
    """Return the active ones of ``memory_critical``, ``memory_step`` and ``memory_stale``.

    Parameters
    ----------
    unloaded : bool
        The ladder's last step is in force.
    available_mb : float
        What is left [MB].
    step : str
        The step for which autonomy has to stop, in words; empty for none.
    blind : str
        Why nothing is known of the memory, in words; empty while it is watched.
    """
    causes: dict[str, str] = {}
    if unloaded:
        causes["memory_critical"] = f"{available_mb:.0f} MB available"
    if step:
        causes["memory_step"] = step
    if blind:
        causes["memory_stale"] = blind
    return causes


def goal_causes(expired: bool, settings: TreeSettings) -> dict[str, str]:
    """Return ``goal_stale`` when the ledger says that the active goal ran out of time."""
    return {"goal_stale": f"not reached within {settings.goal_timeout_s:.0f} s"} if expired else {}


def tick_causes(late_s: float, settings: TreeSettings) -> dict[str, str]:
    """Return ``tick_overrun`` when this tick began ``late_s`` [s] after it was due, more than ``tick_overrun_s``."""
    return {"tick_overrun": f"{late_s:.2f} s late"} if late_s > settings.tick_overrun_s else {}


def battery_causes(battery: Battery | None, now_s: float, settings: TreeSettings) -> dict[str, str]:
    """Return the active one of ``battery_low`` and ``battery_stale``."""
    if "battery" not in settings.required_inputs:
        return {}
    if battery is None or not math.isfinite(battery.fraction):
        return {"battery_stale": "no charge known"}
    age_s = now_s - battery.received_s
    if age_s > settings.battery_timeout_s:
        return {"battery_stale": f"last state {age_s:.0f} s ago"}
    return {"battery_low": f"{battery.fraction:.0%}"} if battery.fraction < settings.battery_low else {}


def odometry_causes(odometry: Odometry | None, now_s: float, settings: TreeSettings) -> dict[str, str]:
    """Return ``odometry_stale`` when it is needed and old, missing or not finite."""
    if "odometry" not in settings.required_inputs:
        return {}
    if odometry is None:
        return {"odometry_stale": "none yet"}
    if not math.isfinite(odometry.x + odometry.y + odometry.yaw + sum(odometry.twist)):
        return {"odometry_stale": "not finite"}
    age_s = now_s - odometry.received_s
    return {"odometry_stale": f"last {age_s:.2f} s ago"} if age_s > settings.odometry_timeout_s else {}


def scan_causes(scan: Scan | None, now_s: float, settings: TreeSettings) -> dict[str, str]:
    """Return ``scan_stale`` when it is needed and old, missing or empty."""
    if "scan" not in settings.required_inputs:
        return {}
    if scan is None or not scan.ranges.size:
        return {"scan_stale": "none yet" if scan is None else "holds no ranges"}
    age_s = now_s - scan.received_s
    return {"scan_stale": f"last {age_s:.2f} s ago"} if age_s > settings.scan_timeout_s else {}


def direction_causes(around: Blocked) -> dict[str, str]:
    """Return the active ones of ``obstacle`` and ``contact`` for what :func:`vla_bt.control.obstacles.blocked` found."""
    causes: dict[str, str] = {}
    if around.scan_words:
        causes["obstacle"] = around.scan_words
    if around.contact_words:
        causes["contact"] = around.contact_words
    return causes

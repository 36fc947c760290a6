"""Settings of every process: declared once as dataclasses with units and ranges, read from ROS parameter files.

Promises: an unknown name, a wrong type or a value out of range is refused with one line that says what, where and what would be
right; nothing falls back silently. The same files serve ROS (``ros__parameters``) and lockstep.
"""

from __future__ import annotations

import dataclasses
import importlib.resources
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import yaml


class SettingsError(ValueError):
    """A setting that can't be used; the message is one line, fit for a user."""


def setting(default: Any, doc: str, low: float | None = None, high: float | None = None, choices: tuple[str, ...] = ()) -> Any:
    """Declare a dataclass field with its meaning, range (inclusive) and choices, of a list those of each entry."""
    metadata = {"doc": doc, "low": low, "high": high, "choices": choices}
    if isinstance(default, list):
        return field(default_factory=lambda: list(default), metadata=metadata)
    return field(default=default, metadata=metadata)


@dataclass(frozen=True)
class GateSettings:
    """Limits and deadlines of the gate."""

    period_s: float = setting(0.02, "period of the gate's own timer [s]", 0.005, 0.1)
    max_valid_for_s: float = setting(0.2, "cap on a request's time to live, from when it was sent [s]", 0.02, 0.25)
    max_linear_x: float = setting(0.6, "forward and backward speed limit [m/s]", 0.0, 3.0)
    max_linear_y: float = setting(0.4, "sideways speed limit [m/s]", 0.0, 3.0)
    max_angular_z: float = setting(1.2, "turning speed limit [rad/s]", 0.0, 6.0)
    max_linear_acceleration: float = setting(1.2, "linear acceleration limit [m/s^2]", 0.05, 20.0)
    max_angular_acceleration: float = setting(4.0, "angular acceleration limit [rad/s^2]", 0.05, 50.0)
    fault_hold_s: float = setting(0.5, "a fault of the gate keeps the robot still for this long [s]", 0.05, 10.0)
    cmd_vel_type: str = setting("Twist", "message type of cmd_vel", choices=("Twist", "TwistStamped"))


@dataclass(frozen=True)
class TreeSettings:
    """Rates, time-outs and limits of the tree process."""

    tick_period_s: float = setting(0.05, "period of the tree's tick [s]", 0.01, 0.5)
    tick_overrun_s: float = setting(0.15, "a tick later than this stops autonomy for that tick [s]", 0.02, 1.0)
    camera_timeout_s: float = setting(0.2, "age at which a camera frame is stale [s]", 0.05, 5.0)
    camera_frozen_frames: int = setting(3, "so many repeats of one picture while driving are a frozen camera", 1, 1000)
    camera_frozen_m: float = setting(
        0.02, "way or, as an arc of 0.5 m, turn under one picture before it counts as frozen [m]", 0.0, 10.0
    )
    teleop_timeout_s: float = setting(0.2, "age at which a teleop velocity is stale [s]", 0.05, 2.0)
    odometry_timeout_s: float = setting(0.2, "age at which odometry is stale [s]", 0.05, 5.0)
    scan_timeout_s: float = setting(0.2, "age at which a scan is stale [s]", 0.05, 5.0)
    battery_timeout_s: float = setting(15.0, "age at which a battery state is stale [s]", 1.0, 300.0)
    gate_timeout_s: float = setting(0.2, "silence of the gate that counts as its fault [s]", 0.05, 2.0)
    contact_hold_s: float = setting(0.5, "a contact blocks its direction for this long [s]", 0.05, 5.0)
    battery_low: float = setting(0.15, "charge below which autonomy stops [fraction]", 0.0, 1.0)
    obstacle_distance_m: float = setting(0.12, "clearance at which a direction is blocked [m]", 0.0, 2.0)
    braking_mps2: float = setting(1.0, "how hard the robot brakes before an obstacle [m/s^2]", 0.05, 20.0)
    braking_reaction_s: float = setting(0.5, "twice the time from seeing an obstacle to braking [s]", 0.0, 2.0)
    robot_radius_m: float = setting(0.2, "radius of the robot's footprint [m]", 0.02, 2.0)
    request_valid_for_s: float = setting(0.15, "time to live of each request [s]", 0.02, 0.25)
    handover_s: float = setting(0.4, "time over which control passes between person and policy [s]", 0.0, 3.0)
    goal_timeout_s: float = setting(120.0, "a goal not reached by then is expired [s]", 1.0, 3600.0)
    policy_output_timeout_s: float = setting(0.2, "silence of a ready policy that counts as dead [s]", 0.05, 10.0)
    stop_probability: float = setting(0.5, "the policy's claim of arrival counts above this", 0.0, 1.0)
    stop_answers: int = setting(3, "answers in a row that must claim it; the robot stands meanwhile", 1, 100)
    max_policy_linear: float = setting(0.5, "speed limit on the policy's proposals [m/s]", 0.0, 3.0)
    max_policy_angular: float = setting(1.0, "turning limit on the policy's proposals [rad/s]", 0.0, 6.0)
    motion_linear: float = setting(0.25, "speed of measured motions such as 'go forward 1 m' [m/s]", 0.02, 2.0)
    motion_angular: float = setting(0.6, "turning speed of measured motions [rad/s]", 0.02, 3.0)
    memory_guard: bool = setting(True, "free memory step by step when it runs short")
    memory_warn_mb: float = setting(1500.0, "available memory below which caches are cleared [MB]", 0.0, 1e6)
    memory_shorten_mb: float = setting(1200.0, "available memory below which recording's queue is shortened [MB]", 0.0, 1e6)
    memory_int8_mb: float = setting(900.0, "available memory below which the policy's weights become 8-bit [MB]", 0.0, 1e6)
    memory_layers_mb: float = setting(700.0, "available memory below which the policy loses layers [MB]", 0.0, 1e6)
    memory_critical_mb: float = setting(
        500.0, "available memory below which the policy is unloaded and autonomy stops [MB]", 0.0, 1e6
    )
    memory_room_factor: float = setting(1.15, "a step is taken back only above its limit times this", 1.0, 10.0)
    memory_hold_s: float = setting(20.0, "there must be room for this long before a step is taken back [s]", 0.1, 3600.0)
    memory_leak_mb_h: float = setting(20.0, "a process that surely grows faster than this is named [MB/h]", 0.1, 1e6)
    memory_leak_window_s: float = setting(900.0, "growth is judged over this time [s]", 60.0, 86400.0)
    required_inputs: list[str] = setting(
        ["camera", "odometry", "scan", "battery"],
        "inputs this robot has; what is not listed is neither awaited nor trusted",
        choices=("camera", "odometry", "scan", "battery"),
    )
    frame_period_s: float = setting(1.05, "time between recorded frames [s]", 0.1, 10.0)
    record_from_start: bool = setting(False, "record without being asked")
    record_when: str = setting(
        "asked",
        "record by itself while a goal is pursued or in a mode; or only when asked",
        choices=("asked", "goal", "manual", "vla", "hybrid"),
    )
    record_pictures: str = setting("raw", "how episodes keep pictures; jpeg is 10 to 20 times smaller", choices=("raw", "jpeg"))
    record_scenario: str = setting("free", "what is being recorded: part of the files' names")
    record_pattern: str = setting("", "its pattern in the collection plan; empty for none", choices=("", "core", "variant"))
    record_distance: str = setting("", "its distance in the collection plan", choices=("", "close", "medium", "far"))
    record_position: str = setting("", "its position in the collection plan", choices=("", "left", "center", "right"))
    record_key_pattern: str = setting("", "keys of the guide being followed; empty without one")
    runs_directory: str = setting("runs", "where episodes and summaries go")
    run_log_directory: str = setting("", "where run logs go; empty: vla_bt/runs in the user's state directory (XDG)")
    run_log_mb: float = setting(1000.0, "room for all run logs, the oldest go first; 0: none are written [MB]", 0.0, 1e6)
    policy: str = setting("default", "what the worker runs: default (shipped), expert (simulator only), a preset, or a folder")
    initial_mode: str = setting("manual", "mode at start", choices=("manual", "vla", "hybrid"))


@dataclass(frozen=True)
class BridgeSettings:
    """The camera bridge's ring."""

    max_width: int = setting(1280, "widest frame that is taken [px]", 1, 8192)
    max_height: int = setting(720, "highest frame that is taken [px]", 1, 8192)
    slots: int = setting(4, "frames kept", 2, 32)


@dataclass(frozen=True)
class CameraSettings:
    """The camera node: what it publishes and from where."""

    source: str = setting("usb:0", "csi:N, usb:N, a video file or a folder of pictures")
    rate_hz: float = setting(30.0, "frames a second, at most [Hz]", 0.1, 120.0)
    width: int = setting(1280, "width of what is published [px]", 16, 8192)
    height: int = setting(720, "height of what is published [px]", 16, 8192)
    fovy_deg: float = setting(0.0, "vertical field of view of what is published [deg]; 0: not known, no camera_info", 0.0, 150.0)
    loop: bool = setting(False, "begin a file or folder again when it ends")
    frame_id: str = setting("camera", "frame of the header")
    csi_pipeline: str = setting(
        "nvarguscamerasrc sensor-id={number} ! video/x-raw(memory:NVMM),width={width},height={height},framerate={rate}/1 ! "
        "nvvidconv ! video/x-raw,format=BGRx ! videoconvert ! video/x-raw,format=BGR ! "
        "appsink drop=true max-buffers=1 sync=false",
        "GStreamer pipeline of csi:N",
    )


@dataclass(frozen=True)
class SimSettings:
    """The simulated robot over ROS."""

    scene: str = setting("1box_vert_left", "one of the eight scenes: {1box,2box}_{vert,hori}_{left,right}")
    distance: str = setting("medium", "how far the boxes are", choices=("close", "medium", "far"))
    position: str = setting("center", "where the boxes are", choices=("left", "center", "right"))
    pattern: str = setting("core", "how plain the scene is", choices=("core", "variant"))
    seed: int = setting(0, "everything else about the scene", 0, 2**31 - 1)
    camera_rate_hz: float = setting(15.0, "camera frames a second [Hz]", 0.5, 60.0)
    camera_width: int = setting(1280, "width of the picture [px]", 16, 1920)
    camera_height: int = setting(720, "height of the picture [px]", 16, 1080)
    odom: bool = setting(True, "publish odom")
    scan: bool = setting(True, "publish scan")
    battery: bool = setting(True, "publish battery_state")
    camera_fault: str = setting("none", "what is wrong with the camera", choices=("none", "frozen", "lost"))
    cmd_vel_type: str = setting("Twist", "message type of cmd_vel", choices=("Twist", "TwistStamped"))


_KNOWN = {"use_sim_time"} | {  # the former is every ROS node's; lockstep has no other time anyway
    item.name
    for kind in (GateSettings, TreeSettings, BridgeSettings, CameraSettings, SimSettings)
    for item in dataclasses.fields(kind)
}

S = TypeVar("S")


def build(kind: type[S], values: dict[str, Any], where: str) -> S:
    """Build a settings object from plain values, refusing what does not fit.

    Raises
    ------
    SettingsError
        With one line naming ``where``, the setting and what would be right.
    """
    fields: dict[str, Any] = {item.name: item for item in dataclasses.fields(kind)}  # type: ignore[arg-type]
    unknown = sorted(set(values) - set(fields))
    if unknown:
        raise SettingsError(f"{where}: unknown setting '{unknown[0]}'; known: {', '.join(sorted(fields))}")
    checked = {name: check(fields[name], value, where) for name, value in values.items()}
    return kind(**checked)


def check(item: dataclasses.Field[Any], value: Any, where: str) -> Any:
    """Return ``value`` as the field's type, or raise :class:`SettingsError`."""
    name, low, high = item.name, item.metadata["low"], item.metadata["high"]
    kinds: dict[str, type[Any]] = {"float": float, "int": int, "str": str, "bool": bool, "list[str]": list}
    kind = kinds[str(item.type)]
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        value = float(value)
    if not isinstance(value, kind) or (kind is not bool and isinstance(value, bool)):
        raise SettingsError(f"{where}: {name} is {value!r}; expected {item.type} ({item.metadata['doc']})")
    if low is not None and not low <= value <= high:
        raise SettingsError(f"{where}: {name} is {value:g}; expected {low:g} to {high:g} ({item.metadata['doc']})")
    if kind is list and not all(isinstance(entry, str) for entry in value):
        raise SettingsError(f"{where}: {name} is {value!r}; expected a list of words ({item.metadata['doc']})")
    choices = item.metadata["choices"]
    if choices and kind is list:
        strange = [entry for entry in value if entry not in choices]
        if strange:
            words = name.rpartition("_")[2]  # required_inputs: an input
            noun = words.removesuffix("es") if words.endswith("sses") else words.removesuffix("s")
            raise SettingsError(f"{where}: {name}: unknown {noun} {strange[0]!r}; known: {', '.join(choices)}")
    elif choices and value not in choices:
        raise SettingsError(f"{where}: {name} is {value!r}; expected one of {', '.join(choices)}")
    return value


def config_path(name: str) -> Path:
    """Return the path of a file shipped in ``config/``.

    Raises
    ------
    SettingsError
        When there is no such file.
    """
    path = Path(str(importlib.resources.files("vla_bt.config"))) / name
    if not path.is_file():
        raise SettingsError(f"no configuration file config/{name}")
    return path


def read_yaml(path: Path) -> dict[str, Any]:
    """Read a YAML mapping, with a one-line error for anything else."""
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise SettingsError(f"{path}: {error.strerror}") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path}: not valid YAML: {' '.join(str(error).split())}") from None
    if not isinstance(content, dict):
        raise SettingsError(f"{path}: expected a mapping at the top, got {type(content).__name__}")
    return content


def load(kind: type[S], node: str, path: Path | None = None) -> S:
    """Load the settings of ``node`` from a ROS parameter file (default: the shipped ``config/robot.yaml``).

    As in ROS, a section ``/**`` is for all nodes and the node's own section counts more.

    Raises
    ------
    SettingsError
        With one line, when the file can't be read or something in these sections doesn't fit.
    """
    path = path or config_path("robot.yaml")
    content = read_yaml(path)
    own = {item.name for item in dataclasses.fields(kind)}  # type: ignore[arg-type]
    found: dict[str, Any] = {}
    for name in ("/**", f"/**/{node}", f"/{node}", node):
        section = content.get(name, {})
        parameters = section.get("ros__parameters", {}) if isinstance(section, dict) else None
        if not isinstance(parameters, dict):
            raise SettingsError(f"{path}: {name}: expected 'ros__parameters:' with a mapping under it")
        if name == "/**":
            strange = sorted(str(word) for word in set(parameters) - _KNOWN)
            if strange:
                raise SettingsError(f"{path}: /**: no node has a setting '{strange[0]}'")
            parameters = {word: value for word, value in parameters.items() if word in own}
        found |= parameters
    return build(kind, found, f"{path}: {node}")

"""Records between the tree and the policy's worker, on top of ``vla_bt.wire``.

Promises: fixed layouts with magic and version; what does not decode is a ``WireError`` for the socket's owner to count and drop.
A result may hold non-finite numbers only if its flag says so: they are to be seen and refused, not hidden. It carries the actions
after and before they were limited.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

import numpy as np

from vla_bt.policy.port import Grade, PolicyInfo, PolicyStep, WorkerMemory
from vla_bt.policy.step import NetworkStep
from vla_bt.wire import VERSION, WireError, body_of, unpack
from vla_bt.words import Twist

GOAL, STEP, RESULT, INFO, HEARTBEAT, ERROR = b"VBPG", b"VBPS", b"VBPR", b"VBPI", b"VBPH", b"VBPE"
SET_GRADE, CLEAR, MEMORY = b"VBPL", b"VBPC", b"VBPM"
MAX_GOAL_BYTES = 2048
MAX_CHUNK = 16
_MAX_TEXT = 500

_PREFIX = struct.Struct("<4sH")
_GOAL = struct.Struct("<Q")
_STEP = struct.Struct("<QQd3d")
_RESULT = struct.Struct("<IQQdddBB")
_INFO = struct.Struct("<IIIdBdB")
_HEARTBEAT = struct.Struct("<IBQQ")
_ERROR = struct.Struct("<IBQQ")
_GRADE = struct.Struct("<B")
_MEMORY = struct.Struct("<I4dQ2d")
_HIT, _CLAMPED, _NOT_FINITE = 1, 2, 4


@dataclass(frozen=True)
class StepRequest:
    """Take one step on this frame for this goal."""

    goal_id: int
    frame_sequence: int
    frame_time_s: float
    measured: Twist


@dataclass(frozen=True)
class StepResult:
    """A step of the worker with process id ``pid``."""

    pid: int
    goal_id: int
    frame_sequence: int
    frame_time_s: float
    step: PolicyStep


@dataclass(frozen=True)
class WorkerInfo:
    """The worker is ready with this policy; ``busy_s`` is how long a new goal with its first step took when warm [s]."""

    pid: int
    info: PolicyInfo
    busy_s: float
    grade: Grade = Grade.FULL


@dataclass(frozen=True)
class Heartbeat:
    """The worker's loop goes round. ``ignored`` counts datagrams it could not read."""

    pid: int
    ready: bool
    steps: int
    ignored: int


@dataclass(frozen=True)
class WorkerError:
    """A step was not taken, or (``fatal``) the worker is about to exit. ``unknown_goal`` asks for the goal again."""

    pid: int
    goal_id: int
    frame_sequence: int
    text: str
    unknown_goal: bool = False
    fatal: bool = False


def kind_of(data: bytes) -> bytes:
    """Return a datagram's magic word."""
    return data[:4]


def _record(magic: bytes, layout: struct.Struct, *values: object, tail: bytes = b"") -> bytes:
    return _PREFIX.pack(magic, VERSION) + layout.pack(*values) + tail


def _text(data: bytes) -> str:
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        raise WireError("text is not UTF-8") from None


def pack_goal(goal_id: int, goal: str) -> bytes:
    """Encode a goal; raises :class:`WireError` above :data:`MAX_GOAL_BYTES`."""
    text = goal.encode("utf-8", "replace")
    if len(text) > MAX_GOAL_BYTES:
        raise WireError(f"goal of {len(text)} bytes, at most {MAX_GOAL_BYTES}")
    return _record(GOAL, _GOAL, goal_id, tail=text)


def unpack_goal(data: bytes) -> tuple[int, str]:
    """Decode a goal to its id and text."""
    body = body_of(data, GOAL)
    if len(body) > _GOAL.size + MAX_GOAL_BYTES:
        raise WireError(f"goal of {len(body) - _GOAL.size} bytes, at most {MAX_GOAL_BYTES}")
    (goal_id,) = unpack(_GOAL, body[: _GOAL.size])
    return int(goal_id), _text(body[_GOAL.size :])


def pack_step(request: StepRequest) -> bytes:
    """Encode a request for a step."""
    return _record(STEP, _STEP, request.goal_id, request.frame_sequence, request.frame_time_s, *request.measured)


def unpack_step(data: bytes) -> StepRequest:
    """Decode a request for a step."""
    goal_id, sequence, time_s, *twist = unpack(_STEP, body_of(data, STEP))
    return StepRequest(int(goal_id), int(sequence), float(time_s), Twist(*(float(value) for value in twist)))


def pack_result(result: StepResult) -> bytes:
    """Encode a step's result."""
    step = result.step
    chunk = np.asarray(step.actions, "<f4")
    if chunk.ndim != 2 or chunk.shape[1] != 3 or not 1 <= len(chunk) <= MAX_CHUNK:
        raise WireError(f"actions of shape {chunk.shape}; expected (1 to {MAX_CHUNK}, 3)")
    raw = np.asarray(getattr(step, "raw_actions", chunk), "<f4")
    if raw.shape != chunk.shape:
        raw = chunk
    flags = _HIT * step.text_cache_hit | _CLAMPED * step.clamped | _NOT_FINITE * (not step.finite)
    tail = chunk.tobytes() + raw.tobytes() + struct.pack("<f", step.stop_probability)
    head = (result.pid, result.goal_id, result.frame_sequence, result.frame_time_s, step.action_period_s, step.latency_s)
    return _record(RESULT, _RESULT, *head, flags, len(chunk), tail=tail)


def unpack_result(data: bytes) -> StepResult:
    """Decode a step's result."""
    body = body_of(data, RESULT)
    head = unpack(_RESULT, body[: _RESULT.size])
    pid, goal_id, sequence = (int(value) for value in head[:3])
    time_s, period_s, latency_s = (float(value) for value in head[3:6])
    flags, count = int(head[6]), int(head[7])
    numbers = np.frombuffer(body[_RESULT.size :], "<f4") if not (len(body) - _RESULT.size) % 4 else np.empty(0, "<f4")
    if not 1 <= count <= MAX_CHUNK or len(numbers) != 6 * count + 1 or period_s <= 0.0:
        raise WireError(f"result of {len(body)} bytes does not hold {count} actions")
    actions, raw_actions = numbers[:-1].reshape(2, count, 3).astype(np.float32)
    step = NetworkStep(
        actions=actions,
        raw_actions=raw_actions,
        action_period_s=period_s,
        stop_probability=float(numbers[-1]),
        latency_s=latency_s,
        text_cache_hit=bool(flags & _HIT),
        clamped=bool(flags & _CLAMPED),
    )
    if step.finite == bool(flags & _NOT_FINITE):
        raise WireError("result's numbers and its flag disagree on being finite")
    return StepResult(pid, goal_id, sequence, time_s, step)


def pack_info(worker: WorkerInfo) -> bytes:
    """Encode what the worker says of its policy; long texts are cut."""
    info = worker.info
    texts = (info.name[:_MAX_TEXT], info.label[:_MAX_TEXT], info.weights_hash[:_MAX_TEXT])
    tail = "\0".join(text.replace("\0", " ") for text in texts).encode()
    return _record(INFO, _INFO, worker.pid, *info.picture, info.needs_frame, worker.busy_s, worker.grade, tail=tail)


def unpack_info(data: bytes) -> WorkerInfo:
    """Decode what the worker says of its policy."""
    body = body_of(data, INFO)
    pid, width, height, fovy_deg, needs_frame, busy_s, grade = unpack(_INFO, body[: _INFO.size])
    texts = _text(body[_INFO.size :]).split("\0")
    if len(texts) != 3:
        raise WireError(f"info holds {len(texts)} texts, expected 3")
    info = PolicyInfo(texts[0], texts[1], int(width), int(height), texts[2], bool(needs_frame), float(fovy_deg))
    return WorkerInfo(int(pid), info, float(busy_s), _grade(grade))


def pack_heartbeat(beat: Heartbeat) -> bytes:
    """Encode a heartbeat."""
    return _record(HEARTBEAT, _HEARTBEAT, beat.pid, beat.ready, beat.steps, beat.ignored)


def unpack_heartbeat(data: bytes) -> Heartbeat:
    """Decode a heartbeat."""
    pid, ready, steps, ignored = unpack(_HEARTBEAT, body_of(data, HEARTBEAT))
    return Heartbeat(int(pid), bool(ready), int(steps), int(ignored))


def pack_error(error: WorkerError) -> bytes:
    """Encode an error; the text is cut."""
    flags = error.unknown_goal | error.fatal << 1
    tail = error.text.encode("utf-8", "replace")[:_MAX_TEXT]
    return _record(ERROR, _ERROR, error.pid, flags, error.goal_id, error.frame_sequence, tail=tail)


def unpack_error(data: bytes) -> WorkerError:
    """Decode an error."""
    body = body_of(data, ERROR)
    pid, flags, goal_id, sequence = (int(value) for value in unpack(_ERROR, body[: _ERROR.size]))
    text = body[_ERROR.size :].decode("utf-8", "replace")
    return WorkerError(pid, goal_id, sequence, text, bool(flags & 1), bool(flags & 2))


def pack_set_grade(grade: Grade) -> bytes:
    """Encode the wish for a grade."""
    return _record(SET_GRADE, _GRADE, grade)


def unpack_set_grade(data: bytes) -> Grade:
    """Decode the wish for a grade."""
    (grade,) = unpack(_GRADE, body_of(data, SET_GRADE))
    return _grade(grade)


def _grade(value: float | bytes) -> Grade:
    try:
        return Grade(int(value))
    except ValueError:
        raise WireError(f"unknown grade {value!r}") from None


def pack_clear() -> bytes:
    """Encode the wish for cleared caches."""
    return _PREFIX.pack(CLEAR, VERSION)


def pack_memory(pid: int, memory: WorkerMemory) -> bytes:
    """Encode what a worker says of its memory."""
    used = (memory.rss_mb, memory.gpu_allocated_mb, memory.gpu_reserved_mb, memory.gpu_free_mb)
    return _record(MEMORY, _MEMORY, pid, *used, memory.clears, memory.cleared_mb, memory.shrunk_mb)


def unpack_memory(data: bytes) -> tuple[int, WorkerMemory]:
    """Decode process id and memory."""
    pid, rss, allocated, reserved, free, clears, cleared, shrunk = unpack(_MEMORY, body_of(data, MEMORY))
    used = (float(rss), float(allocated), float(reserved), float(free))
    return int(pid), WorkerMemory(*used, int(clears), float(cleared), float(shrunk))

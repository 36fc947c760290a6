"""The gate's rule: the last word on what the robot is told to do, as a pure function of time, state and events.

Promises, whoever sends whatever:

- never above the speed limits, and never a change faster than the acceleration limits, except towards an immediate stop;
- zero at once, without a ramp, on: emergency stop (latched until a reset, which is refused while the input is still active), a
  request past its time to live (the shorter of its own and the cap, from when it was sent, from its receipt at the latest: what
  waited for a busy gate is as old as it is), a request of the safety branch,
  a request that is not finite, a clock that goes backwards, and after the gate itself was held up (what queued then is old);
- after a reset only a request received after it, and decided in knowledge of the stop, moves the robot.

Requests are numbered by the tree's tick. While the newest request is alive, one that is not newer is ignored: a replayed or late
datagram can't prolong a velocity, and of two trees the one with the lower count is not obeyed. Once the newest request has run
out, any number begins a new run, so a restarted tree is obeyed after one time to live at most. A request to stop is always taken.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from vla_bt.port import GateStatus, Request
from vla_bt.settings import GateSettings
from vla_bt.words import ZERO, Source, Twist


@dataclass(frozen=True)
class GateState:
    """Everything the gate remembers.

    Attributes
    ----------
    clock_s : float
        Latest time seen [s].
    stepped_s : float or None
        Time of the last step [s].
    request : Request or None
        The request that counts; None when there is none alive.
    received_s : float
        When it was sent, or received where that is earlier [s].
    tick : int
        Highest tick of the current run of requests.
    pressed, latched : bool
        The emergency stop's input, and its latch.
    stops : int
        Counts emergency stops, from wherever this gate began to count.
    fault, fault_until_s : str, float
        What is wrong, and how long that keeps the robot still [s].
    applied : Twist
        The velocity last let through.
    source : Source
        Whose it is; ``SAFETY`` while the gate itself holds the robot, ``IDLE`` in silence.
    words : str
        Why, for people.
    """

    clock_s: float = -math.inf
    stepped_s: float | None = None
    request: Request | None = None
    received_s: float = -math.inf
    tick: int = 0
    pressed: bool = False
    latched: bool = False
    stops: int = 0
    fault: str = ""
    fault_until_s: float = -math.inf
    applied: Twist = ZERO
    source: Source = Source.IDLE
    words: str = "no request yet"


def receive(state: GateState, settings: GateSettings, request: Request, now_s: float, sent_s: float | None = None) -> GateState:
    """Take a request that arrived at ``now_s`` and was sent at ``sent_s`` by the same clock (None: nobody tells)."""
    state = _at(state, settings, now_s)
    if not request.twist.is_finite() or not math.isfinite(request.valid_for_s):
        return _faulty(state, settings, f"the request of tick {request.tick} is not finite")
    if state.latched:
        return state
    alive = state.request is not None and state.clock_s - state.received_s < _time_to_live(state.request, settings)
    stops = request.source is Source.SAFETY or request.twist.is_zero()
    if not stops and (request.stops != state.stops or (alive and request.tick <= state.tick)):
        return state
    tick = max(state.tick, request.tick) if alive else request.tick
    since_s = state.clock_s if sent_s is None else min(state.clock_s, sent_s)
    late_s = state.clock_s - since_s
    if not stops and late_s >= _time_to_live(request, settings):
        return _stopped(replace(state, tick=tick), Source.IDLE, f"a request came {late_s:.2f} s after it was sent")
    return replace(state, request=request, received_s=since_s, tick=tick)


def refuse(state: GateState, settings: GateSettings, reason: str, now_s: float) -> GateState:
    """Note that something arrived that is no request: a fault, with ``reason`` in words."""
    return _faulty(_at(state, settings, now_s), settings, reason)


def press(state: GateState, settings: GateSettings, active: bool, now_s: float) -> GateState:
    """Take the emergency stop's input; an active one latches."""
    state = replace(_at(state, settings, now_s), pressed=active)
    if not active:
        return state
    stops = state.stops if state.latched else state.stops + 1
    return _stopped(replace(state, latched=True, stops=stops), Source.SAFETY, "emergency stop")


def reset(state: GateState, settings: GateSettings, now_s: float) -> GateState:
    """Release the latch, unless the emergency stop's input is still active. The state stays at rest without a request."""
    state = _at(state, settings, now_s)
    if state.pressed or not state.latched:
        return state
    return _stopped(replace(state, latched=False), Source.IDLE, "reset; waiting for a new request")


def step(state: GateState, settings: GateSettings, now_s: float) -> tuple[GateState, Twist, str]:
    """Decide the velocity for ``now_s``.

    Returns
    -------
    GateState, Twist, str
        The new state, the velocity to publish [m/s, m/s, rad/s], and the reason in words.
    """
    state = _stepped(_at(state, settings, now_s), settings)
    state = replace(state, stepped_s=state.clock_s)
    return state, state.applied, state.words


def limited(twist: Twist, settings: GateSettings) -> Twist:
    """Limit the speed.

    The linear part is scaled into the ellipse of the two speed limits, so that it keeps its direction and a diagonal is never
    faster than either axis allows. An axis with a limit of zero does not exist on this robot: its component is dropped first.
    """
    x = twist.linear_x if settings.max_linear_x > 0.0 else 0.0
    y = twist.linear_y if settings.max_linear_y > 0.0 else 0.0
    demand = math.hypot(x / (settings.max_linear_x or 1.0), y / (settings.max_linear_y or 1.0))
    scale = 1.0 / demand if demand > 1.0 else 1.0
    turn = max(-settings.max_angular_z, min(settings.max_angular_z, twist.angular_z))
    return Twist(x * scale, y * scale, turn)


def slewed(previous: Twist, wanted: Twist, settings: GateSettings, elapsed_s: float) -> Twist:
    """Move from ``previous`` towards ``wanted`` on a straight line no faster than the acceleration limits allow."""
    change_x, change_y = wanted.linear_x - previous.linear_x, wanted.linear_y - previous.linear_y
    change = math.hypot(change_x, change_y)
    allowed = settings.max_linear_acceleration * elapsed_s
    if change > allowed:
        share = allowed / change
        x, y = previous.linear_x + share * change_x, previous.linear_y + share * change_y
    else:
        x, y = wanted.linear_x, wanted.linear_y
    allowed = settings.max_angular_acceleration * elapsed_s
    turn = max(previous.angular_z - allowed, min(previous.angular_z + allowed, wanted.angular_z))
    return Twist(x, y, turn)


def _stepped(state: GateState, settings: GateSettings) -> GateState:
    """Return the state with the velocity, source and words for its time."""
    now_s = state.clock_s
    elapsed_s = settings.period_s if state.stepped_s is None else now_s - state.stepped_s
    if elapsed_s > settings.max_valid_for_s + settings.period_s:
        # What waited in the queue meanwhile looks fresh but is old.
        state = _stopped(state, Source.IDLE, f"the gate was held up for {elapsed_s:.2f} s; waiting for a new request")
    if state.latched:
        held = "emergency stop, still pressed" if state.pressed else "emergency stop, waiting for a reset"
        return _stopped(state, Source.SAFETY, held)
    if now_s < state.fault_until_s:
        return replace(state, applied=ZERO, source=Source.SAFETY, words=state.fault)
    request = state.request
    if request is None:
        return replace(state, applied=ZERO, source=Source.IDLE)
    if now_s - state.received_s >= _time_to_live(request, settings):
        return _stopped(state, Source.IDLE, "no request in time")
    if request.source is Source.SAFETY:
        return replace(state, applied=ZERO, source=Source.SAFETY, words="protective stop")
    applied = slewed(state.applied, limited(request.twist, settings), settings, elapsed_s)
    words = request.source.name.lower() if applied == request.twist else f"{request.source.name.lower()}, limited"
    return replace(state, applied=applied, source=request.source, words=words)


def _at(state: GateState, settings: GateSettings, now_s: float) -> GateState:
    """Move the state's clock to ``now_s``; a clock that goes backwards or is not a number is a fault."""
    if now_s >= state.clock_s and math.isfinite(now_s):
        return state if now_s == state.clock_s else replace(state, clock_s=now_s)
    if not math.isfinite(now_s):
        return _faulty(state, settings, f"the clock reads {now_s}")
    back_s = state.clock_s - now_s
    return _faulty(replace(state, clock_s=now_s, stepped_s=now_s), settings, f"the clock went back by {back_s:.3f} s")


def _faulty(state: GateState, settings: GateSettings, fault: str) -> GateState:
    until_s = state.clock_s + settings.fault_hold_s
    return _stopped(replace(state, fault=fault, fault_until_s=until_s), Source.SAFETY, fault)


def _stopped(state: GateState, source: Source, words: str) -> GateState:
    """Return the state at rest, its request forgotten."""
    return replace(state, request=None, applied=ZERO, source=source, words=words)


def _time_to_live(request: Request, settings: GateSettings) -> float:
    return min(request.valid_for_s, settings.max_valid_for_s)


class GateRule:
    """The rule with its state, for one caller (not thread-safe). Times are one monotonic clock's [s].

    Parameters
    ----------
    settings : GateSettings
        Limits and deadlines; may be replaced at any time. Lowered limits are reached at the acceleration limits.
    stops : int
        Where to begin to count emergency stops: another number for each gate process, so that a new gate is noticed.
    """

    def __init__(self, settings: GateSettings, stops: int = 0) -> None:
        self.settings = settings
        self.state = GateState(stops=stops)

    def receive(self, request: Request, now_s: float, sent_s: float | None = None) -> None:
        """Take a request, and when it was sent by the same clock."""
        self.state = receive(self.state, self.settings, request, now_s, sent_s)

    def refuse(self, reason: str, now_s: float) -> None:
        """Note a message that is no request."""
        self.state = refuse(self.state, self.settings, reason, now_s)

    def emergency_stop(self, active: bool, now_s: float) -> None:
        """Take the emergency stop's input."""
        self.state = press(self.state, self.settings, active, now_s)

    def reset(self, now_s: float) -> bool:
        """Release the latch; False while the emergency stop's input is still active."""
        self.state = reset(self.state, self.settings, now_s)
        return not self.state.latched

    def step(self, now_s: float) -> Twist:
        """Return the velocity to publish now."""
        self.state, twist, _ = step(self.state, self.settings, now_s)
        return twist

    def status(self, now_s: float) -> GateStatus:
        """Report what was last decided."""
        state = self.state
        fault = state.fault if now_s < state.fault_until_s else ""
        return GateStatus(state.latched, fault, state.applied, state.source, now_s, state.stops, self.settings, state.words)

"""How long each fault may take to end in zero velocity, worked out from the settings alone.

Promises: each bound is for the worst moment the fault can come, on a machine that is never late; what a machine adds is what the
benchmark measures. ``T`` below is the tree's tick, ``G`` the gate's period.
"""

from __future__ import annotations

from vla_bt.settings import GateSettings, TreeSettings

AIM_S = 0.3
"""Zero on ``cmd_vel`` after anything stale or dead [s]."""

BASE_TIMEOUT_S = 0.5
"""Silence on ``cmd_vel`` after which a base stops by itself [s]."""

BASE_REST_S = 0.5
"""What a base may take to come to rest after that [s]."""

CAMERA_RATE_HZ = 15.0
"""Pictures a second of the simulated camera [Hz]."""


def tree_gone_s(tree: TreeSettings, gate: GateSettings) -> float:
    """Return the bound for a tree that is dead or hangs: the last request's time to live + G."""
    return min(tree.request_valid_for_s, gate.max_valid_for_s) + gate.period_s


def worker_dead_s(tree: TreeSettings, gate: GateSettings) -> float:
    """Return the bound for a dead policy worker: the next tick sees it, + G."""
    return tree.tick_period_s + gate.period_s


def worker_hangs_s(tree: TreeSettings, gate: GateSettings) -> float:
    """Return the bound for a policy worker that hangs right after an answer: that answer's time to live + T + G."""
    return tree.policy_output_timeout_s + tree.tick_period_s + gate.period_s


def camera_gone_s(tree: TreeSettings, gate: GateSettings) -> float:
    """Return the bound for frames that no longer come, the last just before: its time to live + T + G."""
    return tree.camera_timeout_s + tree.tick_period_s + gate.period_s


def camera_frozen_s(tree: TreeSettings, gate: GateSettings) -> float:
    """Return the bound for a picture that no longer changes, at :data:`CAMERA_RATE_HZ`: the repeats that count + T + G.

    It holds from :func:`camera_frozen_from_speed` on (0.1 m/s as shipped). A slower robot takes until it has moved
    ``camera_frozen_m``: at 0.05 m/s, 0.4 s instead of the repeats' 0.2 s.
    """
    return tree.camera_frozen_frames / CAMERA_RATE_HZ + tree.tick_period_s + gate.period_s


def camera_frozen_from_speed(tree: TreeSettings) -> float:
    """Return the speed [m/s] at which ``camera_frozen_m`` takes as long as the repeats that count; a turn counts as its arc."""
    return tree.camera_frozen_m / (tree.camera_frozen_frames / CAMERA_RATE_HZ)


def emergency_stop_s(tree: TreeSettings, gate: GateSettings) -> float:
    """Return the bound for the emergency stop: the gate answers at once, + G."""
    return gate.period_s


def gate_gone_s(tree: TreeSettings, gate: GateSettings) -> float:
    """Return the bound for a gate that is dead or hangs: nobody is left but the base itself."""
    return BASE_TIMEOUT_S

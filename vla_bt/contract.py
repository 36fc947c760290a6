"""The blackboard contract: every key with its type, unit, time to live, its single writer and its readers.

Promises: this is the only list. ``vla_bt.trees.root.create_root`` refuses a tree whose leaves read or write anything else
(:func:`violations`), and a reader of a value past its time to live gets :data:`STALE`, never the old value. No key holds pixels.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum
from typing import Any, Final

from vla_bt.settings import TreeSettings


class Staleness(Enum):
    """The type of :data:`STALE`."""

    STALE = "stale"

    def __bool__(self) -> bool:
        return False


STALE: Final = Staleness.STALE
"""What a reader gets for a value that was never written or has outlived its time to live."""


@dataclass(slots=True)
class Stamped:
    """A value on the blackboard with the time it was true [s]. No tuple: stock watchers print values with ``%``."""

    value: Any
    at_s: float


@dataclass(frozen=True)
class Key:
    """One line of the contract.

    Attributes
    ----------
    name : str
        The blackboard key.
    kind, unit : str
        Type and unit, for people.
    ttl : str
        Name of the ``TreeSettings`` field that holds the time to live; ``tick`` for a value good in the tick that wrote it;
        ``kept`` for a state that holds until it is written again.
    writer : str
        Class name of the only leaf that writes it; ``compose`` for the step after the tick.
    readers : tuple of str
        Class names of the leaves that read it, ``compose``, and ``RunLog`` where nobody else does (it notes every key).
    """

    name: str
    kind: str
    unit: str
    ttl: str
    writer: str
    readers: tuple[str, ...]

    def ttl_s(self, settings: TreeSettings) -> float:
        """Return the time to live [s]; 0 for ``tick``, infinite for ``kept``."""
        if self.ttl == "tick":
            return 0.0
        if self.ttl == "kept":
            return float("inf")
        return float(getattr(settings, self.ttl))


_ROWS = (
    # what the robot and its people say, stamped with the time of receipt
    Key("now", "float", "s", "tick", "CopySnapshot", ()),
    Key("tick", "int", "1", "tick", "CopySnapshot", ()),
    Key("lateness", "float", "s", "tick", "CopySnapshot", ("NameCauses",)),
    Key("frame", "FrameInfo", "px, s", "camera_timeout_s", "CopySnapshot", ("ConsultPolicy", "AppendFrame")),
    Key(
        "odometry",
        "Odometry",
        "m, rad, m/s",
        "odometry_timeout_s",
        "CopySnapshot",
        ("ConsultPolicy", "CarryOutMotion", "AppendFrame", "MemoryFine"),
    ),
    Key(
        "gate",
        "GateStatus",
        "m/s",
        "gate_timeout_s",
        "CopySnapshot",
        ("TakeRequests", "ConsultPolicy", "CarryOutMotion", "SubgoalReached", "AppendFrame", "MemoryFine"),
    ),
    Key("teleop", "TeleopInput", "m/s", "teleop_timeout_s", "CopySnapshot", ("ProtectiveStop", "FollowTeleop", "TakeOver")),
    Key("snapshot", "Snapshot", "", "tick", "CopySnapshot", ("TakeRequests", "NameCauses", "AppendFrame")),
    # what people want
    Key(
        "mode",
        "Mode",
        "",
        "kept",
        "TakeRequests",
        ("NameCauses", "ModeIs", "ProtectiveStop", "ConsultPolicy", "AppendFrame", "compose"),
    ),
    Key(
        "goal",
        "ActiveGoal | None",
        "",
        "tick",
        "TakeRequests",
        (
            "ConsultPolicy",
            "GoalActive",
            "SubgoalIs",
            "CarryOutMotion",
            "StandStill",
            "FollowPolicy",
            "SubgoalReached",
            "AppendFrame",
        ),
    ),
    Key("goal_expired", "bool", "", "tick", "TakeRequests", ("NameCauses",)),
    Key("goal_events", "tuple of GoalEvent", "", "tick", "TakeRequests", ("RunLog",)),
    Key("recording", "int: which one is asked for, 0 for none", "1", "kept", "TakeRequests", ("AppendFrame", "CloseEpisode")),
    # what the policy says
    Key("policy_frame", "int: sequence of the frame it was handed last", "1", "kept", "ConsultPolicy", ("AppendFrame",)),
    Key("policy_status", "PolicyStatus", "", "tick", "ConsultPolicy", ("NameCauses", "AppendFrame", "MemoryFine")),
    Key(
        "policy_output",
        "PolicyOutput",
        "m/s",
        "policy_output_timeout_s",
        "ConsultPolicy",
        ("NameCauses", "FollowPolicy", "AppendFrame"),
    ),
    # what holds the robot
    Key("verdict", "Verdict", "", "tick", "NameCauses", ("ProtectiveStop", "compose")),
    Key("around", "Blocked", "rad", "tick", "NameCauses", ("compose",)),
    Key(
        "memory",
        "MemoryState",
        "MB",
        "kept",
        "MemoryFine",
        ("ClearCaches", "ShortenRecording", "DegradePolicy", "UnloadPolicy", "NameCauses", "TakeRequests"),
    ),
    # what the drive branch proposes: the one stamped with this tick becomes the request
    Key("proposal_safety", "Proposal", "m/s", "tick", "ProtectiveStop", ("compose",)),
    Key("proposal_teleop", "Proposal", "m/s", "tick", "FollowTeleop", ("compose",)),
    Key("proposal_takeover", "Proposal", "m/s", "tick", "TakeOver", ("compose",)),
    Key("proposal_motion", "Proposal", "m/s", "tick", "CarryOutMotion", ("compose",)),
    Key("proposal_policy", "Proposal", "m/s", "tick", "FollowPolicy", ("compose",)),
    Key("proposal_idle", "Proposal", "m/s", "tick", "Idle", ("compose",)),
    Key("proposal_stand", "Proposal", "m/s", "tick", "StandStill", ("compose",)),
    Key("motion", "MotionOutcome", "", "tick", "CarryOutMotion", ("SubgoalReached",)),
    Key("outcome", "Outcome", "", "kept", "SubgoalReached", ("TakeRequests",)),
    # what became of it
    Key("request", "Request", "m/s", "kept", "compose", ("AppendFrame",)),
)

KEYS: dict[str, Key] = {row.name: row for row in _ROWS}
PROPOSALS: tuple[str, ...] = tuple(name for name in KEYS if name.startswith("proposal_"))


def violations(leaves: Iterable[tuple[str, str, tuple[str, ...], tuple[str, ...]]]) -> list[str]:
    """List what a tree's leaves do that the contract does not allow.

    Parameters
    ----------
    leaves : iterable of (display name, class name, keys read, keys written)

    Returns
    -------
    list of str
        One line each; empty when the tree keeps the contract.
    """
    problems: list[str] = []
    writers: dict[str, str] = {}
    read: dict[str, str] = {}
    for label, kind, reads, writes in leaves:
        for name in writes:
            if name not in KEYS:
                problems.append(f"'{label}' ({kind}) writes '{name}', which is not in the contract")
            elif KEYS[name].writer != kind:
                problems.append(f"'{label}' ({kind}) writes '{name}'; its only writer is {KEYS[name].writer}")
            elif name in writers:
                problems.append(f"'{label}' and '{writers[name]}' both write '{name}'")
            writers.setdefault(name, label)
        for name in reads:
            if name not in KEYS:
                problems.append(f"'{label}' ({kind}) reads '{name}', which is not in the contract")
            elif kind not in KEYS[name].readers:
                problems.append(f"'{label}' ({kind}) reads '{name}'; its readers are {', '.join(KEYS[name].readers) or 'none'}")
            read.setdefault(name, label)
    for name, label in read.items():
        if name in KEYS and name not in writers and KEYS[name].writer != "compose":
            problems.append(f"'{label}' reads '{name}', but its writer {KEYS[name].writer} is not in the tree")
    return problems

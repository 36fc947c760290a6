"""One moment of the tree as plain data, small enough to send to any viewer: no pixels, no blackboard dump."""

from __future__ import annotations

import json
from typing import Any

from py_trees.behaviour import Behaviour

from vla_bt.port import Request
from vla_bt.words import Mode

MARKS = {"SUCCESS": "✓", "RUNNING": "▶", "FAILURE": "✗", "INVALID": "·"}
MESSAGE_LIMIT = 120
SHORTER = (60, 20, 0)
MESSAGES_LAST = ("nodes", "transitions", "causes")
"""Parts of a snapshot whose rows end in words for people."""


def tree_snapshot(root: Behaviour, request: Request, mode: Mode, words: str, time_s: float) -> dict[str, Any]:
    """Describe the tree after a tick.

    Returns
    -------
    dict
        ``tick``, ``time_s``, ``mode``, ``source``, ``words``, ``velocity`` (m/s, m/s, rad/s), and ``nodes``: depth, name, status,
        message, in tick order.
    """
    nodes: list[list[Any]] = []

    def walk(node: Behaviour, depth: int) -> None:
        nodes.append([depth, node.name, node.status.value, node.feedback_message[:MESSAGE_LIMIT]])
        for child in node.children:
            walk(child, depth + 1)

    walk(root, 0)
    return {
        "tick": request.tick,
        "time_s": round(time_s, 3),
        "mode": mode.value,
        "source": request.source.name.lower(),
        "words": words[:MESSAGE_LIMIT],
        "velocity": [round(value, 4) for value in request.twist],
        "nodes": nodes,
    }


def to_json(snapshot: dict[str, Any]) -> str:
    """Encode in one line."""
    return json.dumps(snapshot, ensure_ascii=False, separators=(",", ":"))


def to_json_within(snapshot: dict[str, Any], limit: int) -> str:
    """Encode in one line of at most ``limit`` bytes: long feedback messages are shortened where they must be.

    Nodes are never left out; what does not fit even without messages (a thousand nodes) is longer than the limit.
    """
    text = to_json(snapshot)
    for length in SHORTER:
        if 4 * len(text) <= limit or len(text.encode()) <= limit:
            break
        rows = {name: [[*row[:-1], row[-1][:length]] for row in snapshot[name]] for name in MESSAGES_LAST if name in snapshot}
        text = to_json(snapshot | rows)
    return text


def to_text(snapshot: dict[str, Any]) -> str:
    """Draw it as indented lines."""
    lines = []
    for depth, name, status, message in snapshot["nodes"]:
        lines.append(f"{'   ' * depth}{MARKS[status]} {name}" + (f"  - {message}" if message else ""))
    return "\n".join(lines)

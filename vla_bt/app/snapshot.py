"""One moment of the tree as plain data, small enough to send to any viewer: no pixels, no blackboard dump."""

from __future__ import annotations

import json
from typing import Any

from py_trees.behaviour import Behaviour

from vla_bt.port import Request
from vla_bt.words import Mode

MARKS = {"SUCCESS": "✓", "RUNNING": "▶", "FAILURE": "✗", "INVALID": "·"}
MESSAGE_LIMIT = 120


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


def to_text(snapshot: dict[str, Any]) -> str:
    """Draw it as indented lines."""
    lines = []
    for depth, name, status, message in snapshot["nodes"]:
        lines.append(f"{'   ' * depth}{MARKS[status]} {name}" + (f"  - {message}" if message else ""))
    return "\n".join(lines)

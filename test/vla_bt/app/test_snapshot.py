"""A moment of the tree as plain data: complete, small, and inert."""

from __future__ import annotations

import json

from vla_bt.app.snapshot import MESSAGE_LIMIT, to_json, to_text, tree_snapshot
from vla_bt.port import Request
from vla_bt.trees.root import create_root
from vla_bt.words import Mode, Source, Twist


def test_holds_every_node_and_stays_small() -> None:
    root = create_root()
    nodes = list(root.iterate())
    for node in nodes:
        node.feedback_message = "x" * 10_000
    snapshot = tree_snapshot(root, Request(Twist(0.1, 0.0, 0.2), Source.POLICY, tick=5), Mode.VLA, "why " * 100, 1.5)
    decoded = json.loads(to_json(snapshot))
    assert len(decoded["nodes"]) == len(nodes)
    assert all(len(message) <= MESSAGE_LIMIT for *_, message in decoded["nodes"])
    assert (decoded["mode"], decoded["source"], decoded["tick"]) == ("vla", "policy", 5)
    assert len(to_json(snapshot)) < 64 * 1024
    assert len(to_text(snapshot).splitlines()) == len(nodes)

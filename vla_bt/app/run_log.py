"""The tick's side of the run log: a tree and its blackboard as one moment, by references alone."""

from __future__ import annotations

from collections.abc import Callable

from py_trees.behaviour import Behaviour
from py_trees.blackboard import Blackboard

from vla_bt.port import Request
from vla_bt.runlog.encoder import Moment, Node


def nodes_of(root: Behaviour) -> list[Node]:
    """Describe a tree: its nodes in the order in which :func:`witness` hands their statuses over."""
    nodes: list[Node] = []

    def walk(node: Behaviour, depth: int) -> None:
        nodes.append(Node(node.name, type(node).__name__, depth))
        for child in node.children:
            walk(child, depth + 1)

    walk(root, 0)
    return nodes


def witness(root: Behaviour, take: Callable[[Moment], None]) -> Callable[[float, Request, str], None]:
    """Return what a loop calls after each tick with its time [s], its request and words.

    Nothing is copied but references: what leaves write is never changed afterwards.
    """
    nodes: list[Behaviour] = []

    def walk(node: Behaviour) -> None:
        nodes.append(node)
        for child in node.children:
            walk(child)

    walk(root)

    def hand_over(at_s: float, request: Request, words: str) -> None:
        statuses = [node.status for node in nodes]
        messages = [node.feedback_message for node in nodes]
        take(Moment(at_s, request.tick, request, words, statuses, messages, dict(Blackboard.storage)))

    return hand_over

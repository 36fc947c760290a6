"""The tick's side of the run log: a tree and its blackboard as one moment, by references alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from py_trees.behaviour import Behaviour
from py_trees.blackboard import Blackboard

from vla_bt.app.loop import Tree
from vla_bt.app.watching import TickTimes, in_tick_order
from vla_bt.diagnosis import Row
from vla_bt.port import Request
from vla_bt.resources import Resources
from vla_bt.runlog.encoder import Moment, Node

ROWS_PERIOD_S = 1.0


def nodes_of(root: Behaviour) -> list[Node]:
    """Describe a tree: its nodes in the order in which :class:`Witness` hands their statuses over."""
    nodes: list[Node] = []

    def walk(node: Behaviour, depth: int) -> None:
        nodes.append(Node(node.name, type(node).__name__, depth))
        for child in node.children:
            walk(child, depth + 1)

    walk(root, 0)
    return nodes


class Witness:
    """What a loop calls after each tick with its time [s], its request and words; times the ticks from when it is made.

    Nothing is copied but references: what leaves write is never changed afterwards.

    Parameters
    ----------
    tree : Tree
        Set up already.
    resources : Resources
        What its leaves share.
    take : callable
        Takes each moment; must return at once.
    diagnose : callable, optional
        Returns rows of diagnostics for a time [s]; called once a second of the tree's time. Without it, whoever makes rows
        leaves them in :attr:`rows`.

    Attributes
    ----------
    times : TickTimes
        How long ticks and leaves took.
    rows : sequence of Row or None
        Go with the next moment.
    """

    def __init__(
        self,
        tree: Tree,
        resources: Resources,
        take: Callable[[Moment], None],
        diagnose: Callable[[float], Sequence[Row]] | None = None,
    ) -> None:
        self._nodes = list(in_tick_order(tree.root))
        self._take, self._diagnose = take, diagnose
        self._due_s = float("-inf")
        self.rows: Sequence[Row] | None = None
        self.times = TickTimes(tree.root, resources)
        visitors: list[Any] = tree.visitors  # type: ignore[attr-defined]
        visitors.append(self.times)

    def __call__(self, at_s: float, request: Request, words: str) -> None:
        """Hand a tick over."""
        if self._diagnose is not None and at_s >= self._due_s:
            self._due_s = at_s + ROWS_PERIOD_S
            self.rows = self._diagnose(at_s)
        rows, self.rows = self.rows, None
        statuses = [node.status for node in self._nodes]
        messages = [node.feedback_message for node in self._nodes]
        board = dict(Blackboard.storage)
        self._take(Moment(at_s, request.tick, request, words, statuses, messages, board, self.times.take_window(), rows))

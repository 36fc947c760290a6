"""The tick loop: one tick of the tree, then exactly one request.

Promises: whatever happens in a tick, one request leaves after it: what the drive branch proposed, or zero. Leaves can't send. An
exception in a leaf, or a failed branch of the root, sends zero first and is then raised. Ending the loop terminates the running
leaves, after zero was sent; a leaf that fails at that keeps no other from it.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from functools import partial
from typing import Protocol

from py_trees.behaviour import Behaviour
from py_trees.blackboard import Blackboard
from py_trees.common import Status

from vla_bt.contract import PROPOSALS, Stamped
from vla_bt.control.compose import Composer
from vla_bt.port import Request, Robot
from vla_bt.proposal import Proposal
from vla_bt.resources import Resources
from vla_bt.words import ZERO, Mode, Source

logger = logging.getLogger(__name__)


class Tree(Protocol):
    """What the loop needs of ``py_trees.trees.BehaviourTree`` or its ROS namesake."""

    root: Behaviour

    def tick(self) -> None:
        """Tick once."""


class TickError(RuntimeError):
    """A leaf raised; zero velocity has been sent."""


class TickLoop:
    """Tick a tree in a world.

    Parameters
    ----------
    tree : Tree
        Set up already.
    robot : Robot
        The whole port, ``send`` included; the leaves only have ``resources.robot``.
    resources : Resources
        Shared with the leaves; the loop sets its tick, time and lateness.
    witness : callable, optional
        Told of each tick after its request has left: time [s], request, words. Must return at once.
    """

    def __init__(
        self,
        tree: Tree,
        robot: Robot,
        resources: Resources,
        witness: Callable[[float, Request, str], None] | None = None,
    ) -> None:
        self._tree = tree
        self._robot = robot
        self._resources = resources
        self.witness = witness
        self._composer = Composer(resources.settings)
        self._announced: tuple[Mode, Source] | None = None
        self.words = ""

    @property
    def root(self) -> Behaviour:
        """The tree's root, to look at."""
        return self._tree.root

    def tick(self, lateness_s: float = 0.0) -> Request:
        """Tick once and send one request.

        Parameters
        ----------
        lateness_s : float
            How long after its due time this tick begins [s].

        Raises
        ------
        TickError
            When a leaf raised; a zero request was sent before.
        """
        resources = self._resources
        resources.tick += 1
        resources.tick_time_s = self._robot.now()
        resources.lateness_s = lateness_s
        try:
            self._tree.tick()
            self._refuse_failed_branch()
            request = self._compose()
        except Exception as error:
            self.send_zero()
            leaf = self._tree.root.tip()
            where = f" near '{leaf.name}'" if leaf is not None else ""
            raise TickError(f"tick {resources.tick} failed{where}: {type(error).__name__}: {error}") from error
        self._robot.send(request)
        resources.sent_s = self._robot.now()
        if self.witness is not None:
            self.witness(resources.tick_time_s, request, self.words)
        return request

    def _refuse_failed_branch(self) -> None:
        """A failed branch ends the whole Parallel, which then starts its siblings anew every tick."""
        root = self._tree.root
        if root.status is not Status.RUNNING:
            failed = [branch.name for branch in root.children if branch.status is Status.FAILURE]
            raise RuntimeError(f"{', '.join(failed) or root.name} failed; no branch of the root may")

    def _compose(self) -> Request:
        resources, storage = self._resources, Blackboard.storage
        now_s = resources.tick_time_s
        proposals: list[Proposal] = []
        for key in PROPOSALS:
            entry: Stamped | None = storage.get("/" + key)
            if entry is not None and entry.at_s == now_s:
                proposals.append(entry.value)
        gate = storage["/snapshot"].value.gate
        request, self.words = self._composer.compose(
            proposals,
            storage["/mode"].value,
            storage["/verdict"].value,
            storage["/around"].value,
            now_s,
            resources.tick,
            gate.stops if gate is not None else 0,
        )
        storage["/request"] = Stamped(request, now_s)
        mode = storage["/mode"].value
        if (mode, request.source) != self._announced:
            self._announced = (mode, request.source)
            self._robot.publish_mode(mode, f"{request.source.name.lower()}: {self.words}")
        return request

    def send_zero(self) -> None:
        """Ask the gate to stop at once."""
        self._robot.send(
            Request(ZERO, Source.SAFETY, valid_for_s=self._resources.settings.request_valid_for_s, tick=self._resources.tick)
        )

    def shutdown(self) -> None:
        """Send zero, then terminate every leaf that was ticked; the first failure is raised when all is done."""
        ticked = [node for node in self._tree.root.iterate() if node.status is not Status.INVALID]
        steps: list[Callable[[], object]] = [
            self.send_zero,
            *(partial(Behaviour.stop, node, Status.INVALID) for node in ticked),  # a composite's own would stop at a failure
            partial(self._robot.publish_mode, Mode.MANUAL, "the tree has ended"),
        ]
        failures = do_all(steps)
        if failures:
            raise failures[0]


def do_all(steps: Iterable[Callable[[], object]]) -> list[Exception]:
    """Do every step in order, whatever becomes of the others. Returns the failures."""
    failures: list[Exception] = []
    for step in steps:
        try:
            step()
        except Exception as failure:
            failures.append(failure)
    return failures

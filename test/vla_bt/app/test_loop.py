"""The loop's ending: zero first, then every leaf, whatever one of them does."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from py_trees.behaviour import Behaviour
from py_trees.common import ParallelPolicy, Status
from py_trees.composites import Parallel, Sequence
from py_trees.trees import BehaviourTree

from vla_bt.app.loop import TickLoop, do_all
from vla_bt.port import Request
from vla_bt.settings import TreeSettings
from vla_bt.words import Mode, Source


class Failing(Behaviour):
    """A leaf that runs, and fails at its end when it is told to."""

    def __init__(self, name: str, said: list[str], fails: bool = False) -> None:
        super().__init__(name)
        self.said, self.fails = said, fails

    def update(self) -> Status:
        return Status.RUNNING

    def terminate(self, new_status: Status) -> None:
        if new_status is Status.INVALID and self.status is Status.RUNNING:
            self.said.append(self.name)
            if self.fails:
                raise RuntimeError(f"planted in {self.name}")


class Recorder:
    """Notes what the loop tells the robot."""

    def __init__(self, said: list[str]) -> None:
        self.said = said

    def send(self, request: Request) -> None:
        assert (request.twist.is_zero(), request.source) == (True, Source.SAFETY)
        self.said.append("zero")

    def publish_mode(self, mode: Mode, text: str) -> None:
        self.said.append(text)


def test_a_leaf_that_fails_at_its_end_keeps_no_other_from_it() -> None:
    said: list[str] = []
    first, second, third = Failing("first", said, fails=True), Failing("second", said), Failing("third", said, fails=True)
    branch = Sequence("branch", memory=True, children=[third])
    root = Parallel("root", ParallelPolicy.SuccessOnAll(synchronise=False), children=[first, second, branch])
    tree = BehaviourTree(root)
    robot: Any = Recorder(said)
    resources: Any = SimpleNamespace(settings=TreeSettings(), tick=1)
    tree.tick()
    with pytest.raises(RuntimeError, match="planted in first"):
        TickLoop(tree, robot, resources).shutdown()
    assert said == ["zero", "first", "second", "third", "the tree has ended"]


def test_every_step_is_done_in_order_and_every_failure_told() -> None:
    done: list[int] = []

    def step(number: int, failure: type[Exception] | None = None) -> Callable[[], None]:
        def do() -> None:
            done.append(number)
            if failure is not None:
                raise failure(str(number))

        return do

    failures = do_all([step(1), step(2, OSError), step(3), step(4, KeyError)])
    assert done == [1, 2, 3, 4]
    assert [type(failure) for failure in failures] == [OSError, KeyError]

"""Who carries the tree, and that nothing a viewer does can stop it.

The last two tests need ``py_trees_ros`` and its interfaces; the others stand in for it where they must.
"""

from __future__ import annotations

import itertools
import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

rclpy = pytest.importorskip("rclpy")

import py_trees.trees  # noqa: E402
from py_trees.behaviour import Behaviour  # noqa: E402
from py_trees.common import Status  # noqa: E402
from py_trees.visitors import SnapshotVisitor  # noqa: E402
from rclpy.executors import SingleThreadedExecutor  # noqa: E402
from rclpy.node import Node  # noqa: E402
from rclpy.parameter import Parameter  # noqa: E402
from std_msgs.msg import String  # noqa: E402
from std_srvs.srv import Trigger  # noqa: E402

from vla_bt.ros import hosting, qos  # noqa: E402
from vla_bt.ros.hosting import STREAM_PARAMETERS, host_tree, stream_parameters  # noqa: E402
from vla_bt.ros.parameters import declare  # noqa: E402
from vla_bt.settings import SettingsError, TreeSettings  # noqa: E402
from vla_bt.trees.root import create_root  # noqa: E402

pytestmark = pytest.mark.ros

RESOURCES: Any = object()
"""Handed on to the leaves as it is."""


class Alternating(Behaviour):
    """A leaf that changes its status when it is told to."""

    given: Any = None
    next = Status.RUNNING

    def setup(self, **kwargs: Any) -> None:
        self.given = kwargs["resources"]

    def update(self) -> Status:
        return self.next


class RosTree(py_trees.trees.BehaviourTree):
    """What hosting relies on in the tree of ``py_trees_ros``: a visitor, and in ``setup`` services and a post-tick handler."""

    def __init__(self, root: Behaviour) -> None:
        super().__init__(root)
        self.snapshot_visitor = SnapshotVisitor()
        self.visitors.append(self.snapshot_visitor)
        self.post_tick_handlers.append(lambda _: self.counted.append(self.count))
        self.counted: list[int] = []
        self.published: list[bool] = []
        self.failure: Exception | None = None

    def setup(self, node: Any = None, **kwargs: Any) -> None:  # type: ignore[override]
        for name in ("snapshot_streams/open", "blackboard_streams/open"):
            node.create_service(Trigger, f"~/{name}", self.answer)
        super().setup(node=node, **kwargs)
        self.post_tick_handlers.append(self.publish)

    def answer(self, _: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        if self.failure:
            raise self.failure
        response.success = True
        return response

    def publish(self, _: py_trees.trees.BehaviourTree) -> None:
        if self.failure:
            raise self.failure
        self.published.append(self.snapshot_visitor.changed)


class OldRosTree(RosTree):
    """As before 2.3: nothing but the node reaches the leaves."""

    def setup(self, node: Any = None) -> None:  # type: ignore[override]
        super().setup(node=node)


@pytest.fixture
def node(ros_context: Any) -> Iterator[Node]:
    node = Node("hosted", context=ros_context)
    yield node
    node.destroy_node()


@pytest.fixture
def warnings(node: Node, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    said: list[str] = []

    class Logger:
        def warning(self, words: str, **_: Any) -> None:
            said.append(words)

    monkeypatch.setattr(node, "get_logger", Logger)
    return said


def install(monkeypatch: pytest.MonkeyPatch, tree: type[Any] | None) -> None:
    """Let ``py_trees_ros`` be there with this tree, or be there and fail on import."""
    module = None
    if tree is not None:
        module = ModuleType("py_trees_ros.trees")
        module.BehaviourTree = tree  # type: ignore[attr-defined]
    monkeypatch.setattr(hosting, "has_py_trees_ros", lambda: True)
    monkeypatch.setitem(sys.modules, "py_trees_ros", module)
    monkeypatch.setitem(sys.modules, "py_trees_ros.trees", module)


def ask(node: Node, name: str) -> Any:
    """Call a service of the node from another one."""
    executor = SingleThreadedExecutor(context=node.context)
    client_node = Node("viewer", context=node.context)
    client = client_node.create_client(Trigger, f"hosted/{name}")
    executor.add_node(node)
    executor.add_node(client_node)
    try:
        assert client.wait_for_service(timeout_sec=10.0)
        future = client.call_async(Trigger.Request())
        executor.spin_until_future_complete(future, timeout_sec=10.0)
        return future.result()
    finally:
        executor.shutdown()
        client_node.destroy_node()


def test_without_py_trees_ros_plain_py_trees_carries(node: Node, warnings: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hosting, "has_py_trees_ros", lambda: False)
    services = set(node.services)
    leaf = Alternating("leaf")
    carrier = host_tree(leaf, node, RESOURCES)
    assert type(carrier.tree) is py_trees.trees.BehaviourTree
    assert leaf.given is RESOURCES
    carrier.tree.tick()
    carrier.stream()
    assert (carrier.tree.count, leaf.status) == (1, Status.RUNNING)
    assert set(node.services) == services
    assert (stream_parameters(), warnings) == ((), [])


@pytest.mark.parametrize(("tree", "reason"), [(None, "can't be imported"), (OldRosTree, "is older than 2.3")])
def test_a_py_trees_ros_of_no_use_is_said_and_done_without(
    tree: type[Any] | None, reason: str, node: Node, warnings: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    install(monkeypatch, tree)
    leaf = Alternating("leaf")
    carrier = host_tree(leaf, node, RESOURCES)
    assert type(carrier.tree) is py_trees.trees.BehaviourTree
    assert leaf.given is RESOURCES
    assert len(warnings) == 1
    assert reason in warnings[0]


def test_streams_are_published_after_the_tick_and_may_fail(
    node: Node, warnings: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    install(monkeypatch, RosTree)
    carrier = host_tree(Alternating("leaf"), node, RESOURCES)
    tree: Any = carrier.tree
    tree.tick()
    assert (tree.counted, tree.published) == ([0], [])
    carrier.stream()
    assert tree.published == [True]

    tree.failure = TypeError("a value no viewer can print")
    tree.tick()
    carrier.stream()
    assert warnings == ["a viewer's stream failed: TypeError: a value no viewer can print"]
    assert ask(node, "snapshot_streams/open") == Trigger.Response()
    assert warnings[1:] == ["a viewer's request failed: TypeError: a value no viewer can print"]

    tree.failure = None
    tree.tick()
    carrier.stream()
    assert tree.published == [True, False]
    assert tree.counted == [0, 1, 2]


def test_a_blackboard_watcher_gets_time_to_subscribe_and_no_change_is_lost(
    node: Node, warnings: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    install(monkeypatch, RosTree)
    clock_s = [100.0]
    monkeypatch.setattr(hosting, "time", SimpleNamespace(monotonic=lambda: clock_s[0]))
    leaf = Alternating("leaf")
    carrier = host_tree(leaf, node, RESOURCES)
    tree: Any = carrier.tree

    def tick(after_s: float, status: Status = Status.RUNNING) -> list[bool]:
        clock_s[0] += after_s
        leaf.next = status
        tree.tick()
        carrier.stream()
        return list(tree.published)

    assert tick(0.0) == [True]
    assert tick(0.1) == [True, False]
    assert ask(node, "snapshot_streams/open").success
    assert tick(0.1) == [True, False, False]
    assert ask(node, "blackboard_streams/open").success
    assert tick(0.5, Status.FAILURE) == [True, False, False]
    assert tick(0.4, Status.FAILURE) == [True, False, False]
    assert tick(0.2, Status.FAILURE) == [True, False, False, True]
    assert tick(0.1, Status.FAILURE) == [True, False, False, True, False]
    assert warnings == []


def test_the_parameters_of_the_streams_are_let_through_and_no_other(ros_context: Any) -> None:
    made: list[Node] = []

    def make(**overrides: Any) -> Node:
        given = [Parameter(name, value=value) for name, value in overrides.items()]
        made.append(Node("tree", context=ros_context, parameter_overrides=given, start_parameter_services=False))
        return made[-1]

    try:
        given = make(default_snapshot_stream=True, tick_period_s=0.1)
        assert declare(given, TreeSettings, others=STREAM_PARAMETERS).tick_period_s == 0.1
        assert given.declare_parameter("default_snapshot_stream", False).value is True
        with pytest.raises(SettingsError, match="unknown setting 'default_snapshot_stream'"):
            declare(make(default_snapshot_stream=True), TreeSettings)
        with pytest.raises(SettingsError, match="unknown setting 'default_snapshots'"):
            declare(make(default_snapshots=True), TreeSettings, others=STREAM_PARAMETERS)
    finally:
        for node in made:
            node.destroy_node()


@pytest.fixture
def real(ros_environment: dict[str, str]) -> Any:
    """The real thing, where it can be imported."""
    pytest.importorskip("py_trees_ros.trees", exc_type=ImportError)
    return pytest.importorskip("py_trees_ros_interfaces.srv")


def test_py_trees_ros_carries_and_declares_no_more_than_is_let_through(real: Any, node: Node) -> None:
    before = set(node.services)
    mine = set(node.list_parameters([], 0).names)
    leaf = Alternating("leaf")
    carrier = host_tree(leaf, node, RESOURCES)
    assert type(carrier.tree).__module__ == "py_trees_ros.trees"
    assert leaf.given is RESOURCES
    declared = set(node.list_parameters([], 0).names) - mine
    assert {name for name in declared if not name.startswith("qos_overrides.")} == set(STREAM_PARAMETERS)
    guarded = {service.srv_name for service in set(node.services) - before if service.callback.__qualname__.endswith("answer")}
    assert {name.removeprefix("~/").removeprefix("/hosted/") for name in guarded} >= {
        "snapshot_streams/open",
        "snapshot_streams/close",
        "blackboard_streams/open",
        "blackboard_streams/get_variables",
    }
    assert not any("snapshots" in handler.__name__ for handler in carrier.tree.post_tick_handlers)


def test_viewers_come_and_go_while_the_tree_ticks(
    real: Any, ros_context: Any, ros_environment: dict[str, str], runtime_dir: Path, tmp_path: Path
) -> None:
    messages = pytest.importorskip("py_trees_ros_interfaces.msg")
    arguments = ["--ros-args", "-p", "policy:=expert", "-p", f"runs_directory:={tmp_path}", "-p", "default_snapshot_stream:=true"]
    process = subprocess.Popen(
        [sys.executable, "-m", "vla_bt.ros.tree_node", *arguments],
        env={**ros_environment, "VLA_BT_RUNTIME_DIR": str(runtime_dir)},
        stderr=subprocess.PIPE,
        text=True,
    )
    viewer = Node("viewer", context=ros_context)
    executor = SingleThreadedExecutor(context=ros_context)
    executor.add_node(viewer)
    trees: list[Any] = []
    sizes: list[int] = []
    moments: list[dict[str, Any]] = []

    def on_moment(message: Any) -> None:
        moments.append(json.loads(message.data))

    def on_bytes(message: Any) -> None:
        sizes.append(len(message))

    viewer.create_subscription(messages.BehaviourTree, "tree/snapshots", trees.append, qos.LATCHED)
    viewer.create_subscription(String, "tree/snapshot", on_moment, qos.LATCHED)
    open_stream = viewer.create_client(real.OpenSnapshotStream, "tree/snapshot_streams/open")
    close_stream = viewer.create_client(real.CloseSnapshotStream, "tree/snapshot_streams/close")
    variables = viewer.create_client(real.GetBlackboardVariables, "tree/blackboard_streams/get_variables")

    def until(condition: Callable[[], bool], seconds: float = 20.0) -> None:
        end_s = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < end_s, f"waited in vain; {process.poll()} {moments[-1:]}"
            executor.spin_once(timeout_sec=0.05)

    def call(client: Any, request: Any) -> Any:
        future = client.call_async(request)
        until(future.done)
        return future.result()

    try:
        until(lambda: bool(trees) and bool(moments) and variables.service_is_ready())
        assert [behaviour.name for behaviour in trees[-1].behaviours] == [node.name for node in create_root().iterate()]

        parameters = messages.SnapshotStreamParameters(snapshot_period=0.01, blackboard_data=True, blackboard_activity=True)
        kept = call(open_stream, real.OpenSnapshotStream.Request(parameters=parameters)).topic_name
        subscription = viewer.create_subscription(messages.BehaviourTree, kept, on_bytes, qos.LATCHED, raw=True)
        for _ in range(40):
            topic = call(open_stream, real.OpenSnapshotStream.Request(parameters=parameters)).topic_name
            assert "/mode.value" in call(variables, real.GetBlackboardVariables.Request()).variables
            assert call(close_stream, real.CloseSnapshotStream.Request(topic_name=topic)).result
        until(lambda: len(sizes) > 20)
        assert 1_000 < max(sizes) < 64_000
        viewer.destroy_subscription(subscription)

        tick = moments[-1]["tick"]
        until(lambda: moments[-1]["tick"] > tick)
    finally:
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=20.0)
        executor.shutdown()
        viewer.destroy_node()
    assert (process.returncode, said) == (0, "")


def spun(*outcomes: Exception | None, step_s: float = 0.001) -> tuple[Exception | None, int]:
    """Spin an executor that ends each time with an outcome; returns what came of it and how often it was spun."""
    left, count = list(outcomes), 0

    def spin() -> None:
        nonlocal count
        count += 1
        if (outcome := left.pop(0)) is not None:
            raise outcome

    times = itertools.count(step=step_s)
    return hosting.spin_through(SimpleNamespace(spin=spin), lambda: next(times)), count  # type: ignore[arg-type]


def test_a_stream_that_ends_while_callbacks_wait_for_it_ends_nothing_else() -> None:
    from rclpy.executors import ExternalShutdownException, InvalidHandle

    gone = [InvalidHandle("cannot use Destroyable") for _ in range(hosting.LOST_HANDLES)]
    assert spun(*gone[:5], None) == (None, 6)
    assert spun(gone[0], ExternalShutdownException()) == (None, 2)
    failure = ValueError("odd")
    assert spun(gone[0], failure) == (failure, 2)
    assert spun(*gone)[0] is gone[-1]
    assert spun(*gone, None, step_s=0.1) == (None, len(gone) + 1)

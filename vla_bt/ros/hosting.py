"""The one place that decides what carries the tree: ``py_trees_ros`` where it is installed, plain ``py_trees`` elsewhere.

Promises:

- either way our own loop calls ``tick()``; with ``py_trees_ros`` the stock viewer and watchers find the tree's streams;
- nothing a viewer asks for stops the robot: streams are published by :attr:`Carrier.stream`, after the request has left, and an
  exception in there or in a viewer's request is a warning in the log, not the end of a tick;
- a ``py_trees_ros`` that can't be used here is a warning too, and the plain carrier is taken.
"""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from py_trees.behaviour import Behaviour
from py_trees.trees import BehaviourTree
from rclpy.executors import Executor, ExternalShutdownException, InvalidHandle  # its own place differs between releases

from vla_bt.resources import Resources

STREAM_PARAMETERS = (
    "default_snapshot_stream",
    "default_snapshot_period",
    "default_snapshot_blackboard_data",
    "default_snapshot_blackboard_activity",
    "setup_timeout",
)
"""What ``py_trees_ros`` declares on the node; to be let through by whoever refuses unknown names."""

SUBSCRIBING_S = 1.0
WARNING_PERIOD_S = 10.0
LOST_HANDLES = 50
LOST_WITHIN_S = 1.0


@dataclass(frozen=True)
class Carrier:
    """A tree that is set up, and its way to viewers.

    Attributes
    ----------
    tree : BehaviourTree
        To be ticked by one thread.
    stream : callable
        Publishes what viewers have asked for; call it in the ticking thread when the tick's request has left. Never raises.
    """

    tree: BehaviourTree
    stream: Callable[[], None]


def spin_through(executor: Executor, clock: Callable[[], float] = time.monotonic) -> Exception | None:
    """Spin until the executor is shut down; returns the failure that ended it, if any.

    A viewer's stream ends in the ticking thread, and rclpy raises ``InvalidHandle`` where it was just about to wait for its
    publisher: that is no failure, unless it comes again and again.
    """
    lost_s: deque[float] = deque(maxlen=LOST_HANDLES)
    while True:
        try:
            executor.spin()
            return None
        except ExternalShutdownException:
            return None
        except InvalidHandle as failure:
            lost_s.append(clock())
            if len(lost_s) == LOST_HANDLES and lost_s[-1] - lost_s[0] < LOST_WITHIN_S:
                return failure
        except Exception as failure:
            return failure


def has_py_trees_ros() -> bool:
    """Tell whether ``py_trees_ros`` is installed here."""
    return importlib.util.find_spec("py_trees_ros") is not None


def stream_parameters() -> tuple[str, ...]:
    """Return the names of the parameters that the carrier will declare on the node."""
    return STREAM_PARAMETERS if has_py_trees_ros() else ()


def host_tree(root: Behaviour, node: Any, resources: Resources) -> Carrier:
    """Set the tree up on the best carrier there is.

    Parameters
    ----------
    root : Behaviour
        From :func:`vla_bt.trees.root.create_root`.
    node : rclpy.node.Node
        The node whose name, services and parameters the streams use.
    resources : Resources
        Handed to each leaf's ``setup``.
    """
    kind = _ros_tree(node) if has_py_trees_ros() else None
    if kind is not None:
        return _with_streams(kind(root), node, resources)
    tree = BehaviourTree(root)
    tree.setup(resources=resources)
    return Carrier(tree, lambda: None)


def _ros_tree(node: Any) -> type[Any] | None:
    """Return the tree of ``py_trees_ros``, or None, with the reason in the log."""
    try:
        kind: type[Any] = importlib.import_module("py_trees_ros.trees").BehaviourTree
    except ImportError as error:
        reason = f"can't be imported ({error})"
    else:
        # Its version attribute says 2.2.2 up to 2.4.0 at least; what changed in 2.3 is this.
        if any(item.kind is inspect.Parameter.VAR_KEYWORD for item in inspect.signature(kind.setup).parameters.values()):
            return kind
        reason = "is older than 2.3"
    node.get_logger().warning(f"py_trees_ros {reason}: the tree runs without its streams")
    return None


def _with_streams(tree: Any, node: Any, resources: Resources) -> Carrier:
    """Set a ``py_trees_ros`` tree up and part its streams from its tick.

    Its services run in the thread of the callbacks and change what its post-tick handler iterates over in the ticking thread.
    """
    handlers = len(tree.post_tick_handlers)
    before = set(node.services)
    tree.setup(node=node, resources=resources)
    streams = tree.post_tick_handlers[handlers:]  # what its setup adds publishes the streams
    del tree.post_tick_handlers[handlers:]
    lock = threading.Lock()
    quiet_until_s = 0.0
    missed = False

    def warn(what: str, error: Exception) -> None:
        words = f"{what} failed: {type(error).__name__}: {error}"
        node.get_logger().warning(words, throttle_duration_sec=WARNING_PERIOD_S)

    def stream() -> None:
        nonlocal missed
        seen = tree.snapshot_visitor
        with lock:
            missed = seen.changed = seen.changed or missed  # a viewer that waits for changes gets this one later
            if time.monotonic() < quiet_until_s:
                return
            missed = False
            try:
                for handler in streams:
                    handler(tree)
            except Exception as error:
                warn("a viewer's stream", error)

    def guarded(callback: Callable[[Any, Any], Any], subscribing: bool) -> Callable[[Any, Any], Any]:
        def answer(request: Any, response: Any) -> Any:
            nonlocal quiet_until_s
            with lock:
                if subscribing:
                    quiet_until_s = time.monotonic() + SUBSCRIBING_S
                try:
                    return callback(request, response)
                except Exception as error:
                    warn("a viewer's request", error)
                    return response

        return answer

    for service in set(node.services) - before:
        # A blackboard stream without a subscriber is closed by the next tick: before the watcher, told its name, is there.
        service.callback = guarded(service.callback, service.srv_name.endswith("blackboard_streams/open"))
    return Carrier(tree, stream)

"""``~/snapshot``: one moment of the tree as JSON, for whoever looks.

Promises: costs one question to rclpy while nobody subscribes; leaves after the tick's request has; never a pixel; at most 64 KB
for the largest tree with every blackboard key at its largest. Making and publishing one is meant to take 2 ms of processor time:
a test asserts the median, ``vla-bt bench view`` prints the distribution. A late joiner gets the last one that was published:
``time_s`` tells how old it is.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from py_trees.behaviour import Behaviour
from py_trees.blackboard import Blackboard
from py_trees.composites import Parallel, Selector, Sequence
from py_trees.decorators import Decorator
from rclpy.node import Node
from std_msgs.msg import String

from vla_bt.app.loop import Tree
from vla_bt.app.snapshot import MESSAGE_LIMIT, to_json_within, tree_snapshot
from vla_bt.app.watching import TickTimes, TreeChanges
from vla_bt.contract import Stamped
from vla_bt.policy.port import PolicyOutput
from vla_bt.port import FrameInfo, GateStatus, Request
from vla_bt.resources import Resources
from vla_bt.ros import qos
from vla_bt.words import Mode

PERIOD_S = 0.08
"""At most so often, in whole ticks: 12.5 a second on average at the usual 20 ticks."""

MEMORY = ("level", "step", "words", "manual_only", "grade", "available_mb", "total_mb", "rss_mb", "gpu")
"""Of the memory monitor's report, what a viewer shows; the rest is in its own file and in the diagnostics."""

SLOW_PERIOD_S = 1.0
MAX_BYTES = 64 * 1024
LETTERS: tuple[tuple[type[Behaviour], str], ...] = ((Parallel, "P"), (Sequence, "S"), (Selector, "F"), (Decorator, "D"))


def node_kinds(root: Behaviour) -> str:
    """Return one letter for each node in tick order: P parallel, S sequence, F selector, D decorator, L leaf."""
    own = next((letter for kind, letter in LETTERS if isinstance(root, kind)), "L")
    return own + "".join(node_kinds(child) for child in root.children)


class SnapshotStream:
    """Publishes the tree for viewers.

    Parameters
    ----------
    node : Node
        The tree's node.
    tree : py_trees.trees.BehaviourTree
        Set up already.
    resources : Resources
        What its leaves share.
    times : TickTimes
        Times the leaves already.
    """

    def __init__(self, node: Node, tree: Tree, resources: Resources, times: TickTimes) -> None:
        self._tree, self._resources, self._times = tree, resources, times
        self._publisher = node.create_publisher(String, "~/snapshot", qos.LATCHED)
        self._watch = TreeChanges(tree.root, lambda: resources.tick_time_s)
        self._watching = False
        self._kinds = node_kinds(tree.root)
        self._due_s = self._slow_due_s = 0.0
        self._figures: dict[str, Any] = {}
        self._text: dict[str, int] = {"hits": 0, "misses": 0}
        self._goal_seen = 0

    def after_tick(self, request: Request, words: str, now_s: float, figures: Callable[[], dict[str, Any]]) -> None:
        """Publish, if somebody looks and it is time.

        Parameters
        ----------
        request : Request
            The tick's.
        words : str
            Why, for people.
        now_s : float
            When the tick began [s].
        figures : callable
            Returns what the tree's process has to say of itself, such as its times.
        """
        watched = self._publisher.get_subscription_count() > 0
        if watched is not self._watching:
            self._switch(watched, now_s)
        if not watched:
            return
        self._count_texts()
        if now_s < self._due_s:
            return
        self._due_s = max(self._due_s + PERIOD_S, now_s)
        if now_s >= self._slow_due_s:  # percentiles are dearer than all the rest
            self._slow_due_s = now_s + SLOW_PERIOD_S
            self._figures, leaves = figures(), {"leaves": self._times.leaf_rows()}
        else:
            leaves = {}
        self._publisher.publish(
            String(data=to_json_within(self.describe(request, words, now_s) | self._figures | leaves, MAX_BYTES))
        )

    def describe(self, request: Request, words: str, now_s: float) -> dict[str, Any]:
        """Return one moment: :func:`vla_bt.app.snapshot.tree_snapshot` and what surrounds the tree."""
        resources = self._resources
        mode: Mode = Blackboard.storage["/mode"].value
        snapshot = tree_snapshot(self._tree.root, request, mode, words, now_s)
        snapshot["kinds"] = self._kinds
        snapshot["policy"] = self._policy(now_s)
        snapshot["causes"] = [
            [name, words[:MESSAGE_LIMIT]] for name, words in Blackboard.storage["/verdict"].value.active.items()
        ]
        gate: GateStatus | None = _value("/gate")
        if gate is not None:
            snapshot["gate"] = {
                "latched": gate.latched,
                "fault": gate.fault[:MESSAGE_LIMIT],
                "applied": [round(value, 4) for value in gate.applied],
                "source": gate.source.name.lower(),
                "age_s": round(now_s - gate.received_s, 3),
            }
        frame: FrameInfo | None = _value("/frame")
        if frame is not None:
            snapshot["frame"] = {"sequence": frame.sequence, "age_s": round(now_s - frame.received_s, 3)}
        memory = resources.memory.report()
        snapshot["memory"] = {name: _short(memory[name]) for name in MEMORY if name in memory}
        if resources.recorder is not None:
            recorder = resources.recorder.status()
            snapshot["recorder"] = {
                "state": recorder.state,
                "words": recorder.words[:MESSAGE_LIMIT],
                "frames": recorder.frames,
                "episodes": recorder.episodes,
                "dropped": recorder.dropped,
            }
        if changes := self._watch.take_changes():
            snapshot["transitions"] = changes
        return snapshot

    def _policy(self, now_s: float) -> dict[str, Any]:
        status = self._resources.policy.status()
        policy: dict[str, Any] = {
            "state": status.state,
            "detail": status.detail[:MESSAGE_LIMIT],
            "name": _short(status.info.name) if status.info else "",
            "label": _short(status.info.label) if status.info else "",
            "frames_handed": status.frames_handed,
            "frames_lost": status.frames_lost,
            "steps_taken": status.steps_taken,
            "restarts": status.restarts,
            "latency_ms": round(1e3 * status.last_latency_s, 2),
        }
        output: PolicyOutput | None = _value("/policy_output")
        if output is not None:
            # From a frame's arrival to its answer: the step itself, and the hand-over before and after it.
            step_s, total_s = output.step.latency_s, output.received_s - output.frame_time_s
            policy |= {
                "step_ms": round(1e3 * step_s, 2),
                "handover_ms": round(1e3 * max(0.0, total_s - step_s), 2),
                "answer_age_s": round(now_s - output.received_s, 3),
                "clamped": output.step.clamped,
            }
        return policy | {"text_cache": dict(self._text)}

    def _count_texts(self) -> None:
        """Count whether the goals' texts came from the policy's cache: the first step of a goal tells."""
        output: PolicyOutput | None = _value("/policy_output")
        if output is None or output.goal_id == self._goal_seen:
            return
        self._goal_seen = output.goal_id
        self._text["hits" if output.step.text_cache_hit else "misses"] += 1

    def _switch(self, watched: bool, now_s: float) -> None:
        """Begin or end to look at the ticks; this one is over."""
        visitors: list[Any] = self._tree.visitors  # type: ignore[attr-defined]
        if watched:
            self._watch.begin()
            visitors.append(self._watch)
            self._due_s = self._slow_due_s = now_s
        else:
            visitors.remove(self._watch)
        self._watching = watched


def _short(value: Any) -> Any:
    return value[:MESSAGE_LIMIT] if isinstance(value, str) else value


def _value(path: str) -> Any:
    entry: Stamped | None = Blackboard.storage.get(path)
    return entry.value if entry is not None else None

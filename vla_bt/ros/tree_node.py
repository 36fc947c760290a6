"""Node ``tree``: the behaviour tree's process. Holds no torch and no pixels; sends requests to the gate, never ``cmd_vel``.

Promises:

- our own loop ticks every ``tick_period_s`` on the monotonic clock, whoever carries the tree (:mod:`vla_bt.ros.hosting`); ROS
  callbacks run in a thread of their own;
- exactly one request leaves after each tick (:mod:`vla_bt.app.loop`);
- on SIGINT, SIGTERM, SIGHUP or a leaf's exception a zero request leaves first; then the leaves are terminated, the episode in
  progress is written out and the policy worker is ended, each whatever becomes of the others. One tree to a runtime directory:
  a second is refused. Exit code 0 after a signal, 1 after an exception, 2 when it can't start.

Publishes, besides what :mod:`vla_bt.ros.robot` does, ``record_status`` and ``~/snapshot`` (std_msgs/String, JSON: how recording
goes, and one moment of the tree) and ``/diagnostics``. Parameters: :class:`vla_bt.settings.TreeSettings`.
"""

from __future__ import annotations

import argparse
import gc
import sys
import threading
import time
from collections import deque
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import rclpy
from py_trees.blackboard import Blackboard
from rclpy.exceptions import ParameterException
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.signals import SignalHandlerOptions
from std_msgs.msg import String

from vla_bt.app.loop import TickLoop, do_all
from vla_bt.app.run_log import Witness
from vla_bt.app.watching import TICKS_KEPT
from vla_bt.control.causes import load_causes
from vla_bt.diagnosis import Diagnosis, Times, percentile_ms
from vla_bt.episodes.journal import left_behind
from vla_bt.episodes.recorder import EpisodeRecorder, RecorderStatus, labels
from vla_bt.memory.allocator import keep_pictures_apart
from vla_bt.memory.ladder import limits_of
from vla_bt.memory.monitor import MemoryMonitor
from vla_bt.policy.client import WorkerClient
from vla_bt.policy.names import check_name
from vla_bt.resources import Resources, RobotView
from vla_bt.ros import qos
from vla_bt.ros.diagnostics import TreeDiagnostics
from vla_bt.ros.environment import prepare
from vla_bt.ros.guarding import MemoryDesk, first_to_go
from vla_bt.ros.hosting import host_tree, spin_through, stream_parameters
from vla_bt.ros.logs import take_over_logging
from vla_bt.ros.parameters import declare, on_change
from vla_bt.ros.process import Ending, own_arguments
from vla_bt.ros.robot import RosRobot
from vla_bt.ros.run_log import begin_log
from vla_bt.ros.single import DirectoryLock
from vla_bt.ros.snapshots import SnapshotStream
from vla_bt.settings import SettingsError, TreeSettings
from vla_bt.trees.root import create_root
from vla_bt.wire import runtime_directory

DIAGNOSTICS_PERIOD_S = 1.0

LIVE_PARAMETERS = (
    "max_policy_linear",
    "max_policy_angular",
    "stop_probability",
    "stop_answers",
    "record_when",
    "record_scenario",
    "record_pattern",
    "record_distance",
    "record_position",
    "record_key_pattern",
)
"""Parameters that take effect while the tree runs; the others are fixed at start."""


class TreeProcess:
    """Everything the tree's process holds.

    Parameters
    ----------
    node : Node
        The ROS node.
    directory : Path
        The runtime directory of rings and sockets.
    """

    def __init__(self, node: Node, directory: Path) -> None:
        self._node = node
        self._lock = DirectoryLock(directory, "tree")  # before any socket: a second tree would take the first one's
        self._settings = declare(node, TreeSettings, LIVE_PARAMETERS, others=stream_parameters())
        limits_of(self._settings)  # refuses limits that do not fall
        check_name(self._settings.policy)  # the worker would say so too, but nobody waits for it
        self._robot = RosRobot(node, directory, self._settings)
        self._client = WorkerClient(self._settings.policy, directory, time.monotonic)
        self._recorder = EpisodeRecorder(
            Path(self._settings.runs_directory),
            self._settings.frame_period_s,
            storage=self._settings.record_pictures,
            tick_period_s=self._settings.tick_period_s,
        )
        self._recorder.label(labels(self._settings))
        left = left_behind(Path(self._settings.runs_directory))
        if left:
            node.get_logger().warning(left)
        self._memory = MemoryMonitor(self._settings, directory=directory)
        self._memory.start()
        self._memory_desk = MemoryDesk(node, self._memory)
        self._resources = resources = Resources(
            self._settings,
            RobotView(self._robot),
            self._client,
            self._recorder,
            self._memory,
            load_causes(),
        )
        self._carrier = host_tree(create_root(), node, resources)
        root = self._carrier.tree.root
        self._log = begin_log(node, root, resources, self._robot.now())
        self._witness = Witness(self._carrier.tree, resources, self._log.take)
        self._loop = TickLoop(self._carrier.tree, self._robot, resources, self._witness)
        self._snapshots = SnapshotStream(node, self._carrier.tree, resources, self._witness.times)
        self._record_status = node.create_publisher(String, "record_status", qos.STATUS)
        self._recorder_told: RecorderStatus | None = None
        self._diagnosis = Diagnosis(lambda: resources.settings, self._robot.camera_problem)
        self._diagnostics = TreeDiagnostics(node)
        on_change(node, TreeSettings, self._on_parameters)
        self._wake = threading.Event()
        self._tick_s: deque[float] = deque(maxlen=TICKS_KEPT)  # what the loop adds to the tree's own time included
        self._failure: BaseException | None = None

    def stop(self) -> None:
        """Ask the loop to end; may be called from a signal handler or any thread."""
        self._wake.set()

    def run(self) -> BaseException | None:
        """Tick until :meth:`stop` or a failure. Returns the failure, if any."""
        executor = SingleThreadedExecutor(context=self._node.context)
        executor.add_node(self._node)
        thread = threading.Thread(target=self._spin, args=(executor,), name="ros", daemon=True)
        try:
            thread.start()
            gc.collect()
            gc.freeze()  # what lives until the end need not be looked at again: collections stay short
            self._tick_until_told()
        except Exception as failure:  # zero has left already; the rest is tidied up whatever it was
            self._failure = failure
        finally:
            steps = (
                self._loop.shutdown,
                self._close_log,
                partial(executor.shutdown, timeout_sec=1.0),
                partial(thread.join, timeout=1.0),
                self._client.close,
                self._recorder.close,
                self._memory.stop,
                self._robot.close,
                self._lock.close,
            )
            for problem in do_all(steps):
                self._node.get_logger().error(f"while ending: {type(problem).__name__}: {problem}")
                self._failure = self._failure or problem
        return self._failure

    def _tick_until_told(self) -> None:
        period_s = self._settings.tick_period_s
        due_s = time.monotonic()
        diagnostics_due_s = due_s
        while not self._wake.wait(max(0.0, due_s - time.monotonic())):
            began_s = time.monotonic()
            late_s = began_s - due_s
            request = self._loop.tick(late_s)
            self._tick_s.append(time.monotonic() - began_s)
            self._carrier.stream()
            self._diagnosis.after_tick(Blackboard.storage)
            self._snapshots.after_tick(request, self._loop.words, began_s, self._figures)
            self._publish_recorder()
            if began_s >= diagnostics_due_s:
                diagnostics_due_s = began_s + DIAGNOSTICS_PERIOD_S
                self._publish_diagnostics()
            due_s = max(due_s + period_s, time.monotonic() - period_s)

    def _spin(self, executor: SingleThreadedExecutor) -> None:
        self._failure = spin_through(executor) or self._failure
        self.stop()

    def _on_parameters(self, settings: TreeSettings) -> None:
        self._recorder.label(labels(settings))
        self._resources.settings = settings  # the others are read-only: only LIVE_PARAMETERS can differ

    def _figures(self) -> dict[str, Any]:
        """Return what the process says of its own times [ms], for a snapshot."""
        return {
            "tick_ms": [percentile_ms(self._tick_s, share) for share in (0.5, 0.99)],
            "late_ms": [percentile_ms(self._witness.times.late_s, share) for share in (0.5, 0.99)],
            "missed": self._witness.times.missed,
        }

    def _publish_recorder(self) -> None:
        """Tell operators how recording goes, whenever it has changed."""
        status = self._recorder.status()
        if status != self._recorder_told:
            self._recorder_told = status
            self._record_status.publish(String(data=status.to_json()))

    def _publish_diagnostics(self) -> None:
        self._memory_desk.log_events()
        measured = self._witness.times
        times = Times(self._tick_s, measured.late_s, measured.missed)
        others = (self._client.status(), self._recorder.status(), self._log.status(), self._memory)
        rows = self._diagnosis.rows(Blackboard.storage, self._robot.now(), times, self._loop.words, *others)
        self._witness.rows = rows
        self._diagnostics.publish(rows)

    def _close_log(self) -> None:
        reason = str(self._failure) if self._failure is not None else "ended by a signal"
        self._log.close(reason, self._witness.times.last_window())


def main(argv: Sequence[str] | None = None) -> int:
    """Run the tree; returns the exit code."""
    ending = Ending()
    arguments = [sys.argv[0], *(sys.argv[1:] if argv is None else argv)]
    parser = argparse.ArgumentParser(prog="tree_node", description=(__doc__ or "").splitlines()[0])
    keep_pictures_apart()
    sys.setswitchinterval(0.001)  # a busy callback thread gives way to the tick within a millisecond
    try:
        prepare()
        parser.parse_args(own_arguments(arguments))
        rclpy.init(args=arguments, signal_handler_options=SignalHandlerOptions.NO)
        first_to_go("tree")
        node = Node("tree")
        take_over_logging(node)
        process = TreeProcess(node, runtime_directory())
    except (SettingsError, ParameterException, RuntimeError, OSError) as problem:
        print(f"tree: {' '.join(str(problem).split())}", file=sys.stderr)
        return 2
    ending.hand_to(process.stop)
    failure = process.run()
    if failure is not None:
        node.get_logger().fatal(f"{failure}; zero was sent, the tree ends")
    node.destroy_node()
    rclpy.try_shutdown()
    return 0 if failure is None else 1


if __name__ == "__main__":
    sys.exit(main())

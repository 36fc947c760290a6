"""The ``main`` of the small nodes (bridge, camera, sim): start, spin, end.

Promises: SIGINT, SIGTERM and SIGHUP are heeded within a tenth of a second, the node's own ``shutdown`` first; a user's mistake is
one line and exit code 2, an exception is exit code 1 after the same ``shutdown``; an ending that hangs is cut off.
"""

from __future__ import annotations

import os
import signal
import socket
import sys
import threading
import traceback
from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path
from types import FrameType
from typing import Protocol

import rclpy
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.publisher import Publisher
from rclpy.signals import SignalHandlerOptions
from rclpy.utilities import remove_ros_args

from vla_bt.ros.environment import prepare
from vla_bt.settings import SettingsError, read_yaml

LOOK_PERIOD_S = 0.05  # a signal is seen when the wait ends: the C code waiting does not wake for it
ENDING_LIMIT_S = 5.0


class Running(Protocol):
    """What a node's program holds."""

    def shutdown(self) -> None:
        """Stop threads and give back files; called once, before the node ends."""

    def finished(self) -> bool:
        """Tell whether the work is done, such as a file played to its end."""


def run_node(
    name: str, build: Callable[[Node], Running], arguments: Sequence[str] | None = None, publishes_images: bool = False
) -> int:
    """Run one node until a signal, its end or its failure; returns the exit code.

    Parameters
    ----------
    name : str
        Of the node.
    build : callable
        Makes the program on its node; its ``SettingsError`` or ``OSError`` is told in one line.
    arguments : sequence of str, optional
        ROS arguments; default the command line's.
    publishes_images : bool
        See :func:`vla_bt.ros.environment.prepare`.
    """
    told: list[int] = []

    def tell(number: int, _: FrameType | None) -> None:
        told.append(number)

    try:
        prepare(publishes_images)
        rclpy.init(args=list(sys.argv if arguments is None else ["", *arguments]), signal_handler_options=SignalHandlerOptions.NO)
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, tell)
        node = Node(name)
        program = build(node)
    except (SettingsError, RuntimeError, OSError) as problem:
        print(f"{name}: {' '.join(str(problem).split())}", file=sys.stderr)
        rclpy.try_shutdown()
        return 2
    executor = SingleThreadedExecutor()
    executor.add_node(node)
    code = 0
    try:
        while not told and not program.finished() and rclpy.ok():
            executor.spin_once(timeout_sec=LOOK_PERIOD_S)
    except SettingsError as problem:  # known only once it ran, such as a missing OpenGL
        print(f"{name}: {' '.join(str(problem).split())}", file=sys.stderr)
        code = 2
    except Exception:
        traceback.print_exc()
        code = 1
    _limit_ending()
    try:
        program.shutdown()
    except Exception:
        traceback.print_exc()
        code = 1
    executor.shutdown(timeout_sec=1.0)
    node.destroy_node()
    rclpy.try_shutdown()
    return code


def own_arguments(arguments: Sequence[str]) -> list[str]:
    """Return what is left of a command line, the program aside, without ROS's arguments.

    Raises
    ------
    SettingsError
        When a parameter file can't be read: ROS would say so less clearly.
    RuntimeError
        From rclpy, when ROS can't use its arguments for another reason.
    """
    for flag, value in pairwise(arguments):
        if flag == "--params-file":
            read_yaml(Path(value))
    return list(remove_ros_args(args=list(arguments))[1:])


class Ending:
    """Catches the signals that end a process from the moment it is made, and hands them on once there is something to stop."""

    def __init__(self) -> None:
        self._told = False
        self._stop: Callable[[], None] | None = None
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, self._tell)

    @property
    def told(self) -> bool:
        """A signal has come."""
        return self._told

    def raise_if_told(self) -> None:
        """Raise KeyboardInterrupt here, where it is caught: raised by the signal itself inside rclpy it can be lost."""
        if self._told:
            raise KeyboardInterrupt

    def _tell(self, *_: object) -> None:
        self._told = True
        if self._stop is not None:
            self._stop()

    def hand_to(self, stop: Callable[[], None]) -> None:
        """Call ``stop`` when a signal comes, at once if one has come already."""
        self._stop = stop
        if self._told:
            stop()


def _limit_ending() -> None:
    """End this process by force if its ending hangs."""
    timer = threading.Timer(ENDING_LIMIT_S, os._exit, (1,))
    timer.daemon = True
    timer.start()


def diagnose(node: Node, publisher: Publisher, level: bytes, message: str, values: dict[str, object]) -> None:
    """Publish one row of diagnostics under the node's name."""
    row = DiagnosticStatus(level=level, name=node.get_fully_qualified_name(), message=message, hardware_id=socket.gethostname())
    row.values = [KeyValue(key=key, value=str(value)) for key, value in values.items()]
    array = DiagnosticArray(status=[row])
    array.header.stamp = node.get_clock().now().to_msg()
    publisher.publish(array)

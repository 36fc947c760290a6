"""Node ``dashboard``: the web page of a living robot. One more operator, with no authority of its own.

Promises: subscribes what any viewer could and publishes what any person's terminal could (``teleop/cmd_vel``, ``goal``, ``mode``,
``emergency_stop``); pictures come from the camera bridge's ring, never over ROS, and only while a page looks. When this process
dies or hangs, teleop falls silent and the tree's and the gate's time-outs stop the robot. On SIGINT, SIGTERM and SIGHUP zero
leaves first if a page was driving.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import signal
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from geometry_msgs.msg import Twist as TwistMessage
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.node import Node
from rclpy.signals import SignalHandlerOptions
from std_msgs.msg import Bool, String
from std_srvs.srv import SetBool, Trigger

from vla_bt.camera.ring import FrameRingReader, ring_path
from vla_bt.dashboard import protocol
from vla_bt.dashboard.access import Access
from vla_bt.dashboard.episodes import EpisodeShelf, small_jpeg
from vla_bt.dashboard.history import History, transitions_in
from vla_bt.dashboard.protocol import ProtocolError
from vla_bt.dashboard.server import Dashboard, listen
from vla_bt.port import FrameInfo
from vla_bt.ros import qos
from vla_bt.ros.logs import take_over_logging
from vla_bt.ros.robot import message_of
from vla_bt.words import Twist

PICTURE_PERIOD_S = 0.1
PICTURE_WIDTH, PICTURE_QUALITY = 640, 72
KEPT_WIDTH, KEPT_QUALITY = 320, 60
EPISODES_PERIOD_S = 3.0
SERVICE_TIMEOUT_S = 3.0
RESET_DELAY_S = 0.2  # lets the released input reach the gate before the reset does
MAX_SNAPSHOT_CHARACTERS = 256 * 1024

logger = logging.getLogger(__name__)


class RosLink:
    """The topics and services a page's commands go to, and what is heard; implements :class:`vla_bt.dashboard.server.Robot`.

    Parameters
    ----------
    node : Node
        Spun in a thread of its own by :meth:`start`.
    hear : callable
        Called in that thread with a topic's short name and its text, or the rows of diagnostics.
    """

    def __init__(self, node: Node, hear: Callable[[str, Any], None]) -> None:
        self._hear = hear
        self._teleop = node.create_publisher(TwistMessage, "teleop/cmd_vel", qos.COMMAND)
        self._mode = node.create_publisher(String, "mode", qos.COMMAND)
        self._goal = node.create_publisher(String, "goal", qos.COMMAND)
        self._stop = node.create_publisher(Bool, "emergency_stop", qos.COMMAND)
        node.create_subscription(String, "tree/snapshot", self._on_snapshot, qos.LEDGER)
        node.create_subscription(String, "goal_status", self._on_goal, qos.LEDGER)
        node.create_subscription(DiagnosticArray, "/diagnostics", self._on_diagnostics, qos.COMMAND)
        self._reset = node.create_client(Trigger, "gate/estop_reset")
        self._record = node.create_client(SetBool, "tree/record")
        self._executor = SingleThreadedExecutor(context=node.context)
        self._executor.add_node(node)
        self._thread = threading.Thread(target=self._spin, name="ros", daemon=True)
        self.gate: dict[str, Any] = {}
        self.gate_s = self.snapshot_s = 0.0
        self.camera_age_s: float | None = None

    def start(self) -> None:
        """Begin to listen."""
        self._thread.start()

    def close(self) -> None:
        """End the thread, if it was started."""
        self._executor.shutdown(timeout_sec=1.0)
        if self._thread.ident is not None:
            self._thread.join(timeout=1.0)

    def _spin(self) -> None:
        with contextlib.suppress(ExternalShutdownException):
            self._executor.spin()

    def _on_snapshot(self, message: String) -> None:
        self._hear("snapshot", message.data)

    def _on_goal(self, message: String) -> None:
        self._hear("goal", message.data)

    def _on_diagnostics(self, message: DiagnosticArray) -> None:
        rows = [
            {
                "name": row.name[:120],
                "level": min(3, int.from_bytes(row.level, "little")),
                "message": row.message[:300],
                "values": {pair.key[:60]: pair.value[:120] for pair in row.values[:40]},
            }
            for row in message.status[:100]
        ]
        self._hear("diagnostics", rows)

    # ------------------------------------------------------------------ commands

    def drive(self, twist: Twist) -> None:
        """Publish a velocity once."""
        self._teleop.publish(message_of(twist))

    def goal(self, text: str) -> None:
        """Publish a goal."""
        self._goal.publish(String(data=text))

    def mode(self, word: str) -> None:
        """Publish a mode."""
        self._mode.publish(String(data=word))

    def emergency_stop(self, active: bool) -> None:
        """Publish the state of the emergency stop."""
        self._stop.publish(Bool(data=active))

    async def reset(self) -> tuple[bool, str]:
        """Reset the gate's latch."""
        await asyncio.sleep(RESET_DELAY_S)
        return await _call(self._reset, Trigger.Request(), "no gate answers: nothing was reset")

    async def record(self, on: bool) -> tuple[bool, str]:
        """Begin or end recording."""
        return await _call(self._record, SetBool.Request(data=on), "no tree answers: recording is as it was")

    def status(self) -> Mapping[str, Any]:
        """Return ages and what the gate last said."""
        now_s = time.monotonic()
        return {
            "tree_age_s": round(now_s - self.snapshot_s, 2) if self.snapshot_s else None,
            "gate_age_s": round(now_s - self.gate_s, 2) if self.gate_s else None,
            "camera_age_s": self.camera_age_s,
            **self.gate,
        }


async def _call(client: Any, request: Any, silence: str) -> tuple[bool, str]:
    """Call a service without holding up the loop."""
    if not client.service_is_ready():
        return False, silence
    future = client.call_async(request)
    limit_s = time.monotonic() + SERVICE_TIMEOUT_S
    while not future.done():
        if time.monotonic() > limit_s:
            return False, silence
        await asyncio.sleep(0.02)
    answer = future.result()
    return bool(answer.success), str(answer.message)[:300] or ("done" if answer.success else "refused")


class Feeder:
    """Takes what is heard and seen to the history and to the open pages, in the server's loop."""

    def __init__(self, history: History, ring: FrameRingReader, shelf: EpisodeShelf) -> None:
        self._history, self._ring, self._shelf = history, ring, shelf
        self._sequence = 0
        self.dashboard: Dashboard | None = None
        self.link: RosLink | None = None

    def take(self, kind: str, content: Any) -> None:
        """Take one message; one that makes no sense is dropped with a word in the log."""
        if self.dashboard is None or self.link is None:
            return
        try:
            getattr(self, f"_take_{kind}")(content, self.dashboard, self.link)
        except (ProtocolError, ValueError, TypeError, KeyError) as problem:
            logger.warning("%s: message refused: %s", kind, problem)

    def _take_snapshot(self, text: str, dashboard: Dashboard, link: RosLink) -> None:
        if len(text) > MAX_SNAPSHOT_CHARACTERS:
            raise ProtocolError(f"a snapshot of {len(text)} characters")
        content, wire = transitions_in(text)
        now_s = time.monotonic()
        link.snapshot_s = now_s
        if isinstance(gate := content.get("gate"), dict) and float(gate.get("age_s", 1.0)) < 0.5:
            self._take_gate(link, bool(gate.get("latched")), gate.get("fault"), gate.get("applied"), now_s)
        self._history.add_snapshot(float(content["time_s"]), wire)
        dashboard.show("snapshot", wire)
        if rows := content["transitions"]:
            self._history.add_transitions(rows)
            dashboard.append("transitions", rows)

    def _take_goal(self, text: str, dashboard: Dashboard, _: RosLink) -> None:
        row = json.loads(text)
        if not isinstance(row, dict) or not isinstance(row.get("id"), int):
            raise ProtocolError("not a line of the ledger")
        if row["id"] > 0 and self._history.add_goal(row):
            dashboard.append("goals", [row])

    def _take_diagnostics(self, rows: list[dict[str, Any]], dashboard: Dashboard, link: RosLink) -> None:
        now_s = time.monotonic()
        for row in rows:
            values = row["values"]
            if "latched" in values and "linear_x" in values:  # the gate's own row: it comes when the tree is gone, too
                applied = [float(values.get(name, "nan")) for name in ("linear_x", "linear_y", "angular_z")]
                fault = row["message"] if row["level"] >= 2 else ""
                self._take_gate(link, values["latched"] == "True", fault, applied, now_s)
        self._history.add_diagnostics(rows, now_s)
        dashboard.append("diagnostics", rows)

    @staticmethod
    def _take_gate(link: RosLink, latched: bool, fault: Any, applied: Any, now_s: float) -> None:
        link.gate = {"latched": latched, "fault": str(fault or "")[:200], "applied": applied}
        link.gate_s = now_s

    async def pictures(self) -> None:
        """Send the newest picture whenever a page would take one, and keep one a second."""
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(PICTURE_PERIOD_S)
            info = self._ring.latest()
            if self.link is not None:
                self.link.camera_age_s = round(time.monotonic() - info.received_s, 3) if info is not None else None
            if info is None or self.dashboard is None or info.sequence == self._sequence:
                continue
            seen, kept = self.dashboard.wants_picture, self._history.wants_picture(info.received_s)
            if not seen and not kept:
                continue
            self._sequence = info.sequence
            wires = await loop.run_in_executor(None, self._encode, info, seen, kept)
            if wires is None:
                continue
            if wires[0] is not None:
                self.dashboard.show("camera", wires[0])
            if wires[1] is not None:
                self._history.add_picture(info.received_s, wires[1])

    def _encode(self, info: FrameInfo, seen: bool, kept: bool) -> tuple[bytes | None, bytes | None] | None:
        """Run in a thread: copy, shrink, compress."""
        pixels = self._ring.copy(info.sequence)
        if pixels is None:
            return None

        def wire(width: int, quality: int) -> bytes:
            age_s = time.monotonic() - info.received_s
            jpeg = small_jpeg(pixels, width, quality)
            return protocol.picture(info.received_s, jpeg, info.sequence, info.width, info.height, age_s)

        return wire(PICTURE_WIDTH, PICTURE_QUALITY) if seen else None, wire(KEPT_WIDTH, KEPT_QUALITY) if kept else None

    async def episodes(self) -> None:
        """Look for new episodes now and then."""
        loop = asyncio.get_running_loop()
        while True:
            wire = await loop.run_in_executor(None, self._shelf.refresh, time.monotonic())
            if wire is not None and self.dashboard is not None:
                self._history.set_episodes(wire)
                self.dashboard.show("episodes", wire)
            await asyncio.sleep(EPISODES_PERIOD_S)


async def _serve(
    access: Access, port: int, directory: Path, runs: Path, fastest: Twist, namespace: str, ready: Callable[[int], None]
) -> None:
    loop = asyncio.get_running_loop()
    ended = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, ended.set)
    node = rclpy.create_node("dashboard", namespace=namespace)
    handler = take_over_logging(node)
    history = History(namespace.strip("/") or "robot")
    ring = FrameRingReader(ring_path(directory))
    shelf = EpisodeShelf(runs)
    feeder = Feeder(history, ring, shelf)

    def hear(kind: str, content: Any) -> None:
        with contextlib.suppress(RuntimeError):  # the loop has ended
            loop.call_soon_threadsafe(feeder.take, kind, content)

    link = RosLink(node, hear)
    dashboard = Dashboard(history, access, link, fastest, shelf.thumbnail)
    feeder.dashboard, feeder.link = dashboard, link
    runner, tasks = None, []
    try:
        runner = await listen(dashboard, access.host, port)
        link.start()
        tasks = [loop.create_task(feeder.pictures()), loop.create_task(feeder.episodes())]
        ready(runner.addresses[0][1])
        await asyncio.wait([loop.create_task(ended.wait()), *tasks], return_when=asyncio.FIRST_COMPLETED)
        for task in tasks:
            if task.done():
                task.result()  # it never ends by itself: this is its failure
    finally:
        for task in tasks:
            task.cancel()
        if runner is not None:
            await runner.cleanup()  # says zero, if a page was driving
            await asyncio.sleep(0.05)
        link.close()
        logging.getLogger("vla_bt").removeHandler(handler)
        node.destroy_node()
        ring.close()


def serve(
    access: Access,
    port: int,
    directory: Path,
    runs: Path,
    fastest: Twist,
    namespace: str,
    ready: Callable[[int], None],
    arguments: Sequence[str] = (),
) -> None:
    """Serve the page of a living robot until a signal.

    Parameters
    ----------
    access : Access
        Who may connect, and the address to listen on.
    port : int
        0 takes any free one.
    directory : Path
        The runtime directory, for the camera's ring.
    runs : Path
        Where episodes are.
    fastest : Twist
        Limits on what pages may ask for.
    namespace : str
        The robot's ROS namespace; empty is none.
    ready : callable
        Called with the port once pages can be opened.
    arguments : sequence of str
        ROS arguments, such as the log level.

    Raises
    ------
    SettingsError
        When the address can't be listened on.
    """
    rclpy.init(args=["dashboard", *arguments], signal_handler_options=SignalHandlerOptions.NO)
    try:
        asyncio.run(_serve(access, port, directory, runs, fastest, namespace, ready))
    finally:
        rclpy.try_shutdown()

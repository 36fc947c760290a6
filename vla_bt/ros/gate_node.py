"""Node ``gate``: the only sender of ``cmd_vel``, a process of its own that stays upright when others fall.

Promises:

- its own loop on the monotonic clock publishes every ``period_s``, whatever the tree does; never on simulated time (the stamp of
  a ``TwistStamped`` is the node's time, for whoever reads it);
- it subscribes ``emergency_stop`` itself and publishes zero from within that callback;
- a latched emergency stop survives the death of this process: the next gate in the same runtime directory starts latched;
- on SIGINT, SIGTERM, SIGHUP or an exception, zero goes out several times before the ROS context ends. Exit code 0 after a signal,
  1 after an exception, 2 when it can't start;
- no torch and no OpenCV in this process, and the kernel's memory killer takes it last, as far as the kernel lets it ask.

Subscribes ``emergency_stop`` (std_msgs/Bool; reliable publishers, latched or not). Publishes ``cmd_vel`` and ``/diagnostics``.
Service ``~/estop_reset``. Requests arrive at ``gate.sock`` and reports go to ``tree.gate.sock`` in the runtime directory.
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import gc
import os
import secrets
import select
import socket
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import rclpy
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from geometry_msgs.msg import Twist as TwistMessage
from geometry_msgs.msg import TwistStamped
from rclpy.clock import Clock, ClockType
from rclpy.exceptions import ParameterException
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, ReliabilityPolicy
from rclpy.signals import SignalHandlerOptions
from std_msgs.msg import Bool
from std_srvs.srv import Trigger

from vla_bt.control.gate import GateRule
from vla_bt.ros import environment, qos
from vla_bt.ros.parameters import declare, on_change
from vla_bt.ros.process import Ending, own_arguments
from vla_bt.settings import GateSettings, SettingsError
from vla_bt.wire import Mailbox, WireError, pack_gate_status, runtime_directory, unpack_request
from vla_bt.words import ZERO, Source, Twist

DIAGNOSTICS_PERIOD_S = 0.5
LAST_ZEROS = 5
LAST_ZEROS_APART_S = 0.01
_LATCHED, _FREE = b"1", b"0"
LAST_VICTIM = -999  # -1000 would be 'never', even if this process itself ran away with the memory


class AlreadyRunningError(RuntimeError):
    """Another gate owns the runtime directory."""


class LatchFile:
    """Keeps two gates apart and remembers a latched emergency stop beyond this process's death.

    Raises
    ------
    AlreadyRunningError
        When a living gate holds the file.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(self._file)
            raise AlreadyRunningError(
                f"another gate runs in {path.parent}; a second robot needs its own VLA_BT_RUNTIME_DIR"
            ) from None
        self.latched = os.pread(self._file, 1, 0) == _LATCHED
        self._written = self.latched
        # Its one byte is taken from the disk now: later it is only overwritten in place, which a full disk allows.
        os.pwrite(self._file, _LATCHED if self.latched else _FREE, 0)

    def keep(self, latched: bool) -> str:
        """Write the latch down; returns what went wrong, empty if nothing. Call it again until it is written."""
        self.latched = latched
        if latched == self._written:
            return ""
        try:
            os.pwrite(self._file, _LATCHED if latched else _FREE, 0)
        except OSError as error:
            return f"the emergency stop's latch can't be written down: {error.strerror}"
        self._written = latched
        return ""

    def close(self) -> None:
        """Release the file, and remove it unless a stop is latched: that holds until it is reset."""
        if not self.latched:
            with contextlib.suppress(FileNotFoundError):
                self._path.unlink()
        os.close(self._file)


class Gate:
    """The gate's node, sockets and loop.

    Parameters
    ----------
    node : Node
        The ROS node; callbacks run in a thread of their own (:meth:`run`).
    directory : Path
        The runtime directory.
    """

    def __init__(self, node: Node, directory: Path) -> None:
        self._node = node
        settings = declare(node, GateSettings, live=set(GateSettings.__dataclass_fields__) - {"cmd_vel_type"})
        self._rule = GateRule(settings, stops=secrets.randbits(48))
        self._lock = threading.Lock()  # guards the rule, and keeps the order of what is published
        self._latch = LatchFile(directory / "gate.latch")
        self._mailbox = Mailbox(directory / "gate.sock")
        self._tree = directory / "tree.gate.sock"
        self._published = ZERO
        self._closed = False
        self._failure: BaseException | None = None
        self._received = self._refused = 0
        self._worst_late_s = 0.0
        self._wake_read, self._wake_write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._stop = False

        self._stamped = settings.cmd_vel_type == "TwistStamped"
        self._cmd_vel = node.create_publisher(TwistStamped if self._stamped else TwistMessage, "cmd_vel", qos.CMD_VEL)
        self._diagnostics = node.create_publisher(DiagnosticArray, "/diagnostics", qos.COMMAND)
        node.create_subscription(Bool, "emergency_stop", self._on_stop, qos.COMMAND)
        self._hears_latched = False
        node.create_service(Trigger, "~/estop_reset", self._on_reset)
        node.create_timer(DIAGNOSTICS_PERIOD_S, self._report, clock=Clock(clock_type=ClockType.STEADY_TIME))
        on_change(node, GateSettings, self._on_parameters)
        if self._latch.latched:
            now_s = time.monotonic()
            self._rule.emergency_stop(True, now_s)
            self._rule.emergency_stop(False, now_s)
            node.get_logger().warning("the emergency stop was latched when the last gate died: it still is; reset it")

    def stop(self) -> None:
        """Ask the loop to end; may be called from a signal handler or any thread."""
        self._stop = True
        with contextlib.suppress(OSError):
            os.write(self._wake_write, b"x")

    def run(self) -> BaseException | None:
        """Run until :meth:`stop` or a failure, then send zeros. Returns the failure, if any."""
        executor = SingleThreadedExecutor(context=self._node.context)
        executor.add_node(self._node)
        thread = threading.Thread(target=self._spin, args=(executor,), name="ros", daemon=True)
        try:
            thread.start()
            gc.collect()
            gc.freeze()  # what lives until the end need not be looked at again: collections stay short
            self._loop()
        except BaseException as failure:  # zero first, whatever it is
            self._failure = failure
        finally:
            self._last_zeros()
            executor.shutdown(timeout_sec=1.0)
            thread.join(timeout=1.0)
        return self._failure

    def close(self) -> None:
        """Release sockets and files. A latched stop is kept for the next gate."""
        self._mailbox.close()
        self._latch.close()
        os.close(self._wake_read)
        os.close(self._wake_write)

    def _loop(self) -> None:
        due_s = time.monotonic()
        while not self._stop:
            select.select([self._mailbox.fileno(), self._wake_read], [], [], max(0.0, due_s - time.monotonic()))
            with self._lock:
                now_s = time.monotonic()
                self._drain(now_s)
                if now_s >= due_s:
                    self._worst_late_s = max(self._worst_late_s, now_s - due_s)
                    self._publish(self._rule.step(now_s))
                    self._mailbox.send(pack_gate_status(self._rule.status(now_s)), self._tree)
                    due_s = max(due_s + self._rule.settings.period_s, now_s)
                elif self._must_rest() and not self._published.is_zero():
                    self._publish(self._rule.step(now_s))  # a stop does not wait for the period

    def _must_rest(self) -> bool:
        request = self._rule.state.request
        return request is None or request.source is Source.SAFETY

    def _drain(self, now_s: float) -> None:
        for data in self._mailbox.receive():
            try:
                request, sent_s = unpack_request(data)
                self._rule.receive(request, now_s, sent_s)
                self._received += 1
            except WireError as error:
                self._rule.refuse(f"request refused: {error}", now_s)
                self._refused += 1

    def _publish(self, twist: Twist) -> None:
        """Publish; the caller holds the lock."""
        if self._closed:
            return
        message: Any = TwistStamped() if self._stamped else TwistMessage()
        body = message.twist if self._stamped else message
        if self._stamped:
            message.header.stamp = self._node.get_clock().now().to_msg()
            message.header.frame_id = "base_link"
        body.linear.x, body.linear.y, body.angular.z = float(twist.linear_x), float(twist.linear_y), float(twist.angular_z)
        self._cmd_vel.publish(message)
        self._published = twist

    def _last_zeros(self) -> None:
        with self._lock:
            for _ in range(LAST_ZEROS):
                self._publish(ZERO)
                time.sleep(LAST_ZEROS_APART_S)
            self._closed = True

    def _spin(self, executor: SingleThreadedExecutor) -> None:
        try:
            executor.spin()
        except ExternalShutdownException:
            pass
        except BaseException as failure:
            self._failure = failure
        self.stop()

    def _on_stop(self, message: Bool) -> None:
        with self._lock:
            self._rule.emergency_stop(bool(message.data), time.monotonic())
            if message.data:
                self._publish(ZERO)
            self._latch.keep(self._rule.state.latched)  # tried again with each report until it is written

    def _on_reset(self, _: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        with self._lock:
            now_s = time.monotonic()
            self._drain(now_s)  # what was sent before the reset counts as before it
            was_latched = self._rule.state.latched
            response.success = self._rule.reset(now_s)
            self._latch.keep(self._rule.state.latched)
        if not response.success:
            response.message = "emergency_stop is still active: release it first"
        else:
            response.message = "reset" if was_latched else "the emergency stop was not latched"
        return response

    def _on_parameters(self, settings: GateSettings) -> None:
        with self._lock:
            self._rule.settings = settings

    def _unheard_stops(self) -> int:
        """Count publishers of ``emergency_stop`` that can't be heard; listen to what a latched one said before this start."""
        publishers = [info.qos_profile for info in self._node.get_publishers_info_by_topic("emergency_stop")]
        latched = any(profile.durability == DurabilityPolicy.TRANSIENT_LOCAL for profile in publishers)
        if latched and not self._hears_latched:
            # Only then: beside it, a publisher that does not latch warns that this subscription hears nothing.
            self._node.create_subscription(Bool, "emergency_stop", self._on_stop, qos.LATCHED)
            self._hears_latched = True
        return sum(profile.reliability == ReliabilityPolicy.BEST_EFFORT for profile in publishers)

    def _report(self) -> None:
        senders, unheard = self._node.count_publishers("cmd_vel"), self._unheard_stops()
        with self._lock:
            now_s = time.monotonic()
            status, words = self._rule.status(now_s), self._rule.state.words
            unwritten = self._latch.keep(status.latched)
            late_s, self._worst_late_s = self._worst_late_s, 0.0
        level, message = DiagnosticStatus.OK, words
        if senders > 1:
            level, message = (
                DiagnosticStatus.ERROR,
                f"{senders - 1} more sender(s) on cmd_vel: the gate can't hold what they send",
            )
        elif status.fault or unwritten:
            level, message = DiagnosticStatus.ERROR, status.fault or unwritten
        elif unheard:
            level, message = (
                DiagnosticStatus.ERROR,
                "emergency_stop has a best-effort publisher, which is not heard",
            )
        elif status.latched:
            level = DiagnosticStatus.WARN
        values = {
            "latched": str(status.latched),
            "source": status.source.name.lower(),
            "linear_x": f"{status.applied.linear_x:.3f}",
            "linear_y": f"{status.applied.linear_y:.3f}",
            "angular_z": f"{status.applied.angular_z:.3f}",
            "requests": str(self._received),
            "refused": str(self._refused),
            "late_ms": f"{late_s * 1e3:.1f}",
            "senders": str(senders),
        }
        name = f"{self._node.get_fully_qualified_name()}: cmd_vel"
        line = DiagnosticStatus(level=level, name=name, message=message, hardware_id=socket.gethostname())
        line.values = [KeyValue(key=key, value=value) for key, value in values.items()]
        array = DiagnosticArray(status=[line])
        array.header.stamp = self._node.get_clock().now().to_msg()
        self._diagnostics.publish(array)


def survive_longest() -> None:
    """Ask the kernel to take this process last when memory runs out, and Python to switch threads fast."""
    for score in (LAST_VICTIM, 0):
        try:
            Path("/proc/self/oom_score_adj").write_text(str(score), encoding="ascii")
            break
        except OSError:
            continue
    sys.setswitchinterval(0.001)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the gate; returns the exit code."""
    ending = Ending()
    arguments = [sys.argv[0], *(sys.argv[1:] if argv is None else argv)]
    parser = argparse.ArgumentParser(prog="gate_node", description=(__doc__ or "").splitlines()[0])
    survive_longest()
    try:
        environment.prepare()
        parser.parse_args(own_arguments(arguments))
        rclpy.init(args=arguments, signal_handler_options=SignalHandlerOptions.NO)
        node = Node("gate")
        gate = Gate(node, runtime_directory())
    except (SettingsError, ParameterException, RuntimeError, OSError) as problem:
        print(f"gate: {' '.join(str(problem).split())}", file=sys.stderr)
        return 2
    ending.hand_to(gate.stop)
    failure = gate.run()
    if failure is not None:
        node.get_logger().fatal(f"{type(failure).__name__}: {failure}; zero was sent, the gate ends")
    gate.close()
    node.destroy_node()
    rclpy.try_shutdown()
    return 0 if failure is None else 1


if __name__ == "__main__":
    sys.exit(main())

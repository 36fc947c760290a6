"""``vla-bt teleop``: drive by keyboard over ROS 2.

Promises: velocities go out at 20 Hz while a key's pulse lasts and end with an explicit zero; on any way out a zero is sent and
the terminal is as it was. With a pipe instead of a terminal the keys are played one after the other, each for one pulse.
"""

from __future__ import annotations

import argparse
import codecs
import contextlib
import json
import os
import select
import shutil
import sys
import time
from collections import deque
from collections.abc import Iterator
from typing import Any

from vla_bt.cli.options import namespace
from vla_bt.control.teleop_console import LEGEND, Action, Kind, TeleopConsole, split_keys
from vla_bt.control.teleop_keys import TeleopKeys
from vla_bt.words import ZERO, Twist

PERIOD_S = 0.05
LISTENER_WAIT_S = 5.0
SETTLE_S = 0.3  # the listeners of the other topics are found about when the first one is
STOP_REPEAT_S = 0.2
RESET_DELAY_S = 0.2  # lets the released input reach the gate before the reset does

EXAMPLES = """examples:
  vla-bt teleop                            at a terminal: the legend says which key does what
  vla-bt teleop --linear 0.2               start slower
  printf 'wwwr' | vla-bt teleop            forward for three pulses, then turn left for one
  printf '2ggo to the cup\\n' | vla-bt teleop   mode vla, then a goal
"""


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add this verb."""
    legend = LEGEND.format(pulse=TeleopKeys().pulse_s)
    parser = subparsers.add_parser(
        "teleop",
        help="drive by keyboard",
        description=f"Drive by keyboard: publishes teleop/cmd_vel, mode, goal and emergency_stop, asks for recordings.\n\n"
        f"{legend}",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--linear", type=_speed, default=0.3, metavar="M/S", help="speed at the start (default %(default)s)")
    parser.add_argument("--angular", type=_speed, default=0.6, metavar="RAD/S", help="turning speed (default %(default)s)")
    parser.add_argument("--namespace", type=namespace, default="", help="the robot's namespace, when there is more than one")
    parser.set_defaults(run=run)


def _speed(text: str) -> float:
    value = float(text)
    if not 0.0 < value <= 3.0:
        raise argparse.ArgumentTypeError(f"{text} is not a speed above 0 and up to 3")
    return value


def run(options: argparse.Namespace) -> int:
    """Run until Esc, Ctrl-C or the end of the pipe; returns the exit code."""
    from vla_bt.ros.environment import prepare

    prepare()
    import rclpy
    from rclpy.signals import SignalHandlerOptions

    rclpy.init(args=[], signal_handler_options=SignalHandlerOptions.NO)
    from vla_bt.ros.process import Ending

    link = _Link(rclpy.create_node("teleop", namespace=options.namespace), Ending())
    console = TeleopConsole(TeleopKeys(options.linear, options.angular))
    try:
        with _raw_terminal() as interactive:
            return _Session(link, console, interactive).run()
    except KeyboardInterrupt:
        return 0
    finally:
        link.rest()
        link.node.destroy_node()
        rclpy.try_shutdown()


@contextlib.contextmanager
def _raw_terminal() -> Iterator[bool]:
    """Read single keys without echo, if standard input is a terminal; give it back as it was."""
    if not sys.stdin.isatty():
        yield False
        return
    import termios
    import tty

    before = termios.tcgetattr(sys.stdin)
    try:
        tty.setcbreak(sys.stdin)
        yield True
    finally:
        termios.tcsetattr(sys.stdin, termios.TCSADRAIN, before)


class _Link:
    """The topics and the service this program talks to."""

    def __init__(self, node: Any, ending: Any) -> None:
        from geometry_msgs.msg import Twist as TwistMessage
        from std_msgs.msg import Bool, String
        from std_srvs.srv import SetBool, Trigger

        from vla_bt.ros import qos

        self.node = node
        self._ending = ending
        self._twist, self._bool, self._string, self._trigger = TwistMessage, Bool, String, Trigger
        self._velocity = node.create_publisher(TwistMessage, "teleop/cmd_vel", qos.COMMAND)
        self._stop = node.create_publisher(Bool, "emergency_stop", qos.COMMAND)
        self._texts = {Kind.GOAL: node.create_publisher(String, "goal", qos.COMMAND)}
        self._texts[Kind.MODE] = node.create_publisher(String, "mode", qos.COMMAND)
        self._reset = node.create_client(Trigger, "gate/estop_reset")
        self._record_request = SetBool.Request
        self._record = node.create_client(SetBool, "tree/record")
        self._answers: list[tuple[str, Any]] = []
        node.create_subscription(String, "mode_status", self._on_mode, qos.LATCHED)
        node.create_subscription(String, "record_status", self._on_recorder, qos.LATCHED)
        self.mode = ""
        self.recorder = ""

    @property
    def topic(self) -> str:
        """Full name of the velocities' topic."""
        return str(self._velocity.topic_name)

    @property
    def awaits_answer(self) -> bool:
        """A service has yet to answer."""
        return bool(self._answers)

    @property
    def heard(self) -> bool:
        """Somebody listens to the velocities."""
        return bool(self._velocity.get_subscription_count() > 0)

    def spin(self) -> None:
        """Take what has arrived."""
        import rclpy

        rclpy.spin_once(self.node, timeout_sec=0.0)
        self._ending.raise_if_told()

    def drive(self, twist: Twist) -> None:
        """Publish a velocity."""
        message = self._twist()
        message.linear.x, message.linear.y, message.angular.z = (
            float(twist.linear_x),
            float(twist.linear_y),
            float(twist.angular_z),
        )
        self._velocity.publish(message)

    def emergency_stop(self, active: bool) -> None:
        """Publish the state of the emergency stop."""
        self._stop.publish(self._bool(data=active))

    def say(self, kind: Kind, text: str) -> None:
        """Publish a goal or a mode."""
        self._texts[kind].publish(self._string(data=text))

    def reset(self) -> bool:
        """Ask the gate for a reset; False when there is none."""
        if not self._reset.service_is_ready():
            return False
        self._answers.append(("gate", self._reset.call_async(self._trigger.Request())))
        return True

    def record(self, wanted: bool) -> bool:
        """Ask the tree to record or to end it; False when there is none."""
        if not self._record.service_is_ready():
            return False
        self._answers.append(("tree", self._record.call_async(self._record_request(data=wanted))))
        return True

    def answer(self) -> str:
        """Return each service's answer once, in the order they were asked."""
        if not self._answers or not self._answers[0][1].done():
            return ""
        who, answer = self._answers.pop(0)
        return f"{who}: {answer.result().message}"

    def rest(self) -> None:
        """Leave with zero, and give it time to go out."""
        for _ in range(3):
            self.drive(ZERO)
            time.sleep(0.02)

    def _on_mode(self, message: Any) -> None:
        self.mode = message.data

    def _on_recorder(self, message: Any) -> None:
        try:
            self.recorder = str(json.loads(message.data)["words"])[:100]
        except (ValueError, KeyError, TypeError):
            self.recorder = ""


class _Session:
    """One person's session, from a terminal or a pipe."""

    def __init__(self, link: _Link, console: TeleopConsole, interactive: bool) -> None:
        self._link, self._console, self._interactive = link, console, interactive
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._stop_due_s: float | None = None
        self._reset_due_s: float | None = None
        self._said = ""
        self._sent: Twist | None = None

    def run(self) -> int:
        """Run to the end; returns the exit code."""
        return self._at_terminal() if self._interactive else self._from_pipe()

    def _at_terminal(self) -> int:
        print(LEGEND.format(pulse=self._console.keys.pulse_s))
        due_s = time.monotonic()
        while True:
            ready, _, _ = select.select([sys.stdin], [], [], max(0.0, due_s - time.monotonic()))
            if ready:
                data = os.read(sys.stdin.fileno(), 4096)
                if not data:  # the terminal is gone
                    return 0
                for key in split_keys(self._decoder.decode(data)):
                    if not self._take(key):
                        print()
                        return 0
            now_s = time.monotonic()
            if now_s >= due_s or ready:
                self._tick(now_s)
                self._show()
                due_s = now_s + PERIOD_S

    def _from_pipe(self) -> int:
        """Play the keys: each driving key for its whole pulse."""
        if not self._wait_for_listener():
            print(f"vla-bt teleop: nobody listens on {self._link.topic}", file=sys.stderr)
            return 1
        waiting: deque[str] = deque()
        is_open = True
        while is_open or waiting or self._busy:
            if is_open and select.select([sys.stdin], [], [], 0.0)[0]:
                data = os.read(sys.stdin.fileno(), 4096)
                is_open = bool(data)
                waiting.extend(split_keys(self._decoder.decode(data, final=not data)))
            while waiting and not self._busy:
                if not self._take(waiting.popleft()):
                    return 0
            self._tick(time.monotonic())
            time.sleep(PERIOD_S)
        return 0

    @property
    def _busy(self) -> bool:
        return self._console.keys.driving or self._reset_due_s is not None or self._link.awaits_answer

    def _wait_for_listener(self) -> bool:
        until_s = time.monotonic() + LISTENER_WAIT_S
        while not self._link.heard and time.monotonic() < until_s:
            self._link.spin()
            time.sleep(PERIOD_S)
        time.sleep(SETTLE_S)
        return self._link.heard

    def _take(self, key: str) -> bool:
        """Act on one key; False to quit."""
        action = self._console.feed(key, time.monotonic())
        if action is None:
            return True
        if action.kind is Kind.QUIT:
            return False
        self._act(action)
        return True

    def _act(self, action: Action) -> None:
        now_s = time.monotonic()
        if action.kind is Kind.EMERGENCY_STOP:
            self._stop_due_s, self._reset_due_s = now_s, None
            self._say("EMERGENCY STOP")
        elif action.kind is Kind.RESET:
            self._stop_due_s, self._reset_due_s = None, now_s + RESET_DELAY_S
            self._link.emergency_stop(False)
            self._say("emergency stop released")
        elif action.kind is Kind.RECORD:
            if not self._link.record(action.text == "on"):
                self._say("no tree answers: nothing is recorded")
        else:
            self._link.say(action.kind, action.text)
            self._say(f"{action.kind.value}: {action.text}")

    def _tick(self, now_s: float) -> None:
        """Send what is due and take what has arrived."""
        twist = self._console.keys.twist(now_s)
        if twist is not None:
            self._link.drive(twist)
        self._sent = twist
        if self._stop_due_s is not None and now_s >= self._stop_due_s:  # said again and again: a gate may have just started
            self._link.emergency_stop(True)
            self._stop_due_s = now_s + STOP_REPEAT_S
        if self._reset_due_s is not None and now_s >= self._reset_due_s:
            self._reset_due_s = None
            if not self._link.reset():
                self._say("no gate answers: nothing was reset")
        self._link.spin()
        self._say(self._link.answer())

    def _say(self, words: str) -> None:
        if not words:
            return
        self._said = words
        if not self._interactive:
            print(words, flush=True)

    def _show(self) -> None:
        """Draw the status line over itself."""
        keys, sent = self._console.keys, self._sent
        line = self._console.prompt
        if not line:
            driving = "silent" if sent is None else f"x {sent.linear_x:+.2f}  y {sent.linear_y:+.2f}  turn {sent.angular_z:+.2f}"
            parts = [f"{keys.linear:.2f} m/s {keys.angular:.2f} rad/s", driving, self._said, self._link.mode, self._link.recorder]
            if not self._link.heard:
                parts.append(f"nobody listens on {self._link.topic}")
            line = " | ".join(part for part in parts if part)
        width = shutil.get_terminal_size().columns - 1
        print(f"\r{line[-width:] if self._console.prompt else line[:width]}\x1b[K", end="", flush=True)

"""``vla-bt teleop``: drive by keyboard over ROS 2.

Promises: velocities go out at 20 Hz while a key's pulse lasts and end with an explicit zero; on any way out a zero is sent and
the terminal is as it was. With a pipe instead of a terminal the keys are played one after the other, each for one pulse.
"""

from __future__ import annotations

import argparse
import codecs
import contextlib
import os
import select
import shutil
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from vla_bt.cli.options import namespace
from vla_bt.cli.teleop_link import TeleopLink
from vla_bt.control.collecting import LEGEND as COLLECT_LEGEND
from vla_bt.control.collecting import CollectingConsole, Guides
from vla_bt.control.teleop_console import LEGEND, Action, Kind, TeleopConsole, split_keys
from vla_bt.control.teleop_keys import TeleopKeys
from vla_bt.words import Twist

if TYPE_CHECKING:
    from vla_bt.episodes.plan import Cell, Plan

PERIOD_S = 0.05
LISTENER_WAIT_S = 5.0
SETTLE_S = 2.0  # for the other listeners and the services; they are found about when the first one is
STOP_REPEAT_S = 0.2
RESET_DELAY_S = 0.2  # lets the released input reach the gate before the reset does

EXAMPLES = """examples:
  vla-bt teleop                            at a terminal: the legend says which key does what
  vla-bt teleop --linear 0.2               start slower
  printf 'wwwr' | vla-bt teleop            forward for three pulses, then turn left for one
  printf '2ggo to the cup\\n' | vla-bt teleop   mode vla, then a goal
  vla-bt teleop --collect runs             demonstrations of a collection plan: n, m, k, p
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
    parser.add_argument(
        "--collect",
        nargs="?",
        type=Path,
        const=Path("runs"),
        metavar="DIR",
        help="lead through demonstrations of a plan; DIR is where the tree records (default runs), guides go to DIR/guides. "
        + " ".join(COLLECT_LEGEND.split()),
    )
    parser.add_argument("--plan", default="document", help="with --collect: whose progress p shows (default %(default)s)")
    parser.set_defaults(run=run)


def _speed(text: str) -> float:
    value = float(text)
    if not 0.0 < value <= 3.0:
        raise argparse.ArgumentTypeError(f"{text} is not a speed above 0 and up to 3")
    return value


def run(options: argparse.Namespace) -> int:
    """Run until Esc, Ctrl-C or the end of the pipe; returns the exit code."""
    from vla_bt.ros.environment import prepare

    plan = None
    if options.collect is not None:
        from vla_bt.episodes.plan import load_plan

        plan = load_plan(options.plan)
    prepare()
    import rclpy
    from rclpy.signals import SignalHandlerOptions

    rclpy.init(args=[], signal_handler_options=SignalHandlerOptions.NO)
    from vla_bt.ros.process import Ending

    link = TeleopLink(rclpy.create_node("teleop", namespace=options.namespace), Ending())
    keys = TeleopKeys(options.linear, options.angular)
    console = TeleopConsole(keys) if plan is None else CollectingConsole(keys, Guides(options.collect / "guides"))
    count = partial(_progress, options.collect, plan) if plan is not None else None
    try:
        with _raw_terminal() as interactive:
            return _Session(link, console, interactive, count).run()
    except KeyboardInterrupt:
        return 0
    finally:
        if isinstance(console, CollectingConsole) and console.demonstrating:
            link.record(False)  # else the tree would go on recording
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


def _progress(folder: Path, plan: Plan, cell: Cell | None) -> str:
    """Return how far a plan is, in a line."""
    from vla_bt.episodes.dataset import headers
    from vla_bt.episodes.plan import count_progress
    from vla_bt.episodes.schema import EpisodeError

    try:
        progress = count_progress((path.name, attributes) for path, attributes in headers(folder))
    except EpisodeError as error:
        return str(error)
    own = f"; of this kind {progress.there.get(cell, 0)} of {plan.targets.get(cell, 0)}" if cell is not None else ""
    return f"{progress.done(plan)} of {plan.total} demonstrations there{own}"


def in_thread(work: Callable[[], str]) -> Future[str]:
    """Do something that takes a while beside the driving, in a thread that nobody waits for at the end."""
    done: Future[str] = Future()

    def finish() -> None:
        try:
            done.set_result(work())
        except Exception as error:  # else whoever waits for it would wait for ever
            done.set_result(f"can't be counted: {error}")

    threading.Thread(target=finish, daemon=True).start()
    return done


class _Session:
    """One person's session, from a terminal or a pipe."""

    def __init__(
        self, link: TeleopLink, console: TeleopConsole, interactive: bool, count: Callable[[Cell | None], str] | None = None
    ) -> None:
        self._link, self._console, self._interactive, self._count = link, console, interactive, count
        self._counting: Future[str] | None = None
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._stop_due_s: float | None = None
        self._reset_due_s: float | None = None
        self._said = ""
        self._sent: Twist | None = None

    def run(self) -> int:
        """Run to the end; returns the exit code."""
        return self._at_terminal() if self._interactive else self._from_pipe()

    def _at_terminal(self) -> int:
        print(LEGEND.format(pulse=self._console.keys.pulse_s) + (COLLECT_LEGEND if self._collecting is not None else ""))
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
        playing = self._collecting is not None and self._collecting.playing
        waiting = self._reset_due_s is not None or self._link.awaits_answer or self._counting is not None
        return self._console.keys.driving or playing or waiting

    @property
    def _collecting(self) -> CollectingConsole | None:
        return self._console if isinstance(self._console, CollectingConsole) else None

    def _wait_for_listener(self) -> bool:
        until_s = time.monotonic() + LISTENER_WAIT_S
        while not self._link.heard and time.monotonic() < until_s:
            self._link.spin()
            time.sleep(PERIOD_S)
        until_s = time.monotonic() + SETTLE_S
        while not self._link.all_found and time.monotonic() < until_s:
            self._link.spin()
            time.sleep(PERIOD_S)
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
            elif action.text not in ("on", "off"):
                self._say(action.text)
        elif action.kind is Kind.DEMONSTRATE and self._collecting is not None and self._collecting.cell is not None:
            if not self._link.label(self._collecting.cell, self._collecting.key_pattern):
                self._say("no tree answers: nothing is recorded")
        elif action.kind is Kind.PROGRESS and self._collecting is not None and self._count is not None:
            if self._counting is None:
                self._counting = in_thread(partial(self._count, self._collecting.cell))
        else:
            self._link.say(action.kind, action.text)
            self._say(f"{action.kind.value}: {action.text}")

    def _tick(self, now_s: float) -> None:
        """Send what is due and take what has arrived."""
        if self._collecting is not None:
            self._collect(self._collecting, now_s)
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
        self._say(self._link.answer(now_s))

    def _collect(self, console: CollectingConsole, now_s: float) -> None:
        """Press a guide's keys; begin to record once the tree has taken the label; say what was counted."""
        console.advance(now_s)
        refusal = self._link.labelled(now_s)
        if refusal == "" and console.cell is not None:
            self._link.record(True)
            console.begun(now_s)
            self._say(f"{' '.join(console.cell)}; {console.guide_in_words}")
        else:
            self._say(refusal or "")
        if self._counting is not None and self._counting.done():
            self._say(self._counting.result())
            self._counting = None

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

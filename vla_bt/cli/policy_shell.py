"""``vla-bt policy shell``: load a policy, tell it a goal, show it pictures, measure and shrink it, line by line.

    vla-bt policy shell small-cnn --source room.png
    echo "infer 3" | vla-bt policy shell my_policy --source camera

Promises: a mistake is one line and the shell goes on; from a pipe the first mistake sets the exit code to 1. Lines are kept in a
history that the arrow keys reach. Nothing here moves a robot.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vla_bt.cli.policy_options import add_allow_missing, add_policy_options, add_threads_option, run_config, use_threads
from vla_bt.settings import SettingsError

if TYPE_CHECKING:
    import numpy as np

    from vla_bt.policy.config import PolicyConfig
    from vla_bt.policy.frames import FrameSource
    from vla_bt.policy.runtime import NetworkPolicy

COMMANDS = {
    "infer": "[N]        take N steps (default 1) on the next frames",
    "goal": "TEXT       start a goal",
    "source": "NAME       take frames from a picture, a video, an episode (.h5), or from 'camera'",
    "benchmark": "[N]        time N steps (default 20), with the bound of this machine",
    "memory": "           what the policy takes and what is left",
    "reduce": "HOW        shrink it: bf16, int8, layers6, text16, joined by +",
    "load": "POLICY     another policy: preset or folder",
    "clear": "           forget the memory and the encoded goals",
    "help": "           this",
    "quit": "           leave (also: exit, Ctrl-D)",
}
_HISTORY = Path("~/.local/state/vla_bt/policy_history")
_MOST = 10_000


def add_parser(verbs: Any) -> None:
    """Add the verb to the group ``policy``."""
    lines = "\n".join(f"  {name:<10} {text}" for name, text in COMMANDS.items())
    parser = verbs.add_parser(
        "shell",
        help="try a policy line by line",
        description="Load a policy, tell it a goal, show it pictures, measure and shrink it. Nothing here moves a robot.",
        epilog=f"lines:\n{lines}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("target", metavar="POLICY", help="preset, policy's folder, or weight file with --policy")
    parser.add_argument(
        "--source", default="", metavar="NAME", help="picture, video, episode, or 'camera' (default: drawn pictures)"
    )
    parser.add_argument("--goal", default="go around the box on the left to the cup", help="first goal")
    add_threads_option(parser)
    add_policy_options(parser)
    add_allow_missing(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Run the shell; returns the exit code."""
    use_threads(options)
    shell = Shell(options.goal)
    shell.start(options.target, run_config(options), options.source, options.allow_missing)
    interactive = sys.stdin.isatty()
    if interactive:
        with _history():
            shell.obey_all(_prompted, say_more=True)
        return 0
    shell.obey_all(lambda: sys.stdin.readline() or None, say_more=False)
    return 1 if shell.mistakes else 0


def _prompted() -> str | None:
    try:
        return input("policy> ")
    except EOFError:
        print()
        return None
    except KeyboardInterrupt:
        print()
        return ""


@contextlib.contextmanager
def _history() -> Any:
    """Keep what was typed for the next time; a home that can't be written is no reason to fail."""
    import readline

    path = _HISTORY.expanduser()
    with contextlib.suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        readline.read_history_file(path)
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            readline.set_history_length(1000)
            readline.write_history_file(path)
            os.chmod(path, 0o600)


class Shell:
    """Obeys lines.

    Attributes
    ----------
    mistakes : int
        Lines that could not be obeyed.
    """

    def __init__(self, goal: str, say: Callable[[str], None] = print) -> None:
        self._goal, self._say = goal, say
        self._policy: NetworkPolicy | None = None
        self._source: FrameSource | None = None
        self._drawn = 0
        self._done = False
        self.mistakes = 0

    @property
    def policy(self) -> NetworkPolicy:
        """The policy that is loaded."""
        assert self._policy is not None
        return self._policy

    def start(self, name: str, config: PolicyConfig | None, source: str, allow_missing: bool = False) -> None:
        """Load the first policy and open the source."""
        self._load(name, config, allow_missing)
        if source:
            self.source(source)

    def obey_all(self, read: Callable[[], str | None], say_more: bool) -> None:
        """Obey lines until there are no more."""
        if say_more:
            self._say("'help' tells what can be said")
        while not self._done and (line := read()) is not None:
            try:
                self.obey(line)
            except KeyboardInterrupt:
                self._say("stopped")

    def obey(self, line: str) -> None:
        """Obey one line; a mistake is told and counted."""
        word, _, rest = line.strip().partition(" ")
        if not word or word.startswith("#"):
            return
        word = {"exit": "quit", "?": "help"}.get(word, word)
        try:
            if word not in COMMANDS:
                raise SettingsError(f"'{word}' is not known; 'help' tells what is")
            getattr(self, word)(rest.strip())
        except (SettingsError, ValueError) as error:
            self.mistakes += 1
            self._say(f"can't: {error}")

    def help(self, _: str) -> None:
        """Tell what can be said."""
        for name, text in COMMANDS.items():
            self._say(f"{name:<10} {text}")

    def quit(self, _: str) -> None:
        """Leave."""
        self._done = True

    def goal(self, text: str) -> None:
        """Start a goal."""
        if not text:
            raise SettingsError(f"the goal is '{self._goal}'; a new one: goal TEXT")
        self._goal = text
        self.policy.reset(text)
        self._say(f"goal: {text}")

    def source(self, name: str) -> None:
        """Take frames from somewhere else."""
        from vla_bt.policy.frames import FrameSource
        from vla_bt.wire import runtime_directory

        if not name:
            raise SettingsError("say which: source room.png")
        self._source = FrameSource(name, runtime_directory())
        self.policy.reset(self._goal)
        self._say(f"frames come from {name}")

    def infer(self, count: str) -> None:
        """Take steps."""
        from vla_bt.words import ZERO

        for _ in range(_number(count, 1)):
            pixels, time_s, name = self._next()
            step = self.policy.step(pixels, time_s, ZERO)
            first, raw = (", ".join(f"{value:+.3f}" for value in actions[0]) for actions in (step.actions, step.raw_actions))
            marks = [f"before limits ({raw})"] * step.clamped + ["NOT FINITE"] * (not step.finite)
            marks += [f"stop {step.stop_probability:.2f}"] * self.policy.config.head.stop
            marks += ["text from cache" if step.text_cache_hit else "text encoded"]
            self._say(f"{name}: ({first}) of {len(step.actions)}, {1e3 * step.latency_s:.1f} ms, {', '.join(marks)}")

    def benchmark(self, count: str) -> None:
        """Time steps."""
        from vla_bt.policy.bench import as_text, bench

        repeats = _number(count, 20)
        self._say(as_text(bench(self.policy, self._goal, repeats, warm_up=2)))
        self.policy.reset(self._goal)

    def memory(self, _: str) -> None:
        """Tell what is taken and what is left."""
        import psutil

        from vla_bt.policy.plan import available_bytes
        from vla_bt.policy.shrinking import held_bytes

        left, limit = available_bytes()
        process = psutil.Process().memory_info().rss
        self._say(
            f"weights {held_bytes(self.policy.network) / 1e6:.1f} MB, this process {process / 1e6:.1f} MB, "
            f"{limit} leaves {left / 1e6:.0f} MB"
        )

    def reduce(self, how: str) -> None:
        """Shrink the policy that is loaded."""
        from vla_bt.policy.shrinking import Shrink, held_bytes, shrink

        if not how:
            raise SettingsError("say how: reduce int8+layers6")
        if self.policy.eight_bit:
            raise SettingsError("it is 8-bit already; load it anew to shrink it otherwise")
        before = held_bytes(self.policy.network)
        shrink(self.policy, Shrink.parse(how))
        self.policy.reset(self._goal)
        self._say(f"weights {before / 1e6:.1f} -> {held_bytes(self.policy.network) / 1e6:.1f} MB")

    def load(self, name: str) -> None:
        """Load another policy."""
        if not name:
            raise SettingsError("say which: load small-cnn")
        self._load(name, None)

    def clear(self, _: str) -> None:
        """Forget the memory and the encoded goals."""
        dropped = self.policy.clear_cache()
        self.policy.reset(self._goal)
        self._say(f"memory cleared, {dropped} encoded goal{'s' * (dropped != 1)} forgotten")

    def _load(self, name: str, config: PolicyConfig | None, allow_missing: bool = False) -> None:
        from vla_bt.policy.factory import make_network_policy

        loaded = make_network_policy(name, config=config, allow_missing=allow_missing)
        loaded.reset(self._goal)
        self._policy = loaded
        info = loaded.info
        self._say(f"{info.name} ({info.label}), frames of {info.frame_width} x {info.frame_height}; goal: {self._goal}")

    def _next(self) -> tuple[Any, float, str]:
        from vla_bt.policy.compare import pictures

        info = self.policy.info
        if self._source is not None:
            return self._source.next(info.picture)[:3]
        self._drawn += 1
        index = (self._drawn - 1) % 18
        pixels: np.ndarray = pictures(18, info.frame_height, info.frame_width)[index]
        return pixels, 0.2 * self._drawn, f"drawn picture {index}"


def _number(text: str, default: int) -> int:
    if not text:
        return default
    if not text.isdigit() or not 1 <= int(text) <= _MOST:
        raise SettingsError(f"'{text}' is not a whole number from 1 to {_MOST}")
    return int(text)

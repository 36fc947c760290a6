"""``vla-bt demo``: the whole application over ROS 2 processes, about 90 seconds, with checks and a summary."""

from __future__ import annotations

import argparse
import os
import signal
import sys
import threading
import time
from pathlib import Path
from typing import Any

from vla_bt.ros.log_level import add_log_level, log_arguments

EXAMPLES = """examples:
  vla-bt demo
  vla-bt demo --seed 3 --plain

writes runs/<time>/: summary.json, an 18-frame episode, contact_sheet.png, path.png and the processes' logs
"""

INTERRUPTED = "interrupted: the robot was stopped and the processes were ended"


def add_parser(subparsers: Any) -> None:
    """Add the verb."""
    parser = subparsers.add_parser(
        "demo",
        help="the whole application over ROS 2 processes, with a summary",
        description="Start simulator, camera bridge, gate, tree and policy worker as processes over ROS 2; drive by hand, by "
        "policy, and both; stop in an emergency; check every step. Exit code 0 only if all checks held.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--seed", type=int, default=0, help="seed of the scene (default 0)")
    parser.add_argument("--plain", action="store_true", help="print lines instead of redrawing the screen")
    parser.add_argument("--folder", type=Path, default=Path("runs"), help="where runs go (default runs)")
    add_log_level(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Run the demo; returns the exit code."""
    interrupted = threading.Event()
    # First of all: a Ctrl-C during the slow imports must not end them half-way.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: interrupted.set())

    from vla_bt.ros.environment import isolate, prepare
    from vla_bt.settings import SettingsError

    domain = isolate()  # a demo does not talk to a robot nearby
    prepare()

    import rclpy
    from rclpy.node import Node
    from rclpy.signals import SignalHandlerOptions

    from vla_bt.app.demo import Demo, DemoError, Interrupted
    from vla_bt.app.demo_view import DemoView
    from vla_bt.app.processes import ProcessGroup
    from vla_bt.ros.demo_operator import DemoOperator

    folder = options.folder / time.strftime("%Y%m%d_%H%M%S")
    try:
        folder.mkdir(parents=True)
    except OSError as error:
        raise SettingsError(f"can't make {folder}: {error.strerror}") from None
    directory = Path("/dev/shm") / f"vla_bt-{os.getuid()}-demo-{os.getpid()}"
    rclpy.init(signal_handler_options=SignalHandlerOptions.NO)
    node = Node("demo")
    operator = DemoOperator(node)
    group = ProcessGroup(directory, folder / "logs", domain, log_arguments(options.log_level))
    view = DemoView(live=sys.stdout.isatty() and not options.plain)
    demo = Demo(group, operator, view, folder, options.seed, interrupted)
    failure, code = "", 1
    try:
        with view:
            demo.run()
    except Interrupted:
        failure, code = INTERRUPTED, 130
    except DemoError as problem:
        failure = str(problem)
    finally:
        codes = group.close()
        operator.close()
        node.destroy_node()
        rclpy.try_shutdown()
    if failure != INTERRUPTED:
        demo.conclude(codes)
    ok = demo.write_summary(failure)
    _print_summary(demo, failure, ok)
    return 0 if ok else code


def _print_summary(demo: Any, error: str, ok: bool) -> None:
    from rich.table import Table
    from rich.text import Text

    console = demo.view.console
    table = Table(title="vla_bt demo", title_justify="left", show_header=False)
    table.add_column(no_wrap=True)
    table.add_column()
    for name, check in demo.checks.items():
        table.add_row(("[green]ok[/]  " if check["ok"] else "[bold red]FAIL[/]") + f"  {name}", Text(check["words"]))
    for name, words in _figures(demo.figures):
        table.add_row(f"      {name}", words)
    table.add_row("      written to", str(demo.folder))
    console.print(table)
    if error:
        console.print(Text(error, style="bold red"))
    console.print("[bold green]all checks held[/]" if ok else "[bold red]FAILED[/]")


def _figures(figures: dict[str, Any]) -> list[tuple[str, str]]:
    """Return what was measured, in words."""
    rows = []
    if "closest_m" in figures:
        rows.append(("closest to the cup", f"{figures['closest_m']:.2f} m"))
    if "tick_ms" in figures:
        rows.append(("tick p50 / p99", "{p50} / {p99} ms".format(**figures["tick_ms"])))
    if "camera_rate_hz" in figures:
        rows.append(("camera", f"{figures['camera_rate_hz']:.1f} Hz"))
    if "estop_to_zero_s" in figures:
        rows.append(("emergency stop to zero", f"{1e3 * figures['estop_to_zero_s']:.1f} ms"))
    if "frames_recorded" in figures:
        rows.append(("frames recorded", str(figures["frames_recorded"])))
    return rows

"""``vla-bt bench stop``: how soon the robot stops after something was killed, stopped or frozen, over real ROS 2 processes.

Promises: exit code 0 only if the robot stopped in every repetition and the median of every case met its aim; Ctrl-C at any moment
leaves no process and no shared memory behind.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import statistics
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vla_bt.settings import SettingsError

if TYPE_CHECKING:
    from vla_bt.bench.stop import StopBench

EXAMPLES = """examples:
  vla-bt bench stop                                     every case ten times: about ten minutes
  vla-bt bench stop --repeats 3 --case tree-kill estop
  vla-bt bench stop --json > stop.json

cases: {cases}

The time counts from the fault until cmd_vel is zero and stays so; when the gate is the fault, until the base rests by itself.
"""
CASE_NAMES = (
    "estop",
    "tree-stop",
    "tree-kill",
    "worker-stop",
    "worker-kill",
    "bridge-stop",
    "bridge-kill",
    "gate-stop",
    "gate-kill",
    "camera-freeze",
    "camera-stop",
    "camera-kill",
)
"""As ``vla_bt.bench.stop`` has them (tested); here so that ``--help`` loads neither numpy nor OpenCV."""


def add_parser(subparsers: Any) -> None:
    """Add the benchmark."""
    parser = subparsers.add_parser(
        "stop",
        help="time to zero velocity after faults, over real processes",
        description="Start simulator, camera bridge, gate and tree over ROS 2, let the expert drive, and then kill, stop "
        "(SIGSTOP) or freeze one of them; measure how long it takes until the robot is told to stand. Exit code 0 only if it "
        "stopped every time and every case's median met its aim.",
        epilog=EXAMPLES.format(cases=" ".join(CASE_NAMES)),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--repeats", type=_repeats, default=10, metavar="N", help="repetitions of each case (default 10)")
    parser.add_argument("--case", nargs="+", choices=CASE_NAMES, metavar="NAME", help="only these (default: all)")
    parser.add_argument("--seed", type=int, default=0, help="seed of the moments at which the faults come (default 0)")
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of the table")
    parser.set_defaults(run=run)


def _repeats(text: str) -> int:
    try:
        repeats = int(text)
    except ValueError:
        repeats = 0
    if not 1 <= repeats <= 1000:
        raise argparse.ArgumentTypeError(f"'{text}' is not a whole number from 1 to 1000")
    return repeats


def run(options: argparse.Namespace) -> int:
    """Run the benchmark; returns the exit code."""
    from vla_bt.bench.figures import LoadMeter
    from vla_bt.bench.tick import BenchError

    names = [name for name in CASE_NAMES if options.case is None or name in options.case]
    shown = sys.stderr.isatty()

    def progress(name: str, times: list[float | None]) -> None:
        if shown:
            last = f"{1e3 * times[-1]:.0f} ms" if times[-1] is not None else "NEVER"
            print(f"\r{name:14s} {len(times):3d} of {options.repeats}  {last:10s}", end="", file=sys.stderr, flush=True)
            if len(times) == options.repeats:
                print(file=sys.stderr)

    try:
        with stop_bench(options.seed) as bench:
            load = LoadMeter()
            times = measure(bench, names, options.repeats, progress)
            busy, held = load.stop(), bench.held
    except BenchError as problem:
        raise SettingsError(str(problem)) from None
    report = make_report(times, options.repeats, busy, held)
    print(json.dumps(report, indent=2) if options.json else _table(report))
    return 0 if report["timing"]["ok"] else 1


@contextmanager
def stop_bench(seed: int, sim_parameters: tuple[str, ...] = ()) -> Iterator[StopBench]:
    """Yield a started benchmark; end its processes whatever happens."""
    from vla_bt.ros.environment import isolate, prepare

    domain = isolate()  # a benchmark does not talk to a robot nearby
    prepare()
    import rclpy
    from rclpy.node import Node
    from rclpy.signals import SignalHandlerOptions

    from vla_bt.app.processes import ProcessGroup
    from vla_bt.bench.stop import StopBench
    from vla_bt.ros.bench_operator import BenchOperator

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    before = {number: signal.signal(number, interrupt) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    rclpy.init(signal_handler_options=SignalHandlerOptions.NO)
    node = Node("bench_stop")
    operator = BenchOperator(node)
    try:
        with tempfile.TemporaryDirectory(prefix="vla_bt-bench-") as folder:
            group = ProcessGroup(Path("/dev/shm") / f"vla_bt-{os.getuid()}-stop-{os.getpid()}", Path(folder) / "logs", domain)
            bench = StopBench(group, operator, Path(folder), seed, sim_parameters)
            try:
                bench.start()
                yield bench
            finally:
                for number in before:  # the ending is not interrupted
                    signal.signal(number, signal.SIG_IGN)
                bench.close()
                group.close()
    finally:
        operator.close()
        node.destroy_node()
        rclpy.try_shutdown()
        for number, handler in before.items():
            signal.signal(number, handler)


def measure(
    bench: StopBench, names: list[str], repeats: int, progress: Callable[[str, list[float | None]], None]
) -> dict[str, list[float | None]]:
    """Measure each case ``repeats`` times: times to zero [s], None where the robot never stopped."""
    times: dict[str, list[float | None]] = {}
    for name in names:
        times[name] = []
        for taken_s in bench.run(name, repeats):
            times[name].append(taken_s)
            progress(name, times[name])
    return times


def make_report(
    times: dict[str, list[float | None]], repeats: int, busy: dict[str, Any], held: Sequence[str] = ()
) -> dict[str, Any]:
    """Judge what was measured; ``held`` is why the robot once did not drive, in words."""
    from vla_bt.bench.stop import CASES
    from vla_bt.settings import GateSettings, TreeSettings, load

    tree, gate = load(TreeSettings, "tree"), load(GateSettings, "gate")
    cases: dict[str, Any] = {}
    for name, values in times.items():
        stopped = [value for value in values if value is not None]
        aim_s = CASES[name].aim_s(tree, gate)
        median_s = statistics.median(stopped) if stopped else None
        cases[name] = {
            "never_stopped": len(values) - len(stopped),
            "min_ms": _ms(min(stopped, default=None)),
            "median_ms": _ms(median_s),
            "max_ms": _ms(max(stopped, default=None)),
            "each_ms": [_ms(value) for value in values],
            "above_aim": sum(value > aim_s for value in stopped),
            "ok": len(stopped) == len(values) and median_s is not None and median_s <= aim_s,
        }
    return {
        "result": {
            "repeats": repeats,
            "cases": {
                name: {
                    "what": CASES[name].words,
                    "aim_ms": _ms(CASES[name].aim_s(tree, gate)),
                    "worst_by_settings_ms": _ms(CASES[name].bound_s(tree, gate)),
                }
                for name in times
            },
        },
        "timing": {"ok": all(case["ok"] for case in cases.values()), "cases": cases, "held": list(held), "machine": busy},
    }


def _ms(seconds: float | None) -> float | None:
    return None if seconds is None else round(1e3 * seconds, 1)


def _table(report: dict[str, Any]) -> str:
    from vla_bt.bench.figures import load_words

    result, timing = report["result"], report["timing"]
    lines = [
        f"time to zero [ms], {result['repeats']} times each; {load_words(timing['machine'])}",
        f"{'case':15s}{'min':>7s}{'median':>8s}{'max':>7s}{'aim':>7s}{'by settings':>13s}  what",
    ]
    for name, case in timing["cases"].items():
        plan = result["cases"][name]
        cells = "".join(
            f"{'-' if case[key] is None else format(case[key], '.0f'):>{width}s}"
            for key, width in (("min_ms", 7), ("median_ms", 8), ("max_ms", 7))
        )
        notes = [plan["what"]]
        if case["never_stopped"]:
            notes.append(f"NEVER STOPPED {case['never_stopped']} times")
        if case["above_aim"]:
            notes.append(f"{case['above_aim']} above the aim")
        if not case["ok"]:
            notes.append("MISSED")
        lines.append(f"{name:15s}{cells}{plan['aim_ms']:7.0f}{plan['worst_by_settings_ms']:13.0f}  {'; '.join(notes)}")
    lines += [f"did not drive when it should have: {words}" for words in timing["held"]]
    lines.append("every case stopped, every median within its aim" if timing["ok"] else "FAILED")
    return "\n".join(lines)

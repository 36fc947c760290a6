"""``vla-bt bench view``: what looking at the robot costs it, what it costs the browser, and how fast a lost tab stops.

Promises: exit code 0 only if every aim was met; all figures depend on the machine: they stand under ``timing`` with how busy
it was.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vla_bt.settings import SettingsError

if TYPE_CHECKING:
    from vla_bt.bench.figures import Spread
    from vla_bt.bench.view import Browsed, Watched

NODES = 100
UPDATES_AIM = 10.0
GROWTH_AIM_MB = 1.0
STOP_AIM_S = 0.3
COST_AIM_MS = 2.0
NOBODY_AIM_MS = 0.1
"""Of the stream's own part of a tick, p99; the difference of whole ticks is mostly chance."""

EXAMPLES = """examples:
  vla-bt bench view                             about seven minutes
  vla-bt bench view --minutes 0.5 --kills 5     a quick look
  vla-bt bench view --json > view.json

needs a Chromium on this machine; measure on an idle one: the browser draws without a graphics card
"""


def add_parser(subparsers: Any) -> None:
    """Add the benchmark."""
    parser = subparsers.add_parser(
        "view",
        help="cost of viewers to the tree's process, a browser over minutes, a lost tab to zero",
        description="The tree's process, grown to 100 nodes: without its stream for viewers, with nobody looking, with a "
        "dashboard and no, one and five pages; a browser that looks at it for minutes, judged by its slowest ten seconds; the "
        "time to zero velocity from when a tab that was driving is killed, or hangs. Exit code 0 only if every aim was met.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--minutes", type=_minutes, default=5.0, help="how long the browser looks (default 5)")
    parser.add_argument("--seconds", type=_seconds, default=20.0, metavar="S", help="for each number of viewers (default 20)")
    parser.add_argument(
        "--kills", type=_kills, default=20, metavar="N", help="tabs to kill, and as many to let hang (default 20)"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of the table")
    parser.set_defaults(run=run)


def _minutes(text: str) -> float:
    return _number(text, 0.2, 600.0, "minutes")


def _seconds(text: str) -> float:
    return _number(text, 2.0, 600.0, "seconds")


def _kills(text: str) -> int:
    return int(_number(text, 1, 1000, "tabs"))


def _number(text: str, low: float, high: float, what: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = low - 1.0
    if not low <= value <= high:
        raise argparse.ArgumentTypeError(f"'{text}' is no number of {what} from {low:g} to {high:g}")
    return value


def run(options: argparse.Namespace) -> int:
    """Run the benchmark; returns the exit code."""
    import asyncio

    from vla_bt.ros.environment import isolate, prepare

    domain = isolate()
    prepare()
    from vla_bt.bench.figures import LoadMeter
    from vla_bt.bench.tick import BenchError
    from vla_bt.bench.view import measure_view

    def say(words: str) -> None:
        if sys.stderr.isatty():
            print(words, file=sys.stderr, flush=True)

    logs = Path(tempfile.mkdtemp(prefix="vla_bt-view-"))
    load = LoadMeter()
    try:
        viewers, browsed, lost = asyncio.run(
            measure_view(NODES, options.seconds, 60.0 * options.minutes, options.kills, logs, domain, say)
        )
    except BenchError as problem:
        raise SettingsError(str(problem)) from None
    busy = load.stop()
    aims = judge(viewers, browsed, lost)
    if options.json:
        print(json.dumps(_report(viewers, browsed, lost, busy, aims), indent=2))
    else:
        print(_table(viewers, browsed, lost, busy, aims))
    return 0 if all(aims.values()) else 1


def judge(viewers: list[Watched], browsed: Browsed, lost: dict[str, Spread]) -> dict[str, bool]:
    """Tell which aims were met."""
    alone, nobody, *looking = viewers
    return {
        "nobody": nobody.own["p99_ms"] <= NOBODY_AIM_MS,
        "cost": all(added(row, alone) <= COST_AIM_MS for row in looking),
        "updates": browsed.slowest_updates_per_s >= UPDATES_AIM,
        "memory": browsed.growth_mb <= GROWTH_AIM_MB,
        "stop": max(times.p99 for times in lost.values()) <= STOP_AIM_S,
    }


def added(row: Watched, alone: Watched) -> float:
    """Return what viewers add to a tick's processor time at p99, over ticks without a stream [ms]."""
    return row.cpu["p99_ms"] - alone.cpu["p99_ms"]


def _report(
    viewers: list[Watched], browsed: Browsed, lost: dict[str, Spread], busy: dict[str, Any], aims: dict[str, bool]
) -> dict[str, Any]:
    return {
        "result": {"nodes": NODES, "aims": aims},
        "timing": {
            "machine": busy,
            "viewers": [
                {
                    "viewers": row.what,
                    "tick_cpu": row.cpu,
                    "stream_cpu": row.own,
                    "added_cpu_p50_ms": round(row.cpu["p50_ms"] - viewers[0].cpu["p50_ms"], 4),
                    "added_cpu_p99_ms": round(added(row, viewers[0]), 4),
                    "bytes_per_s": round(row.bytes_per_s),
                    "updates_per_s": round(row.updates_per_s, 2),
                }
                for row in viewers
            ],
            "browser": {
                "seconds": round(browsed.seconds, 1),
                "updates_per_s": round(browsed.updates_per_s, 2),
                "slowest_updates_per_s": round(browsed.slowest_updates_per_s, 2),
                "growth_mb": round(browsed.growth_mb, 3),
                "samples": [{name: round(value, 2) for name, value in sample.items()} for sample in browsed.samples],
            },
            "tab_lost_to_zero": {way: times.in_ms() for way, times in lost.items()},
        },
    }


def _table(viewers: list[Watched], browsed: Browsed, lost: dict[str, Spread], busy: dict[str, Any], aims: dict[str, bool]) -> str:
    from vla_bt.bench.figures import load_words
    from vla_bt.bench.view import SAMPLE_PERIOD_S

    def mark(name: str) -> str:
        return "ok" if aims[name] else "MISSED"

    rows = [
        f"tree of {NODES} nodes, {load_words(busy)}",
        "",
        f"{'pages open':14s}  tick cpu p50       p99   added p50, p99 [ms]   stream's own p50, p99        sent   updates",
    ]
    for row in viewers:
        middle, high = row.cpu["p50_ms"] - viewers[0].cpu["p50_ms"], added(row, viewers[0])
        own = f"{row.own['p50_ms']:6.3f}  {row.own['p99_ms']:6.3f} ms" if row.own else f"{'-':>17s}"
        rows.append(
            f"{row.what:14s} {row.cpu['p50_ms']:10.3f} ms {row.cpu['p99_ms']:6.3f} ms   {middle:+8.3f}  {high:+8.3f}   {own:>20s}"
            f"  {row.bytes_per_s / 1e3:7.1f} kB/s  {row.updates_per_s:4.1f} /s"
        )
    first, last = browsed.samples[0], browsed.samples[-1]
    rows += [
        f"aim while nobody looks: at most {NOBODY_AIM_MS:g} ms of the stream's own at p99: {mark('nobody')}",
        f"aim with a dashboard and any number of pages: at most {COST_AIM_MS:g} ms added at p99: {mark('cost')}",
        "",
        f"browser, {browsed.seconds:.0f} s: {browsed.updates_per_s:.1f} updates/s on average, "
        f"{browsed.slowest_updates_per_s:.1f} in its slowest {SAMPLE_PERIOD_S:g} s; aim {UPDATES_AIM:g} there: {mark('updates')}",
        f"heap after collection {first['heap_mb']:.1f} -> {last['heap_mb']:.1f} MB, growth over the later two thirds "
        f"{browsed.growth_mb:+.2f} MB; aim {GROWTH_AIM_MB:g}: {mark('memory')}",
        f"elements {first['nodes']:.0f} -> {last['nodes']:.0f}, listeners {first['listeners']:.0f} -> {last['listeners']:.0f}",
        "",
        *(f"tab {way} -> zero: {times}" for way, times in lost.items()),
        f"aim p99 {1e3 * STOP_AIM_S:g} ms: {mark('stop')}",
    ]
    return "\n".join(rows)

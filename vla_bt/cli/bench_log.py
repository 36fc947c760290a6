"""``vla-bt bench log``: what the run log adds to a tick, and how much it writes.

Promises: exit code 0 only if the aim was met; everything that depends on the machine stands under ``timing``.
"""

from __future__ import annotations

import argparse
import json
import sys
from typing import Any

from vla_bt.settings import SettingsError

ADDED_AIM_S = 0.0001
DEFAULT_TICKS = 2000
EXAMPLES = """examples:
  vla-bt bench log                   about half a minute
  vla-bt bench log --ticks 500 --json
"""


def add_parser(subparsers: Any) -> None:
    """Add the benchmark."""
    parser = subparsers.add_parser(
        "log",
        help="what the run log adds to a tick, and how much it writes",
        description="Blocks of ticks of the real tree with and without a run log, in turn, at ten times a robot's rate. Exit "
        "code 0 only if the log adds at most 0.1 ms to the median tick and loses none.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--ticks",
        type=_ticks,
        default=DEFAULT_TICKS,
        metavar="N",
        help=f"ticks with a log, and without (default {DEFAULT_TICKS})",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.set_defaults(run=run)


def _ticks(text: str) -> int:
    if not text.isascii() or not text.isdigit() or not 100 <= int(text) <= 20_000:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 100 to 20000")
    return int(text)


def run(options: argparse.Namespace) -> int:
    """Measure; returns the exit code."""
    from vla_bt.bench.figures import LoadMeter, load_words
    from vla_bt.bench.run_log import measure_log
    from vla_bt.bench.tick import BenchError

    if sys.stderr.isatty():
        print(f"{options.ticks} ticks with a log and without ...", file=sys.stderr, flush=True)
    load = LoadMeter()
    try:
        cost = measure_log(options.ticks)
    except BenchError as problem:
        raise SettingsError(str(problem)) from None
    busy = load.stop()
    met = cost.added_p50_s <= ADDED_AIM_S and not cost.dropped
    if options.json:
        timing = {
            "added_cpu_p50_ms": round(1e3 * cost.added_p50_s, 4),
            "added_cpu_p99_ms": round(1e3 * cost.added_p99_s, 4),
            "with_log_cpu": cost.with_log_cpu.in_ms(),
            "without_cpu": cost.without_cpu.in_ms(),
            "with_log_wall": cost.with_log.in_ms(),
            "without_wall": cost.without.in_ms(),
            "writer_cpu_ms_per_tick": round(1e3 * cost.writer_cpu_s, 4),
            "dropped": cost.dropped,
            "aim_met": met,
            "machine": busy,
        }
        result = {
            "ticks": options.ticks,
            "mb_per_hour": round(cost.bytes_per_hour / 1e6, 2),
            "aim_added_p50_ms": 1e3 * ADDED_AIM_S,
        }
        print(json.dumps({"result": result, "timing": timing}, indent=2))
    else:
        added = f"p50 {1e6 * cost.added_p50_s:+.0f} us, p99 {1e6 * cost.added_p99_s:+.0f} us"
        print(
            "\n".join(
                [
                    f"run log beside the tick, processor time of the ticking thread; {load_words(busy)}",
                    f"  with a log        {cost.with_log_cpu}",
                    f"  without           {cost.without_cpu}",
                    f"  added             {added}  aim p50 100 us: {'met' if met else 'MISSED'}",
                    f"  with, clock       {cost.with_log}",
                    f"  without, clock    {cost.without}",
                    f"  its own thread    {1e6 * cost.writer_cpu_s:.0f} us of processor time a tick",
                    f"  on the disk       {cost.bytes_per_hour / 1e6:.1f} MB an hour while driving; {cost.dropped} ticks lost",
                ]
            )
        )
    return 0 if met else 1

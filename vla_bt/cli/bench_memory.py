"""``vla-bt bench memory``: what the memory guard costs.

Promises: exit code 0 only if every aim was met; what depends on the machine stands under ``timing`` and says how busy that was.
"""

from __future__ import annotations

import argparse
import json
import sys
from typing import Any

from vla_bt.settings import SettingsError

CPU_AIM_PERCENT = 1.0
TICK_AIM_S = 0.0001

EXAMPLES = """examples:
  vla-bt bench memory                     about half a minute
  vla-bt bench memory --seconds 60 --json > memory.json
"""


def add_parser(subparsers: Any) -> None:
    """Add the benchmark."""
    parser = subparsers.add_parser(
        "memory",
        help="cost of the memory guard",
        description="The memory monitor's share of a CPU while it watches six processes, and the processor time that the guard's "
        "branch adds to a tick, while samples come as often as on a robot. Exit code 0 only if every aim was met.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--seconds", type=float, default=20.0, metavar="S", help="watch the monitor for this long (default 20)")
    parser.add_argument("--ticks", type=int, default=2000, metavar="N", help="ticks at each level (default 2000)")
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of the table")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Run the benchmark; returns the exit code."""
    from vla_bt.bench.figures import LoadMeter, load_words
    from vla_bt.bench.memory import measure_guard
    from vla_bt.bench.tick import BenchError

    if not 1.0 <= options.seconds <= 3600.0 or not 100 <= options.ticks <= 20_000:
        raise SettingsError("--seconds is expected to be 1 to 3600, --ticks 100 to 20000")
    if sys.stderr.isatty():
        print(f"watching for {options.seconds:g} s, then {4 * options.ticks} ticks ...", file=sys.stderr, flush=True)
    load = LoadMeter()
    try:
        cost = measure_guard(options.ticks, options.seconds)
    except BenchError as problem:
        raise SettingsError(str(problem)) from None
    busy = load.stop()
    aims = {
        "cpu": cost.cpu_percent <= CPU_AIM_PERCENT,
        "judging": cost.judging.p50 <= TICK_AIM_S,
        "fine": cost.fine.p50 <= TICK_AIM_S,
        "busy": cost.busy.p50 <= TICK_AIM_S,
        "added": cost.added_s <= TICK_AIM_S,
    }
    if options.json:
        result = {
            "aims": {"cpu_percent": CPU_AIM_PERCENT, "branch_p50_ms": 1e3 * TICK_AIM_S, "added_ms": 1e3 * TICK_AIM_S},
            "processes": cost.processes,
        }
        timing = {
            "aims_met": aims,
            "cpu_percent": round(cost.cpu_percent, 3),
            "samples_a_second": round(cost.samples / cost.seconds, 2),
            "added_ms": {"mean": round(1e3 * cost.added_s, 4), "p50": round(1e3 * cost.added_p50_s, 4)},
            "branch_new_sample": cost.judging.in_ms(),
            "branch_level_0": cost.fine.in_ms(),
            "branch_all_steps": cost.busy.in_ms(),
            "whole_tick": cost.tick.in_ms(),
            "machine": busy,
        }
        print(json.dumps({"result": result, "timing": timing}, indent=2))
    else:
        verdict = {name: "met" if met else "MISSED" for name, met in aims.items()}
        print(f"memory guard; processor time; {load_words(busy)}")
        print(f"  monitor           {cost.cpu_percent:.2f} % of one CPU, {cost.samples / cost.seconds:.1f} samples a second of "
              f"{cost.processes} processes  aim {CPU_AIM_PERCENT:g} %: {verdict['cpu']}")  # fmt: skip
        print(f"  branch, judging   {cost.judging}  aim p50 {1e3 * TICK_AIM_S:g} ms: {verdict['judging']}")
        print(f"  branch, level 0   {cost.fine}  aim p50 {1e3 * TICK_AIM_S:g} ms: {verdict['fine']}")
        print(f"  branch, all steps {cost.busy}  aim p50 {1e3 * TICK_AIM_S:g} ms: {verdict['busy']}")
        print(f"  whole tick        {cost.tick}")
        print(f"  added to a tick   mean {1e3 * cost.added_s:.3f} ms, median {1e3 * cost.added_p50_s:.3f} ms, on against off"
              f"  aim mean {1e3 * TICK_AIM_S:g} ms: {verdict['added']}")  # fmt: skip
    return 0 if all(aims.values()) else 1

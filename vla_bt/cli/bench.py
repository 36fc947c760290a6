"""``vla-bt bench``: measure ticks, stops and recording on this machine."""

from __future__ import annotations

from typing import Any

from vla_bt.cli import bench_log, bench_memory, bench_record, bench_stop, bench_tick, bench_view


def add_parser(subparsers: Any) -> None:
    """Add the verb and its benchmarks."""
    parser = subparsers.add_parser(
        "bench", help="measure ticks, stops and recording", description="Measure the real parts on this machine."
    )
    benchmarks = parser.add_subparsers(metavar="WHAT", required=True)
    bench_tick.add_parser(benchmarks)
    bench_stop.add_parser(benchmarks)
    bench_record.add_parser(benchmarks)
    bench_memory.add_parser(benchmarks)
    bench_log.add_parser(benchmarks)
    bench_view.add_parser(benchmarks)

"""``vla-bt bench record``: what recording episodes costs the tick, the processor and the disk, and what compressing would."""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vla_bt.settings import SettingsError

if TYPE_CHECKING:
    from vla_bt.bench.compression import Way
    from vla_bt.bench.record import RateCost, WriteCost

RUNS = ((1.0, False), (10.0, False), (10.0, True), (30.0, False))
"""Rates [Hz], and whether a plain h5py loop takes the recorder's place."""

NO_LOSS_HZ = 10.0
MOST_LATE = 0.05
"""Share of the frames due that may never be asked for: with more the machine was too busy to say that none was lost."""

AIM = f"no frame lost up to {NO_LOSS_HZ:g} Hz"
SPARE_BYTES = 500_000_000
EXAMPLES = """examples:
  vla-bt bench record                      about a minute and a half, on the disk of the current directory
  vla-bt bench record --folder /data --seconds 60 --json > record.json
  vla-bt bench record --compression        what gzip, lzf, blosc2 and JPEG would cost and save
"""


def add_parser(subparsers: Any) -> None:
    """Add the benchmark."""
    parser = subparsers.add_parser(
        "record",
        help="cost of recording: lost frames, the tick, the processor, the disk",
        description="Record 720p noise at 1, 10 and 30 Hz while the real tree ticks at 20 Hz, in turns with not recording; "
        "a plain h5py loop in the recorder's place; and each way of writing as fast as it goes, beside the disk's own limit. "
        f"Exit code 0 only if up to {NO_LOSS_HZ:g} Hz no frame was lost, and no more than {MOST_LATE:.0%} of those due were "
        "never asked for because a tick or the camera came late.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--folder", type=Path, default=Path(), help="a folder on the disk in question (default: this one)")
    parser.add_argument("--seconds", type=_seconds, default=10.0, metavar="S", help="of recording at each rate (default 10)")
    parser.add_argument("--compression", action="store_true", help="measure ways to compress pictures instead")
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of the table")
    parser.set_defaults(run=run)


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 2.0 <= seconds <= 600.0:
        raise argparse.ArgumentTypeError(f"'{text}' is not a number of seconds from 2 to 600")
    return seconds


def run(options: argparse.Namespace) -> int:
    """Run the benchmark; returns the exit code."""
    from vla_bt.bench.tick import BenchError

    try:
        return _compression(options) if options.compression else _recording(options)
    except BenchError as problem:
        raise SettingsError(str(problem)) from None
    except OSError as problem:
        words = os.strerror(problem.errno) if problem.errno else str(problem)
        raise SettingsError(f"{problem.filename or options.folder}: {words}") from None


def _say(words: str) -> None:
    if sys.stderr.isatty():
        print(words, file=sys.stderr, flush=True)


def _recording(options: argparse.Namespace) -> int:
    from vla_bt.bench.record import CAMERA_HZ, FRAME_BYTES, measure_rate, measure_writing

    needed = int(options.seconds * CAMERA_HZ * FRAME_BYTES) + SPARE_BYTES
    free = shutil.disk_usage(options.folder).free
    if free < needed:
        raise SettingsError(f"{options.folder}: {free / 1e9:.1f} GB are free; {options.seconds:g} s need {needed / 1e9:.1f} GB")
    costs = []
    with tempfile.TemporaryDirectory(prefix="vla_bt-bench-", dir=options.folder) as folder:
        for rate_hz, plain in RUNS:
            _say(f"{rate_hz:g} Hz{' with a plain h5py loop' if plain else ''}: about {2 * options.seconds:.0f} s ...")
            costs.append(measure_rate(Path(folder), rate_hz, options.seconds, plain))
        _say("writing as fast as it goes ...")
        writing = measure_writing(Path(folder))
    missed = _missed(costs)
    if options.json:
        print(json.dumps(_report(options, costs, writing, missed), indent=2))
    else:
        print(f"{_table(costs, writing)}\n\n{AIM}: {missed or 'met'}")
    return 1 if missed else 0


def _missed(costs: list[RateCost]) -> str:
    """Say why the aim is missed; empty when it is met."""
    words = []
    for cost in costs:
        if cost.rate_hz > NO_LOSS_HZ or cost.to != "recorder":
            continue
        if cost.lost:
            words.append(f"{cost.lost} of {cost.handed} lost at {cost.rate_hz:g} Hz")
        if cost.late > MOST_LATE * cost.due:
            words.append(f"{cost.late} of {cost.due} never asked for at {cost.rate_hz:g} Hz, as ticks or the camera came late")
    return "; ".join(words)


def _added_ms(cost: RateCost, by: str) -> float:
    on, off = (cost.tick_on, cost.tick_off) if by == "clock" else (cost.cpu_on, cost.cpu_off)
    return 1e3 * (on.p99 - off.p99)


def _report(options: argparse.Namespace, costs: list[RateCost], writing: list[WriteCost], missed: str) -> dict[str, Any]:
    rows = []
    for cost in costs:
        rows.append(
            {
                "rate_hz": cost.rate_hz,
                "handed_over_by": cost.by,
                "written_by": cost.to,
                "frames_due": cost.due,
                "frames_handed_over": cost.handed,
                "frames_recorded": cost.recorded,
                "frames_lost": cost.lost,
                "frames_dropped": cost.dropped,
                "frames_never_asked_for": cost.late,
                "most_waiting": cost.waiting,
                "mb_per_s": round(cost.megabytes_a_second, 2),
                "tick_recording": cost.tick_on.in_ms(),
                "tick_not_recording": cost.tick_off.in_ms(),
                "tick_cpu_recording": cost.cpu_on.in_ms(),
                "tick_cpu_not_recording": cost.cpu_off.in_ms(),
                "added_p99_ms": round(_added_ms(cost, "clock"), 3),
                "added_cpu_p99_ms": round(_added_ms(cost, "cpu"), 3),
                "process_cores_recording": round(cost.busy_on, 4),
                "process_cores_not_recording": round(cost.busy_off, 4),
                "machine": cost.load,
            }
        )
    written = {
        way.name: {"mb_per_s": round(way.megabytes_a_second, 1), "cpu_ms_per_frame": round(way.cpu_ms, 3)} for way in writing
    }
    return {
        "result": {"seconds": options.seconds, "aim": AIM, "aim_met": not missed, "missed": missed},
        "timing": {"rates": rows, "as_fast_as_it_goes": written},
    }


def _table(costs: list[RateCost], writing: list[WriteCost]) -> str:
    from vla_bt.bench.figures import load_words

    heads = (
        "rate",
        "from",
        "written by",
        "lost",
        "late",
        "MB/s",
        "clock",
        "added",
        "cpu",
        "added",
        "process",
        "added",
        "waiting",
    )
    rows = [heads]
    for cost in costs:
        rows.append(
            (
                f"{cost.rate_hz:.0f} Hz",
                cost.by,
                cost.to,
                f"{cost.lost} of {cost.handed}",
                f"{cost.late}",
                f"{cost.megabytes_a_second:.1f}",
                f"{1e3 * cost.tick_off.p99:.2f}",
                f"{_added_ms(cost, 'clock'):+.2f} ms",
                f"{1e3 * cost.cpu_off.p99:.2f}",
                f"{_added_ms(cost, 'cpu'):+.2f} ms",
                f"{100 * cost.busy_off:.1f}",
                f"{100 * (cost.busy_on - cost.busy_off):+.1f} %",
                f"{cost.waiting}",
            )
        )
    widths = [max(len(row[column]) for row in rows) for column in range(len(heads))]
    lines = ["720p frames beside a tree that ticks at 20 Hz; " + ", ".join(sorted({load_words(cost.load) for cost in costs}))]
    lines += ["  " + "  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)) for row in rows]
    lines += [
        "  late: due, but never handed over, as the tick or the camera came late; clock, cpu: a tick's p99 without recording;",
        "  process: of a core, without recording; waiting: frames at most in the queue",
        "",
        "writing as fast as it goes, until the disk has it",
    ]
    for way in writing:
        lines.append(f"  {way.name:12} {way.megabytes_a_second:7.1f} MB/s   {way.cpu_ms:5.2f} ms of a core each frame")
    return "\n".join(lines)


def _compression(options: argparse.Namespace) -> int:
    from vla_bt.bench.compression import measure_compression

    _say("half a minute ...")
    ways, missing = measure_compression()
    if options.json:
        rows = [
            {name: round(value, 3) if isinstance(value, float) else value for name, value in asdict(way).items()} for way in ways
        ]
        print(json.dumps({"timing": {"ways": rows, "missing": missing}}, indent=2))
        return 0
    print(_ways(ways))
    if missing:
        print(missing)
    return 0


def _ways(ways: list[Way]) -> str:
    lines = [f"{'':12} {'pictures':9} {'writing':>10} {'reading':>10} {'smaller':>8} {'episode':>9} {'error':>7}  read by"]
    for way in ways:
        lines.append(
            f"{way.name:12} {way.pictures:9} {way.write_ms:7.1f} ms {way.read_ms:7.1f} ms {way.ratio:7.1f}x "
            f"{way.episode_mb:6.1f} MB {way.error:7.2f}  {way.readers}"
        )
    return "\n".join([*lines, "processor time of a 720p frame; size of 18; mean error in grey levels"])

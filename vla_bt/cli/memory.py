"""``vla-bt memory``: who holds how much, what the guard does about it, and its proofs.

Promises: without a running tree it still shows the machine and whatever of the application runs, and says so; nothing but the
service calls changes anything.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from pathlib import Path
from typing import Any

from vla_bt.cli import memory_soak, memory_stress
from vla_bt.settings import SettingsError

PERIOD_S = 1.0
BARS = "▁▂▃▄▅▆▇█"

EXAMPLES = """examples:
  vla-bt memory                         live table; Ctrl-C ends it
  vla-bt memory --once --json
  vla-bt memory clear                   clear all caches now; --json
  vla-bt memory next                    one level up, held until 'release'
  vla-bt memory release                 the guard decides alone; tries a policy again that ran out of memory
  vla-bt memory stress --limit 3G       the guard under a real memory limit, on and off
  vla-bt memory soak --minutes 30       does anything grow?

levels: 0 fine, 1 caches are cleared, 2 recording's queue is short, 3 the policy is 8-bit, then with fewer layers,
4 the policy is unloaded: autonomy stops, teleop still drives
"""


def add_parser(subparsers: Any) -> None:
    """Add the verb and what is under it."""
    parser = subparsers.add_parser(
        "memory",
        help="who holds how much memory; the guard's proof under a real limit, and a soak",
        description="Show the machine's memory, each process's and the guard's level; or ask the guard for something.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--once", action="store_true", help="print once and end")
    parser.add_argument("--json", action="store_true", help="print JSON, one object a look")
    parser.set_defaults(run=run)
    verbs = parser.add_subparsers(metavar="WHAT")
    for name, line in (
        ("clear", "clear all caches now"),
        ("next", "go one level up and stay there"),
        ("release", "let the guard decide alone again, and try a policy again that was given up"),
    ):
        verb = verbs.add_parser(name, help=line, description=f"Ask the running tree over ROS: {line}.")
        verb.add_argument("--json", action="store_true", default=argparse.SUPPRESS, help="print one JSON object")
        verb.set_defaults(run=ask, wish=name)
    memory_stress.add_parser(verbs)
    memory_soak.add_parser(verbs)


def run(options: argparse.Namespace) -> int:
    """Show; exit code 0."""
    from vla_bt.memory.monitor import MemoryMonitor, read_report
    from vla_bt.settings import TreeSettings

    directory = _directory()
    monitor: MemoryMonitor | None = None

    def look() -> dict[str, Any]:
        nonlocal monitor
        report = read_report(directory)
        if report is not None:
            return report
        if monitor is None:
            monitor = MemoryMonitor(TreeSettings(), role="", directory=directory)
        monitor.sample()
        if options.once:  # all of them, closely
            for _ in monitor.report()["processes"]:
                time.sleep(PERIOD_S)
                monitor.sample()
        points = [round(point[1], 1) for point in monitor.ring][-60:]
        return {**monitor.report(), "level": None, "step": None, "words": "no tree runs here", "recent": {"available_mb": points}}

    if options.once:
        report = look()
        print(json.dumps(report, indent=2) if options.json else table(report))
        return 0
    if options.json:
        while True:
            print(json.dumps(look()), flush=True)
            time.sleep(PERIOD_S)
    return _live(look)


def _live(look: Any) -> int:
    from rich.console import Console
    from rich.live import Live
    from rich.text import Text

    console = Console()
    if not console.is_terminal:
        while True:
            print(table(look()) + "\n", flush=True)
            time.sleep(PERIOD_S)
    with Live(console=console, auto_refresh=False) as live:
        while True:
            live.update(Text(table(look())), refresh=True)
            time.sleep(PERIOD_S)


def _directory() -> Path:
    """Return the runtime directory of the tree that would run here, made or not."""
    given = os.environ.get("VLA_BT_RUNTIME_DIR")
    return Path(given) if given else Path("/dev/shm") / f"vla_bt-{os.getuid()}-{os.environ.get('ROS_DOMAIN_ID') or '0'}"


def sparkline(values: list[float]) -> str:
    """Draw values as a line of bars, from the lowest to the highest; values that are all the same are all low."""
    low, high = min(values, default=0.0), max(values, default=0.0)
    span = max(high - low, 1e-9)
    return "".join(BARS[min(len(BARS) - 1, int(len(BARS) * (value - low) / span))] for value in values)


def table(report: dict[str, Any]) -> str:
    """Return a report for people."""
    limit = (
        f", {report['used_mb']:.0f} MB used of a limit of {report['limit_mb']:.0f} MB" if report["limit_mb"] is not None else ""
    )
    some, full = report["stalled_some_percent"], report["stalled_full_percent"]
    stalled = "" if some is None else f", stalled {some:.1f} %" + ("" if full is None else f" (fully {full:.1f} %)")
    lines = [
        report["manual_only"] or report["words"],
        f"available  {report['available_mb']:8.0f} MB of {report['total_mb']:.0f} MB{limit}"
        f", swap {report['swap_used_mb']:.0f} MB{stalled}",
    ]
    if report["gpu"] is not None:
        lines.append(f"GPU        {report['gpu']['free_mb']:8.0f} MB free of {report['gpu']['total_mb']:.0f} MB")
    points = report.get("recent", {}).get("available_mb", [])
    if len(points) > 1:
        minutes = report["recent"].get("period_s", PERIOD_S) * len(points) / 60.0
        lines.append(f"           {sparkline(points)}  {min(points):.0f} to {max(points):.0f} MB in {minutes:.0f} min")
    lines.append(f"{'process':10s}{'pid':>8s}{'RSS':>9s}{'USS':>9s}{'PSS':>9s}  MB   growth, with its 95 % interval")
    for role, row in report["processes"].items():
        cells = "".join("        -" if row[name] is None else f"{row[name]:9.1f}" for name in ("rss_mb", "uss_mb", "pss_mb"))
        growth = row["growth_mb_h"]
        words = "" if growth is None else f"{growth[0]:+.1f} MB/h ({growth[1]:+.1f} to {growth[2]:+.1f})"
        lines.append(f"{role:10s}{row['pid']:8d}{cells}       {words}{'  LEAKING' if row['leaking'] else ''}")
    if not report["processes"]:
        lines.append("none of the application's processes runs here")
    for event in report["events"]:
        freed = "" if event["freed_mb"] is None else f": freed {event['freed_mb']:.1f} MB"
        lines.append(f"{event['ago_s']:7.0f} s ago  level {event['level']}: {event['words']}{freed}")
    return "\n".join(lines)


def ask(options: argparse.Namespace) -> int:
    """Call the tree's service; exit code 0 when it took the wish."""
    from vla_bt.ros.environment import prepare

    prepare()
    from vla_bt.ros.memory_client import ask_tree

    answer = ask_tree(options.wish)
    if answer is None:
        raise SettingsError("no tree answers here; start one, and mind ROS_DOMAIN_ID")
    print(json.dumps({"asked": options.wish, "answer": answer}) if options.json else answer)
    return 0

"""``vla-bt memory stress``: the whole application under a real memory limit, beside a hog, with the guard on and off.

Promises: exit code 0 only if every check held; 2 where no memory cgroup can be made; nothing is left behind, also after Ctrl-C.
"""

from __future__ import annotations

import argparse
import json
import signal
import sys
import time
from pathlib import Path
from typing import Any

from vla_bt.settings import SettingsError

EXAMPLES = """examples:
  vla-bt memory stress --limit 3G                          lockstep and ROS, guard on and off: about 15 minutes
  vla-bt memory stress --world lockstep --guard on --json > stress.json

Needs a writable memory cgroup, v2 or v1: root, or a container with a writable /sys/fs/cgroup. The policy has random weights:
what is shown is memory, not skill.
"""


def add_parser(subparsers: Any) -> None:
    """Add the verb."""
    parser = subparsers.add_parser(
        "stress",
        help="the guard under a real memory limit, on and off",
        description="Put the whole application into a memory-limited group beside a process that takes memory in steps; with the "
        "guard on nothing may be killed and everything must recover, with it off it must end badly. Writes a plot.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--limit", default="3G", metavar="SIZE", help="memory of the group, such as 3G or 2500M (default 3G)")
    parser.add_argument("--world", choices=("lockstep", "ros", "both"), default="both")
    parser.add_argument("--guard", choices=("on", "off", "both"), default="both")
    parser.add_argument("--policy", default="stress@full", help="what the worker runs (default stress@full, 0.9 GB)")
    parser.add_argument("--hold", type=float, default=5.0, metavar="S", help="memory_hold_s of the tree [s] (default 5)")
    parser.add_argument("--step", type=float, default=60.0, metavar="MB", help="the hog's steps [MB], every 1.5 s (default 60)")
    parser.add_argument("--folder", type=Path, help="for logs, episodes and the plot (default runs/stress_<time>)")
    parser.add_argument(
        "--json", action="store_true", default=argparse.SUPPRESS, help="print one JSON object instead of the tables"
    )
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Run; returns the exit code."""
    from vla_bt.app.memory_stress import Case, Stress, StressError, check_limit, draw, parse_size
    from vla_bt.bench.figures import LoadMeter
    from vla_bt.policy.names import check_name
    from vla_bt.settings import TreeSettings, load

    limit = parse_size(options.limit)
    check_name(options.policy)
    if not 0.5 <= options.hold <= 600.0 or not 1.0 <= options.step <= 1e5:
        raise SettingsError("--hold is expected to be 0.5 to 600 s, --step 1 to 100000 MB")
    worlds = ("lockstep", "ros") if options.world == "both" else (options.world,)
    check_limit(limit, worlds, options.policy, load(TreeSettings, "tree"))
    folder = options.folder or Path("runs") / time.strftime("stress_%Y%m%d_%H%M%S")
    guards = ("on", "off") if options.guard == "both" else (options.guard,)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # ends like Ctrl-C, tidily
    outcomes: list[dict[str, Any]] = []
    plots: list[Path] = []
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for world in worlds:
            for guard in guards:
                _say(f"{world}, guard {guard}:")
                case = Case(world, guard, limit, options.policy, options.hold, options.step, 1.5, folder / f"{world}-{guard}")
                meter = LoadMeter()
                outcome = Stress(case, _say).run()
                outcome["figures"] |= meter.stop()
                outcomes.append(outcome)
                for line in verdicts(outcome):
                    _say(line)
            plots.append(folder / f"stress_{world}.png")
            draw([one for one in outcomes if one["world"] == world], plots[-1])
    except StressError as problem:
        print(f"vla-bt memory stress: {problem} (logs: {folder})", file=sys.stderr)
        return 1
    except OSError as error:
        raise SettingsError(f"{error.filename or folder}: {error.strerror}") from None
    ok = all(all(one["checks"].values()) for one in outcomes)
    if options.json:
        runs = [{name: one[name] for name in ("world", "guard", "checks", "figures", "events")} for one in outcomes]
        print(
            json.dumps({"result": {"limit_bytes": limit, "policy": options.policy}, "timing": {"ok": ok, "runs": runs}}, indent=2)
        )
    else:
        print(table(outcomes))
        for path in plots:
            print(f"plot: {path}")
        print("all checks held" if ok else "FAILED")
    return 0 if ok else 1


def _say(words: str) -> None:
    print(words, file=sys.stderr, flush=True)


def table(outcomes: list[dict[str, Any]]) -> str:
    """Return the runs side by side."""
    names = {
        "cgroup": "memory cgroup",
        "limit_mb": "limit [MB]",
        "hog_mb": "hog, at most [MB]",
        "highest_level": "highest level",
        "least_left_mb": "least left [MB]",
        "kernel_kills": "killed by the kernel",
        "out_of_memory": "policy out of memory",
        "restarts": "worker restarts",
        "application_alive": "application alive",
        "tick_rate_before_hz": "tick rate before the hog [Hz]",
        "tick_rate_hz": "tick rate under the hog [Hz]",
        "ticks_driven_by_policy": "looks, driven by the policy",
        "stale_moves": "of these on a stale action",
        "oldest_answer_moved_on_s": "oldest answer moved on [s]",
        "episodes": "episodes recorded",
        "seconds": "took [s]",
        "cores_busy": "cores busy meanwhile, by all",
        "load_average": "load average at its end",
    }
    heads = [f"{one['world']}, {one['guard']}" for one in outcomes]
    lines = [f"{'guard':30s}" + "".join(f"{head:>16s}" for head in heads)]
    for name, words in names.items():
        lines.append(f"{words:30s}" + "".join(f"{one['figures'][name]!s:>16s}" for one in outcomes))
    for one in outcomes:
        lines += verdicts(one)
    return "\n".join(lines)


def verdicts(outcome: dict[str, Any]) -> list[str]:
    """Return a line for each check."""
    head = f"{outcome['world']}, {outcome['guard']}"
    return [f"{'ok  ' if held else 'FAIL'}  {head}: {words}" for words, held in outcome["checks"].items()]

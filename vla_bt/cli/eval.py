"""``vla-bt eval``: how often a policy does what it is told, in scripted scenarios."""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

EXAMPLES = """examples:
  vla-bt eval document --policy default --jobs 2
  vla-bt eval hard stress --policy default --seeds 0:400 --jobs 2 --out runs/eval
  vla-bt eval document --policy expert            the reference: simulator truth, not vision
  vla-bt eval flipped paraphrases --policy runs/train/small-cnn/best
"""


def add_parser(subparsers: Any) -> None:
    """Add the verb."""
    parser = subparsers.add_parser(
        "eval",
        help="measure a policy in scripted scenarios",
        description="Run scenarios (config/scenarios/*.yaml, or a file of your own) through the whole tree in lockstep. The "
        "simulator's truth judges: stopped within 0.4 m of the cup having claimed it, nothing touched, every box passed on the "
        "told side. Exit code 0 only if each scenario reaches the share of successes it requires.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("scenarios", nargs="*", metavar="SCENARIO", help="name of a scenario, or a .yaml file")
    parser.add_argument("--policy", default="default", help="default, expert, a preset or a folder (default: default)")
    parser.add_argument("--seeds", metavar="FIRST:END", help="scene seeds, END not included (default: the scenario's)")
    parser.add_argument("--jobs", type=int, default=1, metavar="N", help="processes (default 1)")
    parser.add_argument("--out", type=Path, metavar="DIR", help="keep every run there; called again, it goes on")
    parser.add_argument("--job", metavar="JSON", help="run one job again, as a failure's line gives it")
    parser.add_argument("--json", action="store_true", help="print one JSON object: 'result' is reproducible, 'timing' is not")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Evaluate; exit code 0 only if every scenario passed."""
    from vla_bt.eval.scenario import Job, load_scenario, parse_seeds, scenario_names
    from vla_bt.settings import SettingsError
    from vla_bt.sim.engine import SimulatorError

    if not 1 <= options.jobs <= 256:
        raise SettingsError(f"--jobs is {options.jobs}; expected 1 to 256")
    try:
        if options.job is not None:
            return _again(Job.from_json(options.job))
        if not options.scenarios:
            raise SettingsError(f"which scenario? known: {', '.join(scenario_names())}, or a .yaml file")
        seeds = parse_seeds(options.seeds, "--seeds") if options.seeds else None
        scenarios = [load_scenario(name) for name in options.scenarios]
        started = time.perf_counter()
        entries, simulated_s = [], 0.0
        for name, scenario in scenarios:
            entry, part_s = _evaluate(name, scenario, seeds or parse_seeds(scenario.seeds, name), options)
            entries.append(entry)
            simulated_s += part_s
    except SimulatorError as error:
        raise SettingsError(str(error)) from None
    except OSError as error:
        raise SettingsError(f"{error.filename}: {error.strerror}") from None
    wall_s = time.perf_counter() - started
    timing = {"wall_s": round(wall_s, 1), "jobs": options.jobs, "simulated_per_wall_and_job": simulated_s / wall_s / options.jobs}
    if options.json:
        print(json.dumps({"result": entries, "timing": timing}, indent=2))
    else:
        speed = timing["simulated_per_wall_and_job"]
        print(f"took {wall_s:.0f} s with {options.jobs} job(s): {speed:.1f} simulated seconds a second and job")
    return 0 if all(entry["passed"] for entry in entries) else 1


def _evaluate(name: str, scenario: Any, seeds: range, options: argparse.Namespace) -> tuple[dict[str, Any], float]:
    """Run one scenario; returns its report and the simulated time of what was run now [s]."""
    from vla_bt.eval.report import in_words, report
    from vla_bt.eval.runner import run_jobs
    from vla_bt.eval.scenario import jobs_of

    path = options.out / f"{name}-{options.policy.strip('/').replace('/', '_')}.jsonl" if options.out else None
    simulated_s = 0.0

    def shown(done: int, total: int, outcome: dict[str, Any]) -> None:
        nonlocal simulated_s
        simulated_s += outcome["result"]["time_s"] if outcome["result"] else 0.0
        if sys.stderr.isatty():
            print(f"\r{name}: {done} of {total} runs", end="\n" if done == total else "", file=sys.stderr, flush=True)
        elif done == total or done % 50 == 0:
            print(f"{name}: {done} of {total} runs", file=sys.stderr, flush=True)

    outcomes = run_jobs(jobs_of(name, scenario, options.policy, seeds), options.jobs, path, shown)
    entry = report(name, options.policy, outcomes, scenario.required_share)
    if not options.json:
        print(in_words(entry))
    return entry, simulated_s


def _again(job: Any) -> int:
    from vla_bt.eval.runner import run_job

    outcome = run_job(job)
    print(json.dumps(outcome, indent=2))
    return 0 if outcome["ok"] else 1

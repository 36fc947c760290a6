"""``vla-bt eval``: how often a policy does what it is told, in scripted scenarios."""

from __future__ import annotations

import argparse
import json
import os
import re
import signal
import sys
import threading
import time
from pathlib import Path
from typing import Any

EXAMPLES = """examples:
  vla-bt eval document --policy default --jobs 2
  vla-bt eval document --policy default --policy expert --policy untrained --jobs 2      side by side
  vla-bt eval hard stress --seeds 10000:10400 --jobs 2 --out runs/eval/hard
  vla-bt eval flipped paraphrases --policy runs/train/small-cnn/best
  vla-bt eval document --policy default --camera own --camera 1280x720 --seeds 0:1       does the frames' size matter?
  vla-bt eval document --policy expert --where scene=1box_vert_left distance=close       a cell of the table
  vla-bt eval document --policy expert --ros                 30 runs in lockstep and over the real processes

--policy: default, expert (simulator truth, the reference), untrained (random weights, the other end), a preset or a folder.
Of several the first decides the exit code.
Each run is kept in --out as soon as it ends; after Ctrl-C, a crash or a power cut the same command with that --out goes on.
In --out: report.html (open it in a browser), report.json, junit.xml, runs.jsonl, sheets/.
"""

MOST_DIFFERENCE = 0.1
"""Lockstep and real processes may differ by this share of successes."""


def add_parser(subparsers: Any) -> None:
    """Add the verb."""
    parser = subparsers.add_parser(
        "eval",
        help="measure a policy in scripted scenarios",
        description="Run scenarios (config/scenarios/*.yaml, or a file of your own) through the whole tree in lockstep. The "
        "simulator's truth judges: stopped within 0.4 m of the cup having claimed it, nothing touched, every box passed on the "
        "told side. Exit code 0 only if the first policy passes all that each scenario requires, and no run of it crashed.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("scenarios", nargs="*", metavar="SCENARIO", help="name of a scenario, or a .yaml file")
    parser.add_argument(
        "--policy",
        action="append",
        metavar="P",
        help="what drives (default: default); several times to compare, the first counts",
    )
    parser.add_argument("--seeds", metavar="FIRST:END", help="scene seeds, END not included (default: the scenario's)")
    parser.add_argument("--jobs", type=int, default=1, metavar="N", help="processes, one thread each (default 1)")
    parser.add_argument("--out", type=Path, metavar="DIR", help="keep every run there (default: runs/eval/<time>)")
    parser.add_argument(
        "--camera",
        action="append",
        metavar="WxH",
        help="render a camera's frames of this size and reduce them as on a robot (default: own, rendered as the policy takes "
        "them); several times to compare: the same worlds with each, and success may differ by 5 points",
    )
    parser.add_argument("--where", nargs="+", default=[], metavar="NAME=VALUE", help="only runs with this scene, seed, cell, ...")
    parser.add_argument("--ros", action="store_true", help="30 of the runs, each in lockstep and over the real processes")
    parser.add_argument("--print-jobs", action="store_true", help="run nothing: print each run as a line of JSON")
    parser.add_argument("--job", metavar="JSON", help="run one job again, as a failure's line gives it, and print its outcome")
    parser.add_argument("--json", action="store_true", help="print one JSON object: 'result' is reproducible, 'timing' is not")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Evaluate; exit code 0 only if every scenario passed."""
    from vla_bt.eval.job import Job
    from vla_bt.settings import SettingsError
    from vla_bt.sim.engine import SimulatorError

    if not 1 <= options.jobs <= 256:
        raise SettingsError(f"--jobs is {options.jobs}; expected 1 to 256")
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _interrupt)
    try:
        if options.job is not None:
            return _again(Job.from_json(options.job))
        parts = _parts(options)
        if options.print_jobs:
            for _, jobs in parts:
                for job in jobs:
                    print(job.to_json())
            return 0
        if options.ros:
            return _both_ways(parts, options)
        return _evaluate(parts, options)
    except SimulatorError as error:
        raise SettingsError(str(error)) from None
    except BrokenPipeError:
        raise
    except OSError as error:
        raise SettingsError(f"{error.filename}: {error.strerror}" if error.filename else str(error)) from None


def _interrupt(*_: Any) -> None:
    raise KeyboardInterrupt


def _parts(options: argparse.Namespace) -> list[tuple[Any, list[Any]]]:
    """Return each scenario with each policy, and its jobs."""
    from vla_bt.eval.report import Part
    from vla_bt.eval.runner import policy_hash
    from vla_bt.eval.scenario import jobs_of, load_scenario, parse_seeds, scenario_names
    from vla_bt.settings import SettingsError

    if not options.scenarios:
        raise SettingsError(f"which scenario? known: {', '.join(scenario_names())}, or a .yaml file")
    seeds = parse_seeds(options.seeds, "--seeds") if options.seeds else None
    cameras = list(dict.fromkeys(_camera(size) for size in options.camera or ["own"]))
    where = _where(options.where)
    policies = list(dict.fromkeys(options.policy or ["default"]))
    for policy in policies:
        policy_hash(policy)  # says at once when there is none
    parts = []
    for source in dict.fromkeys(options.scenarios):
        name, scenario = load_scenario(source)
        for policy in policies:
            own = seeds or parse_seeds(scenario.seeds, name)
            for camera in cameras:
                jobs = list(jobs_of(name, scenario, policy, own, camera))
                jobs = [job for job in jobs if all(str(getattr(job, key)) == value for key, value in where.items())]
                if jobs:
                    parts.append((Part(source, name, scenario, policy, own, camera, []), jobs))
    if not parts:
        raise SettingsError(f"no run has {' '.join(options.where)} with these seeds")
    return parts


def _camera(text: str) -> tuple[int, ...]:
    from vla_bt.eval.job import check_camera
    from vla_bt.settings import SettingsError

    if text == "own":
        return ()
    found = re.fullmatch(r"([1-9][0-9]{1,3})x([1-9][0-9]{1,3})", text)
    if found is None:
        raise SettingsError(f"--camera is '{text}'; expected WIDTHxHEIGHT such as 1280x720, or own")
    size = int(found[1]), int(found[2])
    try:
        check_camera(size)
    except ValueError as error:
        raise SettingsError(f"--camera: {error}") from None
    return size


def _where(entries: list[str]) -> dict[str, str]:
    from vla_bt.settings import SettingsError

    known = ("scene", "distance", "position", "pattern", "seed", "cell", "goal", "side")
    where = {}
    for entry in entries:
        name, equals, value = entry.partition("=")
        if not equals or name not in known:
            raise SettingsError(f"--where: '{entry}'; expected NAME=VALUE with one of {', '.join(known)}")
        where[name] = value
    return where


class _Progress:
    """Says how far it is, when it will end, and how many failed: in place on a terminal, else a line now and then."""

    def __init__(self, planned: int) -> None:
        self.began_s, self.said_s = time.perf_counter(), 0.0
        self.simulated_s = self.busy_s = 0.0
        self.ran = self.failed = 0
        self.planned = planned

    def __call__(self, done: int, total: int, outcome: dict[str, Any]) -> None:
        self.ran, self.failed = done, self.failed + (not outcome["ok"])
        self.simulated_s += outcome["result"]["time_s"] if outcome["result"] else 0.0
        self.busy_s += outcome["timing"].get("cpu_s", 0.0)
        now_s = time.perf_counter() - self.began_s
        live = sys.stderr.isatty()
        if done < total and now_s - self.said_s < (0.2 if live else 10.0):
            return
        self.said_s = now_s
        left_s = now_s / done * (total - done)
        kept = f", {self.planned - total} kept from before" if total < self.planned else ""
        words = f"{done} of {total} runs{kept}, {self.failed} failed, {_clock(left_s)} left"
        print(f"\r{words:70s}" if live else words, end="" if live and done < total else "\n", file=sys.stderr, flush=True)

    def timing(self, jobs: int) -> dict[str, Any]:
        """Return the figures of speed."""
        wall_s = time.perf_counter() - self.began_s
        return {
            "wall_s": round(wall_s, 1),
            "jobs": jobs,
            "runs": self.ran,
            "simulated_s": round(self.simulated_s, 1),
            "simulated_per_wall": round(self.simulated_s / wall_s, 2),
            "simulated_per_wall_and_job": round(self.simulated_s / wall_s / jobs, 2),
            "simulated_per_core_second": round(self.simulated_s / self.busy_s, 2) if self.busy_s else None,
        }


def _clock(seconds: float) -> str:
    return f"{int(seconds) // 60}:{int(seconds) % 60:02d} min" if seconds >= 60 else f"{seconds:.0f} s"


def _evaluate(parts: list[tuple[Any, list[Any]]], options: argparse.Namespace) -> int:
    from dataclasses import replace

    from vla_bt.eval.checks import between_sizes
    from vla_bt.eval.report import comparison, in_words, report
    from vla_bt.eval.runner import run_jobs

    folder = options.out or Path("runs") / "eval" / time.strftime("%Y%m%d_%H%M%S")
    everything = [job for _, jobs in parts for job in jobs]
    progress = _Progress(len(everything))
    try:
        outcomes = run_jobs(everything, options.jobs, folder, progress, _note)
    except KeyboardInterrupt:
        words = f"interrupted: {progress.ran} new runs are kept; the same command with --out {folder} goes on"
        print(f"\nvla-bt eval: {words}", file=sys.stderr)
        return 130
    filled, at = [], 0
    for part, jobs in parts:
        filled.append(replace(part, outcomes=outcomes[at : at + len(jobs)]))
        at += len(jobs)
    entries = [report(part) for part in filled]
    sizes = between_sizes(filled)
    timing = progress.timing(options.jobs)
    whole = {"result": entries, "sizes": sizes, "timing": timing}
    _write(folder, filled, whole)
    if options.json:
        print(json.dumps(whole, indent=2))
    else:
        print("\n\n".join(in_words(entry) for entry in entries))
        side_by_side = comparison(entries)
        if side_by_side:
            print("\n" + side_by_side)
        for size in sizes:
            verdict = "passed" if size["passed"] else "NOT PASSED"
            print(f"\n{size['scenario']}, policy {size['policy']}: {size['check']} -> {size['found']}: {verdict}")
        print(
            f"\ntook {timing['wall_s']:.0f} s with {options.jobs} job(s): {timing['simulated_per_wall']:.1f} simulated seconds a "
            f"second, {timing['simulated_per_wall_and_job']:.1f} a second and job, "
            f"{timing['simulated_per_core_second'] or 0:.1f} a second of processor time"
        )
        print(f"report: {folder / 'report.html'}")
    first = filled[0].policy
    return 0 if all(entry["passed"] for entry in (*entries, *sizes) if entry["policy"] == first) else 1


def _note(line: str) -> None:
    print(f"vla-bt eval: {line}", file=sys.stderr, flush=True)


def _write(folder: Path, parts: list[Any], whole: dict[str, Any]) -> None:
    """Write the report's files, each there whole or not at all."""
    from vla_bt.eval.junit import junit_xml
    from vla_bt.eval.page import page

    texts = {
        "report.json": json.dumps(whole, indent=2) + "\n",
        "junit.xml": junit_xml(parts),
        "report.html": page(parts, whole["result"], whole["timing"], folder, whole["sizes"]),
    }
    for name, text in texts.items():
        fresh = folder / f".{name}.tmp"
        fresh.write_text(text, encoding="utf-8")
        fresh.replace(folder / name)


def _both_ways(parts: list[tuple[Any, list[Any]]], options: argparse.Namespace) -> int:
    """Run some jobs in lockstep and over the real processes; exit code 0 when successes differ by at most 10 points."""
    from vla_bt.eval.real import check_possible, in_words, spread
    from vla_bt.eval.runner import check_policy, run_safely
    from vla_bt.settings import SettingsError

    policies = {part.policy for part, _ in parts}
    if len(policies) > 1:
        raise SettingsError("--ros takes one policy at a time")
    jobs = spread([job for _, some in parts for job in some])
    for job in jobs:
        check_possible(job)
    check_policy(jobs[0].policy)
    folder = options.out or Path("runs") / "eval" / time.strftime("%Y%m%d_%H%M%S_ros")
    folder.mkdir(parents=True, exist_ok=True)
    print(f"{len(jobs)} runs in lockstep", file=sys.stderr, flush=True)
    lockstep = [run_safely(job) for job in jobs]
    real = _real_runs(jobs, folder)
    if real is None:
        return 130
    pairs = list(zip(lockstep, real, strict=True))
    shares = [sum(outcome["ok"] for outcome in some) / len(jobs) for some in (lockstep, real)]
    difference = shares[1] - shares[0]
    result = {"lockstep": shares[0], "real": shares[1], "difference_points": round(100 * difference, 2), "runs": len(jobs)}
    for pair in pairs:
        for outcome in pair:
            outcome.pop("sheet", None)
    whole = {"result": result, "pairs": pairs}
    (folder / "ros.json").write_text(json.dumps(whole, indent=2) + "\n", encoding="utf-8")
    print(json.dumps(whole, indent=2) if options.json else in_words(pairs))
    print(f"details: {folder / 'ros.json'}", file=sys.stderr)
    return 0 if abs(difference) <= MOST_DIFFERENCE else 1


def _real_runs(jobs: list[Any], folder: Path) -> list[dict[str, Any]] | None:
    """Start the processes, run the jobs one after the other, end the processes; None when interrupted."""
    from vla_bt.ros.environment import isolate, prepare

    domain = isolate()  # nothing here talks to a robot nearby
    prepare()

    import rclpy
    from rclpy.node import Node
    from rclpy.signals import SignalHandlerOptions

    from vla_bt.app.processes import ProcessGroup
    from vla_bt.eval.pool import crashed
    from vla_bt.eval.real import RealError, RealRuns
    from vla_bt.ros.demo_operator import DemoOperator

    interrupted = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: interrupted.set())
    rclpy.init(signal_handler_options=SignalHandlerOptions.NO)
    node = Node("eval")
    operator = DemoOperator(node)
    group = ProcessGroup(Path("/dev/shm") / f"vla_bt-{os.getuid()}-eval-{os.getpid()}", folder / "logs", domain)
    outcomes = []
    try:
        runs = RealRuns(group, operator, jobs[0].policy, interrupted)
        for count, job in enumerate(jobs, start=1):
            try:
                outcome = runs.run(job)
            except RealError as error:
                outcome = crashed(job, str(error))
            outcomes.append(outcome)
            words = "ok" if outcome["ok"] else f"{outcome['failure']} {outcome.get('error', '')}"
            print(f"real processes: {count} of {len(jobs)} runs, {words}", file=sys.stderr, flush=True)
            if group.dead():  # nothing after this could run
                outcomes += [crashed(other, "not run: a process had ended") for other in jobs[count:]]
                break
    except KeyboardInterrupt:
        print("vla-bt eval: interrupted; the robot was stopped and the processes were ended", file=sys.stderr)
        return None
    finally:
        group.close()
        operator.close()
        node.destroy_node()
        rclpy.try_shutdown()
    return outcomes


def _again(job: Any) -> int:
    from vla_bt.eval.run import run_job

    outcome = run_job(job)
    outcome.pop("sheet", None)
    print(json.dumps(outcome, indent=2))
    return 0 if outcome["ok"] else 1

"""``vla-bt run``: drive to a goal in one of the worlds."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from vla_bt.ros.log_level import add_log_level

EXAMPLES = """examples:
  vla-bt run --world lockstep --scene 2box_hori_right --goal "go around the boxes on the right to the cup" --policy expert
  vla-bt run --scene 2box_hori_left           the shipped policy, by camera alone
  vla-bt run --goal "go forward 1 m, then turn right" --without odometry scan battery
  vla-bt run --seed 7 --json          the same seed gives the same 'result', digest included
  vla-bt run --world ros --policy hybrid      the tree process of a robot (bridge, gate and camera run beside it)
  vla-bt run --world ros --dashboard          the same, with the web page on http://localhost:8077/
"""

MAX_TIME_S = 3600.0
LOCKSTEP: dict[str, Any] = {
    "goal": None,
    "scene": "1box_vert_left",
    "distance": "medium",
    "position": "center",
    "pattern": "core",
    "seed": 0,
    "time_limit": 60.0,
    "without": (),
    "picture": None,
    "json": False,
}
"""Options of the world lockstep, with what holds without them."""


def add_parser(subparsers: Any) -> None:
    """Add the verb."""
    parser = subparsers.add_parser(
        "run",
        help="drive to a goal in one of the worlds",
        description="Run the behaviour tree in one of its worlds: 'lockstep' (simulator in process, simulated time, "
        "reproducible) drives to one goal and ends; 'ros' is the tree process of a robot and runs until Ctrl-C.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--world", choices=("lockstep", "ros"), default="lockstep")
    parser.add_argument(
        "--policy",
        help="default (the shipped one), expert, a preset (hybrid, small ...) or a folder (default: the parameter file's)",
    )
    parser.add_argument(
        "--mode", choices=("vla", "hybrid", "manual"), help="mode at start (default: vla in lockstep, manual in ros)"
    )
    parser.add_argument("--record", action="store_true", help="record 18-frame episodes from the start")
    parser.add_argument(
        "--runs-dir", type=Path, metavar="DIR", help="where the run log goes (default: vla_bt/runs in the state directory)"
    )
    parser.add_argument("--params-file", type=Path, help="ROS parameter file (default: the shipped config/robot.yaml)")
    parser.add_argument(
        "--dashboard", action="store_true", help="serve the web page beside the tree (ros), see 'vla-bt dashboard'"
    )
    add_log_level(parser)
    sim = parser.add_argument_group("lockstep", argument_default=argparse.SUPPRESS)
    sim.add_argument("--goal", help="what the robot is told (default: the scene's own sentence)")
    sim.add_argument("--scene", help="one of the eight scenes (default 1box_vert_left)")
    sim.add_argument("--distance", help="close, medium or far")
    sim.add_argument("--position", help="left, center or right")
    sim.add_argument("--pattern", help="core or variant")
    sim.add_argument("--seed", type=int, help="seed of the scene and of random weights (default 0)")
    sim.add_argument("--time-limit", type=float, metavar="S", help="simulated seconds (default 60)")
    sim.add_argument(
        "--without",
        nargs="+",
        metavar="INPUT",
        choices=("odometry", "scan", "battery"),
        help="inputs this robot lacks",
    )
    sim.add_argument("--picture", type=Path, metavar="FILE", help="write a top-down PNG of the path")
    sim.add_argument("--json", action="store_true", help="print one JSON object: 'result' is reproducible, 'timing' is not")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Run; exit code 0 only if the goal was reached with nothing touched."""
    if options.world == "ros":
        return _ros(options)
    if options.dashboard:
        from vla_bt.settings import SettingsError

        raise SettingsError("--dashboard is for --world ros; a lockstep run is looked at afterwards: vla-bt runs view")
    return _lockstep(argparse.Namespace(**{**LOCKSTEP, **vars(options)}))


def _ros(options: argparse.Namespace) -> int:
    from vla_bt.ros.environment import prepare
    from vla_bt.settings import SettingsError, config_path

    given = [f"--{name.replace('_', '-')}" for name in LOCKSTEP if name in options]
    if given:
        hint = "; give it with: vla-bt goal TEXT" if given[0] == "--goal" else ""
        raise SettingsError(f"{given[0]} is for --world lockstep alone{hint}")
    prepare()
    from vla_bt.ros.log_level import log_arguments
    from vla_bt.ros.tree_node import main

    arguments = ["--ros-args", "--params-file", str(options.params_file or config_path("robot.yaml"))]
    for name, value in (
        ("policy", options.policy),
        ("initial_mode", options.mode),
        ("record_from_start", options.record or None),
        ("run_log_directory", str(options.runs_dir.absolute()) if options.runs_dir is not None else None),
    ):
        if value is not None:
            arguments += ["-p", f"{name}:={str(value).lower() if value is True else value}"]
    arguments += log_arguments(options.log_level)
    if not options.dashboard:
        return main(arguments)
    from vla_bt.app.processes import beside

    passed_on = {"--params-file": options.params_file, "--log-level": options.log_level}
    words = (word for name, value in passed_on.items() if value for word in (name, str(value)))
    with beside("dashboard", "dashboard", *words, missed="there is no page; the robot goes on without it"):
        return main(arguments)


def _lockstep(options: argparse.Namespace) -> int:
    from dataclasses import replace

    from vla_bt.app.drive import LockstepRun, drive, succeeded
    from vla_bt.app.lockstep import without
    from vla_bt.runlog.places import runs_directory
    from vla_bt.settings import GateSettings, SettingsError, TreeSettings, load
    from vla_bt.sim.check import GOAL_RADIUS_M
    from vla_bt.sim.scenes import make_scene

    if not 0.0 < options.time_limit <= MAX_TIME_S:
        raise SettingsError(
            f"--time-limit is {options.time_limit:g}; expected more than 0 and at most {MAX_TIME_S:g} simulated seconds"
        )
    try:
        scene = make_scene(options.scene, options.distance, options.position, options.pattern, options.seed)
    except ValueError as error:
        raise SettingsError(str(error)) from None
    settings = without(load(TreeSettings, "tree", options.params_file), *options.without)
    settings = replace(settings, record_from_start=options.record)
    recorder = None
    if options.record:
        from vla_bt.episodes.recorder import EpisodeRecorder, limits_of
        from vla_bt.episodes.schema import EpisodeInfo

        recorder = EpisodeRecorder(
            Path(settings.runs_directory),
            settings.frame_period_s,
            storage=settings.record_pictures,
            tick_period_s=settings.tick_period_s,
        )
        recorder.label(
            EpisodeInfo(
                scenario=scene.name,
                pattern=scene.pattern,
                distance=scene.distance,
                position=scene.position,
                seed=scene.seed,
                origin="simulated",
                velocity_limits=limits_of(load(GateSettings, "gate", options.params_file)),
            )
        )
    lockstep = LockstepRun(
        scene,
        options.policy or settings.policy,
        settings,
        load(GateSettings, "gate", options.params_file),
        seed=options.seed,
        recorder=recorder,
        runs=runs_directory(options.runs_dir or settings.run_log_directory),
    )
    shown = sys.stderr.isatty() and not options.json

    def progress(state: LockstepRun) -> None:
        if shown:
            truth = state.world.truth()
            print(
                f"\r{state.robot.now():5.1f} s  x {truth.x:5.2f}  y {truth.y:5.2f}  {state.loop.words[:70]:70s}",
                end="",
                file=sys.stderr,
            )

    try:
        outcome = drive(
            lockstep, scene.goal if options.goal is None else options.goal, options.mode or "vla", options.time_limit, progress
        )
        if options.picture is not None:
            from vla_bt.app.path_picture import draw_path

            draw_path(lockstep.world, lockstep.path, GOAL_RADIUS_M, options.picture)
    except OSError as error:
        raise SettingsError(f"can't write {error.filename or options.picture}: {error.strerror}") from None
    finally:
        lockstep.close()
        if recorder is not None:
            recorder.close()
    if shown:
        print(file=sys.stderr)
    log = lockstep.log.status() if lockstep.log is not None else None
    if log is not None and log.state == "stopped":
        print(f"vla-bt run: {log.words}", file=sys.stderr)
    elif log is not None and log.folder is not None and not options.json:
        outcome["timing"]["run_log"] = log.folder.name
    ok = succeeded(outcome["result"])
    print(json.dumps(outcome, indent=2) if options.json else _words(outcome, ok))
    return 0 if ok else 1


def _words(outcome: dict[str, Any], ok: bool) -> str:
    result, timing = outcome["result"], outcome["timing"]
    last = result["goal_events"][-1] if result["goal_events"] else {"reason": "no answer", "evidence": []}
    policy = result["policy"]
    rows = [
        ("goal", f"{result['goal']}  ->  {result['goal_state']}" + (f" ({last['reason']})" if last["reason"] else "")),
        ("judged by", ", ".join(last["evidence"]) or "-"),
        ("policy", f"{policy['name']} ({policy['label']})"),
        ("cup", f"{result['cup_distance_m']:.2f} m away"),
        ("contact", result["contact"] or "none"),
        ("passed", f"{', '.join(side or 'not yet' for side in result['sides_passed'])} (scene's side: {result['side_told']})"),
        ("path", f"{result['path_length_m']:.2f} m in {result['time_s']:.1f} s, {result['ticks']} ticks"),
        ("policy steps", f"{result['policy_steps']} for {result['frames_handed']} frames"),
        ("tick", f"p50 {timing['tick_p50_ms']:.2f} ms, p99 {timing['tick_p99_ms']:.2f} ms (inference included)"),
        ("speed", f"{timing['simulated_per_wall']:.1f} simulated seconds a second"),
        ("digest", result["digest"][:16]),
    ]
    if "run_log" in timing:
        rows.append(("run log", f"{timing['run_log']}  (vla-bt runs show, why, view)"))
    return "\n".join([*(f"{name:13s} {text}" for name, text in rows), "success" if ok else "FAILED"])

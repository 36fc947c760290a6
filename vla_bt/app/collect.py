"""Collecting a plan's demonstrations in the simulator: the whole tree drives in lockstep, and its own recording leaves record.

Promises: what is in the folder already is not driven again, so an interrupted collection goes on; a demonstration appears in the
folder when it is complete and the truth has judged it a success, and not at all otherwise; its scene depends on its kind and seed
alone. A drive that ends within 18 frames is recorded standing at its goal until the 18th; a longer one becomes linked episodes.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from vla_bt.app.drive import CLOSED, LockstepRun, succeeded
from vla_bt.episodes.dataset import headers
from vla_bt.episodes.opening import read
from vla_bt.episodes.plan import Cell, Plan, cell_of, count_progress
from vla_bt.episodes.recorder import EpisodeRecorder, limits_of
from vla_bt.episodes.schema import EpisodeError, EpisodeInfo, trusted
from vla_bt.settings import GateSettings, SettingsError, TreeSettings
from vla_bt.sim.check import GOAL_RADIUS_M, side_passed
from vla_bt.sim.scenes import make_scene

FIRST_SEED = 800_000
"""Scenes are drawn with seeds from here on: evaluation draws from below 100 000, training from above 900 000."""

ATTEMPTS = 3
"""So many scenes of one kind are tried for a demonstration."""

TIME_LIMIT_S = 75.0
"""A drive may take so long, in simulated time [s]."""

STAGING = ".collecting"
_WAITING = 8  # frames; beyond that simulated time waits for the disk


@dataclass(frozen=True)
class Made:
    """What became of one drive.

    Attributes
    ----------
    cell : Cell
        Its kind.
    seed : int
        Of the scene.
    failure : str
        Empty for a demonstration; else why it is none.
    episodes : tuple of str
        Files in the folder.
    goal_s : float
        Simulated time from the goal to its end [s].
    wall_s : float
        Real time of the drive [s].
    """

    cell: Cell
    seed: int
    failure: str
    episodes: tuple[str, ...]
    goal_s: float
    wall_s: float

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain values."""
        told = asdict(self)
        return {**self.cell._asdict(), **{name: value for name, value in told.items() if name != "cell"}}


class CollectionError(RuntimeError):
    """Nothing can be recorded; the message is one line, fit for a user."""


def collect(
    plan: Plan,
    policy: str,
    folder: Path,
    settings: TreeSettings,
    gate_settings: GateSettings,
    shown: Callable[[Made, int], None],
) -> list[Made]:
    """Drive what is missing of a plan; returns what was driven now.

    Parameters
    ----------
    plan : Plan
    policy : str
        A name that :func:`vla_bt.policy.factory.make_policy` knows.
    folder : Path
        Where the episodes go, and are looked for.
    shown : callable
        Is told each drive as it ends, and how many demonstrations are there then.

    Raises
    ------
    CollectionError
        When the disk fails, or somebody else collects into the folder.
    EpisodeError
        When a file in the folder can't be read.
    """
    made: list[Made] = []
    with _staging(folder) as staging:
        found = _tidy(staging, folder)
        progress = count_progress((path.name, attributes) for path, attributes in found)
        there = progress.done(plan)
        used = {(cell_of(attributes), int(attributes.get("seed", -1))) for _, attributes in found}
        for cell, count in progress.missing(plan).items():
            seeds = (seed for seed in range(FIRST_SEED, FIRST_SEED + 10**6) if (cell, seed) not in used)
            for _ in range(count):
                for _ in range(ATTEMPTS):
                    one = demonstrate(cell, next(seeds), policy, folder, staging, settings, gate_settings)
                    there += not one.failure
                    made.append(one)
                    shown(one, there)
                    if not one.failure:
                        break
    return made


@contextlib.contextmanager
def _staging(folder: Path) -> Iterator[Path]:
    """Make a folder for what is being recorded, alone in it."""
    staging = folder / STAGING
    staging.mkdir(parents=True, exist_ok=True)
    lock = os.open(staging, os.O_RDONLY)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield staging
        shutil.rmtree(staging)
    except BlockingIOError:
        raise CollectionError(f"{folder}: somebody else collects into this folder") from None
    finally:
        os.close(lock)


def _tidy(staging: Path, folder: Path) -> list[tuple[Path, dict[str, Any]]]:
    """Clear what an interrupted collection left in staging; returns what is in the folder then.

    A demonstration of several episodes, the first of which were moved already, was judged: the others follow them.
    """
    found = headers(folder)
    kept = {attributes.get("demonstration_id") for _, attributes in found} - {None, ""}
    for path in sorted(staging.iterdir()):
        attributes = _told(path)
        if attributes.get("complete") and attributes.get("demonstration_id") in kept and not (folder / path.name).exists():
            path.rename(folder / path.name)
            found.append((folder / path.name, attributes))
        else:
            path.unlink()
    return found


def _told(path: Path) -> dict[str, Any]:
    try:
        return trusted(read(path, images=False).attributes) if path.suffix == ".h5" else {}
    except EpisodeError:
        return {}


def demonstrate(
    cell: Cell, seed: int, policy: str, folder: Path, staging: Path, settings: TreeSettings, gate_settings: GateSettings
) -> Made:
    """Drive and record one demonstration; its episodes are in the folder when it is one."""
    began = time.monotonic()
    scene = make_scene(cell.scenario, cell.distance, cell.position, cell.pattern, seed)
    recorder = EpisodeRecorder(staging, settings.frame_period_s, beside=folder, tick_period_s=settings.tick_period_s)
    recorder.label(EpisodeInfo(**cell._asdict(), seed=seed, origin="simulated", velocity_limits=limits_of(gate_settings)))
    run = LockstepRun(scene, policy, replace(settings, record_from_start=False), gate_settings, recorder=recorder)
    try:
        result, goal_s = _drive(run, recorder)
    finally:
        run.close()
        closed = recorder.close(timeout_s=60.0)
    status = recorder.status()
    if status.error or status.dropped or not closed:
        raise CollectionError(status.error or (f"{staging}: the disk does not keep up: {status.words}"))
    failure = "" if succeeded(result) else _failure(result)
    episodes = []
    for path in sorted(staging.glob("*.h5")):
        target = folder / path.name
        if failure or target.exists():
            path.unlink()
            failure = failure or f"{target} exists already"
        else:
            path.rename(target)
            episodes.append(target.name)
    return Made(cell, seed, failure, tuple(episodes), round(goal_s, 3), round(time.monotonic() - began, 3))


def _drive(run: LockstepRun, recorder: EpisodeRecorder) -> tuple[dict[str, Any], float]:
    """Drive to the scene's goal and record whole episodes; returns the truth of it and the time to the goal's end [s].

    Recording begins before the goal is told, so that the first frame shows the robot standing.
    """
    robot, world = run.robot, run.world
    robot.set_mode("vla")
    robot.record(True)
    while not recorder.status().frames:
        _step(run, recorder)
    robot.give_goal(run.scene.goal)
    told_s, closed_s = robot.now(), 0.0
    state = "told"
    while robot.now() - told_s < TIME_LIMIT_S:
        _step(run, recorder)
        if not closed_s and robot.goal_lines:
            state = json.loads(robot.goal_lines[-1])["state"]
            closed_s = robot.now() if state in CLOSED else 0.0
        if closed_s and not recorder.status().frames:
            break  # the episode is whole
    robot.record(False)
    _step(run, recorder)
    truth = world.truth()
    cup_m = ((truth.cup_x - truth.x) ** 2 + (truth.cup_y - truth.y) ** 2) ** 0.5
    track = [(point.x, point.y) for point in run.path]
    result = {
        "goal": run.scene.goal,
        "goal_state": state,
        "contact": world.first_contact is not None,
        "reached_cup": cup_m <= GOAL_RADIUS_M and truth.twist.speed < 0.01,
        "sides_passed": [side_passed(track, box) for box in truth.boxes],
        "cup_m": cup_m,
    }
    return result, (closed_s or robot.now()) - told_s


def _step(run: LockstepRun, recorder: EpisodeRecorder) -> None:
    """Step once; simulated time waits for the disk, so that no frame is dropped."""
    run.step()
    status = recorder.status()
    while status.waiting > _WAITING and not status.error:
        time.sleep(0.005)
        status = recorder.status()
    if status.error:
        raise CollectionError(status.error)


def _failure(result: dict[str, Any]) -> str:
    if result["contact"]:
        return "touched something"
    if result["goal_state"] != "reached":
        return f"goal {result['goal_state']}"
    if not result["reached_cup"]:
        return f"claimed to have arrived {result['cup_m']:.2f} m from the cup"
    return f"passed {', '.join(side or 'nowhere' for side in result['sides_passed'])}"


def check_plan(plan: Plan, policy: str) -> None:
    """Refuse what can't be driven.

    Raises
    ------
    SettingsError
        With one line.
    """
    from vla_bt.policy.names import check_name

    if not plan.total:
        raise SettingsError(f"plan {plan.name} wants nothing")
    check_name(policy)

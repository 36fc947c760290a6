"""Collecting practice drives: worlds drawn from seeds, driven on both sides or told none, written as shards.

Promises: a shard depends on its job alone (settings, seed, weights), so a run that was interrupted goes on with the shards that
are missing; a shard is there whole or not at all. Scenes, conditions and split come from the world's seed.
"""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vla_bt.camera.lens import Picture
from vla_bt.goals.plan import OTHER_SIDE
from vla_bt.parent import die_with_parent
from vla_bt.policy.port import PolicyStep
from vla_bt.sim.scenes import (
    DISTANCES,
    HARD,
    HOUSE,
    NOMINAL,
    PATTERNS,
    POSITIONS,
    SCENE_NAMES,
    WIDE,
    Scene,
    make_scene,
)
from vla_bt.sim.world import SimWorld
from vla_bt.train.near_cup import near_cup
from vla_bt.train.practice import Darkness, Drive, Driver, NoisyExpert, Practice, Push, hide_cup, practise
from vla_bt.words import Twist

_PERIODS_S = (0.05, 0.1, 0.1, 0.1, 0.15, 0.15, 0.2, 0.2)
_LIMIT_S, _LONG_S = 20.0, 45.0
_LATENCIES_S = (0.1, 0.1, 0.15, 0.2)
_CHANGES_S = (0.5, 5.0)
ARRAYS = ("frames", "elapsed", "twist", "actions", "stop", "auxiliary", "known")


@dataclass(frozen=True)
class Job:
    """One world, driven on both sides, or once with none told.

    Attributes
    ----------
    seed : int
        Of the scene and of all that is drawn around it.
    hard : bool
        Hard conditions, pushes included; else nominal ones.
    policy : str
        Folder of the policy that drives; empty for the expert with noise.
    picture : Picture
        What the frames are to be like.
    no_cup : float
        How likely the cup is behind the wall.
    wide_surfaces : float
        How likely the room is painted with any colours and patterns.
    near_cup : float
        How likely the drive begins near the cup; no side is told then, as there is none to pass.
    changes : float
        How likely another side is told on the way: the drive to the first is broken off, one to the other begins there.
    darkness : float
        How likely the light goes out for a while.
    """

    seed: int
    hard: bool
    policy: str
    picture: Picture
    no_cup: float = 0.05
    wide_surfaces: float = 0.0
    near_cup: float = 0.0
    changes: float = 0.0
    darkness: float = 0.0


def scene_of(seed: int, hard: bool, wide_surfaces: float = 0.0) -> Scene:
    """Draw a scene of any kind; the side in its name is meaningless."""
    rng = np.random.default_rng([seed, 211])
    options = [SCENE_NAMES, tuple(DISTANCES), tuple(POSITIONS), PATTERNS]
    name, distance, position, pattern = (choices[int(rng.integers(len(choices)))] for choices in options)
    surfaces = WIDE if np.random.default_rng([seed, 229]).random() < wide_surfaces else HOUSE
    return make_scene(name, distance, position, pattern, seed, HARD if hard else NOMINAL, surfaces)


def draw_pushes(rng: np.random.Generator) -> tuple[Push, ...]:
    """Draw some pushes in time."""
    pushes = []
    for at in np.sort(rng.uniform(0.5, 10.0, int(rng.integers(0, 4)))):
        force_x, force_y, torque = (float(value) for value in rng.normal(0.0, (70.0, 70.0, 3.0)))
        pushes.append((float(at), force_x, force_y, torque, float(rng.uniform(0.1, 0.4))))
    return tuple(pushes)


def draw_darkness(rng: np.random.Generator) -> Darkness:
    """Draw when the light goes out, for how long, and what is left of it."""
    return float(rng.uniform(0.0, 8.0)), float(rng.uniform(0.5, 4.0)), float(rng.uniform(0.0, 0.12))


def drives_of(job: Job, make_driver: Callable[[str, int], Driver] | None = None) -> Iterator[tuple[str, int, Drive]]:
    """Drive one world to both sides, or once without a told side; yields side, number of boxes and drive.

    Where another side is told on the way there are two drives to a side: the one that was broken off, and the one from there.

    Parameters
    ----------
    make_driver : callable, optional
        Makes the driver for a side and a number of boxes; default: the expert with noise.
    """
    rng = np.random.default_rng([job.seed, 223])
    more = np.random.default_rng([job.seed, 239])
    scene = scene_of(job.seed, job.hard, job.wide_surfaces)
    begins = near_cup(scene, more) if more.random() < job.near_cup else scene
    hidden = bool(rng.random() < job.no_cup)
    cup = (scene.cup.x, scene.cup.y)
    world = SimWorld(hide_cup(begins) if hidden else begins)
    sides = ("",) if rng.random() < 0.08 or begins is not scene else ("left", "right")
    for side in sides:
        plan = Practice(
            side,
            frame_period_s=float(rng.choice(_PERIODS_S)),
            latency_s=float(rng.choice(_LATENCIES_S)),
            pushes=draw_pushes(rng) if job.hard else (),
            cup_hidden=hidden,
            # A policy that looks for what isn't there claims it late, if at all: that it learns not to.
            limit_s=_LONG_S if hidden and make_driver else _LIMIT_S,
            ends_there=not (hidden and make_driver),
            darkness=draw_darkness(more) if more.random() < job.darkness else None,
        )
        legs = [plan]
        if side and more.random() < job.changes:
            legs.insert(0, replace(plan, side=OTHER_SIDE[side], limit_s=float(more.uniform(*_CHANGES_S)), darkness=None))
        for leg in legs:
            driver = (
                make_driver(leg.side, len(scene.boxes))
                if make_driver
                else NoisyExpert(np.random.default_rng(rng.integers(2**32)))
            )
            yield leg.side, len(scene.boxes), practise(world, leg, driver, job.picture, cup)
            if world.first_contact is not None:
                break
        world.restart()
    world.close()


def policy_driver(policy_folder: str, rng: np.random.Generator) -> Callable[[str, int], Driver]:
    """Return what makes drivers of a saved policy, each told a sentence of its own.

    Half of them do not heed its claim of arrival, so that a claim made too early does not end the drive.
    """
    from vla_bt.policy.saved import load_policy
    from vla_bt.train.sentences import draw_sentence

    policy = load_policy(Path(policy_folder))

    def make(side: str, boxes: int) -> Driver:
        policy.reset(draw_sentence(rng, side, boxes))
        heeded = bool(rng.random() < 0.5)

        def drive(frame: NDArray[np.uint8], time_s: float, measured: Twist, label: PolicyStep) -> PolicyStep:
            step = policy.step(frame, time_s, measured)
            return step if heeded else replace(step, stop_probability=0.0)

        return drive

    return make


def collect_shard(jobs: list[Job], path: Path) -> Path:
    """Drive some worlds and write them as one file, unless it is there."""
    if path.exists():
        return path
    import torch

    torch.set_num_threads(1)
    columns: dict[str, list[np.ndarray]] = {name: [] for name in ARRAYS}
    lengths: list[int] = []
    sides: list[str] = []
    boxes: list[int] = []
    make = policy_driver(jobs[0].policy, np.random.default_rng([jobs[0].seed, 227])) if jobs[0].policy else None
    for job in jobs:
        for side, count, drive in drives_of(job, make):
            for name in ARRAYS:
                columns[name].append(getattr(drive, name))
            lengths.append(len(drive.stop))
            sides.append(side)
            boxes.append(count)
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_suffix(f".{os.getpid()}.tmp")
    arrays: dict[str, Any] = {name: np.concatenate(parts) for name, parts in columns.items()}
    with fresh.open("wb") as file:
        seen = np.array(jobs[0].picture.fovy_deg)
        np.savez(file, fovy_deg=seen, lengths=np.array(lengths), sides=np.array(sides), boxes=np.array(boxes), **arrays)
    fresh.rename(path)
    return path


def collect(jobs: list[Job], folder: Path, processes: int, shown: Callable[[int, int], None], shard: int = 10) -> list[Path]:
    """Collect all jobs as shards of ``shard`` worlds in ``folder``; ``shown`` is told shards done and to do."""
    parts = [(jobs[at : at + shard], folder / f"{at // shard:05d}.npz") for at in range(0, len(jobs), shard)]
    paths = []
    if processes == 1:
        for count, (part, path) in enumerate(parts, start=1):
            paths.append(collect_shard(part, path))
            shown(count, len(parts))
        return paths
    with ProcessPoolExecutor(processes, mp_context=multiprocessing.get_context("spawn"), initializer=die_with_parent) as pool:
        for count, path in enumerate(pool.map(collect_shard, *zip(*parts, strict=True)), start=1):
            paths.append(path)
            shown(count, len(parts))
    return paths

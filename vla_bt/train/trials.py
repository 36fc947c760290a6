"""Closed-loop trials that choose between checkpoints: the policy drives validation scenes, the truth judges.

Promises: scenes and sentences are of the validation split: neither trained on nor used in any test. No tree stands between policy
and gate; the tree's own evaluation is ``vla-bt eval``.
"""

from __future__ import annotations

import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from vla_bt.parent import die_with_parent
from vla_bt.policy.runtime import NetworkPolicy
from vla_bt.sim.world import SimWorld
from vla_bt.train.collect import draw_pushes, scene_of
from vla_bt.train.practice import Drive, Practice, practise
from vla_bt.train.sentences import draw_sentence
from vla_bt.train.settings import VALIDATION_SEEDS, TrainSettings


@dataclass(frozen=True)
class Trial:
    """What came of one trial."""

    seed: int
    hard: bool
    ok: bool
    why: str


def try_out(policy: NetworkPolicy, seed: int, hard: bool, wide_surfaces: float = 0.0) -> Trial:
    """Let a policy drive one validation scene; of the hard ones a share has any colours and patterns."""
    rng = np.random.default_rng([seed, 233])
    scene = scene_of(seed, hard, wide_surfaces if hard else 0.0)
    side = "left" if rng.random() < 0.5 else "right"
    plan = Practice(side, latency_s=0.15 if hard else 0.1, pushes=draw_pushes(rng) if hard else (), limit_s=30.0)
    policy.reset(draw_sentence(rng, side, len(scene.boxes), "validation"))
    world = SimWorld(scene)
    cup = (scene.cup.x, scene.cup.y)
    drive = practise(world, plan, lambda frame, now, twist, label: policy.step(frame, now, twist), policy.info.picture, cup)
    world.close()
    return Trial(seed, hard, drive.ok, why(drive))


def why(drive: Drive) -> str:
    """Say in a few words what failed; empty when nothing did."""
    if drive.contact:
        return "contact"
    if not drive.claimed:
        return "never claimed arrival"
    if not drive.reached:
        return f"claimed {drive.cup_distance_m:.2f} m away"
    return "" if drive.side_as_told else "wrong side"


def _try_folder(folder: str, wide_surfaces: float, task: tuple[int, bool]) -> Trial:
    import torch

    from vla_bt.policy.saved import load_policy

    torch.set_num_threads(1)
    return try_out(load_policy(Path(folder)), *task, wide_surfaces)


def try_all(folder: Path, settings: TrainSettings) -> list[Trial]:
    """Try a saved policy in as many scenes as the settings say, nominal and hard in turn."""
    tasks = [(VALIDATION_SEEDS.start + index // 2, index % 2 == 1) for index in range(settings.trials)]
    run = partial(_try_folder, str(folder), settings.wide_surfaces)
    if settings.jobs == 1:
        return [run(task) for task in tasks]
    with ProcessPoolExecutor(settings.jobs, mp_context=multiprocessing.get_context("spawn"), initializer=die_with_parent) as pool:
        return list(pool.map(run, tasks, chunksize=4))

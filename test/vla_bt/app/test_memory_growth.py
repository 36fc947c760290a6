"""A short soak: thousands of ticks with goal changes, and hundreds of steps of a policy, must not make the process grow much."""

from __future__ import annotations

import gc

import numpy as np

from vla_bt.bench.memory_world import MemoryPolicy, MemoryRobot
from vla_bt.bench.tick import application, bench_settings
from vla_bt.memory.clearing import clear_caches, resident_mb
from vla_bt.policy.factory import make_network_policy
from vla_bt.words import ZERO

GROSS_MB = 8.0
"""Noise of the allocator; a leak of one pixel row a tick would be ten times that."""


def settled_mb() -> float:
    gc.collect()
    clear_caches()
    return resident_mb()


def test_ticks_with_goal_changes_do_not_pile_up() -> None:
    settings = bench_settings()
    robot, policy = MemoryRobot(settings.tick_period_s), MemoryPolicy()
    with application(robot, policy, settings) as (loop, tree):
        robot.set_mode("vla")

        def run(ticks: int) -> None:
            for count in range(ticks):
                if count % 100 == 0:
                    robot.give_goal(f"go to the {('cup', 'box')[count // 100 % 2]}")
                robot.advance()
                policy.advance(robot.now())
                loop.tick()
                if count % 1000 == 0:
                    tree.watch.clear()

        run(1500)
        before = settled_mb()
        run(4000)
        assert settled_mb() - before < GROSS_MB


def test_steps_of_a_policy_do_not_pile_up() -> None:
    policy = make_network_policy("small-cnn@tiny")
    frame = np.zeros((policy.info.frame_height, policy.info.frame_width, 3), np.uint8)

    def run(steps: int) -> None:
        for step in range(steps):
            if step % 20 == 0:
                policy.reset(f"go to the cup {step // 20 % 100}")
            policy.step(frame, 0.1 * step, ZERO)

    run(100)
    before = settled_mb()
    run(400)
    assert settled_mb() - before < GROSS_MB

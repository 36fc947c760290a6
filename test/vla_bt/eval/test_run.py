"""Scripts and faults in whole runs: what they do to the world, and that the truth sees it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from vla_bt.camera.lens import Picture
from vla_bt.eval.job import Counts, Job
from vla_bt.eval.run import ScenarioRun, contact_sheet, run_job
from vla_bt.eval.scenario import jobs_of, load_scenario
from vla_bt.eval.script import Event

pytestmark = pytest.mark.sim

MODE, GOAL = Event(0.0, "mode", "vla"), Event(0.0, "goal", "go to the cup")


def job(*events: Event, **changes: Any) -> Job:
    base = next(jobs_of("document", load_scenario("document")[1], "expert", range(5, 6)))
    return replace(base, events=events or base.events, **changes)


def test_measured_motions_are_judged_by_the_way_really_made() -> None:
    told = job(
        MODE,
        Event(0.0, "goal", "go forward 0.3 m, then turn left 45 degrees"),
        counts=Counts(motions=((0.3, 0, 0), (0, 0, 0.785))),
    )
    outcome = run_job(told)
    assert outcome["ok"], outcome["failure"]
    assert [claim["true"] for claim in outcome["result"]["claims"]] == [True, True]
    assert outcome["result"]["claims"][0]["moved"][0] == pytest.approx(0.3, abs=0.05)
    other = run_job(replace(told, counts=Counts(motions=((0.6, 0, 0), (0, 0, 0.785)))))
    assert (other["ok"], other["failure"]) == (False, "not as measured")
    assert other["result"]["digest"] == outcome["result"]["digest"]


def test_a_person_who_presses_keys_is_obeyed_and_counted() -> None:
    pressed = Event(1.0, "teleop", (-0.2, 0.0, 0.0), 1.0)
    outcome = run_job(job(Event(0.0, "mode", "hybrid"), GOAL, pressed, time_limit_s=3.0))
    result = outcome["result"]
    assert result["interventions"] == 1
    assert result["obeyed"] >= 0.9
    assert result["ticks_by_source"]["takeover"] >= 18
    assert min(line[4] for line in outcome["trace"]) < -0.1


def test_an_emergency_stop_closes_the_goal_and_the_robot_stands() -> None:
    stop = Event(1.0, "emergency_stop", "pressed", 0.5)
    outcome = run_job(job(MODE, GOAL, stop, counts=Counts(goal_ends=("preempted",))))
    assert outcome["ok"], outcome["failure"]
    assert outcome["result"]["goals"][0]["reason"] == "the emergency stop"
    assert outcome["trace"][-1][4:7] == [0.0, 0.0, 0.0]


@pytest.mark.parametrize(
    ("fault", "cause"),
    [
        (Event(1.0, "camera", "lost", 1.0), "camera is silent"),
        (Event(1.0, "camera", "frozen", 1.0), "picture is frozen"),
        (Event(1.0, "policy", "killed", 1.0), "policy"),
        (Event(1.0, "odometry", "lost", 1.0), "odometry"),
    ],
)
def test_a_fault_holds_the_robot_and_ends(fault: Event, cause: str) -> None:
    run = ScenarioRun(job(MODE, GOAL, fault, time_limit_s=4.0))
    held, words = False, set()
    while not run.done():
        run.step()
        if 1.4 < run.robot.now() < 2.0:
            held = held or run.ticks[-1].source.name == "SAFETY"
            words.add(run.loop.words)
    drove = any(tick.source.name == "POLICY" and tick.twist.speed > 0.05 for tick in run.ticks if tick.time_s > 2.8)
    run.close()
    assert held
    assert any(cause in word for word in words), words
    assert drove


def test_a_killed_policy_comes_back_without_its_memory_and_with_its_goal() -> None:
    run = ScenarioRun(job(MODE, GOAL, Event(0.5, "policy", "killed", 0.5), time_limit_s=2.0))
    states = set()
    while not run.done():
        run.step()
        states.add(run.client.status().state)
    status = run.client.status()
    run.close()
    assert states == {"ready", "dead"}
    assert (status.state, status.restarts) == ("ready", 1)


def test_a_moved_cup_is_where_arrival_counts() -> None:
    moved = run_job(job(MODE, GOAL, Event(0.5, "cup", (0.0, 0.3))))
    assert moved["ok"], moved["failure"]
    scene = job().make_scene()
    x, y = moved["trace"][-1][1:3]
    assert np.hypot(x - scene.cup.x, y - (scene.cup.y + 0.3)) <= 0.4


def test_a_larger_camera_changes_the_frames_but_not_what_they_show() -> None:
    small = ScenarioRun(job(time_limit_s=1.0))
    large = ScenarioRun(job(time_limit_s=1.0, camera=(1280, 720)))
    for run in (small, large):
        for _ in range(3):
            run.step()
    rendered, reduced = (run._frame(1, Picture(128, 72)) for run in (small, large))
    assert rendered is not None
    assert reduced is not None
    assert rendered.shape == reduced.shape == (72, 128, 3)
    difference = np.abs(rendered.astype(int) - reduced)
    assert 0.0 < difference.mean() < 6.0
    assert small.robot.frames_digest.digest() != large.robot.frames_digest.digest()
    small.close()
    large.close()


def test_noise_of_the_script_reaches_the_policy() -> None:
    run = ScenarioRun(job(MODE, GOAL, Event(0.0, "camera_noise", 30.0)))
    run.step()
    noisy = run._frame(run.robot.newest_sequence, Picture(64, 36))
    run.noise = 0.0
    plain = run._frame(run.robot.newest_sequence, Picture(64, 36))
    run.close()
    assert noisy is not None
    assert plain is not None
    assert 10.0 < np.std(noisy.astype(float) - plain) < 35.0


def test_a_contact_sheet_is_a_picture_of_the_run() -> None:
    import cv2

    pictures = [(float(index), np.full((180, 320, 3), 10 * index, np.uint8)) for index in range(20)]
    sheet = cv2.imdecode(np.frombuffer(contact_sheet(pictures), np.uint8), cv2.IMREAD_COLOR)
    assert sheet is not None
    assert sheet.shape == (540, 1280, 3)
    assert abs(int(sheet[120, 160, 0]) - 0) < 8
    assert abs(int(sheet[-60, -100, 0]) - 190) < 8
    assert contact_sheet([]) == b""

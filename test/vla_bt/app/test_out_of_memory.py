"""The policy's process runs out of memory while the application drives at real speed: it stops, comes back, or stays manual."""

from __future__ import annotations

import subprocess
import sys
import time
from argparse import Namespace
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from vla_bt import settings
from vla_bt.app.confined import LockstepApp
from vla_bt.app.lockstep import LockstepRobot
from vla_bt.episodes.format import load
from vla_bt.episodes.recorder import RecorderStatus
from vla_bt.policy.port import Grade
from vla_bt.words import ZERO, Mode, Twist

pytestmark = [pytest.mark.sim, pytest.mark.slow, pytest.mark.timeout(180)]

TOOL = Path(__file__).parents[2] / "tools" / "failing_worker.py"
STOP_S = 0.3


def quick(kind: type[Any], name: str) -> Any:
    """Return the shipped settings, with three episode frames a second."""
    made = kind()
    return replace(made, frame_period_s=0.3) if name == "tree" else made


class Driven:
    """The application in lockstep, its worker replaced by one that fails so many times."""

    def __init__(self, folder: Path, runtime: Path, kind: str, count: int, monkeypatch: pytest.MonkeyPatch) -> None:
        real: Any = subprocess.Popen

        def start(command: list[str], **options: Any) -> Any:
            if "vla_bt.policy.worker" in command:
                rest = command[command.index("vla_bt.policy.worker") + 1 :]
                command = [sys.executable, str(TOOL), kind, str(count), str(folder / "starts"), *rest]
            return real(command, **options)

        monkeypatch.setattr(subprocess, "Popen", start)
        publish = LockstepRobot.publish_mode
        self.lines: list[str] = []

        def note(robot: LockstepRobot, mode: Mode, text: str) -> None:
            self.lines.append(f"{mode.value}: {text}")
            publish(robot, mode, text)

        monkeypatch.setattr(LockstepRobot, "publish_mode", note)
        monkeypatch.setattr(settings, "load", quick)
        options = Namespace(guard="on", hold_s=20.0, policy="expert")
        self.app = LockstepApp(options, folder, runtime)
        self.robot = self.app._run.robot
        self.client: Any = self.app._run.client

    def until(self, condition: Callable[[], Any], seconds: float, what: str) -> None:
        end_s = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < end_s, f"no {what} within {seconds:g} s: {self.app.row()}"
            self.app.step()

    def drives(self) -> bool:
        return self.applied.linear_x > 0.1

    @property
    def applied(self) -> Twist:
        return self.robot.gate.state.applied

    @property
    def recorder(self) -> RecorderStatus:
        return self.app._recorder.status()

    def stops_after(self, ends: int) -> None:
        """Wait for the so manieth end of the worker; the robot must stand soon after."""
        self.until(lambda: self.client.status().out_of_memory == ends, 30.0, f"end number {ends}")
        began_s = self.robot.now()
        self.until(lambda: self.applied == ZERO, 5.0, "stop")
        assert self.robot.now() - began_s <= STOP_S + 1e-9


@pytest.fixture
def make(tmp_path: Path, runtime_directory: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str, int], Driven]]:
    made: list[Driven] = []

    def start(kind: str, count: int) -> Driven:
        made.append(Driven(tmp_path, runtime_directory, kind, count, monkeypatch))
        return made[-1]

    yield start
    for driven in made:
        driven.app.close()


@pytest.fixture
def runtime_directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("run")


def test_three_times_in_a_row_and_it_stays_manual_until_somebody_releases_it(make: Callable[..., Driven], tmp_path: Path) -> None:
    driven = make("python", 3)
    for ends, grade in ((1, Grade.INT8), (2, Grade.LAYERS)):
        driven.until(driven.drives, 60.0, "driving")
        driven.stops_after(ends)
        assert driven.client.status().grade is grade
        assert "the policy is not running" in driven.app._run.loop.words
    driven.until(lambda: driven.client.status().gave_up, 60.0, "giving up")
    status = driven.client.status()
    assert status.detail.startswith("3 times in a row: out of memory")
    driven.until(lambda: f"manual: {status.detail}" in driven.lines, 1.0, "mode manual")
    assert "vla-bt memory release" in status.detail
    assert driven.app.row()["memory"]["manual_only"] == status.detail

    driven.robot.set_mode("vla")
    driven.until(lambda: f"manual: mode stays manual: {status.detail}" in driven.lines, 1.0, "refusal")
    for _ in range(40):
        driven.app.step()
        assert driven.applied == ZERO
    assert (tmp_path / "starts").read_text() == "3"

    def driven_by_hand() -> bool:
        driven.robot.press_teleop(Twist(-0.2, 0.0, 0.0))
        return driven.applied.linear_x < -0.1

    driven.until(driven_by_hand, 3.0, "teleop")

    driven.app._run.memory.ask_release()
    driven.until(lambda: driven.client.status().state == "ready", 30.0, "one more try")
    driven.robot.set_mode("vla")
    driven.robot.give_goal("go to the cup")
    driven.until(driven.drives, 10.0, "driving again")
    assert driven.app._judge.stale == 0


@pytest.mark.parametrize(
    ("kind", "ends", "words"),
    [("torch", 1, "CUDA out of memory"), ("kernel", 0, "killed by signal 9")],
)
def test_autonomy_stops_the_worker_comes_back_and_the_episode_is_whole(
    make: Callable[..., Driven], tmp_path: Path, kind: str, ends: int, words: str
) -> None:
    driven = make(kind, 1)
    said: list[str] = []

    def named() -> bool:
        status = driven.client.status()
        said.append(status.detail)
        return status.state == "dead"

    driven.until(lambda: driven.drives() and driven.recorder.frames, 60.0, "driving")
    driven.until(named, 30.0, "end")
    began_s, frames = driven.robot.now(), driven.recorder.frames
    assert words in said[-1]
    assert driven.recorder.state == "recording"
    driven.until(lambda: driven.applied == ZERO, 5.0, "stop")
    assert driven.robot.now() - began_s <= STOP_S + 1e-9
    driven.until(driven.drives, 30.0, "driving again")
    status = driven.client.status()
    assert (status.out_of_memory, status.restarts) == (ends, 1)
    assert status.grade is (Grade.INT8 if ends else Grade.FULL)
    assert driven.app._judge.stale == 0
    driven.until(lambda: driven.recorder.frames >= frames + 3 or driven.recorder.episodes, 30.0, "more frames")
    assert driven.recorder.dropped == 0
    assert driven.recorder.state == "recording"
    driven.app.close()
    (first, *_) = sorted(tmp_path.glob("*.h5"))
    assert load(first).frames >= frames + 3, "before and after in one episode"
    assert not list(tmp_path.glob("*.journal"))

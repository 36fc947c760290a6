"""The hog of the stress run waits while a step of the ladder is being taken, and not for ever."""

from __future__ import annotations

import signal
from pathlib import Path
from types import SimpleNamespace

import pytest

from vla_bt.app import memory_stress
from vla_bt.app.memory_stress import PAUSE_LIMIT_S, Case, Stress


class Hog:
    """Notes the signals it gets."""

    def __init__(self) -> None:
        self.got: list[int] = []

    def poll(self) -> int | None:
        return None

    def send_signal(self, number: int) -> None:
        self.got.append(number)


class World:
    """A stress run whose application says what a test lets it say."""

    def __init__(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, guard: str = "on") -> None:
        self.now_s = 100.0
        monkeypatch.setattr(memory_stress, "time", SimpleNamespace(monotonic=lambda: self.now_s))
        self.stress = Stress(Case("lockstep", guard, 3 << 30, "stress@full", 5.0, 60.0, 1.5, tmp_path), print)
        self.hog = Hog()
        self.stress._hog = self.hog  # type: ignore[assignment]

    def say(self, step: str, grade: str, state: str = "ready", passed_s: float = 0.25) -> list[int]:
        """Look once; returns the signals that the hog has got since."""
        self.now_s += passed_s
        self.hog.got.clear()
        self.stress._lines.newest = {"memory": {"step": step}, "policy": {"state": state, "grade": grade}}
        assert not self.stress._hog_is_full()
        return list(self.hog.got)


def test_it_is_stopped_until_the_policy_is_what_the_level_calls_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(tmp_path, monkeypatch)
    assert world.say("fine", "full") == []
    assert world.say("shorten", "full") == []
    assert world.say("int8", "full") == [signal.SIGSTOP]
    assert world.say("int8", "int8", "starting") == []
    assert world.say("int8", "int8") == [signal.SIGCONT]
    assert world.say("layers", "int8") == [signal.SIGSTOP]
    assert world.say("layers", "layers") == [signal.SIGCONT]
    assert world.say("unload", "layers") == [signal.SIGSTOP]
    assert world.say("unload", "unloaded", "dead") == [signal.SIGCONT]


def test_a_step_that_never_ends_is_not_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(tmp_path, monkeypatch)
    assert world.say("int8", "full") == [signal.SIGSTOP]
    assert world.say("int8", "full", passed_s=PAUSE_LIMIT_S - 1.0) == []
    assert world.say("int8", "full", passed_s=2.0) == [signal.SIGCONT]
    assert world.say("int8", "full", passed_s=30.0) == []
    assert world.say("int8", "int8") == []
    assert world.say("unload", "int8") == [signal.SIGSTOP]


def test_without_the_guard_nobody_waits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert World(tmp_path, monkeypatch, "off").say("int8", "full", "dead") == []

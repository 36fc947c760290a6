"""A quick run of the guard under a real limit, a light policy beside a hasty hog; ``vla-bt memory stress`` is the whole proof."""

from __future__ import annotations

import os
from pathlib import Path

import psutil
import pytest

from vla_bt.app import memory_stress
from vla_bt.app.memory_stress import Case, Stress, check_limit, draw
from vla_bt.memory.cgroup import Group
from vla_bt.settings import SettingsError, TreeSettings

pytestmark = [pytest.mark.sim, pytest.mark.slow, pytest.mark.timeout(240)]

LIMIT = 3 << 30


@pytest.fixture(autouse=True)
def room() -> None:
    if psutil.virtual_memory().available < LIMIT + (2 << 30):
        pytest.skip("less than 5 GB available")
    try:
        check_limit(LIMIT, ("lockstep",), "expert", TreeSettings())
        Group(f"vla_bt-probe-{os.getpid()}", LIMIT).close()
    except SettingsError as error:
        pytest.skip(str(error))


def test_the_ladder_climbs_nothing_is_killed_and_all_recovers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory_stress, "BEFORE_S", 2.0)
    monkeypatch.setattr(memory_stress, "FULL_S", 4.0)
    said: list[str] = []
    outcome = Stress(Case("lockstep", "on", LIMIT, "expert", 0.5, 250.0, 0.7, tmp_path), said.append).run()
    # The rate is a busy machine's; and nobody is moved here: the expert in a worker does not see this world's truth.
    held = {words: ok for words, ok in outcome["checks"].items() if not words.startswith(("tick rate", "never moved"))}
    assert all(held.values()), (held, outcome["figures"], said)
    assert outcome["figures"]["stale_moves"] == 0
    assert outcome["figures"]["tick_rate_hz"] > 5.0
    assert any("unloaded the policy: freed " in line for line in said)
    draw([outcome], tmp_path / "stress.png")
    assert (tmp_path / "stress.png").read_bytes().startswith(b"\x89PNG")

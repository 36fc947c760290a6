"""Each row of the tree's diagnostics says how its part is doing, at the level a monitor shows; figures name their unit."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from vla_bt import diagnosis
from vla_bt.control.causes import FREE, Verdict, load_causes
from vla_bt.diagnosis import ERROR, OK, STALE, WARN, Row, Times
from vla_bt.episodes.recorder import RecorderStatus
from vla_bt.goals.ledger import GoalLedger
from vla_bt.policy.port import PolicyInfo, PolicyStatus
from vla_bt.port import FrameInfo, GateStatus
from vla_bt.runlog.log import LogStatus
from vla_bt.settings import TreeSettings
from vla_bt.words import Mode, Source, Twist

SETTINGS = TreeSettings()
FRAME = FrameInfo(40, 9.9, 9.9, 1280, 720, 7)
GATE = GateStatus(False, "", Twist(0.2, 0.0, 0.1), Source.POLICY, 9.98, words="policy")
READY = PolicyStatus("ready", "", PolicyInfo("small", "trained", 224, 224, "0123456789abcdef"), 40, 39, 0, 0.012)
TABLE = load_causes()


def verdict(*names: str, mode: Mode = Mode.VLA) -> Verdict:
    return TABLE.decide(dict.fromkeys(names, "why"), mode)


def camera(frame: FrameInfo | None, *names: str, now_s: float = 10.0, needed: bool = True) -> Row:
    return diagnosis.camera_row(frame, verdict(*names), "no ring file", now_s, 15.0, needed)


def policy(now_s: float = 10.0, **changes: Any) -> Row:
    return diagnosis.policy_row(replace(READY, **changes), now_s, SETTINGS)


def gate(now_s: float = 10.0, **changes: Any) -> Row:
    return diagnosis.gate_row(replace(GATE, **changes), now_s, SETTINGS)


ROWS = [
    (diagnosis.tick_row(Times([0.001] * 9, [0.0] * 9, 4), 0, "idle", SETTINGS), OK, "idle"),
    (diagnosis.tick_row(Times([0.001] * 9, [0.0] * 8 + [0.4], 5), 1, "idle", SETTINGS), WARN, "1 deadlines missed"),
    (diagnosis.tick_row(Times([0.3] * 9, [0.2] * 9, 50), 9, "idle", SETTINGS), ERROR, "9 deadlines missed"),
    (diagnosis.safety_row(None), STALE, "no tick yet"),
    (diagnosis.safety_row(FREE), OK, "nothing holds the robot"),
    (diagnosis.safety_row(verdict("camera_stale", "obstacle")), WARN, "the camera is silent (why); an obstacle is near (why)"),
    (diagnosis.safety_row(verdict("estop")), ERROR, "emergency stop"),
    (diagnosis.safety_row(verdict("camera_stamp_odd")), OK, "nothing holds the robot"),
    (camera(None), STALE, "no ring file"),
    (camera(None, needed=False), OK, "has none"),
    (camera(FRAME), OK, "15.0 frames a second"),
    (camera(FRAME, "camera_stale"), ERROR, "stale: why"),
    (camera(FRAME, "camera_frozen"), ERROR, "frozen: why"),
    (camera(FRAME, "camera_stamp_odd"), WARN, "stamp odd: why"),
    (camera(FRAME, "camera_stale", now_s=20.0), STALE, "last frame 10.1 s ago"),
    (policy(), OK, "ready"),
    (policy(state="starting", detail="loading"), WARN, "starting: loading"),
    (policy(state="dead", detail="killed by signal 9"), ERROR, "killed by signal 9"),
    (policy(awaited_since_s=9.0), ERROR, "no answer for 1.00 s"),
    (policy(awaited_since_s=9.95), OK, "ready"),
    (diagnosis.gate_row(None, 10.0, SETTINGS), STALE, "never heard"),
    (gate(), OK, "policy"),
    (gate(latched=True, words="emergency stop, waiting for a reset"), WARN, "waiting for a reset"),
    (gate(fault="request refused"), ERROR, "request refused"),
    (gate(now_s=10.5), ERROR, "silent for 0.52 s"),
    (gate(now_s=17.0), STALE, "silent for 7.0 s"),
    (diagnosis.goal_row(None, 10.0), OK, "no goal was told yet"),
    (diagnosis.recorder_row(RecorderStatus("idle")), OK, "idle"),
    (diagnosis.recorder_row(RecorderStatus("recording", dropped=3)), WARN, "3 dropped"),
    (diagnosis.recorder_row(RecorderStatus("failed", error="No space left on device")), ERROR, "No space left"),
    (diagnosis.log_row(LogStatus("off")), OK, "off"),
    (diagnosis.log_row(LogStatus("writing", Path("/x/run1"), 2_500_000)), OK, "writing run1, 2.5 MB"),
    (diagnosis.log_row(LogStatus("writing", Path("/x/run1"), dropped=4)), WARN, "4 ticks lost"),
    (diagnosis.log_row(LogStatus("stopped", error="No space left on device")), ERROR, "the run log stopped: No space left"),
]


@pytest.mark.parametrize(("row", "level", "words"), ROWS, ids=[f"{row.what}: {words}" for row, _, words in ROWS])
def test_each_row_has_the_level_and_words_of_its_state(row: Row, level: int, words: str) -> None:
    assert row.level == level
    assert words in row.message


def test_figures_name_their_unit_and_are_plain_numbers() -> None:
    rows = {row.what: row.values for row, _, _ in ROWS if row.values}
    assert rows["tick"]["p99_ms"] == pytest.approx(300.0)
    assert camera(FRAME).values["age_ms"] == pytest.approx(100.0)
    assert gate().values["linear_x_m_s"] == 0.2
    assert policy().values["latency_ms"] == pytest.approx(12.0)
    for values in rows.values():
        for name, value in values.items():
            assert re.fullmatch(r"[a-z0-9_]+", name), name
            if isinstance(value, float):
                assert re.search(r"_(ms|s|hz|px|mb|m_s|rad_s)$", name), name


def test_a_goals_row_follows_the_ledger() -> None:
    ledger = GoalLedger(120.0)
    ledger.submit("go to the cup", 1.0)
    ledger.activate(1.0)
    row = diagnosis.goal_row(ledger.latest, 5.0)
    assert (row.level, row.message) == (OK, "active: go to the cup")
    assert row.values["age_s"] == pytest.approx(4.0)
    assert row.values["step"] == "1 of 1"
    ledger.fail(6.0, "the way is blocked")
    row = diagnosis.goal_row(ledger.latest, 9.0)
    assert (row.level, row.message) == (WARN, "failed: go to the cup (the way is blocked)")
    assert row.values["age_s"] == pytest.approx(5.0)

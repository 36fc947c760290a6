"""One request from the tick's proposals, whatever they are."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vla_bt.control.causes import Verdict
from vla_bt.control.compose import Composer
from vla_bt.control.obstacles import NOTHING, Blocked
from vla_bt.proposal import Proposal
from vla_bt.settings import TreeSettings
from vla_bt.words import ZERO, Mode, Source, Twist

SETTINGS = TreeSettings(handover_s=0.4)
AHEAD = Blocked(np.array([0.0]), np.array([math.pi / 2]), scan_words="0.05 m ahead")
HELD = Verdict(direction=("an obstacle is near",))


def proposal(x: float, source: Source = Source.POLICY, y: float = 0.0) -> Proposal:
    return Proposal(Twist(x, y, 0.0), source, "test", goal_id=3, frame_sequence=9)


def test_the_one_proposal_becomes_the_request() -> None:
    request, words = Composer(SETTINGS).compose([proposal(0.3)], Mode.VLA, Verdict(), NOTHING, 1.0, 7)
    assert request.twist == Twist(0.3, 0.0, 0.0)
    assert (request.source, request.goal_id, request.frame_sequence, request.tick) == (Source.POLICY, 3, 9, 7)
    assert request.valid_for_s == SETTINGS.request_valid_for_s
    assert words == "test"


@pytest.mark.parametrize("count", [0, 2, 3])
def test_any_other_number_of_proposals_stops_at_once(count: int) -> None:
    request, words = Composer(SETTINGS).compose([proposal(0.3)] * count, Mode.VLA, Verdict(), NOTHING, 1.0, 7)
    assert request.twist == ZERO
    assert request.source is Source.SAFETY
    assert f"{count} proposals" in words


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_a_proposal_that_is_not_finite_stops_at_once(bad: float) -> None:
    request, words = Composer(SETTINGS).compose([proposal(bad)], Mode.VLA, Verdict(), NOTHING, 1.0, 7)
    assert (request.twist, request.source) == (ZERO, Source.SAFETY)
    assert "not finite" in words


def test_a_blocked_direction_is_taken_away_and_backing_away_is_not() -> None:
    composer = Composer(SETTINGS)
    ahead, words = composer.compose([proposal(0.3)], Mode.VLA, HELD, AHEAD, 1.0, 1)
    back, _ = composer.compose([proposal(-0.3)], Mode.VLA, HELD, AHEAD, 1.05, 2)
    assert ahead.twist.linear_x == pytest.approx(0.0, abs=1e-9)
    assert words != "test"
    assert back.twist == Twist(-0.3, 0.0, 0.0)


def test_without_a_direction_cause_the_table_has_the_last_word() -> None:
    request, _ = Composer(SETTINGS).compose([proposal(0.3)], Mode.VLA, Verdict(), AHEAD, 1.0, 1)
    assert request.twist == Twist(0.3, 0.0, 0.0)


def test_hybrid_passes_control_gradually_and_back() -> None:
    composer = Composer(SETTINGS)
    speeds = []
    for tick in range(60):
        source, x = (Source.TAKEOVER, -0.4) if 20 <= tick < 40 else (Source.POLICY, 0.4)
        request, _ = composer.compose([proposal(x, source)], Mode.HYBRID, Verdict(), NOTHING, tick * 0.05, tick)
        speeds.append(request.twist.linear_x)
    steps = np.abs(np.diff(speeds))
    assert speeds[19] == pytest.approx(0.4)
    assert speeds[39] == pytest.approx(-0.4)
    assert speeds[59] == pytest.approx(0.4)
    # 0.8 m/s over 0.4 s in ticks of 0.05 s: at most 0.1 m/s a tick
    assert steps.max() <= 0.1 + 1e-9


def test_a_protective_stop_in_hybrid_is_not_smoothed() -> None:
    composer = Composer(SETTINGS)
    composer.compose([proposal(0.4)], Mode.HYBRID, Verdict(), NOTHING, 1.0, 1)
    composer.compose([proposal(0.4)], Mode.HYBRID, Verdict(), NOTHING, 2.0, 2)
    request, _ = composer.compose([proposal(0.0, Source.SAFETY)], Mode.HYBRID, Verdict(), NOTHING, 2.05, 3)
    assert request.twist == ZERO


@given(
    st.lists(st.tuples(st.floats(-1, 1), st.floats(-1, 1), st.sampled_from(list(Source))), min_size=1, max_size=3),
    st.sampled_from(list(Mode)),
    st.booleans(),
)
def test_never_faster_than_the_fastest_proposal(rows: list[tuple[float, float, Source]], mode: Mode, held: bool) -> None:
    composer = Composer(SETTINGS)
    fastest = 0.0
    for tick, (x, y, source) in enumerate(rows):
        fastest = max(fastest, math.hypot(x, y))
        request, _ = composer.compose([proposal(x, source, y)], mode, HELD if held else Verdict(), AHEAD, tick * 0.05, tick)
        assert request.twist.speed <= fastest + 1e-9

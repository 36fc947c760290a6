"""Records between tree and worker: what goes in comes out, and nothing else gets in."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vla_bt.policy import records
from vla_bt.policy.port import PolicyInfo, PolicyStep
from vla_bt.policy.records import Heartbeat, StepRequest, StepResult, WorkerError, WorkerInfo
from vla_bt.policy.step import NetworkStep
from vla_bt.wire import WireError
from vla_bt.words import Twist

COUNT = st.integers(0, 2**64 - 1)
NUMBER = st.floats(allow_nan=False, allow_infinity=False)
TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=100)
UNPACK = [
    records.unpack_goal,
    records.unpack_step,
    records.unpack_result,
    records.unpack_info,
    records.unpack_heartbeat,
    records.unpack_error,
]


@given(COUNT, TEXT)
def test_goal(goal_id: int, goal: str) -> None:
    assert records.unpack_goal(records.pack_goal(goal_id, goal)) == (goal_id, goal)


@given(COUNT, COUNT, NUMBER, st.tuples(NUMBER, NUMBER, NUMBER))
def test_step(goal_id: int, sequence: int, time_s: float, twist: tuple[float, float, float]) -> None:
    request = StepRequest(goal_id, sequence, time_s, Twist(*twist))
    assert records.unpack_step(records.pack_step(request)) == request


@given(
    st.lists(st.tuples(*[st.floats(width=32)] * 3), min_size=1, max_size=16),
    st.floats(width=32),
    st.booleans(),
    st.booleans(),
)
def test_result_with_any_numbers(rows: list[tuple[float, ...]], stop: float, hit: bool, clamped: bool) -> None:
    step = PolicyStep(np.array(rows, np.float32), 0.2, stop, 0.01, hit, clamped)
    back = records.unpack_result(records.pack_result(StepResult(7, 1, 2, 3.5, step)))
    np.testing.assert_array_equal(back.step.actions, step.actions)
    assert back.step.stop_probability == stop or math.isnan(stop)
    assert (back.step.finite, back.step.text_cache_hit, back.step.clamped) == (step.finite, hit, clamped)
    assert (back.pid, back.goal_id, back.frame_sequence, back.frame_time_s) == (7, 1, 2, 3.5)


def test_what_was_wanted_before_the_limit_travels_too() -> None:
    limited, wanted = np.full((2, 3), 0.5, np.float32), np.arange(6, dtype=np.float32).reshape(2, 3)
    step = NetworkStep(limited, 0.2, 0.0, clamped=True, raw_actions=wanted)
    back = records.unpack_result(records.pack_result(StepResult(7, 1, 2, 3.5, step))).step
    assert isinstance(back, NetworkStep)
    np.testing.assert_array_equal(back.actions, limited)
    np.testing.assert_array_equal(back.raw_actions, wanted)


def test_a_non_finite_result_must_say_so() -> None:
    step = PolicyStep(np.full((1, 3), np.nan, np.float32), 0.2, 0.0)
    data = bytearray(records.pack_result(StepResult(7, 1, 2, 3.5, step)))
    flags = len(data) - 4 * 7 - 2
    assert data[flags] == 4
    data[flags] = 0
    with pytest.raises(WireError, match="disagree"):
        records.unpack_result(bytes(data))


@given(TEXT, TEXT, st.booleans(), st.booleans())
def test_info_and_error(name: str, label: str, flag: bool, other: bool) -> None:
    worker = WorkerInfo(7, PolicyInfo(name, label, 128, 72, "ab" * 32, flag, 50.5), 0.25)
    assert records.unpack_info(records.pack_info(worker)) == worker
    error = WorkerError(7, 1, 2, label, flag, other)
    assert records.unpack_error(records.pack_error(error)) == error
    beat = Heartbeat(7, flag, 12, 3)
    assert records.unpack_heartbeat(records.pack_heartbeat(beat)) == beat


@given(
    st.sampled_from(UNPACK), st.one_of(st.binary(max_size=200), st.binary(max_size=200).map(lambda tail: b"VBPR\x01\x00" + tail))
)
def test_noise_is_refused_as_a_wire_error_or_understood(unpack: object, data: bytes) -> None:
    try:
        unpack(data)  # type: ignore[operator]
    except WireError:
        return
    assert data[:4] in (records.GOAL, records.STEP, records.RESULT, records.INFO, records.HEARTBEAT, records.ERROR)


def test_a_goal_has_an_end() -> None:
    with pytest.raises(WireError, match="at most 2048"):
        records.pack_goal(1, "컵" * 1000)

"""The inline client of lockstep: a stated latency, kept to the nanosecond, and the same run every time."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from vla_bt.camera.lens import Picture
from vla_bt.policy.config import load_preset
from vla_bt.policy.factory import make_policy
from vla_bt.policy.inline import InlineClient
from vla_bt.policy.runtime import NetworkPolicy
from vla_bt.words import ZERO, Twist


class World:
    """A clock to set, and frames made from their number."""

    def __init__(self) -> None:
        self.now_s = 100.0

    def now(self) -> float:
        return self.now_s

    def frame(self, sequence: int, picture: Picture) -> NDArray[np.uint8] | None:
        if sequence == 13:
            return None
        return np.random.default_rng(sequence).integers(0, 256, (picture.height, picture.width, 3), dtype=np.uint8)


def client(world: World, latency_s: float = 0.15) -> InlineClient:
    policy = NetworkPolicy.untrained(load_preset("small-cnn", "tiny"))
    return InlineClient(policy, world.frame, world.now, latency_s)


def test_an_output_comes_when_its_latency_is_over() -> None:
    world = World()
    inline = client(world)
    assert not inline.hand_frame(1, 100.0, ZERO), "no goal yet"
    inline.set_goal(5, "go to the cup")
    assert inline.hand_frame(1, 100.0, ZERO)
    assert not inline.hand_frame(2, 100.0, ZERO), "one step at a time"
    assert inline.status().awaited_since_s == pytest.approx(100.0)
    world.now_s = 100.149
    assert inline.poll() is None
    world.now_s = 100.15
    output = inline.poll()
    assert output is not None
    assert (output.goal_id, output.frame_sequence, output.received_s) == (5, 1, 100.15)
    assert output.step.latency_s == 0.15
    assert inline.poll() is None
    status = inline.status()
    assert (status.state, status.frames_handed, status.steps_taken, status.last_latency_s) == ("ready", 1, 1, 0.15)
    assert status.awaited_since_s is None
    assert len(inline.compute_s) == 1


def test_a_new_goal_discards_what_was_under_way() -> None:
    world = World()
    inline = client(world)
    inline.set_goal(5, "go to the cup")
    assert inline.hand_frame(1, 100.0, ZERO)
    inline.set_goal(6, "turn left")
    world.now_s += 1.0
    assert inline.poll() is None
    assert inline.hand_frame(2, 101.0, ZERO)


def test_only_the_newest_of_two_outputs_is_handed_out() -> None:
    world = World()
    inline = client(world)
    inline.set_goal(5, "go to the cup")
    for sequence in (1, 2):
        assert inline.hand_frame(sequence, world.now_s, ZERO)
        world.now_s += 0.2
    output = inline.poll()
    assert output is not None
    assert output.frame_sequence == 2


def test_a_frame_that_is_gone_or_a_velocity_that_is_no_number_takes_no_step() -> None:
    world = World()
    inline = client(world)
    inline.set_goal(5, "go to the cup")
    assert not inline.hand_frame(13, 100.0, ZERO)
    assert inline.status().detail == "frame 13 is gone"
    assert not inline.hand_frame(1, 100.0, Twist(float("inf")))
    assert inline.status().frames_handed == 0


def test_two_runs_are_the_same_bit_for_bit() -> None:
    runs = []
    for _ in range(2):
        world = World()
        inline = client(world)
        inline.set_goal(5, "go around the box on the right to the cup")
        taken = []
        for sequence in range(1, 13):
            inline.hand_frame(sequence, world.now_s, Twist(0.01 * sequence))
            world.now_s += 0.2
            output = inline.poll()
            assert output is not None
            taken.append((output.frame_sequence, output.received_s, output.step.actions.tobytes(), output.step.latency_s))
        runs.append(taken)
    assert runs[0] == runs[1]


def test_the_expert_needs_no_frame() -> None:
    world = World()
    inline = InlineClient(make_policy("expert", lambda: None), lambda *_: None, world.now)
    inline.set_goal(5, "go to the cup")
    assert inline.hand_frame(1, 100.0, ZERO)
    assert inline.poll() is not None


def test_an_absurd_latency_is_refused() -> None:
    with pytest.raises(ValueError, match="expected 0 to 10 s"):
        client(World(), float("nan"))

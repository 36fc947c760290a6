"""A network as it drives: deterministic, its memory carried and reset as told, its cache never stale, its numbers honest."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from vla_bt.policy.config import load_preset
from vla_bt.policy.factory import make_policy
from vla_bt.policy.names import policy_names
from vla_bt.policy.runtime import NetworkPolicy
from vla_bt.policy.saved import load_policy, save_policy
from vla_bt.settings import SettingsError
from vla_bt.words import ZERO

GOAL = "go to the cup"
FRAMES = list(np.random.default_rng(3).integers(0, 256, (8, 180, 320, 3), dtype=np.uint8))


def tiny(name: str = "hybrid", seed: int = 0) -> NetworkPolicy:
    return NetworkPolicy.untrained(load_preset(name, "tiny"), seed)


def drive(policy: NetworkPolicy, frames: list[NDArray[np.uint8]], start_s: float = 0.0) -> NDArray[np.float32]:
    return np.stack([policy.step(frame, start_s + 0.2 * index, ZERO).actions for index, frame in enumerate(frames)])


def test_the_name_hybrid_is_a_small_untrained_instance_of_the_real_network() -> None:
    policy = make_policy("hybrid")
    assert isinstance(policy, NetworkPolicy)
    encoders = policy.network.encoders
    assert (type(encoders.kosmos).__name__, type(encoders.clip).__name__) == ("Kosmos2Model", "CLIPModel")
    assert policy.network.memory.cell is not None
    assert policy.network.memory.cell.num_layers == 4
    assert (policy.info.name, policy.info.label, policy.info.weights_hash) == ("hybrid@tiny", "untrained", "")


def test_same_seed_same_actions_other_seed_others() -> None:
    runs = []
    for seed in (4, 4, 5):
        policy = tiny(seed=seed)
        policy.reset(GOAL)
        runs.append(drive(policy, FRAMES))
    np.testing.assert_array_equal(runs[0], runs[1])
    assert not np.array_equal(runs[0], runs[2])


def test_building_a_policy_leaves_the_callers_random_numbers_alone() -> None:
    torch.manual_seed(9)
    expected = torch.rand(3)
    torch.manual_seed(9)
    tiny()
    torch.testing.assert_close(torch.rand(3), expected)


@pytest.mark.parametrize("kind", ["lstm", "gru", "rnn"])
def test_memory_is_carried_and_can_be_put_back(kind: str) -> None:
    from dataclasses import replace

    config = load_preset("small-cnn", "tiny")
    policy = NetworkPolicy.untrained(replace(config, temporal=replace(config.temporal, kind=kind, layers=2)))
    policy.reset(GOAL)
    drive(policy, FRAMES[:3])
    memento = policy.snapshot()
    after = drive(policy, FRAMES[3:6], 0.6)
    policy.reset("turn left")
    drive(policy, FRAMES)
    policy.restore(memento)
    np.testing.assert_array_equal(drive(policy, FRAMES[3:6], 0.6), after)
    policy.reset(GOAL)
    assert not np.array_equal(drive(policy, FRAMES[3:6]), after), "a forgetful memory"


@pytest.mark.parametrize(("gap_s", "anew"), [(1.9, False), (2.1, True), (-0.1, True)])
def test_a_gap_in_time_starts_a_new_memory(gap_s: float, anew: bool) -> None:
    policy = tiny()
    assert policy.config.temporal.reset_gap_s == 2.0
    policy.reset(GOAL)
    fresh = policy.step(FRAMES[7], 0.0, ZERO).actions
    policy.reset(GOAL)
    drive(policy, FRAMES[:3])
    later = policy.step(FRAMES[7], 0.4 + gap_s, ZERO).actions
    assert np.array_equal(later, fresh) == anew
    assert policy.state_resets == int(anew)


def test_text_is_encoded_once_a_goal_and_again_when_weights_change() -> None:
    policy = tiny()
    calls = []
    assert policy.network.encoders.clip is not None
    handle = policy.network.encoders.clip.text_model.register_forward_hook(lambda *_: calls.append(1))
    hits = []
    for goal in (GOAL, "turn left", GOAL):
        policy.reset(goal)
        hits.append(policy.step(FRAMES[0], 0.0, ZERO).text_cache_hit)
        assert policy.step(FRAMES[1], 0.2, ZERO).text_cache_hit
    assert (hits, len(calls)) == ([False, False, True], 2)
    with torch.no_grad():
        policy.network.encoders.clip.text_projection.weight.mul_(1.5)
    policy.reset(GOAL)
    assert not policy.step(FRAMES[0], 0.0, ZERO).text_cache_hit
    assert policy.clear_cache() == 3
    handle.remove()


def test_the_cache_of_goals_is_bounded() -> None:
    policy = tiny("small-cnn")
    for number in range(100):
        policy.reset(f"go forward {number} m")
    assert policy.clear_cache() == 64


def test_actions_beyond_the_range_are_cut_and_flagged() -> None:
    policy = tiny()
    with torch.no_grad():
        policy.network.head.action.bias.copy_(torch.tensor([30.0, -30.0]))
    policy.reset(GOAL)
    step = policy.step(FRAMES[0], 0.0, ZERO)
    assert step.clamped
    np.testing.assert_array_equal(step.actions, np.array([[0.5, -0.5, 0.0]], np.float32))
    np.testing.assert_allclose(step.raw_actions, [[15.0, -15.0, 0.0]], atol=1.0)


@pytest.mark.parametrize("value", [float("inf"), float("-inf"), float("nan")])
def test_no_limit_hides_a_number_that_is_none(value: float) -> None:
    policy = tiny()
    with torch.no_grad():
        policy.network.head.action.bias.copy_(torch.tensor([value, 30.0]))
    policy.reset(GOAL)
    step = policy.step(FRAMES[0], 0.0, ZERO)
    assert not step.finite
    np.testing.assert_array_equal(step.actions[0], np.array([value, 0.5, 0.0], np.float32))
    assert policy.state_resets == 1


def test_numbers_that_are_none_are_reported_and_do_not_stay() -> None:
    policy = tiny()
    policy.reset(GOAL)
    expected = drive(policy, FRAMES[:2])
    policy.reset(GOAL)
    bias = policy.network.head.action.bias
    with torch.no_grad():
        before = bias.clone()
        bias[0] = float("nan")
    step = policy.step(FRAMES[0], -1.0, ZERO)
    assert not step.finite
    assert np.isnan(step.actions[0, 0])
    assert not step.clamped
    with torch.no_grad():
        bias.copy_(before)
    np.testing.assert_array_equal(drive(policy, FRAMES[:2]), expected)


def test_a_frame_is_needed_and_a_goal_before_it() -> None:
    policy = tiny("small-cnn")
    with pytest.raises(ValueError, match="before a goal"):
        policy.step(FRAMES[0], 0.0, ZERO)
    policy.reset(GOAL)
    with pytest.raises(ValueError, match="needs a frame"):
        policy.step(None, 0.0, ZERO)
    with pytest.raises(ValueError, match="expected uint8"):
        policy.step(FRAMES[0].astype(np.float32), 0.0, ZERO)


def test_warming_up_leaves_no_trace() -> None:
    policy, fresh = tiny(), tiny()
    assert policy.warm_up() > 0.0
    for each in (policy, fresh):
        each.reset(GOAL)
    np.testing.assert_array_equal(drive(policy, FRAMES), drive(fresh, FRAMES))


def test_names_and_what_they_need() -> None:
    assert {"expert", "hybrid", "small"} <= set(policy_names())
    with pytest.raises(SettingsError, match="simulator truth, and there is none"):
        make_policy("expert")
    assert make_policy("expert", lambda: None).info.label == "simulator truth, not vision"
    with pytest.raises(SettingsError, match="unknown policy 'huge'"):
        make_policy("huge")


def test_a_damaged_folder_is_one_clear_line(tmp_path: Path) -> None:
    folder = tmp_path / "policy"
    with pytest.raises(SettingsError, match="no policy there"):
        make_policy(str(folder))
    save_policy(tiny("small-cnn"), folder)
    whole = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(SettingsError, match="no weights can be read there"):
        load_policy(folder)
    save_policy(tiny("small-cnn"), folder)
    content = json.loads((folder / "config.json").read_text())
    content["policy"]["temporal"]["width"] = 48
    (folder / "config.json").write_text(json.dumps(content))
    with pytest.raises(SettingsError, match=r"does not fit its config\.json") as caught:
        load_policy(folder)
    assert "\n" not in str(caught.value)
    (folder / "config.json").write_text("{")
    with pytest.raises(SettingsError, match="not JSON"):
        load_policy(folder)


def test_saving_never_replaces_a_folder_that_is_something_else(tmp_path: Path) -> None:
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter1.txt").write_text("precious")
    with pytest.raises(SettingsError, match="not a policy's folder"):
        save_policy(tiny("small-cnn"), tmp_path / "thesis")
    assert [path.name for path in tmp_path.iterdir()] == ["thesis"]
    assert (tmp_path / "thesis" / "chapter1.txt").read_text() == "precious"

"""Networks from configurations: every preset steps, streams as it unrolls, and is the same after save and load."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from vla_bt.policy.config import load_preset, preset_names
from vla_bt.policy.encoders import tokenizers_for
from vla_bt.policy.network import PolicyNetwork
from vla_bt.policy.preprocess import motion_of, views_of
from vla_bt.policy.runtime import NetworkPolicy
from vla_bt.policy.saved import load_policy, save_policy
from vla_bt.words import Twist

GOAL = "go around the box on the left to the cup"
TWIST = Twist(0.2, -0.1, 0.3)


def frames(policy: NetworkPolicy, count: int, seed: int = 5) -> list[NDArray[np.uint8]]:
    """Random pictures of the size the policy asks for."""
    shape = (count, policy.info.frame_height, policy.info.frame_width, 3)
    return list(np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8))


def tiny(name: str, seed: int = 0) -> NetworkPolicy:
    """A preset at test size."""
    return NetworkPolicy.untrained(load_preset(name, "tiny"), seed)


@pytest.mark.parametrize("name", preset_names())
def test_streamed_equals_unrolled_equals_saved_and_loaded(name: str, tmp_path: Path) -> None:
    policy = tiny(name)
    pictures = frames(policy, 5)
    policy.reset(GOAL)
    steps = [policy.step(picture, 0.2 * index, TWIST) for index, picture in enumerate(pictures)]
    head = policy.config.head
    assert all(step.finite and step.actions.shape == (head.chunk, 3) for step in steps)
    assert any(not np.array_equal(step.actions, steps[0].actions) for step in steps[1:]), "blind to the picture"

    views = torch.stack([views_of(picture, policy.config) for picture in pictures])[None]
    with torch.no_grad():
        text = policy.network.encoders.text({key: tokens.encode([GOAL]) for key, tokens in policy.tokenizers.items()})
        elapsed = 0.0 if policy.config.temporal.kind == "none" else 0.2
        motion = torch.tensor([[motion_of(TWIST, elapsed if index else 0.0) for index in range(5)]])
        out = policy.network(views, text, motion)
    limits = np.array(head.scale, np.float32)
    unrolled = np.zeros((5, head.chunk, 3), np.float32)
    unrolled[..., : head.action_dim] = out.actions[0].numpy()
    streamed = np.stack([step.actions for step in steps])
    np.testing.assert_allclose(streamed, np.clip(unrolled, -limits, limits), atol=1e-5)
    if out.stop_logit is not None:
        np.testing.assert_allclose([step.stop_probability for step in steps], torch.sigmoid(out.stop_logit[0]), atol=1e-5)
    assert out.fused.shape[:2] == out.memory.shape[:2] == (1, 5)

    save_policy(policy, tmp_path / name, label="weights of a test")
    loaded = load_policy(tmp_path / name)
    assert loaded.config == policy.config
    assert loaded.info.label == "weights of a test"
    assert len(loaded.info.weights_hash) == 64
    loaded.reset(GOAL)
    for index, (picture, step) in enumerate(zip(pictures, steps, strict=True)):
        again = loaded.step(picture, 0.2 * index, TWIST)
        np.testing.assert_array_equal(again.actions, step.actions)
        assert again.stop_probability == step.stop_probability


@pytest.mark.parametrize("name", preset_names())
def test_full_size_networks_have_one_of_each_model(name: str) -> None:
    config = load_preset(name, "full")
    with torch.device("meta"):
        network = PolicyNetwork(config, tokenizers_for(config))
    keys = network.state_dict().keys()
    counts = {part: sum(key.startswith(f"encoders.{part}.") for key in keys) for part in ("kosmos", "clip")}
    if name == "stress":  # made to fill memory, of no document's size
        assert counts["kosmos"] == 0 < counts["clip"] < 398
    elif name.startswith("small"):
        size = sum(parameter.numel() for parameter in network.parameters())
        assert size < 5_000_000
    else:
        assert counts == {"kosmos": 885 * (config.kosmos is not None), "clip": 398 * (config.clip is not None)}


def test_the_full_hybrid_has_the_sizes_of_the_document() -> None:
    config = load_preset("hybrid", "full")
    with torch.device("meta"):
        network = PolicyNetwork(config, tokenizers_for(config))
    assert network.encoders.kosmos is not None
    assert network.encoders.clip is not None
    assert sum(parameter.numel() for parameter in network.encoders.kosmos.parameters()) == 1_664_485_376
    assert sum(parameter.numel() for parameter in network.encoders.clip.parameters()) == 151_277_313
    assert network.fusion.joined_width == 4864
    assert network.memory.cell is not None
    assert network.memory.cell.weight_ih_l0.shape == (4096, 1024)
    assert network.memory.cell.num_layers == 4
    widths = [layer.in_features for layer in network.head.modules() if isinstance(layer, torch.nn.Linear)]
    assert (widths, network.head.action.out_features) == ([1024, 512, 256], 2)


def test_a_padded_batch_of_goals_equals_each_goal_alone() -> None:
    goals = ["stop", GOAL, "turn left then find the cardboard box behind the table"]
    for name in ("multimodal", "small-cnn", "hybrid"):
        policy = tiny(name)
        encoders = policy.network.encoders
        with torch.no_grad():
            batch = encoders.text({key: tokens.encode(goals) for key, tokens in policy.tokenizers.items()})
            for index, goal in enumerate(goals):
                alone = encoders.text({key: tokens.encode([goal]) for key, tokens in policy.tokenizers.items()})
                for feature, value in alone.items():
                    expected = value.values[0] if isinstance(value, tuple) else value[0]
                    found = batch[feature]
                    row = found.values[index, : len(expected)] if isinstance(found, tuple) else found[index]
                    torch.testing.assert_close(row, expected, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("name", ["small", "small-cnn", "multimodal", "hybrid"])
def test_the_goal_and_the_order_of_its_words_count(name: str) -> None:
    policy = tiny(name)
    picture = frames(policy, 1)[0]
    chunks = []
    for goal in ("pass the box on the left", "pass the box on the right", "left the on box the pass"):
        policy.reset(goal)
        chunks.append(policy.step(picture, 0.0, TWIST).actions)
    assert not np.array_equal(chunks[0], chunks[1])
    assert not np.array_equal(chunks[0], chunks[2])


def test_a_spatial_feature_knows_where_things_are() -> None:
    policy = tiny("small-cnn")
    left, right = (np.zeros((72, 128, 3), np.uint8) for _ in range(2))
    left[20:50, 16:48] = 255
    right[20:50, 80:112] = 255
    with torch.no_grad():
        views = torch.stack([views_of(left, policy.config), views_of(right, policy.config)]).float() / 255
        grid = policy.network.encoders.image(views)["cnn"].reshape(2, 9, 16, -1)
    columns = (grid[0] - grid[1]).abs().sum((0, 2))
    changed = set(columns.topk(8).indices.tolist())
    assert changed <= {1, 2, 3, 4, 5, 6, 9, 10, 11, 12, 13, 14}, "what changed is where the two boxes stand"


def test_dropout_is_off_when_driving() -> None:
    policy = tiny("case-3")
    picture = frames(policy, 1)[0]
    policy.reset(GOAL)
    first, second = (policy.step(picture, 0.2 * index, TWIST).actions for index in range(2))
    np.testing.assert_array_equal(first, second)
    policy.network.train()
    assert any(isinstance(layer, torch.nn.Dropout) and layer.p == 0.2 for layer in policy.network.fusion.modules())


def test_a_trained_network_given_more_blocks_still_says_the_same_until_they_learn() -> None:
    config = load_preset("small-cnn", "tiny")
    assert config.cnn is not None
    policies = []
    for blocks in (0, 2):
        policies.append(NetworkPolicy.untrained(replace(config, cnn=replace(config.cnn, blocks=blocks)), 1))
    few, more = (policy.network for policy in policies)
    missing, unexpected = more.load_state_dict(few.state_dict(), strict=False)
    assert len(missing) == 12, missing
    assert not unexpected
    views = torch.stack([views_of(picture, config) for picture in frames(policies[0], 3)]).float() / 255
    with torch.no_grad():
        before = few.encoders.image(views)["cnn"]
        torch.testing.assert_close(more.encoders.image(views)["cnn"], before)
        for name, weight in more.named_parameters():
            if name.endswith("second.weight"):
                weight.normal_(std=0.1)
        assert (more.encoders.image(views)["cnn"] - before).abs().max() > 0.1

from __future__ import annotations

import importlib.resources
import json
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch

from vla_bt.policy.names import DEFAULT, shipped
from vla_bt.policy.runtime import NetworkPolicy
from vla_bt.policy.saved import WEIGHTS, load_policy
from vla_bt.sim.scenes import make_scene
from vla_bt.sim.world import SimWorld
from vla_bt.train.practice import Drive, Practice, practise
from vla_bt.train.sentences import shuffled

pytestmark = pytest.mark.sim

SHIPPED = ("small", "small-cnn")
SENTENCE = "go around the box on the {side} to the cup"
SEEDS = (11, 12, 13)


@cache
def policy(name: str) -> NetworkPolicy:
    torch.set_num_threads(1)
    folder = shipped(name)
    assert folder is not None, f"no weights are shipped for {name}"
    return load_policy(folder)


def drive(name: str, seed: int, sentence: str, limit_s: float = 25.0, side: str = "") -> Drive:
    """Let a shipped policy drive a scene it has never seen, told ``sentence``."""
    scene = make_scene("1box_vert_left", "medium", "center", "core", seed)
    world = SimWorld(scene)
    pilot = policy(name)
    pilot.reset(sentence)
    found = practise(
        world,
        Practice(side, limit_s=limit_s),
        lambda frame, now, twist, label: pilot.step(frame, now, twist),
        pilot.info.picture,
        (scene.cup.x, scene.cup.y),
    )
    world.close()
    return found


def test_together_they_are_small_and_each_has_a_card() -> None:
    folder = Path(str(importlib.resources.files("vla_bt.policy"))) / "weights"
    assert sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) <= 20e6
    for name in SHIPPED:
        card = (folder / name / "card.md").read_text(encoding="utf-8")
        assert "Made by `vla-bt train" in card
        assert "## Limits" in card
        assert json.loads((folder / name / "config.json").read_text(encoding="utf-8"))["policy"]["name"] == name
        assert (folder / name / WEIGHTS).stat().st_size > 1e6
    assert DEFAULT in SHIPPED


@pytest.mark.parametrize("name", SHIPPED)
def test_the_words_tell_the_side(name: str) -> None:
    ok = [drive(name, seed, SENTENCE.format(side=side), side=side).ok for seed in SEEDS for side in ("left", "right")]
    assert sum(ok) >= 5, ok


@pytest.mark.parametrize("name", SHIPPED)
def test_without_words_it_stands(name: str) -> None:
    found = drive(name, SEEDS[0], "", limit_s=12.0)
    assert not found.claimed
    assert found.cup_distance_m > 2.0


def test_words_in_no_order_do_not_lead_the_default_anywhere() -> None:
    rng = np.random.default_rng(3)
    sentences = [shuffled(rng, SENTENCE.format(side=side)) for side in ("left", "right", "left", "right")]
    drives = [drive(DEFAULT, SEEDS[0], sentence, limit_s=12.0) for sentence in sentences]
    assert sum(found.claimed for found in drives) <= 1
    assert sum(found.cup_distance_m > 2.0 for found in drives) >= 3

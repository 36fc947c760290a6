from __future__ import annotations

import numpy as np
import pytest

from vla_bt.goals.parser import parse
from vla_bt.goals.plan import PlaceGoal, Plan
from vla_bt.train.sentences import SPLITS, all_sentences, draw_refusal, draw_sentence, mirrored


@pytest.mark.parametrize("split", SPLITS)
@pytest.mark.parametrize("side", ["left", "right", ""])
@pytest.mark.parametrize("boxes", [1, 2])
def test_the_tree_hands_every_sentence_on_as_it_is_with_the_told_side(split: str, side: str, boxes: int) -> None:
    for sentence in all_sentences(side, boxes, split):
        plan = parse(sentence)
        assert isinstance(plan, Plan), sentence
        assert plan.steps == (PlaceGoal(sentence, "cup", side, plan.steps[0].note),), sentence


def test_splits_share_no_sentence() -> None:
    found = [set(all_sentences("left", 1, split)) | set(all_sentences("", 1, split)) for split in SPLITS]
    assert all(found)
    assert not found[0] & found[1]
    assert not found[0] & found[2]
    assert not found[1] & found[2]


def test_drawn_sentences_come_from_the_seed_and_tell_one_side() -> None:
    drawn = [[draw_sentence(np.random.default_rng(seed), "left", 2) for seed in range(50)] for _ in range(2)]
    assert drawn[0] == drawn[1]
    assert len(set(drawn[0])) > 20
    assert all(("left" in words) or ("on your right" in words) for words in drawn[0])


@pytest.mark.parametrize("side", ["left", "right"])
def test_mirroring_swaps_the_sides_and_undoes_itself(side: str) -> None:
    other = "right" if side == "left" else "left"
    for here, there in zip(all_sentences(side, 1, "train"), all_sentences(other, 1, "train"), strict=True):
        assert mirrored(here) == there
        assert mirrored(there) == here
    assert mirrored("leftover rights") == "leftover rights"


def test_refusals_never_lead_to_the_cup() -> None:
    rng = np.random.default_rng(4)
    drawn = [draw_refusal(rng, 1) for _ in range(200)]
    assert "" in drawn
    assert not any("cup" in words.split() or "mug" in words.split() for words in drawn)

from __future__ import annotations

import re
from itertools import pairwise

import numpy as np
import pytest

from vla_bt.goals.parser import parse
from vla_bt.goals.plan import PlaceGoal, Plan
from vla_bt.train.grammar import WITH_SIDE, compose
from vla_bt.train.sentences import SPLITS, all_sentences, draw_refusal, draw_sentence, mirrored, shuffled, with_a_strange_word


@pytest.mark.parametrize("split", SPLITS)
@pytest.mark.parametrize("side", ["left", "right", ""])
@pytest.mark.parametrize("boxes", [1, 2])
def test_the_tree_hands_every_sentence_on_as_it_is_with_the_told_side(split: str, side: str, boxes: int) -> None:
    for sentence in all_sentences(side, boxes, split):
        plan = parse(sentence)
        assert isinstance(plan, Plan), sentence
        (step,) = plan.steps
        assert isinstance(step, PlaceGoal), sentence
        assert (step.place, step.side) == ("cup", side), sentence
        assert step.text in sentence  # without polite words at its ends


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
    assert all("left" in words or re.search("(on|at|to) (your|the) right", words) for words in drawn[0])


@pytest.mark.parametrize("side", ["left", "right"])
def test_mirroring_swaps_the_sides_and_undoes_itself(side: str) -> None:
    other = "right" if side == "left" else "left"
    for here, there in zip(all_sentences(side, 1, "train"), all_sentences(other, 1, "train"), strict=True):
        assert mirrored(here) == there
        assert mirrored(there) == here
    assert mirrored("leftover rights") == "leftover rights"
    assert mirrored("leftwards, on the left-hand side") == "rightwards, on the right-hand side"


def test_refusals_never_lead_to_the_cup() -> None:
    rng = np.random.default_rng(4)
    drawn = [draw_refusal(rng, 1) for _ in range(400)]
    assert "" in drawn
    for words in drawn:
        ends = r"(to|reach|approach|find) (the|a|that|my) (\w+ )?(cup|mug|glass|tumbler|beaker)$"
        assert not re.match(r"(go|drive|get|head|move) (to|around|past) .*" + ends, words), words


def test_shuffling_leaves_next_to_nothing_of_the_order() -> None:
    rng = np.random.default_rng(5)
    for _ in range(200):
        sentence = draw_sentence(rng, "left", 1)
        words, order = sentence.replace(",", "").split(), shuffled(rng, sentence).split()
        assert sorted(words) == sorted(order)
        kept = set(pairwise(words)) & set(pairwise(order))
        assert len(kept) <= len(words) // 5


def test_composed_sentences_are_understood_and_none_is_a_sentence_kept_apart() -> None:
    rng = np.random.default_rng(6)
    drawn = {draw_sentence(rng, "left", boxes) for boxes in (1, 2) for _ in range(1000)}
    assert len(drawn) > 1500
    understood = 0
    for sentence in drawn:
        plan = parse(sentence)
        if isinstance(plan, Plan):
            understood += [(step.place, step.side) for step in plan.steps if isinstance(step, PlaceGoal)] == [("cup", "left")]
    assert understood >= 0.97 * len(drawn)


def test_what_is_kept_apart_holds_words_side_by_side_that_practice_never_has() -> None:
    rng = np.random.default_rng(8)
    practised = {pair for _ in range(5_000) for pair in pairwise(compose(rng).replace(",", "").replace(";", "").split())}
    for split in ("validation", "test"):
        for template in WITH_SIDE[split]:
            assert set(pairwise(template.replace(",", "").split()[1:])) - practised, template
    assert len(WITH_SIDE["test"]) >= 20


def test_a_strange_word_replaces_only_what_says_how_to_move() -> None:
    rng = np.random.default_rng(7)
    strange = with_a_strange_word(rng, "drive past the box on the left to the cup")
    assert strange.split(" ", 1)[1] == "past the box on the left to the cup"
    assert strange.split(" ", 1)[0] not in ("drive", "")
    for sentence in ("keep the box on your left and go to the cup", "on the left of the box, go to the cup", "", "cup"):
        assert with_a_strange_word(rng, sentence) == sentence

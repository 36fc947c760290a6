from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from vla_bt.train.data import Lesson, Sequence, draw_lessons, windows
from vla_bt.train.settings import TrainSettings


def sequence(length: int = 10, side: str = "left") -> Sequence:
    rng = np.random.default_rng(length)
    return Sequence(
        frames=rng.integers(0, 255, (length, 6, 8, 3), dtype=np.uint8),
        elapsed=np.full(length, 0.1, np.float32),
        twist=rng.normal(size=(length, 3)).astype(np.float32),
        actions=rng.normal(size=(length, 8, 3)).astype(np.float32),
        stop=np.linspace(0, 1, length, dtype=np.float32),
        auxiliary=rng.normal(size=(length, 10)).astype(np.float32),
        known=np.ones((length, 10), np.float32),
        side=side,
        boxes=1,
    )


def test_windows_cover_each_lesson_once_and_mask_what_is_over() -> None:
    lessons = [Lesson(sequence(10), "a", False, False, 0), Lesson(sequence(7), "b", False, False, 2)]
    batches = list(windows(lessons, 4, None))
    assert [batch.first for batch in batches] == [True, False, False]
    assert [int(batch.mask.sum()) for batch in batches] == [8, 5, 2]
    seen = torch.cat([batch.frames[0] for batch in batches])
    assert torch.equal(seen, torch.from_numpy(lessons[0].sequence.frames).float())
    assert torch.equal(batches[0].motion[1, :, :3], torch.from_numpy(lessons[1].sequence.twist[2:6]))


def test_mirroring_turns_picture_velocities_and_places_round() -> None:
    plain = next(windows([Lesson(sequence(), "", False, False, 0)], 10, None))
    turned = next(windows([Lesson(sequence(), "", True, False, 0)], 10, None))
    assert torch.equal(turned.frames, plain.frames.flip(3))
    sign = torch.tensor([1.0, -1.0, -1.0])
    assert torch.equal(turned.motion[..., :3], plain.motion[..., :3] * sign)
    assert torch.equal(turned.actions, plain.actions * sign)
    assert torch.equal(turned.auxiliary, plain.auxiliary * torch.tensor([1.0, -1.0] * 5))
    assert torch.equal(turned.stop, plain.stop)
    assert plain.told == ["left"]
    assert turned.told == ["right"]


def test_a_refused_goal_is_labelled_to_stand_and_claim_nothing() -> None:
    batch = next(windows([Lesson(sequence(), "sing", False, True, 0)], 10, None))
    assert not batch.actions.any()
    assert not batch.stop.any()
    assert batch.told == ["refused"]


def test_pictures_change_alike_along_a_sequence_and_stay_pictures() -> None:
    lessons = [Lesson(replace(sequence(), frames=np.full((10, 6, 8, 3), 120, np.uint8)), "", False, False, 0)] * 6
    batch = next(windows(lessons, 10, np.random.default_rng(1)))
    assert batch.frames.min() >= 0.0
    assert batch.frames.max() <= 255.0
    means = batch.frames.mean((2, 3, 4))
    assert float(means.std(1).max()) < 1.0  # along one sequence
    assert float(means.mean(1).std()) > 5.0  # from one sequence to another


def test_lessons_come_from_the_generator_and_mirror_words_with_sides() -> None:
    settings = TrainSettings(batch=4, refusals=0.0)
    drives = [sequence(length, side) for length, side in zip(range(5, 45), ["left", "right"] * 20, strict=True)]
    drawn = [draw_lessons(drives, settings, np.random.default_rng(3)) for _ in range(2)]
    flat = [[(lesson.sentence, lesson.flip, lesson.start) for group in groups for lesson in group] for groups in drawn]
    assert flat[0] == flat[1]
    lessons = [lesson for group in drawn[0] for lesson in group]
    assert len(lessons) == len(drives)
    for lesson in lessons:
        if "on your" not in lesson.sentence:
            assert lesson.told in lesson.sentence

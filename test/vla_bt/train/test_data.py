from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path
from threading import Event
from typing import Any

import numpy as np
import pytest
import torch

from vla_bt.policy.config import load_preset
from vla_bt.settings import SettingsError
from vla_bt.train.collect import ARRAYS
from vla_bt.train.data import Lesson, Sequence, ahead, draw_lessons, load_sequences, shards_in, turned_hue, windows
from vla_bt.train.learner import Learner
from vla_bt.train.sentences import mirrored
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


def test_one_item_is_made_ahead_in_order_and_an_error_comes_where_it_belongs() -> None:
    made: list[int] = []
    second = Event()

    def items() -> Iterator[int]:
        for number in range(3):
            made.append(number)
            if number == 1:
                second.set()
            yield number
        raise SettingsError("no more")

    taken = []
    supply = ahead(items())
    for number in islice(supply, 3):
        assert second.wait(10.0), "the next is made while this one is in use"
        assert len(made) <= number + 2, "not more than one ahead"
        taken.append(number)
    assert taken == made == [0, 1, 2]
    with pytest.raises(SettingsError, match="no more"):
        next(supply)


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
    never, always = (
        [lesson for group in draw_lessons(drives, replace(settings, mirror=share), np.random.default_rng(3)) for lesson in group]
        for share in (0.0, 1.0)
    )
    for plain, turned in zip(never, always, strict=True):
        assert plain.told == plain.sequence.side != turned.told
        assert turned.sentence == mirrored(plain.sentence) != plain.sentence
    assert {lesson.flip for lesson in lessons} == {False, True}


def write_shard(path: Path, **changes: Any) -> Path:
    drive = sequence()
    told = {"lengths": np.array([6, 4]), "sides": np.array(["left", "right"]), "boxes": np.array([1, 2])}
    arrays = {name: getattr(drive, name) for name in ARRAYS} | told
    np.savez(path, **{name: value for name, value in (arrays | changes).items() if value is not None})
    return path


def test_a_shard_is_read_as_its_drives(tmp_path: Path) -> None:
    one, other = load_sequences([write_shard(tmp_path / "a.npz")])
    assert (len(one), one.side, one.boxes) == (6, "left", 1)
    assert (len(other), other.side, other.boxes) == (4, "right", 2)
    assert np.array_equal(other.frames, sequence().frames[6:])


@pytest.mark.parametrize(
    "changes",
    [
        {"stop": None},
        {"lengths": None},
        {"lengths": np.array([6, 5])},
        {"lengths": np.array([11, -1])},
        {"sides": np.array(["left", "up"])},
        {"boxes": np.array([1, 9])},
        {"boxes": np.array([1])},
        {"frames": np.zeros((10, 6, 8), np.uint8)},
        {"frames": np.zeros((10, 6, 8, 3), np.float32)},
        {"actions": np.zeros((10, 3), np.float32)},
        {"known": np.zeros((9, 10), np.float32)},
        {"twist": np.array([object()] * 10)},
    ],
)
def test_a_shard_that_is_none_of_practice_is_one_line(tmp_path: Path, changes: dict[str, Any]) -> None:
    path = write_shard(tmp_path / "a.npz", **changes)
    with pytest.raises(SettingsError, match=r"a\.npz: not drives that a training run collected: ") as caught:
        load_sequences([path])
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"hello", b"PK\x03\x04 no archive", b"\x93NUMPY" + bytes(50)])
def test_a_file_that_only_is_called_a_shard_is_one_line(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.npz"
    path.write_bytes(content)
    with pytest.raises(SettingsError, match=r"a\.npz: not drives that a training run collected"):
        load_sequences([path])


def test_a_compressed_shard_is_one_line(tmp_path: Path) -> None:
    drive = sequence()
    told = {"lengths": np.array([10]), "sides": np.array(["left"]), "boxes": np.array([1])}
    arrays: dict[str, Any] = {name: getattr(drive, name) for name in ARRAYS} | told
    np.savez_compressed(tmp_path / "a.npz", **arrays)
    with pytest.raises(SettingsError, match="compressed"):
        load_sequences([tmp_path / "a.npz"])


def test_what_was_being_written_is_no_shard(tmp_path: Path) -> None:
    for name in ("00000.npz", "00001.4711.tmp.npz", "00002.4711.tmp", "mine.npz"):
        (tmp_path / name).touch()
    assert [path.name for path in shards_in(tmp_path)] == ["00000.npz", "mine.npz"]


def test_all_that_is_learned_from_goes_to_the_learner_s_device() -> None:
    # The device "meta" computes nothing, and refuses to mix its tensors with others: what was left behind raises.
    config = load_preset("small-cnn")
    learner = Learner(config, TrainSettings(), torch.device("meta"))
    size = (4, config.image.frame_height, config.image.frame_width, 3)
    lesson = Lesson(replace(sequence(4), frames=np.zeros(size, np.uint8)), "go to the cup", False, False, 0)
    for batch in windows([lesson] * 2, 2, None):
        losses = learner._losses(learner.network, batch.to(learner.device))
        assert {loss.device.type for loss in losses.values()} == {"meta"}
        sum(losses.values(), torch.zeros((), device="meta")).backward()
    learner.optimiser.step()
    learner._average()


def test_other_colours_turn_the_hue_and_leave_grey_alone() -> None:
    grey = np.full(3, 100.0)
    for angle, saturation in ((0.4, 1.0), (2.0, 0.3), (-3.0, 1.6)):
        assert grey @ turned_hue(angle, saturation) == pytest.approx(grey)
    red = np.array([1.0, 0.0, 0.0])
    assert red @ turned_hue(0.0, 1.0) == pytest.approx(red)
    assert red @ turned_hue(2 * np.pi / 3, 1.0) == pytest.approx([0.0, 0.0, 1.0])
    assert red @ turned_hue(1.0, 0.0) == pytest.approx([1 / 3] * 3)


def test_a_share_of_the_lessons_gets_other_colours() -> None:
    red = replace(sequence(), frames=np.broadcast_to(np.array([200, 60, 60], np.uint8), (10, 6, 8, 3)).copy())

    def brightest(share: float) -> set[int]:
        lesson = [Lesson(red, "", False, False, 0)]
        return {
            int(next(windows(lesson, 10, np.random.default_rng(seed), share)).frames.mean(dim=(0, 1, 2, 3)).argmax())
            for seed in range(20)
        }

    assert brightest(0.0) == {0}
    assert brightest(1.0) == {0, 1, 2}

"""The contact sheet shows every frame in its own colours, and arrows that point where the robot was asked to go."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import cv2
import h5py
import numpy as np
import pytest

from vla_bt.episodes import pictures
from vla_bt.episodes.format import FRAMES, EpisodeError, EpisodeInfo, EpisodeWriter, FrameSample, load
from vla_bt.episodes.pictures import COLOURS, HEADER, MARGIN, THUMB_WIDTH, contact_sheet, write_contact_sheet
from vla_bt.words import Source, Twist

Make = Callable[..., FrameSample]
Clock = Callable[[], datetime]
GREEN = COLOURS[Source.POLICY]


@pytest.fixture
def write(tmp_path: Path, at_noon: Clock, make_sample: Make) -> Callable[..., Path]:
    def written(frames: int = FRAMES, **changes: object) -> Path:
        writer = EpisodeWriter(tmp_path, at_noon(), EpisodeInfo("1box_vert_left"), 180, 320)
        for index in range(frames):
            writer.append(make_sample(index, 180, 320, **changes))
        return writer.finish()

    return written


def thumb(sheet: np.ndarray, index: int) -> np.ndarray:
    row, column = divmod(index, pictures.COLUMNS)
    top, left = HEADER + row * (180 + pictures.CAPTION + MARGIN), MARGIN + column * (THUMB_WIDTH + MARGIN)
    return sheet[top : top + 180, left : left + THUMB_WIDTH]


def inked(picture: np.ndarray, colour: tuple[int, int, int]) -> np.ndarray:
    """Return the (row, column) of every pixel of that colour."""
    return np.argwhere((np.abs(picture.astype(int) - colour) < 12).all(axis=2))


def test_the_png_holds_every_frame_in_true_colours(write: Callable[..., Path], tmp_path: Path) -> None:
    path = write_contact_sheet(write(), tmp_path / "sheet.png")
    read = cv2.imread(str(path))
    assert read is not None
    sheet = cv2.cvtColor(read, cv2.COLOR_BGR2RGB)
    assert sheet.shape[1] == pictures.COLUMNS * (THUMB_WIDTH + MARGIN) + MARGIN
    for index in range(FRAMES):
        assert thumb(sheet, index)[40, 20].tolist() == [200, 100, 50]
        assert sheet[HEADER - 2, MARGIN + 100].tolist() == list(GREEN)


@pytest.mark.parametrize(
    "action, rows, columns",
    [
        (Twist(0.5, 0.0, 0.0), (-1, 0), (0, 0)),
        (Twist(-0.25, 0.0, 0.0), (0, 1), (0, 0)),
        (Twist(0.0, 0.5, 0.0), (0, 0), (-1, 0)),
        (Twist(0.0, -0.5, 0.0), (0, 0), (0, 1)),
        (Twist(0.0, 0.0, 1.0), (-1, 0), (-1, 0)),
        (Twist(0.0, 0.0, -1.0), (-1, 0), (0, 1)),
    ],
)
def test_arrow_and_arc_point_where_the_robot_was_asked_to_go(
    write: Callable[..., Path], action: Twist, rows: tuple[int, int], columns: tuple[int, int]
) -> None:
    found = inked(thumb(contact_sheet(load(write(3, action=action))), 1)[4:-4, 4:-4], GREEN)
    foot = np.array([round(0.74 * 180) - 4, 160 - 4])
    low, high = found.min(axis=0) - foot, found.max(axis=0) - foot
    reach = 20  # px; the strokes themselves and the arrow's head are narrower
    for axis, (wants_low, wants_high) in enumerate((rows, columns)):
        assert (low[axis] < -reach) == (wants_low < 0)
        assert (high[axis] > reach) == (wants_high > 0)


def test_a_robot_told_to_stand_has_a_ring_in_its_sources_colour(write: Callable[..., Path]) -> None:
    sheet = contact_sheet(load(write(2, action=Twist(), source=Source.SAFETY)))
    found = inked(thumb(sheet, 1)[4:-4, 4:-4], COLOURS[Source.SAFETY])
    assert 10 < len(found) < 400


def test_every_source_has_a_colour_of_its_own() -> None:
    assert set(COLOURS) == set(Source)
    assert len(set(COLOURS.values())) == len(Source)


def test_partial_and_wide_episodes_fit(write: Callable[..., Path]) -> None:
    one_row = contact_sheet(load(write(1)))
    three_rows = contact_sheet(load(write()))
    assert one_row.shape[1] == three_rows.shape[1]
    assert three_rows.shape[0] - one_row.shape[0] == 2 * (180 + pictures.CAPTION + MARGIN)


def test_a_file_of_the_original_format_alone_can_be_shown(tmp_path: Path) -> None:
    path = tmp_path / "episode_20250808_123136_1box_vert_left.h5"
    with h5py.File(path, "w") as file:
        file["images"] = np.full((18, 36, 64, 3), 77, np.uint8)
        file["actions"] = np.full((18, 2), 1.15)
        file["action_event_types"] = np.array(["episode_start"] + ["start_action"] * 17, dtype="S16")
        file.attrs["num_frames"] = 18
    with pytest.raises(EpisodeError, match=r"actions are \(18, 2\) float64, expected \(18, 3\)"):
        load(path)
    with h5py.File(path, "a") as file:
        del file["actions"]
        file["actions"] = np.full((18, 3), [1.15, 0.0, np.nan])
    assert contact_sheet(load(path)).shape[0] > 600


def test_a_picture_that_cannot_be_written_says_so(write: Callable[..., Path], tmp_path: Path) -> None:
    with pytest.raises(OSError, match="No such file or directory"):
        write_contact_sheet(write(1), tmp_path / "absent" / "sheet.png")

"""A plan is plain data with clear refusals; progress counts demonstrations, and says what it left out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from vla_bt.episodes.plan import Cell, Plan, count_progress, load_plan, notes, plan_names
from vla_bt.episodes.plan_picture import draw_plan
from vla_bt.episodes.schema import DISTANCES, PATTERNS, POSITIONS
from vla_bt.settings import SettingsError
from vla_bt.sim.scenes import SCENE_NAMES

CELL = Cell("1box_vert_left", "core", "close", "left")


def told(cell: Cell = CELL, **changes: Any) -> dict[str, Any]:
    return {**cell._asdict(), "complete": True, "num_frames": 18, **changes}


def test_the_documents_plan_has_72_spread_evenly() -> None:
    plan = load_plan("document")
    assert "document" in plan_names()
    assert plan.total == 72
    assert set(plan.targets.values()) == {1}
    for name in SCENE_NAMES:
        assert len({(cell.distance, cell.position) for cell in plan.targets if cell.scenario == name}) == 9
    for words, place in ((PATTERNS, 1), (DISTANCES, 2), (POSITIONS, 3)):
        counts = [sum(cell[place] == word for cell in plan.targets) for word in words]
        assert counts == [72 // len(words)] * len(words)
    for side in ("left", "right"):
        assert sum(cell.scenario.endswith(side) and cell.pattern == "core" for cell in plan.targets) == 18


def test_the_documents_own_figures_are_data_and_do_not_add_up() -> None:
    plan = load_plan("document")
    assert plan.document == {"planned": 72, "collected": 73, "augmented": 721, "distance_aware": 481}
    lines = notes(plan)
    assert any("= 144 kinds" in line for line in lines)
    assert any("collected 73: +1" in line for line in lines)
    assert any("augmented 721 is no multiple of 72: 10 each and 1 over" in line for line in lines)
    assert any("distance-aware 481 is no multiple of 73: 6 each and 43 over" in line for line in lines)


def test_figures_that_add_up_get_no_note() -> None:
    cells = {Cell(n, p, d, s): 1 for n in SCENE_NAMES for p in PATTERNS for d in DISTANCES for s in POSITIONS}
    document = {"planned": 144, "collected": 144, "augmented": 1440, "distance_aware": 288}
    assert notes(Plan("fine", "", cells, document)) == []


def test_demonstrations_count_once_and_the_rest_is_named() -> None:
    progress = count_progress(
        [
            ("a", told(demonstration_id="one", demonstration_index=0)),
            ("b", told(demonstration_id="one", demonstration_index=1)),
            ("c", told(demonstration_id="two")),
            ("d", told(complete=False, num_frames=7)),
            ("e", told(origin="augmented", demonstration_id="three")),
            ("old", {"num_frames": 18, "scenario": "1box_vert_left"}),
        ]
    )
    assert progress.there == {CELL: 2}
    assert (progress.episodes, progress.partial, progress.unplaced) == (4, 1, ("old",))
    plan = Plan("p", "", {CELL: 1, CELL._replace(distance="far"): 3})
    assert progress.missing(plan) == {CELL._replace(distance="far"): 3}
    assert progress.done(plan) == 1  # the second one of its kind fills no other's place


@pytest.mark.parametrize(
    "change, words",
    [
        ({"targets": {"3box_vert_left": {}}}, "unknown '3box_vert_left'; known: 1box_vert_left"),
        ({"targets": {"1box_vert_left": {"odd": {}}}}, "unknown 'odd'; known: core, variant"),
        ({"targets": {"1box_vert_left": {"core": {"near": [1, 1, 1]}}}}, "unknown 'near'; known: close"),
        ({"targets": {"1box_vert_left": {"core": {"far": [1, 1]}}}}, "expected three numbers: left, center, right"),
        ({"targets": {"1box_vert_left": {"core": {"far": [1, -1, 0]}}}}, "far: center is -1; expected a whole number"),
        ({"targets": {"1box_vert_left": {"core": {"far": [0, 0, 0]}}}}, "wants nothing"),
        ({"targets": [1]}, "expected a mapping, got [1]"),
        ({"document": {"planned": "many"}}, "document: planned is 'many'"),
        ({"document": {"made": 1}}, "unknown 'made'"),
        ({"goals": 1}, "unknown 'goals'; known: about, document, targets"),
    ],
)
def test_a_wrong_plan_is_one_line(tmp_path: Path, change: dict[str, Any], words: str) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump({"targets": {"1box_vert_left": {"core": {"far": [1, 0, 0]}}}, **change}))
    with pytest.raises(SettingsError) as caught:
        load_plan(str(path))
    assert words in str(caught.value)
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)


def test_an_unknown_plan_lists_the_known_ones() -> None:
    with pytest.raises(SettingsError, match="unknown plan 'mine'; known: document"):
        load_plan("mine")


def test_the_heat_map_shows_what_is_there(tmp_path: Path) -> None:
    import cv2
    import numpy as np

    plan = load_plan("document")
    pictures = []
    for count in (0, 1):
        progress = count_progress([(str(cell), told(cell)) for cell in plan.targets] if count else [])
        pictures.append(np.asarray(cv2.imread(str(draw_plan(plan, progress, tmp_path / f"{count}.png")))))
    empty, full = pictures
    assert empty.shape == full.shape
    green = [int(((picture[..., 1].astype(int) - picture[..., 2]) > 40).sum()) for picture in pictures]
    assert green[1] > green[0] + 0.2 * np.prod(empty.shape[:2])

"""Demonstrations at the keyboard: what is chosen, when keys drive, and guides that press a core pattern's keys again."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from vla_bt.control.collecting import CollectingConsole, Guides
from vla_bt.control.teleop_console import Action, Kind
from vla_bt.control.teleop_keys import TeleopKeys
from vla_bt.episodes.plan import Cell, load_plan

CELL = Cell("1box_vert_right", "core", "medium", "left")
VARIANT = CELL._replace(pattern="variant")


@pytest.fixture
def guides(tmp_path: Path) -> Guides:
    return Guides(tmp_path / "guides")


@pytest.fixture
def console(guides: Guides) -> CollectingConsole:
    return CollectingConsole(TeleopKeys(), guides)


def pressed(console: CollectingConsole, keys: str, now_s: float = 0.0) -> list[Action]:
    return [action for key in keys if (action := console.feed(key, now_s)) is not None]


def demonstrate(console: CollectingConsole, choice: str, presses: list[tuple[float, str]], began_s: float = 100.0) -> Action:
    assert pressed(console, "n" + choice, began_s)[-1].kind is Kind.DEMONSTRATE
    console.begun(began_s)
    for at_s, key in presses:
        console.feed(key, began_s + at_s)
    (action,) = pressed(console, "m", began_s + 20.0)
    return action


def test_a_demonstration_is_chosen_step_by_step(console: CollectingConsole) -> None:
    prompts = []
    for key in "n2121":
        action = console.feed(key, 0.0)
        prompts.append(console.prompt.partition(":")[0])
    assert prompts == ["scenario", "pattern", "distance", "position", ""]
    assert action == Action(Kind.DEMONSTRATE, "1box_vert_right core medium left")
    assert console.cell == CELL
    assert not console.demonstrating  # until the tree has taken the label
    console.begun(1.0)
    assert console.demonstrating


def test_no_key_drives_while_a_choice_is_open(console: CollectingConsole) -> None:
    console.feed("w", 0.0)
    console.feed("n", 0.1)
    assert console.keys.twist(0.15) == (0.0, 0.0, 0.0)  # what drove stops
    console.keys.twist(0.5)
    assert pressed(console, "wx9 0", 0.6) == []
    assert console.keys.twist(0.6) is None
    assert console.prompt.startswith("scenario: 1 1box_vert_left")
    console.feed("\x1b", 0.7)
    assert (console.prompt, console.cell) == ("", None)
    console.feed("w", 0.8)
    assert console.keys.twist(0.8) is not None


def test_recording_ends_with_m_and_progress_is_asked_with_p(console: CollectingConsole) -> None:
    assert pressed(console, "m") == [Action(Kind.RECORD, "off")]
    assert pressed(console, "p") == [Action(Kind.PROGRESS)]
    assert pressed(console, "gnmkp\r") == [Action(Kind.GOAL, "nmkp")]  # typed into a line they are letters


def test_a_core_demonstration_becomes_the_guide_of_its_kind(console: CollectingConsole, guides: Guides) -> None:
    presses = [(0.5, "w"), (0.9, "q"), (1.4, " "), (2.0, "r")]
    assert demonstrate(console, "2121", presses) == Action(Kind.RECORD, "off")
    assert guides.find(CELL) == tuple(presses)
    assert guides.find(CELL._replace(distance="far")) == ()
    demonstrate(console, "2221", [(0.5, "s")])  # a variant leaves the guide as it is
    assert guides.find(VARIANT) == tuple(presses)
    assert console.key_pattern == "w q space r"
    assert "k plays it" in console.guide_in_words


def test_where_the_plan_wants_no_core_demonstration_the_nearest_guide_serves(console: CollectingConsole, guides: Guides) -> None:
    plan = load_plan("document")
    variant = Cell("1box_vert_left", "variant", "close", "center")
    assert variant in plan.targets
    assert variant._replace(pattern="core") not in plan.targets  # so no guide of its own can ever come
    assert guides.nearest(variant) == ((), "")
    core = [cell for cell in plan.targets if (cell.scenario, cell.pattern) == ("1box_vert_left", "core")]
    for cell in core:
        guides.keep(cell, ((0.5, "w"), (1.0, "q" if cell.position == "center" else "r")))
    assert guides.nearest(variant) == (((0.5, "w"), (1.0, "q")), "of 1box_vert_left medium center")
    pressed(console, "n1212")  # scenario 1, variant, close, center
    assert console.cell == variant
    assert console.key_pattern == "w q"
    assert console.guide_in_words == "guide of 2 keys (of 1box_vert_left medium center), k plays it: w q"
    other_side = Cell("1box_vert_right", "variant", "far", "left")
    assert guides.nearest(other_side) == (((0.5, "w"), (1.0, "t")), "mirrored from 1box_vert_left far right")
    assert guides.nearest(Cell("2box_hori_left", "variant", "far", "left")) == ((), "")


def test_a_guide_presses_the_same_keys_at_the_same_times(console: CollectingConsole) -> None:
    presses = [(0.5, "w"), (0.7, "q"), (1.5, "r")]
    demonstrate(console, "2121", presses)
    pressed(console, "n2221", 200.0)
    console.begun(200.0)
    console.keys.twist(200.5)  # the zero with which the choice began
    console.feed("k", 201.0)
    seen = []
    for tick in range(60):
        now_s = 201.0 + 0.05 * tick
        console.advance(now_s)
        twist = console.keys.twist(now_s)
        if twist is not None:
            seen.append((round(now_s - 201.0, 2), round(twist.linear_x, 2), round(twist.linear_y, 2), round(twist.angular_z, 2)))
    assert not console.playing
    assert seen[0] == (0.5, 0.3, 0.0, 0.0)
    assert (0.7, 0.21, 0.21, 0.0) in seen
    assert (1.5, 0.0, 0.0, 0.6) in seen
    assert seen[-1] == (1.8, 0.0, 0.0, 0.0)
    assert {time for time, *_ in seen if 1.05 < time < 1.5} == set()  # silent between the pulses, as then


def test_a_key_of_the_person_ends_the_playing(console: CollectingConsole) -> None:
    demonstrate(console, "2121", [(0.5, "w"), (5.0, "w")])
    pressed(console, "n2221", 200.0)
    console.feed("k", 200.0)
    assert console.playing
    console.feed("s", 200.1)
    assert not console.playing
    console.feed("k", 200.2)
    console.feed("k", 200.3)
    assert not console.playing
    console.feed("k", 200.4)
    assert pressed(console, " ", 200.5) == [Action(Kind.GOAL, "stop")]
    assert not console.playing


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        '{"presses": [[0, "x"]]}',  # not a driving key
        '{"presses": [[-1, "w"]]}',
        '{"presses": [[1e9, "w"]]}',
        '{"presses": [[NaN, "w"]]}',
        '{"presses": [["soon", "w"]]}',
        '{"presses": [5]}',
    ],
)
def test_a_guide_that_is_none_is_no_guide(guides: Guides, text: str) -> None:
    path = guides.keep(CELL, ((0.5, "w"),))
    assert json.loads(path.read_text())["scenario"] == CELL.scenario
    path.write_text(text)
    assert guides.find(CELL) == ()


def test_a_guide_that_can_not_be_kept_is_said(tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("")
    console = CollectingConsole(TeleopKeys(), Guides(blocked / "guides"))
    action = demonstrate(console, "2121", [(0.5, "w")])
    assert action.kind is Kind.RECORD
    assert action.text.startswith("off; the guide can't be kept: Not a directory")
    assert not console.demonstrating

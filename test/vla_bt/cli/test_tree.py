"""``vla-bt tree`` draws with no robot present."""

from __future__ import annotations

from pathlib import Path

import cv2
import pytest

from vla_bt.cli.main import main
from vla_bt.contract import KEYS


def test_shows_every_branch(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["tree", "show"]) == 0
    text = capsys.readouterr().out
    for name in ("Sense", "Guard memory", "Record", "Drive", "Protective stop", "Take over", "Follow policy", "Idle"):
        assert name in text


def test_writes_dot_and_a_picture(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["tree", "dot"]) == 0
    assert "digraph" in capsys.readouterr().out
    picture = tmp_path / "tree.png"
    assert main(["tree", "png", "--output", str(picture)]) == 0
    pixels = cv2.imread(str(picture))
    assert pixels is not None
    assert pixels.shape[0] > 600
    assert pixels.std() > 10


def test_lists_the_contract(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["tree", "contract"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == len(KEYS) + 1


def test_a_place_that_cannot_be_written_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["tree", "png", "--output", str(tmp_path / "no" / "tree.png")]) == 2
    error = capsys.readouterr().err
    assert "can't write" in error
    assert error.count("\n") == 1

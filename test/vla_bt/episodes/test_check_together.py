"""What is wrong between files: links of a demonstration, and what is there twice; real files, recorded and then spoilt."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from vla_bt.cli.main import main
from vla_bt.episodes.check import check_files
from vla_bt.episodes.format import EpisodeInfo, EpisodeWriter, FrameSample

Write = Callable[..., Path]
LINKED = EpisodeInfo("1box_vert_left", frame_period_s=1.0, demonstration_id="demo_a")
BETWEEN = ("duplicate-episode", "link-missing", "link-wrong", "link-gap")


@pytest.fixture
def write(tmp_path: Path, at_noon: Callable[[], datetime], make_sample: Callable[..., FrameSample]) -> Write:
    """Write an episode of pictures of its own that begins at a time."""

    def make(info: EpisodeInfo, begins: int, dropped: int = 0) -> Path:
        writer = EpisodeWriter(tmp_path, at_noon(), info, 24, 32)
        random = np.random.default_rng(begins)
        for index in range(18):
            image = np.clip(random.normal((150, 105, 60), 20, (24, 32, 3)), 0, 255).astype(np.uint8)
            at_s = float(begins + index)
            stamps = {"exposure_s": at_s, "receipt_s": at_s, "decided_s": at_s, "commanded_s": at_s, "applied_s": at_s}
            writer.append(make_sample(index, image=image, **stamps), 0 if index else dropped)
        return writer.finish()

    return make


@pytest.fixture
def three(write: Write) -> list[Path]:
    paths: list[Path] = []
    for index in range(3):
        previous = paths[-1].stem if paths else ""
        paths.append(write(replace(LINKED, demonstration_index=index, previous_episode=previous), 100 + 18 * index))
    return paths


def change(path: Path, **attributes: Any) -> None:
    with h5py.File(path, "a") as file:
        file.attrs.update(attributes)


def found(paths: list[Path]) -> set[tuple[str, str]]:
    return {(report.path.name, each.code) for report in check_files(paths) for each in report.findings if each.code in BETWEEN}


def test_a_whole_demonstration_has_nothing_wrong_in_any_order(three: list[Path]) -> None:
    assert found(three) == found(three[::-1]) == set()


def test_one_that_is_missing_in_the_middle_or_at_the_start(three: list[Path]) -> None:
    assert found([three[0], three[2]]) == {(three[2].name, "link-missing")}
    assert found(three[1:]) == {(three[1].name, "link-missing")}


@pytest.mark.parametrize(
    "at, attributes",
    [
        (1, {"previous_episode": "another"}),
        (0, {"previous_episode": "another"}),
        (2, {"demonstration_index": 1}),
        (1, {"demonstration_index": "one"}),
    ],
)
def test_links_that_contradict_each_other(three: list[Path], at: int, attributes: dict[str, Any]) -> None:
    change(three[at], **attributes)
    assert "link-wrong" in {code for _, code in found(three)}


def test_times_that_contradict_the_links(write: Write, three: list[Path]) -> None:
    fourth = replace(LINKED, demonstration_index=3, previous_episode=three[2].stem)
    early, late = write(fourth, 150), write(fourth, 160)
    assert found([*three, early]) == {(early.name, "link-wrong")}
    assert found([*three, late]) == {(late.name, "link-gap")}


def test_frames_that_were_dropped_explain_a_gap(write: Write, three: list[Path]) -> None:
    late = write(replace(LINKED, demonstration_index=3, previous_episode=three[2].stem), 160, dropped=6)
    assert found([*three, late]) == set()


def test_a_copy_is_found_under_another_name_and_with_other_attributes(write: Write, tmp_path: Path) -> None:
    first, other = write(EpisodeInfo("free", frame_period_s=1.0), 0), write(EpisodeInfo("free", frame_period_s=1.0), 500)
    copy = tmp_path / "zz.h5"
    shutil.copy(first, copy)
    assert found([first, other]) == set()
    assert found([first, other, copy]) == {(copy.name, "duplicate-episode")}
    change(copy, episode_name="zz")
    assert found([first, other, copy]) == {(copy.name, "duplicate-episode")}
    change(copy, origin="augmented")  # shares its source's pictures by design
    assert found([first, other, copy]) == set()


def test_the_verb_tells_it_once_and_counts_the_file_once(three: list[Path], capsys: pytest.CaptureFixture[str]) -> None:
    three[1].unlink()
    assert main(["episodes", "check", str(three[0].parent)]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert [line for line in lines if "link" in line] == [
        f"{three[2]}: warning: link-missing: number 1 of its demonstration isn't here"
    ]
    assert lines[-1] == "2 checked, 1 with errors or warnings"
    assert main(["episodes", "check", "--json", str(three[0].parent)]) == 1
    result = json.loads(capsys.readouterr().out)["result"]
    assert result["codes"]["link-missing"] == 1
    assert [len(file["findings"]) > 0 for file in result["files"]] == [False, True]

"""A defect is found under its own code, and a good episode has none; the files are made here, one defect each."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from vla_bt.cli.main import main
from vla_bt.episodes.check import CODES, Report, check_file, check_files
from vla_bt.episodes.format import EpisodeInfo, EpisodeWriter, FrameSample
from vla_bt.episodes.import_original import import_original
from vla_bt.episodes.recorder import EpisodeRecorder
from vla_bt.episodes.units import KEY_UNITS
from vla_bt.words import Twist

Make = Callable[..., FrameSample]
Clock = Callable[[], datetime]
STANDS = (3, 7, 11, 15)
_ROOM = np.random.default_rng(3).integers(-30, 30, (60, 400, 1))


def picture(place: float) -> np.ndarray:
    """Paint a brown floor with dark and light boards, seen from a place along it."""
    left = int(place) % 300
    return np.clip(np.array([150, 105, 60]) + _ROOM[:, left : left + 96], 0, 255).astype(np.uint8)


def action(index: int) -> Twist:
    return Twist() if index in STANDS or index == 0 else Twist(0.2, 0.0, -0.1)


def places() -> list[float]:
    """Tell where each picture is taken: before its own action moves the robot."""
    way = [0.0]
    for index in range(17):
        way.append(way[-1] + (11.0 if action(index) != Twist() else 0.0))
    return way


@pytest.fixture
def episode(tmp_path: Path, at_noon: Clock, make_sample: Make) -> Path:
    info = EpisodeInfo("1box_vert_left", frame_period_s=1.0, pattern="core", distance="close", position="left")
    writer = EpisodeWriter(tmp_path, at_noon(), info, 60, 96)
    for index, place in enumerate(places()):
        commanded = 50.012 + index
        writer.append(make_sample(index, image=picture(place), action=action(index), commanded_s=commanded, applied_s=commanded))
    return writer.finish()


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """Make a file of the original format."""
    path = tmp_path / "episode_20250808_123136_1box_vert_left.h5"
    with h5py.File(path, "w") as file:
        file["images"] = np.stack([picture(place) for place in places()])
        file["actions"] = np.array([[0.0 if action(at) == Twist() else 1.15, 0.0, 0.0] for at in range(18)])
        file["action_event_types"] = ["episode_start"] + ["start_action"] * 17
        file.attrs.update(
            episode_name=path.stem, scenario="1box_vert_left", action_chunk_size=8, num_frames=18, total_duration=18.87
        )
    return path


def change(path: Path, **values: Any) -> Path:
    """Overwrite datasets or attributes; None deletes one."""
    with h5py.File(path, "a") as file:
        for name, value in values.items():
            place = file if name in file else file.attrs
            units = dict(file[name].attrs) if name in file else {}
            if name in place:
                del place[name]
            if value is not None:
                place[name] = value
                if units:
                    file[name].attrs.update(units)
    return path


def stored(path: Path, name: str) -> Any:
    with h5py.File(path) as file:
        return file[name][:]


def codes(report: Report) -> set[str]:
    return {found.code for found in report.findings}


def frames_of(report: Report, code: str) -> tuple[int, ...]:
    (found,) = [found for found in report.findings if found.code == code]
    return found.frames


def test_a_good_episode_has_nothing_wrong(episode: Path) -> None:
    report = check_file(episode)
    assert codes(report) == {"still-frames"}
    assert report.worst == "note"
    assert report.frames == 18


def test_a_good_file_of_the_original_format_lacks_a_unit_and_nothing_else(old: Path) -> None:
    report = check_file(old)
    assert codes(report) == {"unit-unknown", "frame-0-zero", "still-frames"}
    assert "they look like key presses" in next(found.words for found in report.findings if found.code == "unit-unknown")


@pytest.mark.parametrize("content", [b"", b"nothing", b"\x89HDF\r\n\x1a\n" + bytes(100)], ids=["empty", "foreign", "damaged"])
def test_unreadable(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.h5"
    path.write_bytes(content)
    assert codes(check_file(path)) == {"unreadable"}


@pytest.mark.parametrize("name", ["images", "actions", "action_event_types", "decided_s"])
def test_missing_dataset(episode: Path, name: str) -> None:
    assert "missing-dataset" in codes(check_file(change(episode, **{name: None})))


@pytest.mark.parametrize(
    "name, value",
    [
        ("actions", np.zeros((18, 2), "f4")),
        ("actions", np.zeros((17, 3), "f4")),
        ("actions", ["a"] * 18),
        ("images", np.zeros((18, 60, 96, 3), "f4")),
        ("images", np.zeros((18, 60, 96), "u1")),
        ("images", np.zeros((18, 48, 96, 3), "u1")),
        ("mode", np.zeros(18)),
        ("decided_s", np.zeros(17)),
        ("frames_dropped_before", np.full(18, -5)),
    ],
)
def test_wrong_shape(episode: Path, name: str, value: Any) -> None:
    assert "wrong-shape" in codes(check_file(change(episode, **{name: value})))


def test_frame_count(episode: Path, old: Path) -> None:
    assert "frame-count" in codes(check_file(change(episode, num_frames=17)))
    assert "frame-count" in codes(check_file(change(old, num_frames="many")))


def test_partial(tmp_path: Path, at_noon: Clock, make_sample: Make) -> None:
    writer = EpisodeWriter(tmp_path, at_noon(), EpisodeInfo("free", frame_period_s=1.0), 60, 96)
    for index in range(4):
        writer.append(make_sample(index, image=picture(11 * index)))
    assert "partial" in codes(check_file(writer.finish()))


@pytest.mark.parametrize("name", ["episode_name", "total_duration", "frame_period_s", "scenario"])
def test_missing_attribute(episode: Path, name: str) -> None:
    path = change(episode, **{name: None})
    if name == "scenario":
        path = path.rename(path.with_name("episode_1.h5"))
    assert "missing-attribute" in codes(check_file(path))


@pytest.mark.parametrize(
    "name, value",
    [("distance", "next to it"), ("total_duration", -1.0), ("frame_period_s", "long"), ("seed", "abc"), ("started", "noon")],
)
def test_attribute_value(episode: Path, name: str, value: Any) -> None:
    assert "attribute-value" in codes(check_file(change(episode, **{name: value})))


@pytest.mark.parametrize("name, value", [("source", 99), ("mode", b"asleep")])
def test_who_drove_is_somebody_known(episode: Path, name: str, value: Any) -> None:
    values = stored(episode, name)
    values[3] = value
    assert frames_of(check_file(change(episode, **{name: values})), "attribute-value") == (3,)


def test_scenario_mismatch(episode: Path, old: Path) -> None:
    assert "scenario-mismatch" in codes(check_file(change(episode, scenario="2box_hori_right")))
    assert "scenario-mismatch" in codes(check_file(old.rename(old.with_name("episode_20250808_123136_2box_hori_right.h5"))))


def test_scenario_only_in_name(old: Path) -> None:
    assert "scenario-only-in-name" in codes(check_file(change(old, scenario=None)))


@pytest.mark.parametrize("name, row", [("actions", 4), ("commanded", 5), ("decided_s", 6), ("receipt_s", 7)])
def test_not_finite(episode: Path, name: str, row: int) -> None:
    values = stored(episode, name)
    values[row] = np.inf if name == "decided_s" else np.nan
    assert frames_of(check_file(change(episode, **{name: values})), "not-finite") == (row,)


def test_action_range_of_velocities_and_of_key_presses(episode: Path, old: Path) -> None:
    actions = stored(episode, "actions")
    actions[9, 0] = 7.0
    assert frames_of(check_file(change(episode, actions=actions)), "action-range") == (9,)
    keys = stored(old, "actions")
    keys[2, 1] = 0.4
    with h5py.File(old, "a") as file:
        file["actions"][:] = keys
        file["actions"].attrs["units"] = KEY_UNITS
    report = check_file(old)
    assert frames_of(report, "action-range") == (2,)
    assert "unit-unknown" not in codes(report)


@pytest.mark.parametrize("events", [["start_action"] * 18, ["episode_start"] * 2 + ["start_action"] * 16])
def test_frame_0_leak_by_event(old: Path, events: list[str]) -> None:
    assert "frame-0-leak" in codes(check_file(change(old, action_event_types=events)))


def test_frame_0_leak_by_action(old: Path) -> None:
    actions = stored(old, "actions")
    actions[0] = actions[1]
    assert frames_of(check_file(change(old, actions=actions)), "frame-0-leak") == (0,)


def test_image_after_command_by_its_stamps(episode: Path) -> None:
    received = stored(episode, "receipt_s")
    received[5:8] += 0.3
    assert frames_of(check_file(change(episode, receipt_s=received)), "image-after-command") == (5, 6, 7)


def test_image_after_command_suspected_from_the_pictures_alone(old: Path) -> None:
    images = stored(old, "images")
    late = np.concatenate([images[1:], picture(places()[-1] + 11.0)[None]])  # each taken after the robot has moved
    assert "image-after-command-suspected" in codes(check_file(change(old, images=late)))


def test_stamps(episode: Path) -> None:
    decided = stored(episode, "decided_s")
    decided[4] = decided[2]
    assert frames_of(check_file(change(episode, decided_s=decided)), "stamps") == (4,)
    assert "stamps" in codes(check_file(change(episode, decided_s=np.arange(18.0), total_duration=30.0)))


def test_period(episode: Path, old: Path) -> None:
    assert "period" in codes(check_file(change(episode, frame_period_s=0.5)))
    assert "period" in codes(check_file(change(old, total_duration=60.0)))


def test_a_frame_that_was_dropped_explains_a_gap(episode: Path) -> None:
    later = {name: stored(episode, name) for name in ("receipt_s", "decided_s", "commanded_s", "applied_s", "exposure_s")}
    for values in later.values():
        values[9:] += 1.0
    path = change(episode, **later, total_duration=18.0)
    assert frames_of(check_file(path), "period") == (9,)
    dropped = np.zeros(18, "u4")
    dropped[9] = 1
    report = check_file(change(path, frames_dropped_before=dropped, frames_dropped=1))
    assert "period" not in codes(report)
    assert "frames-dropped" in codes(report)


def test_channel_order(episode: Path) -> None:
    assert "channel-order" in codes(check_file(change(episode, colour_order="BGR")))


def test_channel_order_suspected_from_the_pictures_alone(old: Path) -> None:
    report = check_file(change(old, images=stored(old, "images")[..., ::-1]))
    (found,) = [found for found in report.findings if found.code == "channel-order-suspected"]
    assert "suspected" in found.words


def test_duplicate_frames(old: Path, episode: Path) -> None:
    images = stored(old, "images")
    images[10] = images[9]
    assert frames_of(check_file(change(old, images=images)), "duplicate-frames") == (10,)
    sequence = stored(episode, "frame_sequence")
    sequence[4] = sequence[3]
    assert frames_of(check_file(change(episode, frame_sequence=sequence)), "duplicate-frames") == (4,)


def test_blank_images(old: Path) -> None:
    images = stored(old, "images")
    images[6] = 0
    assert frames_of(check_file(change(old, images=images)), "blank-images") == (6,)


def test_picture_changed(episode: Path) -> None:
    with h5py.File(episode, "a") as file:
        file["images"][8, 3, 3, 1] ^= 1
    assert frames_of(check_file(episode), "picture-changed") == (8,)


def test_unknown_name_is_told_harmlessly(old: Path) -> None:
    report = check_file(change(old, **{"x\x1b[2J": 5.0}))
    assert all(found.words.isprintable() for found in report.findings)
    with h5py.File(old, "a") as file:
        file["y\x1b[2J"] = np.zeros(3)
    (found,) = [found for found in check_file(old).findings if found.code == "unknown-name"]
    assert found.words == r"also holds 'y\x1b[2J'"


def test_content_that_was_changed_by_hand(episode: Path) -> None:
    """A recorded velocity replaced by another one in range, wherever it stands."""
    with h5py.File(episode, "a") as file:
        assert file.attrs["content_crc32"] > 0
        file["commanded"][5] = file["actions"][5] = (0.1, 0.02, 0.0)
    assert codes(check_file(episode)) == {"still-frames", "content-changed"}
    change(episode, content_crc32=0)  # as in files of older versions
    assert codes(check_file(episode)) == {"still-frames"}
    with h5py.File(episode, "a") as file:
        file["commanded"][5] = (0.2, 0.02, 0.0)
    assert frames_of(check_file(episode), "actions-differ") == (5,)


@pytest.mark.parametrize("column, row", [("commanded", (0.7, 0.0, 0.0)), ("applied", (0.0, -0.5, 0.0)), ("applied", (0, 0, 2.0))])
def test_velocities_above_the_gates_limits(episode: Path, column: str, row: tuple[float, ...]) -> None:
    with h5py.File(episode, "a") as file:
        file[column][5] = row
    assert frames_of(check_file(episode), "above-limits") == (5,)
    assert "above-limits" not in codes(check_file(change(episode, velocity_limits="0.8 0.6 2")))
    assert "above-limits" in codes(check_file(change(episode, velocity_limits="0.3 0.3 1")))
    assert "attribute-value" in codes(check_file(change(episode, velocity_limits="fast")))


def test_a_source_that_can_not_have_driven_in_its_mode(episode: Path) -> None:
    sources = stored(episode, "source")
    sources[5:7] = 2  # teleop, in mode vla
    report = check_file(change(episode, source=sources))
    assert frames_of(report, "source-mode") == (5, 6)
    assert any("teleop in mode vla" in found.words for found in report.findings)


def test_a_newer_version_is_said(episode: Path) -> None:
    assert "newer-format" in codes(check_file(change(episode, schema_version=99)))
    old = change(episode, schema_version=2, tick_period_s=None, velocity_limits=None, content_crc32=None)
    assert codes(check_file(old)) == {"still-frames"}


@pytest.mark.parametrize("period_s, tick_s, fine", [(0.12, 0.05, True), (0.12, 0.0, True), (0.12, 0.01, False), (0.1, 0.2, True)])
def test_frames_lie_on_the_grid_of_ticks(
    tmp_path: Path, at_noon: Clock, make_sample: Make, period_s: float, tick_s: float, fine: bool
) -> None:
    """What the recorder takes of a tree's ticks passes the check, at any period that may be asked for."""
    recorder = EpisodeRecorder(tmp_path, period_s, "1box_vert_left", at_noon, tick_period_s=tick_s)
    recorder.start()
    tick, index, step_s = 0, 0, (tick_s or 0.05) if fine else 0.07
    while index < 36:
        now_s = 50.0 + tick * step_s
        if recorder.due(now_s):
            times = dict.fromkeys(("exposure_s", "receipt_s", "commanded_s", "applied_s"), now_s)
            image = picture(11.0 * index)
            recorder.offer(make_sample(index, image=image, decided_s=now_s, action=Twist(0.2), applied=Twist(0.2), **times))
            index += 1
        tick += 1
    assert recorder.close()
    found = {each.code for report in check_files(sorted(tmp_path.glob("*.h5"))) for each in report.findings}
    assert found & {"period", "link-gap"} == (set() if fine else {"period"})


@pytest.mark.parametrize("colour", [(120, 122, 120), None], ids=["grey", "both"])
def test_an_order_of_channels_that_can_not_be_told_is_said(old: Path, colour: tuple[int, ...] | None) -> None:
    images = stored(old, "images")
    if colour is None:
        images[:, :, ::2] = images[:, :, ::2, ::-1]  # half of it wood, half sky
    else:
        images[:] = np.clip(np.array(colour) + (images[..., :1].astype(int) - 150), 0, 255)
    report = check_file(change(old, images=images))
    assert "channel-order-unknown" in codes(report)
    assert "channel-order-unknown" not in codes(check_file(change(old, colour_order="RGB")))


def test_a_steady_drive_without_times_tells_nothing_of_its_pictures(old: Path, episode: Path) -> None:
    actions = np.tile([1.15, 0.0, 0.0], (18, 1))
    actions[0] = 0.0
    assert "image-after-command-unknown" in codes(check_file(change(old, actions=actions)))
    assert "image-after-command-unknown" not in codes(check_file(change(episode, actions=np.float32(actions * 0.1))))


def test_what_an_imported_file_does_not_tell_is_a_note(old: Path, tmp_path: Path) -> None:
    report = check_file(import_original(old, tmp_path / "new", "rgb").path)
    assert frames_of(report, "not-told") == (0,)
    assert report.worst == "note"


def test_every_code_is_tested_here() -> None:
    here = Path(__file__)
    source = "".join(path.read_text(encoding="utf-8") for path in (here, here.with_name("test_check_together.py")))
    assert [code for code in CODES if f'"{code}"' not in source] == []


def test_the_verbs_exit_codes(episode: Path, old: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["episodes", "check", str(episode)]) == 0
    assert main(["episodes", "check", str(tmp_path)]) == 1
    out = capsys.readouterr().out
    assert f"{old}: warning: unit-unknown: " in out
    assert f"{episode}: error: duplicate-episode: " in out  # both show the same room
    assert out.endswith("2 checked, 2 with errors or warnings\n")
    assert main(["episodes", "check", str(tmp_path / "none")]) == 2
    assert main(["episodes", "check"]) == 2
    assert "no such file or folder" in capsys.readouterr().err


def test_the_verb_as_json(old: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["episodes", "check", "--json", str(old)]) == 1
    result = json.loads(capsys.readouterr().out)["result"]
    assert result["codes"] == {"frame-0-zero": 1, "still-frames": 1, "unit-unknown": 1}
    assert result["files"][0]["frames"] == 18
    assert main(["episodes", "check", "--codes", "--json"]) == 0
    assert {row["code"] for row in json.loads(capsys.readouterr().out)["result"]["codes"]} == set(CODES)


def test_a_folder_holds_a_damaged_file_between_good_ones(
    episode: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "a\x1b[31m\n.h5").write_bytes(b"")
    assert main(["episodes", "check", str(tmp_path)]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].endswith(r"a\x1b[31m\x0a.h5: error: unreadable: is empty (0 bytes)")
    assert lines[-1] == "2 checked, 1 with errors or warnings"


def test_jpeg_episodes_are_checked_too(tmp_path: Path, at_noon: Clock, make_sample: Make) -> None:
    info = replace(EpisodeInfo("1box_vert_left"), frame_period_s=1.0)
    writer = EpisodeWriter(tmp_path, at_noon(), info, 60, 96, storage="jpeg")
    for index, place in enumerate(places()):
        writer.append(make_sample(index, image=picture(place), action=action(index)))
    assert codes(check_file(writer.finish())) == {"still-frames"}

"""ls, show and view: one line for whatever is no episode, nothing on the terminal that a file could act with."""

from __future__ import annotations

import json
from pathlib import Path

import av
import cv2
import h5py
import numpy as np
import pytest

from vla_bt.cli.main import main


@pytest.fixture
def old(tmp_path: Path) -> Path:
    path = tmp_path / "runs" / "episode_20250808_123136_1box_vert_left.h5"
    path.parent.mkdir()
    with h5py.File(path, "w") as file:
        file["images"] = np.full((6, 36, 64, 3), (200, 100, 50), np.uint8)
        file["actions"] = np.array([[0, 0, 0]] + [[1.15, 0, 0]] * 5, np.float32)
        file["action_event_types"] = ["episode_start"] + ["start_action"] * 5
        file.attrs.update(scenario="1box\x1b[31m", num_frames=6, total_duration=6.0)
        file.attrs["\x1b]0;owned\x07"] = "\x07"
    return path


def test_ls_lists_good_and_bad_files(old: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (old.parent / "a\x1b[2J\nb.h5").write_bytes(b"")
    (old.parent / "b.h5").symlink_to("/etc/hostname")
    with h5py.File(old.parent / "c.h5", "w") as file:
        file["images"] = h5py.ExternalLink("/etc/hostname", "/x")
    assert main(["episodes", "ls", str(old.parent)]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 5
    assert all(line.isprintable() for line in lines)
    assert lines[0].endswith(r"a\x1b[2J\x0ab.h5: is empty (0 bytes)")
    assert lines[1].endswith("b.h5: is a symbolic link; name the file itself")
    assert "c.h5: 'images' is a link into another file" in lines[2]
    assert r"6 frames    6.0 s" in lines[3]
    assert r"1box\x1b[31m" in lines[3]
    assert lines[4].startswith("1 episodes, 6 frames, ")
    assert lines[4].endswith("3 unreadable")


def test_ls_as_json(old: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["episodes", "ls", "--json", str(old)]) == 0
    (row,) = json.loads(capsys.readouterr().out)["result"]["episodes"]
    assert (row["frames"], row["size"], row["duration_s"], row["error"]) == (6, [64, 36], 6.0, "")


def test_what_is_not_there(old: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "empty").mkdir()
    for path, words in ((tmp_path / "none", "no such file or folder"), (tmp_path / "empty", "no episode (*.h5) in this folder")):
        assert main(["episodes", "ls", str(path)]) == 2
        assert capsys.readouterr().err == f"vla-bt episodes: {path}: {words}\n"


def test_what_is_in_the_making_is_passed_over(old: Path, capsys: pytest.CaptureFixture[str]) -> None:
    hidden = old.parent / ".collecting"
    hidden.mkdir()
    (hidden / "episode_20261122_120000_free_partial.h5").write_bytes(b"half")
    assert main(["episodes", "ls", str(old.parent)]) == 0
    assert capsys.readouterr().out.splitlines()[-1].startswith("1 episodes, ")
    assert main(["episodes", "ls", str(hidden)]) == 1  # whoever names it gets it


def test_what_takes_long_is_counted_on_a_terminal(
    old: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vla_bt.cli.episodes_shared._QUIET_S", -1.0)
    assert main(["episodes", "ls", str(old)]) == 0
    assert capsys.readouterr().err == ""
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    for verb in (["ls", str(old)], ["plan", str(old.parent)], ["stats", str(old)]):
        assert main(["episodes", *verb]) == 0
        assert capsys.readouterr().err == "\rreading: 1 of 1\x1b[K\r\x1b[K", verb


def test_show_tells_everything_harmlessly(old: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["episodes", "show", str(old)]) == 0
    out = capsys.readouterr().out
    assert all(line.isprintable() for line in out.splitlines())
    assert r"\x1b]0;owned\x07" in out
    assert "6 x 36 x 64 x 3" in out
    assert out.count("start_action") == 5
    assert main(["episodes", "show", str(old), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["result"]["columns"]["actions"][1][0] == pytest.approx(1.15)
    assert main(["episodes", "show", str(old.parent)]) == 2
    assert capsys.readouterr().err.endswith("is a folder; name one episode in it\n")


def test_view_draws_a_sheet_and_a_film_that_plays_as_long_as_the_episode(old: Path, tmp_path: Path) -> None:
    assert main(["episodes", "view", str(old), "--out", str(tmp_path / "seen")]) == 0
    sheet, film = (tmp_path / "seen" / f"{old.stem}.{kind}" for kind in ("png", "mp4"))
    assert cv2.imread(str(sheet)) is not None
    assert len(list((tmp_path / "seen").iterdir())) == 2
    with av.open(str(film)) as container:
        (stream,) = container.streams.video
        assert (stream.codec_context.name, stream.codec_context.pix_fmt) == ("h264", "yuv420p")
        frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(stream)]
    assert len(frames) == 60  # 6 s at 10 pictures a second
    assert np.abs(frames[30][60, 100].astype(int) - (200, 100, 50)).max() < 8
    assert np.abs(frames[5].astype(int) - frames[15]).max() > 60  # an arrow came


def test_two_episodes_of_one_name_get_two_pictures(old: Path, tmp_path: Path) -> None:
    twin = tmp_path / "twin" / old.name
    twin.parent.mkdir()
    twin.write_bytes(old.read_bytes())
    out = tmp_path / "seen"
    assert main(["episodes", "view", str(old), str(twin), "--out", str(out), "--only", "png"]) == 0
    assert sorted(path.name for path in out.iterdir()) == [f"{old.stem}.png", f"{old.stem}_2.png"]


def test_view_of_what_is_no_episode_leaves_nothing(old: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "x.h5").write_bytes(bytes(9))
    assert main(["episodes", "view", str(tmp_path / "x.h5")]) == 2
    assert capsys.readouterr().err.endswith("x.h5: not a readable HDF5 file\n")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["runs", "x.h5"]


def test_a_named_link_to_a_folder_is_followed_and_none_inside(
    old: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    link = tmp_path / "link"
    link.symlink_to(old.parent)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "other.h5").write_bytes(old.read_bytes())
    (old.parent / "inside").symlink_to(elsewhere)
    for verb in ("ls", "stats", "check"):
        main(["episodes", verb, str(link), "--json"])
        told = capsys.readouterr().out
        assert old.name in told or verb == "stats"
        assert "other.h5" not in told
        assert verb != "stats" or json.loads(told)["result"]["episodes"] == 1
    assert main(["episodes", "export", str(link), "--to", "mcap", "--out", str(tmp_path / "bags")]) == 0
    assert main(["episodes", "show", str(link / old.name)]) == 0


def test_one_bad_file_between_good_ones_is_named_and_the_rest_goes_on(
    old: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bad = old.parent / "a.h5"
    bad.write_bytes(b"")
    line = f"{bad}: is empty (0 bytes)\n"
    seen = str(tmp_path / "seen")
    runs = {
        "plan": ["plan", str(old.parent)],
        "stats": ["stats", str(old.parent)],
        "view": ["view", str(old.parent), "--only", "png", "--out", seen],
    }
    for arguments in runs.values():
        assert main(["episodes", *arguments]) == 1
        assert capsys.readouterr().err == line
        assert main(["episodes", *arguments, "--json"]) == 1
        assert json.loads(capsys.readouterr().out)["result"]["refused"] == [line.rstrip()]
    assert main(["episodes", "view", str(bad), "--out", seen, "--json"]) == 2
    assert json.loads(capsys.readouterr().out)["result"]["files"] == []
    assert main(["episodes", "stats", str(bad)]) == 2


def test_a_film_of_frames_far_apart_is_no_longer_than_it_must_be(old: Path, tmp_path: Path) -> None:
    with h5py.File(old, "a") as file:
        file["decided_s"] = np.array([0.0, 1.0, 3500.0, 3501.0, 3502.0, 3503.0])
    assert main(["episodes", "view", str(old), "--out", str(tmp_path / "seen"), "--only", "mp4"]) == 0
    with av.open(str(tmp_path / "seen" / f"{old.stem}.mp4")) as container:
        assert len(list(container.decode(video=0))) == 70  # 1 s for each, 2 s for the one that stood an hour


def test_a_heat_map_is_a_png(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["episodes", "plan", "--picture", str(tmp_path / "x.txt")]) == 2
    assert "name a file that ends in .png" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_what_lies_beside_what_is_made_stays(old: Path, tmp_path: Path) -> None:
    mine = [tmp_path / "out.making", tmp_path / f"{old.stem}.making.png", tmp_path / f"{old.stem}.making.mcap"]
    mine[0].mkdir()
    for path in (mine[0] / "file", *mine[1:]):
        path.write_text("mine")
    assert main(["episodes", "export", str(old), "--to", "lerobot", "--out", str(tmp_path / "out")]) == 0
    assert main(["episodes", "export", str(old), "--to", "mcap", "--out", str(tmp_path)]) == 0
    assert main(["episodes", "view", str(old), "--only", "png", "--out", str(tmp_path)]) == 0
    assert [path.read_text() for path in (mine[0] / "file", *mine[1:])] == ["mine"] * 3
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []

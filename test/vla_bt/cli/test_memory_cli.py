"""``vla-bt memory``: shows what a tree left, or the machine alone; mistakes are one line."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import pytest

from vla_bt.app import memory_stress
from vla_bt.app.memory_stress import judge_rate, parse_size
from vla_bt.cli.main import build_parser, main
from vla_bt.cli.memory import sparkline, table
from vla_bt.memory import cgroup
from vla_bt.memory.monitor import REPORT_FILE
from vla_bt.memory.system import SystemMemory
from vla_bt.settings import SettingsError

REPORT = {
    "written_s": 0.0,
    "level": 3,
    "step": "int8",
    "words": "level 3, the policy has 8-bit weights; 850 MB available",
    "manual_only": "",
    "available_mb": 850.0,
    "total_mb": 16000.0,
    "limit_mb": 3221.0,
    "swap_used_mb": 0.0,
    "stalled_some_percent": 1.5,
    "stalled_full_percent": 0.25,
    "used_mb": 2371.0,
    "gpu": None,
    "processes": {
        "policy": {"pid": 7, "rss_mb": 500.0, "uss_mb": 450.5, "pss_mb": None, "growth_mb_h": [25.0, 21.0, 29.0], "leaking": True}
    },
    "events": [{"ago_s": 12.0, "level": 3, "words": "made the policy int8", "freed_mb": 446.4}],
    "recent": {"available_mb": [100.0, 200.0, 400.0], "period_s": 40.0},
}


@pytest.fixture(autouse=True)
def machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine with room for the stress run, whatever this one has."""
    monkeypatch.setattr(memory_stress, "read_system", lambda: SystemMemory(16_000.0, 16_500.0, 0.0))
    monkeypatch.setattr(memory_stress, "cgroup_available", lambda: None)


@pytest.fixture(autouse=True)
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("VLA_BT_RUNTIME_DIR", str(tmp_path))
    return tmp_path


def test_it_shows_what_the_tree_says(directory: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (directory / REPORT_FILE).write_text(json.dumps({**REPORT, "written_s": time.time()}))
    assert main(["memory", "--once"]) == 0
    shown = capsys.readouterr().out
    for words in (
        "level 3, the policy has 8-bit weights",
        "2371 MB used of a limit of 3221 MB",
        "stalled 1.5 % (fully 0.2 %)",
        "▁▃█  100 to 400 MB in 2 min",
        "+25.0 MB/h (+21.0 to +29.0)  LEAKING",
        "freed 446.4 MB",
    ):
        assert words in shown
    assert main(["memory", "--once", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["step"] == "int8"


def test_without_a_tree_it_shows_the_machine_and_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["memory", "--once", "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert (shown["words"], shown["level"]) == ("no tree runs here", None)
    assert shown["available_mb"] > 0.0
    assert main(["memory", "--once"]) == 0
    assert "none of the application's processes runs here" in capsys.readouterr().out


def test_a_sparkline_rises() -> None:
    assert sparkline([0.0, 50.0, 100.0]) == "▁▅█"
    assert sparkline([23_000.0, 23_300.0, 23_600.0]) == "▁▅█"
    assert sparkline([]) == ""
    assert sparkline([5.0, 5.0]) == "▁▁"


def test_a_given_up_policy_comes_first() -> None:
    assert table({**REPORT, "manual_only": "3 times in a row: out of memory"}).startswith("3 times in a row")


@pytest.mark.parametrize(("text", "size"), [("3G", 3 << 30), ("1500M", 1500 << 20), ("2.5g", 5 << 29), ("536870912", 1 << 29)])
def test_sizes(text: str, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "G", "3T", "-1G", "1M", "nan", "nanG", "infG", "9999999G"])
def test_sizes_that_make_no_sense(text: str) -> None:
    with pytest.raises(SettingsError, match="--limit is"):
        parse_size(text)


def test_where_no_group_can_be_made_it_ends_with_code_2(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(cgroup, "_groups", lambda *_: [])
    assert main(["memory", "stress", "--world", "lockstep", "--guard", "on", "--folder", str(tmp_path / "out")]) == 2
    assert "no writable memory cgroup, neither v2 nor v1" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("limit", "available_mb", "container", "words"),
    [
        ("64G", 16_000.0, None, "more than this machine can spare: 15258M are available, and 953M stay with the rest of it; "
                                "expected at most 14305M"),
        ("3G", 2_000.0, None, "expected at most 953M"),
        ("3G", 16_000.0, 3_500_000_000, "more than this container can spare: 3337M are available"),
        ("2G", 16_000.0, None, "the application takes 1335M, and level 0 needs 1645M beside it; expected at least 2981M"),
    ],
)  # fmt: skip
def test_a_limit_that_the_machine_cannot_spare_or_that_is_too_little_is_refused_before_anything_starts(
    limit: str,
    available_mb: float,
    container: int | None,
    words: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(memory_stress, "read_system", lambda: SystemMemory(available_mb, 16_500.0, 0.0))
    monkeypatch.setattr(memory_stress, "cgroup_available", lambda: container)
    assert main(["memory", "stress", "--limit", limit, "--folder", str(tmp_path / "out")]) == 2
    error = capsys.readouterr().err
    assert words in error
    assert len(error.strip().splitlines()) == 1
    assert not (tmp_path / "out").exists()


def test_a_rate_is_judged_only_where_the_machine_gave_one() -> None:
    assert judge_rate(19.9, 19.5, 20.0) == {"tick rate kept (95% of what it was without the hog)": True}
    assert list(judge_rate(20.0, 18.9, 20.0).values()) == [False]
    assert list(judge_rate(25.0, 19.1, 20.0).values()) == [True]
    assert judge_rate(6.3, 6.3, 20.0) == {"tick rate: too busy a machine to judge, 6.3 of 20 Hz before the hog came": False}


@pytest.mark.parametrize("arguments", [["--json", "clear"], ["clear", "--json"]])
def test_an_answer_is_json_wherever_it_is_asked_for(
    arguments: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    client = pytest.importorskip("vla_bt.ros.memory_client")
    monkeypatch.setattr(client, "ask_tree", lambda wish: f"{wish}: as you like")
    assert main(["memory", *arguments]) == 0
    assert json.loads(capsys.readouterr().out) == {"asked": "clear", "answer": "clear: as you like"}
    assert main(["memory", "release"]) == 0
    assert capsys.readouterr().out == "release: as you like\n"


@pytest.mark.parametrize("arguments", [["--json", "soak"], ["soak", "--json"], ["--json", "stress"], ["stress", "--json"]])
def test_the_proofs_take_json_before_and_after_their_name(arguments: list[str]) -> None:
    assert build_parser().parse_args(["memory", *arguments]).json
    assert not build_parser().parse_args(["memory", *(word for word in arguments if word != "--json")]).json


@pytest.mark.parametrize("verb", ["soak", "stress"])
def test_a_folder_that_is_a_file_is_one_line_and_nothing_is_left(
    verb: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "file"
    file.write_text("mine")
    before = set(Path("/dev/shm").glob(f"vla_bt-*-{os.getpid()}"))
    assert main(["memory", verb, "--folder", str(file)]) == 2
    assert capsys.readouterr().err.strip() == f"vla-bt memory: {file}: File exists"
    assert set(Path("/dev/shm").glob(f"vla_bt-*-{os.getpid()}")) == before
    assert file.read_text() == "mine"


@pytest.mark.parametrize(
    "arguments",
    [["stress", "--limit", "3X"], ["stress", "--policy", "no-such"], ["stress", "--hold", "0"], ["soak", "--minutes", "1"]],
)
def test_mistakes_are_one_line(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["memory", *arguments]) == 2
    assert len(capsys.readouterr().err.strip().splitlines()) == 1

"""Whatever a file holds, reading it ends in an answer or in one line: cut short, damaged, foreign, or made to hurt."""

from __future__ import annotations

import io
import json
import re
import struct
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st
from mcap.writer import CompressionType, Writer

from vla_bt.control.causes import load_causes
from vla_bt.runlog.encoder import Moment
from vla_bt.runlog.log import RunLog
from vla_bt.runlog.places import run_folders
from vla_bt.runlog.reader import MAGIC, RunLogError, open_run, shown
from vla_bt.runlog.summary import figures, glance
from vla_bt.runlog.why import why
from vla_bt.settings import TreeSettings

Ticks = tuple[Any, list[Moment]]


class Whole:
    """A file's bytes, and where its last chunk ends; too long to be printed."""

    def __init__(self, path: Path) -> None:
        self.data = path.read_bytes()
        last = open_run(path)._chunks[-1]
        self.end = last.offset + last.length


@pytest.fixture(scope="module")
def whole(ticks: Ticks, tmp_path_factory: pytest.TempPathFactory) -> Whole:
    """A small log."""
    runs = tmp_path_factory.mktemp("whole")
    log = RunLog(ticks[0], load_causes(), TreeSettings(), runs, "test", 0.0, patient=True)
    for moment in ticks[1][:60]:
        log.take(moment)
    log.close("done")
    return Whole(run_folders(runs)[0] / "000.mcap")


@pytest.fixture(scope="module")
def scratch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file to try bytes in."""
    return tmp_path_factory.mktemp("scratch") / "000.mcap"


def use(path: Path) -> list[str]:
    """Do all that is done with a log; returns its notes, or the one line that refuses it."""
    try:
        run = open_run(path)
        glance(run)
        figures(run)
        why(run).in_words()
        why(run, (run.first_s + run.last_s) / 2.0).to_dict()
    except RunLogError as error:
        return [str(error)]
    return run.notes


def mcap(*messages: tuple[str, bytes], compression: CompressionType = CompressionType.ZSTD) -> bytes:
    """Return a file with these (topic, data) and our structure."""
    file = io.BytesIO()
    writer = Writer(file, compression=compression)
    writer.start()
    channels: dict[str, int] = {}
    for index, (topic, data) in enumerate(messages):
        if topic not in channels:
            channels[topic] = writer.register_channel(topic, "json", 0)
        writer.add_message(channels[topic], 10**18 + index * 10**8, data, 0)
    writer.finish()
    return file.getvalue()


HEAD = {"t": 0.0, "format": 1, "world": "ros", "started": "now", "nodes": [], "causes": {}, "settings": {}}


def ours(topic: str, **content: Any) -> bytes:
    return mcap(("/run", json.dumps(HEAD).encode()), (topic, json.dumps({"t": 0.1, "tick": 1, "full": True, **content}).encode()))


def chunk(size: int, data: bytes, checksum: int = 0, length: int | None = None) -> bytes:
    body = struct.pack("<QQQII", 10**18, 10**18, size, checksum, 4) + b"zstd" + struct.pack("<Q", len(data)) + data
    return MAGIC + b"\x06" + struct.pack("<Q", len(body) if length is None else length) + body


BOMB = zstandard.compress(b"\0" * 500_000_000, 1)

FILES: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "empty"),
    "text": (b"not a log at all", "not an MCAP file"),
    "magic alone": (MAGIC, "it holds nothing|cut short"),
    "foreign": (mcap(("/tf", b"{}")), r"'t'|not a run log of vla_bt"),
    "foreign with time": (mcap(("/tf", b'{"t": 1.0}')), "not a run log of vla_bt"),
    "foreign, binary": (mcap(("/camera", b"\xff\xd8\xff")), "not a run log of vla_bt"),
    "another compression": (mcap(("/run", b"{}"), compression=CompressionType.LZ4), "expected zstd"),
    "another format": (mcap(("/run", json.dumps({**HEAD, "format": 99}).encode())), "format 99; this version reads 1"),
    "a bomb": (chunk(10_000_000, BOMB), "checksum is wrong"),
    "an honest bomb": (chunk(500_000_000, BOMB), "a chunk of 500000000 bytes"),
    "a record longer than the file": (chunk(10, b"x", length=2**62), "cut short"),
    "a chunk without content": (MAGIC + b"\x06" + struct.pack("<Q", 0), "damaged"),
    "deep JSON": (mcap(("/run", b"[" * 100_000)), "not a run log"),
    "a huge number": (mcap(("/run", b'{"t": 1' + b"0" * 10_000 + b"}")), "not a run log"),
    "not a time": (mcap(("/run", b'{"t": NaN, "format": 1}')), "not a run log"),
    "a head that is a list": (mcap(("/run", b"[1, 2]")), "not a run log"),
    "nodes that are none": (ours("/tree", changes=[{"node": 7, "name": "x", "status": "y", "message": "z"}]), "can't be used"),
    "a request of text": (ours("/request", asked="fast"), "can't be used"),
    "causes that are none": (ours("/causes", active=[3]), "can't be used"),
    "a gate without words": (ours("/gate", applied={"x": 0, "y": 0, "z": 0}), "can't be used"),
    "a goal of nothing": (ours("/goal"), "can't be used"),
}


@pytest.mark.parametrize("name", FILES)
def test_a_hostile_file_is_one_line(name: str, scratch: Path) -> None:
    data, words = FILES[name]
    scratch.write_bytes(data)
    tracemalloc.start()
    (line,) = use(scratch)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert re.search(words, line), line
    assert peak < 60_000_000


def test_a_log_may_hold_messages_of_a_later_version(scratch: Path) -> None:
    scratch.write_bytes(ours("/novelty", anything=[1, 2, 3]))
    assert use(scratch) == []


@settings(max_examples=40, deadline=None)
@given(cut=st.integers(0, 10**6))
def test_a_log_cut_anywhere_is_read_as_far_as_it_goes(whole: Whole, scratch: Path, cut: int) -> None:
    cut %= len(whole.data)
    scratch.write_bytes(whole.data[:cut])
    notes = use(scratch)
    if cut < whole.end:
        (note,) = notes
        assert re.search("cut short|empty|not an MCAP file|holds nothing", note)


@settings(max_examples=80, deadline=None)
@given(flips=st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 255)), min_size=1, max_size=5))
def test_flipped_bytes_never_raise_anything_else(whole: Whole, scratch: Path, flips: list[tuple[int, int]]) -> None:
    data = bytearray(whole.data)
    for place, value in flips:
        data[place % len(data)] = value
    scratch.write_bytes(data)
    assert all("\n" not in note for note in use(scratch))


def test_a_damaged_chunk_costs_itself_alone(ticks: Ticks, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vla_bt.runlog.log.FLUSH_PERIOD_S", 0.0)
    log = RunLog(ticks[0], load_causes(), TreeSettings(), tmp_path, "test", 0.0, patient=True)
    for moment in ticks[1]:
        log.take(moment)
    log.close("done")
    path = run_folders(tmp_path)[0] / "000.mcap"
    places = open_run(path)._chunks
    assert len(places) > 100
    data = bytearray(path.read_bytes())
    middle = places[50]
    data[middle.offset + 60] ^= 0xFF
    path.write_bytes(data)
    run = open_run(path)
    found = figures(run)
    assert found["ticks"] == 300
    assert len(run.notes) == 1
    assert f"damaged at byte {middle.offset}" in run.notes[0]
    assert why(run, 14.0).leaf


def test_nothing_from_a_file_reaches_the_terminal_raw() -> None:
    assert shown("a\x1b[2Jb\nc\x00\u202e") == "a [2Jb c  "


def test_escape_sequences_in_a_goal_are_shown_inert(scratch: Path) -> None:
    event = {"id": 1, "state": "active", "text": "\x1b]0;pwned\x07", "reason": "", "at_s": 0.1, "of": 1, "step": 1, "doing": ""}
    scratch.write_bytes(ours("/goal", **event))
    words = why(open_run(scratch)).in_words()
    assert "pwned" in words
    assert "\x1b" not in words
    assert "\x07" not in words


def write_run(directory: Path, ticks: Ticks, count: int = 60) -> str:
    log = RunLog(ticks[0], load_causes(), TreeSettings(), directory, "test", 0.0, patient=True)
    for moment in ticks[1][:count]:
        log.take(moment)
    log.close("done")
    return run_folders(directory)[-1].name


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("../../etc", "no run log|no such"),
        ("/etc/passwd", "not an MCAP file"),
        ("..", "is not the name of a run"),
        ("-x", "is not the name of a run"),
        ("a b", "is not the name of a run"),
        ("nobody", "no run 'nobody'"),
        ("", "is not the name of a run"),
    ],
)
def test_a_name_that_is_none_is_one_line_and_exit_code_2(
    ticks: Ticks, tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, words: str
) -> None:
    from vla_bt.cli.main import main

    write_run(tmp_path, ticks, 5)
    assert main(["runs", "why", "--runs-dir", str(tmp_path), "--", name]) == 2
    error = capsys.readouterr().err
    assert error.startswith("vla-bt runs: ")
    assert error.count("\n") == 1
    assert re.search(words, error)


def run_verb(capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    from vla_bt.cli.main import main

    def call(*arguments: str) -> tuple[int, str, str]:
        code = main(["runs", *arguments])
        out, err = capsys.readouterr()
        return code, out, err

    return call


def test_the_verbs_list_show_and_explain(ticks: Ticks, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    call = run_verb(capsys)
    directory = ("--runs-dir", str(tmp_path))
    assert call("ls", *directory) == (0, f"no runs in {tmp_path}\n", "")
    name = write_run(tmp_path, ticks)
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "000.mcap").write_bytes(b"rubbish")
    code, out, err = call("ls", *directory)
    assert code == 0
    assert name in out
    assert "3.0 s" in out
    assert err == f"{tmp_path}/broken: not an MCAP file\n"
    listed = json.loads(call("ls", *directory, "--json")[1])
    assert [row["name"] for row in listed["runs"]] == [name]
    assert len(listed["unreadable"]) == 1

    code, out, _ = call("show", name[:12], *directory)
    assert code == 0
    assert "60 ticks; done" in out
    assert json.loads(call("show", str(tmp_path / name), "--json")[1])["ticks"] == 60

    code, out, _ = call("why", f"{tmp_path}/{name}/000.mcap", "--at", "2.5")
    assert code == 0
    assert "nothing held it: 'Follow policy' drove since 0." in out
    answer = json.loads(call("why", name, *directory, "--at", "2.5", "--json")[1])
    assert (answer["held"], answer["path"][-1], answer["mode"]) == (False, "Follow policy", "vla")
    code, _, err = call("why", name, *directory, "--at", "nan")
    assert (code, err.count("\n")) == (2, 1)

"""The report's files: what people wrote is shown, never run; every figure can be made again by the command beside it."""

from __future__ import annotations

import json
import re
import shlex
import xml.etree.ElementTree as ElementTree
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from vla_bt.cli.main import main
from vla_bt.eval.job import Job
from vla_bt.eval.junit import junit_xml
from vla_bt.eval.page import page
from vla_bt.eval.report import Part, comparison, report
from vla_bt.eval.scenario import jobs_of, load_scenario

EVIL = "<script>alert('x')</script> & \"go\" \x07 to the cup"
TIMING = {"runs": 2, "wall_s": 3.0, "jobs": 1, "simulated_per_wall": 5.0, "simulated_per_core_second": 6.0}


def outcome(job: Job, ok: bool) -> dict[str, Any]:
    trace = [[0.2 * step, 0.1 * step, 0.0, 0.0, 0.3, 0.0, 0.1, 3 if step < 8 else 0] for step in range(12)]
    result = {
        "goal_state": "reached" if ok else "active",
        "goals": [{"text": job.goal, "end": "active", "reason": EVIL}],
        "claims": [{"evidence": "policy stop signal", "at_s": 2.0, "distance_m": 0.7, "moved": [0, 0, 0], "true": ok}],
        "cup_distance_m": 0.3,
        "contact": "",
        "false_reached": not ok,
        "sides_passed": ["left"],
        "side_told": job.side,
        "time_s": 9.0,
        "path_length_m": 3.0,
        "path_ratio": 1.0,
        "smoothness": 0.1,
        "policy": {"name": EVIL, "label": EVIL, "weights_hash": "ab" * 32},
    }
    found = {"job": job.to_dict(), "ok": ok, "failure": "" if ok else "false reached", "result": result, "trace": trace}
    versions = {"versions": {"code": "c0de", "policy": "beef"}}
    return found | {"timing": {"wall_s": 1.0, "cpu_s": 0.5}} | versions | ({} if ok else {"tree": {"end": EVIL}})


def parts_of(goal: str = EVIL, policies: tuple[str, ...] = ("expert", "untrained")) -> list[Part]:
    from dataclasses import replace

    name, scenario = load_scenario("document")
    parts = []
    for policy in policies:
        jobs = list(jobs_of(name, scenario, policy, range(2)))[:6]
        outcomes = [outcome(replace(job, goal=goal), ok=index % 2 == 0) for index, job in enumerate(jobs)]
        parts.append(Part(name, name, scenario, policy, range(2), (), outcomes))
    return parts


class Reader(HTMLParser):
    """Collects what a browser would load, run and show."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.loaded: list[str] = []
        self.commands: list[str] = []
        self.text: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        for name, value in attrs:
            assert not name.startswith("on"), (tag, name)
            if name in ("src", "href") and value is not None:
                self.loaded.append(value)
            if name == "data-copy" and value is not None:
                self.commands.append(value)

    def handle_data(self, data: str) -> None:
        self.text.append(data)


def test_the_page_holds_all_it_shows_and_runs_nothing_that_people_wrote(tmp_path: Path) -> None:
    parts = parts_of()
    (tmp_path / "sheets").mkdir()
    (tmp_path / "sheets" / "a.jpg").write_bytes(b"\xff\xd8jpeg")
    parts[0].outcomes[1]["sheet"] = "sheets/a.jpg"
    html = page(parts, [report(part) for part in parts], TIMING, tmp_path)
    reader = Reader()
    reader.feed(html)
    assert reader.tags.count("script") == 1
    assert "alert" not in html[html.rindex("<script>") :]
    assert any("alert('x')" in text for text in reader.text)  # shown as words
    assert all(re.match("#|data:image/jpeg;base64,", address) for address in reader.loaded), reader.loaded
    assert sum(address.startswith("data:") for address in reader.loaded) == 1
    assert "http" not in html.replace("http-equiv", "")
    assert {"summary", "svg", "polyline", "table", "figure"} <= set(reader.tags)
    assert html.index("id='failures'") < html.index("id='tables'") < html.index("id='runs'")
    assert "prefers-color-scheme: dark" in html


def test_each_cell_s_command_gives_exactly_its_jobs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    part = parts_of("go", ("expert",))[0]
    entry = report(part)
    assert len(entry["cells"]) == 6
    cell = entry["cells"][3]
    assert cell["interval"] == [0.0, 0.7935]
    words = shlex.split(cell["again"])
    assert words[:2] == ["vla-bt", "eval"]
    assert main([*words[1:], "--print-jobs"]) == 0
    jobs = [Job.from_json(line) for line in capsys.readouterr().out.splitlines()]
    assert [job.seed for job in jobs] == [0, 1]
    assert all(getattr(job, axis) == cell[axis] for job in jobs for axis in ("scene", "distance", "position", "pattern"))
    reader = Reader()
    reader.feed(page([part], [entry], TIMING, tmp_path))
    assert cell["again"] in reader.commands


def test_junit_counts_and_survives_odd_characters() -> None:
    text = junit_xml(parts_of())
    root = ElementTree.fromstring(text)
    suite = root.find("testsuite")
    assert suite is not None
    assert (suite.get("tests"), suite.get("failures"), suite.get("errors")) == ("6", "3", "0")
    failure = suite.find("testcase/failure")
    assert failure is not None
    assert failure.get("message") == "false reached"
    assert "vla-bt eval --job" in str(failure.text)
    assert "\x07" not in text


def test_a_failure_s_command_holds_the_whole_job() -> None:
    failed = report(parts_of("it's a goal; rm -rf $HOME", ("expert",))[0])["failed"][0]
    words = shlex.split(failed["again"])
    assert words[:3] == ["vla-bt", "eval", "--job"]
    assert Job.from_json(words[3]).to_dict() == json.loads(json.dumps(failed["job"]))


def test_policies_stand_side_by_side() -> None:
    entries = [report(part) for part in parts_of()]
    lines = comparison(entries).splitlines()
    assert lines[1].split() == ["expert", "untrained"]
    assert lines[2].count("50.0% (18.8%-81.2%)") == 2
    assert comparison(entries[:1]) == ""

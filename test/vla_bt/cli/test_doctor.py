"""``vla-bt doctor``: each line is judged rightly, and the exit code follows the worst."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import pytest

from vla_bt.cli import doctor
from vla_bt.cli.doctor import FAIL, OK, WARN, Finding
from vla_bt.settings import TreeSettings


def parse(*words: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    doctor.add_parser(parser.add_subparsers())
    return parser.parse_args(["doctor", *words])


def find(findings: list[Finding], name: str) -> Finding:
    return next(finding for finding in findings if finding.name == name)


@pytest.fixture
def bare(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine without ROS and simulator, where probes of other processes are not made."""
    monkeypatch.setattr(doctor.importlib.util, "find_spec", lambda name: None)
    monkeypatch.setattr(doctor, "probe", lambda code, timeout_s=60.0, **environment: (None, "not tried"))


def test_a_probe_returns_what_the_program_printed() -> None:
    answer, why = doctor.probe("import os, json; print('noise'); print(json.dumps({'seen': os.environ['PROBED']}))", PROBED="yes")
    assert answer == {"seen": "yes"}
    assert why == ""


@pytest.mark.parametrize(
    ("code", "why"),
    [
        ("import no_such_module_at_all", "ModuleNotFoundError: No module named 'no_such_module_at_all'"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", "killed by signal 11"),
        ("raise SystemExit(3)", "exit code 3"),
        ("print('not json')", "no answer"),
        ("import time; time.sleep(60)", "no answer within 0.5 s"),
    ],
)
def test_a_failed_probe_says_why_in_one_line(code: str, why: str) -> None:
    assert doctor.probe(code, timeout_s=0.5 if "sleep" in code else 60.0) == (None, why)


def test_core_packages_of_this_environment_are_found_with_versions() -> None:
    finding = find(doctor.check_packages(), "packages")
    assert finding.level == OK
    assert "numpy 2." in finding.text or "numpy 1." in finding.text


def test_a_missing_core_package_fails_and_a_missing_simulator_warns(monkeypatch: pytest.MonkeyPatch) -> None:
    required = ["numpy>=1", "no-such-package>=2", 'no-such-simulator==3; extra == "sim"', 'ruff; extra == "dev"']
    monkeypatch.setattr(doctor.importlib.metadata, "requires", lambda name: required)
    findings = doctor.check_packages()
    core, sim = find(findings, "packages"), find(findings, "packages [sim]")
    assert (core.level, core.text) == (FAIL, "missing: no-such-package")
    assert (sim.level, sim.text, sim.advice) == (WARN, "missing: no-such-simulator", "run: pip install 'vla_bt[sim]'")


@pytest.mark.usefixtures("bare")
def test_what_is_optional_only_warns() -> None:
    for finding in (doctor.check_ros(), doctor.check_py_trees_ros(), doctor.check_rendering(), doctor.check_gpu()):
        assert finding.level == WARN
        assert finding.advice


def test_what_is_installed_but_broken_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor.importlib.util, "find_spec", lambda name: object())
    monkeypatch.setattr(doctor, "probe", lambda code, timeout_s=60.0, **environment: (None, "killed by signal 11"))
    for finding in (doctor.check_ros(), doctor.check_rendering()):
        assert finding.level == FAIL
        assert "killed by signal 11" in finding.text
    assert "libegl1 libegl-mesa0 libgl1-mesa-dri libopengl0" in doctor.check_rendering().advice


def test_a_blank_picture_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor.importlib.util, "find_spec", lambda name: object())
    monkeypatch.setattr(doctor, "probe", lambda code, timeout_s=60.0, **environment: ({"ms": 3.0, "spread": 0, "by": "x"}, ""))
    assert doctor.check_rendering().level == FAIL


@pytest.mark.parametrize(("available_mb", "level"), [(499.0, FAIL), (500.0, WARN), (1499.0, WARN), (1500.0, OK)])
def test_memory_is_judged_by_the_trees_own_limits(available_mb: float, level: str) -> None:
    settings = TreeSettings(memory_warn_mb=1500.0, memory_critical_mb=500.0)
    assert doctor.check_memory(available_mb, settings).level == level


@pytest.mark.parametrize(("free_mb", "level"), [(15, FAIL), (17, WARN), (63, WARN), (65, OK)])
def test_shared_memory_is_judged_by_what_a_camera_needs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, free_mb: int, level: str
) -> None:
    monkeypatch.setattr(doctor.shutil, "disk_usage", lambda path: argparse.Namespace(free=free_mb * 1_000_000))
    assert doctor.check_shared_memory(tmp_path).level == level


def test_no_shared_memory_at_all_fails(tmp_path: Path) -> None:
    finding = doctor.check_shared_memory(tmp_path / "absent")
    assert (finding.level, finding.advice) == (FAIL, "set VLA_BT_RUNTIME_DIR to a directory on a tmpfs")


@pytest.mark.parametrize(("worst", "code"), [(OK, 0), (WARN, 0), (FAIL, 1)])
def test_the_exit_code_follows_the_worst_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], worst: str, code: int
) -> None:
    findings = [Finding("first", OK, "fine", took_ms=1.25), Finding("second", worst, "seen", "" if worst == OK else "do this")]
    monkeypatch.setattr(doctor, "examine", lambda: findings)
    assert parse().run(parse()) == code
    printed = capsys.readouterr().out
    assert f"{worst:4}  second  seen" in printed
    assert ("-> do this" in printed) == (worst != OK)

    assert parse("--json").run(parse("--json")) == code
    answer = json.loads(capsys.readouterr().out)
    assert answer["result"]["ok"] == (code == 0)
    assert [check["level"] for check in answer["result"]["checks"]] == [OK, worst]
    assert answer["timing"] == {"first_ms": 1.2}


@pytest.mark.sim
def test_this_machine_renders() -> None:
    pytest.importorskip("mujoco")
    finding = doctor.check_rendering()
    assert finding.level == OK, finding
    assert finding.took_ms is not None
    assert finding.took_ms > 0

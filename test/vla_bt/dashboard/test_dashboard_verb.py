"""``vla-bt dashboard`` as a user meets it: an address that can't be had is one line and exit code 2, over the real process."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from vla_bt.app.processes import beside
from vla_bt.cli.main import main

pytest.importorskip("rclpy")


@pytest.mark.ros
def test_a_port_that_is_taken_is_one_line_of_the_whole_program(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        ended = subprocess.run(
            [sys.executable, "-m", "vla_bt.cli.main", "dashboard", "--port", str(port), "--host", "127.0.0.1"],
            env={**os.environ, "ROS_DOMAIN_ID": str(1 + (os.getpid() + 57) % 100), "VLA_BT_RUNTIME_DIR": str(tmp_path)},
            capture_output=True,
            text=True,
            timeout=120,
        )
    assert ended.returncode == 2
    assert ended.stdout == ""
    assert ended.stderr == f"vla-bt dashboard: can't listen on 127.0.0.1 port {port}: Address already in use\n"


@pytest.mark.parametrize("host", ["", " ", "a b", "a\x1b[2J"])
def test_what_is_no_address_is_refused_before_anything_is_opened(host: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["dashboard", "--host", host]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.count("\n") == 1
    assert said.err.isascii()
    assert "is no address; expected" in said.err
    assert "\x1b" not in said.err


def test_a_run_says_that_its_page_is_missing(capfd: pytest.CaptureFixture[str]) -> None:
    with beside("dashboard", "dashboard", "--port", "99999", missed="there is no page"):
        said = ""
        while "has ended" not in said:
            time.sleep(0.02)
            said += capfd.readouterr().err
    assert said.endswith("dashboard has ended (exit code 2): there is no page\n")


def test_a_page_that_ends_with_its_run_is_not_missed(capfd: pytest.CaptureFixture[str]) -> None:
    with beside("dashboard", "dashboard", "--help", missed="there is no page"):
        pass
    assert "there is no page" not in capfd.readouterr().err

"""Lines reach rclpy's log at their level, one kind at most once a second, and ``--log-level`` decides what is shown."""

from __future__ import annotations

import asyncio
import logging
import os
import re
import signal
import subprocess
import sys

import aiohttp
import pytest

pytest.importorskip("rclpy")
from vla_bt.ros.logs import KINDS_KEPT, RosHandler
from vla_bt.runlog.topics import Level

pytestmark = pytest.mark.ros


def record(level: int, text: str, *values: object) -> logging.LogRecord:
    return logging.LogRecord("vla_bt.x", level, __file__, 1, text, values, None)


def test_levels_are_kept_and_repeated_lines_are_counted() -> None:
    told: list[tuple[Level, str]] = []
    now_s = [10.0]
    handler = RosHandler(lambda level, text: told.append((level, text)), lambda: now_s[0])
    for level in (logging.DEBUG, logging.INFO, logging.WARNING, logging.ERROR, logging.CRITICAL):
        handler.handle(record(level, f"line {level}"))
    assert [level for level, _ in told] == [Level.DEBUG, Level.INFO, Level.WARNING, Level.ERROR, Level.FATAL]
    told.clear()
    for count in range(5):
        handler.handle(record(logging.WARNING, "page %d\nis odd", count))
        now_s[0] += 0.3
    assert [text for _, text in told] == ["page 0 is odd", "page 4 is odd (3 more like this meanwhile)"]
    for count in range(3 * KINDS_KEPT):
        handler.handle(record(logging.WARNING, f"kind {count}"))
    assert len(handler._told) <= KINDS_KEPT


@pytest.mark.parametrize(("level", "shown"), [("info", True), ("warn", False)])
def test_the_dashboards_lines_follow_the_log_level(level: str, shown: bool, ros_environment: dict[str, str]) -> None:
    command = [sys.executable, "-m", "vla_bt.cli.main", "dashboard", "--port", "0", "--log-level", level]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(command, text=True, env={**os.environ, **ros_environment}, **pipes) as process:  # type: ignore[call-overload]
        found = re.search(r"http://\S+", process.stdout.readline())
        assert found
        root = found[0].rstrip("/")

        async def look() -> None:
            async with aiohttp.ClientSession() as session, session.ws_connect(f"{root}/feed", origin=root) as socket:
                assert (await socket.receive_json(timeout=20.0))["type"] == "hello"

        asyncio.run(look())
        process.send_signal(signal.SIGINT)
        _, told = process.communicate(timeout=30.0)
    assert process.returncode == 0
    assert ("[INFO]" in told and "page 1" in told) is shown, told

"""A ROS context of this test run's own: its own domain, this machine only."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

DOMAIN = 1 + (os.getpid() + 50) % 100


@pytest.fixture(scope="session")
def ros_environment() -> Iterator[dict[str, str]]:
    """What is set for this run's processes; they set the rest themselves."""
    pytest.importorskip("rclpy")
    from vla_bt.ros.environment import prepare

    before = dict(os.environ)
    os.environ.update(ROS_DOMAIN_ID=str(DOMAIN), ROS_AUTOMATIC_DISCOVERY_RANGE="LOCALHOST")
    prepare()
    yield dict(os.environ)
    os.environ.clear()
    os.environ.update(before)


@pytest.fixture(scope="session")
def ros_context(ros_environment: dict[str, str]) -> Iterator[Any]:
    """An initialised context."""
    import rclpy

    context = rclpy.Context()
    rclpy.init(context=context)
    yield context
    context.try_shutdown()


@pytest.fixture(scope="module")
def runtime_dir() -> Iterator[Path]:
    """A runtime directory with a path short enough for sockets."""
    path = Path(tempfile.mkdtemp(prefix="vla_bt-test-", dir="/dev/shm"))
    yield path
    shutil.rmtree(path, ignore_errors=True)

"""What the user has set stays; what is unset is set so that pictures get through and nothing leaves this machine."""

import os
import subprocess
import sys
import xml.etree.ElementTree as ElementTree

import pytest

from vla_bt.ros import environment
from vla_bt.ros.environment import prepare
from vla_bt.settings import SettingsError, config_path

VARIABLES = (
    *("ROS_AUTOMATIC_DISCOVERY_RANGE", "ROS_LOCALHOST_ONLY", "ROS_DISTRO", "RMW_IMPLEMENTATION"),
    *("FASTRTPS_DEFAULT_PROFILES_FILE", "FASTDDS_DEFAULT_PROFILES_FILE"),
)


@pytest.fixture(autouse=True)
def bare(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(environment.importlib.util, "find_spec", lambda _: object())
    for name in VARIABLES:
        monkeypatch.setenv(name, "")  # so that what prepare() sets is taken back
        monkeypatch.delenv(name)


def test_bare_environment_is_completed() -> None:
    prepare()
    assert os.environ["ROS_AUTOMATIC_DISCOVERY_RANGE"] == "LOCALHOST"
    assert "ROS_LOCALHOST_ONLY" not in os.environ
    for name in VARIABLES[-2:]:
        assert os.environ[name] == str(config_path("fastdds.xml"))


def test_humble_has_other_names(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ROS_DISTRO", "humble")
    prepare()
    assert os.environ["ROS_LOCALHOST_ONLY"] == "1"
    assert "ROS_AUTOMATIC_DISCOVERY_RANGE" not in os.environ


def test_the_users_choices_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ROS_AUTOMATIC_DISCOVERY_RANGE", "SUBNET")
    monkeypatch.setenv("FASTRTPS_DEFAULT_PROFILES_FILE", "/etc/mine.xml")
    prepare(publishes_images=True)
    assert os.environ["ROS_AUTOMATIC_DISCOVERY_RANGE"] == "SUBNET"
    assert os.environ["FASTRTPS_DEFAULT_PROFILES_FILE"] == "/etc/mine.xml"
    assert "FASTDDS_DEFAULT_PROFILES_FILE" not in os.environ


def test_another_middleware_gets_no_profile(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RMW_IMPLEMENTATION", "rmw_cyclonedds_cpp")
    prepare()
    assert "FASTRTPS_DEFAULT_PROFILES_FILE" not in os.environ


def test_a_child_that_publishes_pictures_replaces_its_parents_profile(monkeypatch: pytest.MonkeyPatch) -> None:
    prepare()
    prepare(publishes_images=True)
    assert os.environ["FASTRTPS_DEFAULT_PROFILES_FILE"] == str(config_path("fastdds_images.xml"))
    monkeypatch.setenv("FASTRTPS_DEFAULT_PROFILES_FILE", "")
    prepare(publishes_images=True)
    assert os.environ["FASTRTPS_DEFAULT_PROFILES_FILE"], "an empty one is an error in Fast DDS"


def test_missing_rclpy_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(environment.importlib.util, "find_spec", lambda _: None)
    with pytest.raises(SettingsError, match=r"pip install 'vla_bt\[ros\]'") as caught:
        prepare()
    assert "\n" not in str(caught.value)


def test_profiles_differ_in_the_segment_alone() -> None:
    space = "{http://www.eprosima.com/XMLSchemas/fastRTPS_Profiles}"
    plain, images = (ElementTree.parse(config_path(name)).getroot() for name in ("fastdds.xml", "fastdds_images.xml"))
    size = images.findtext(f".//{space}segment_size")
    assert size is not None
    assert int(size) >= 5 * 1280 * 720 * 3
    assert plain.find(f".//{space}segment_size") is None
    for word in ("leaseDuration", "leaseAnnouncement"):
        times = [[part.text for part in tree.findall(f".//{space}{word}/*")] for tree in (plain, images)]
        assert times[0] == times[1] != []


def test_freed_memory_is_kept() -> None:
    program = """
import resource, sys
import numpy as np
from vla_bt.ros.environment import keep_freed_memory

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(50):
        first, second, third = (np.ones(2_764_800, np.uint8) for _ in range(3))
        del first, second, third
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

usual = faults()
keep_freed_memory()
faults()
kept = faults()
print(usual, kept)
"""
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    usual, kept = map(int, result.stdout.split())
    if usual < 10_000:
        pytest.skip("this C library keeps freed memory by itself")
    assert kept < usual / 20

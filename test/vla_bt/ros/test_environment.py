"""What the user has set stays; what is unset is set so that pictures get through and nothing leaves this machine."""

import os
import xml.etree.ElementTree as ElementTree

import pytest

from vla_bt.ros import environment
from vla_bt.ros.environment import isolate, prepare
from vla_bt.settings import SettingsError, config_path

VARIABLES = (
    *("ROS_AUTOMATIC_DISCOVERY_RANGE", "ROS_LOCALHOST_ONLY", "ROS_DISTRO", "RMW_IMPLEMENTATION"),
    *("FASTRTPS_DEFAULT_PROFILES_FILE", "FASTDDS_DEFAULT_PROFILES_FILE"),
    *("ROS_DOMAIN_ID", "ROS_STATIC_PEERS", "ROS_DISCOVERY_SERVER", "VLA_BT_DEMO_DOMAIN"),
)
PROFILES = ("FASTRTPS_DEFAULT_PROFILES_FILE", "FASTDDS_DEFAULT_PROFILES_FILE")


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
    for name in PROFILES:
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


@pytest.mark.parametrize(
    "distribution, mine, other",
    [
        ("jazzy", ("ROS_AUTOMATIC_DISCOVERY_RANGE", "LOCALHOST"), "ROS_LOCALHOST_ONLY"),
        ("humble", ("ROS_LOCALHOST_ONLY", "1"), "ROS_AUTOMATIC_DISCOVERY_RANGE"),
    ],
)
def test_what_is_isolated_leaves_the_users_robot_alone(
    monkeypatch: pytest.MonkeyPatch, distribution: str, mine: tuple[str, str], other: str
) -> None:
    usual = 1 + os.getpid() % 100
    monkeypatch.setenv("ROS_DISTRO", distribution)
    for theirs in ("42", "0", str(usual)):
        for name, value in (
            ("ROS_DOMAIN_ID", theirs),
            ("ROS_AUTOMATIC_DISCOVERY_RANGE", "SUBNET"),
            ("ROS_LOCALHOST_ONLY", "0"),
            ("ROS_STATIC_PEERS", "10.0.0.1"),
            ("ROS_DISCOVERY_SERVER", "10.0.0.1:11811"),
        ):
            monkeypatch.setenv(name, value)
        domain = isolate()
        prepare()
        assert 1 <= domain <= 101
        assert str(domain) != theirs
        assert os.environ["ROS_DOMAIN_ID"] == str(domain)
        assert os.environ[mine[0]] == mine[1]
        assert not {other, "ROS_STATIC_PEERS", "ROS_DISCOVERY_SERVER"} & set(os.environ)


@pytest.mark.parametrize("domain", ["0", "7", "101"])
def test_a_domain_may_be_chosen_for_what_is_isolated(monkeypatch: pytest.MonkeyPatch, domain: str) -> None:
    monkeypatch.setenv("VLA_BT_DEMO_DOMAIN", domain)
    assert isolate() == int(domain) == int(os.environ["ROS_DOMAIN_ID"])


@pytest.mark.parametrize("domain", ["102", "-1", "one", "1.5", "\u0661"])
def test_what_is_no_domain_is_one_line(monkeypatch: pytest.MonkeyPatch, domain: str) -> None:
    monkeypatch.setenv("VLA_BT_DEMO_DOMAIN", domain)
    with pytest.raises(SettingsError, match=r"VLA_BT_DEMO_DOMAIN is .*; expected a ROS domain from 0 to 101") as caught:
        isolate()
    assert "\n" not in str(caught.value)


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

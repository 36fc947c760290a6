"""The environment every ROS process of this package starts in: call :func:`prepare` before ``rclpy.init``.

Promises: what the user has set stays; without it, discovery keeps to this machine and Fast DDS gets the profile that lets raw
720p pictures through (``config/fastdds.xml``, ``config/fastdds_images.xml``: measured, see there). The same on Humble, whose
variables have other names. What starts robots of its own (demo, benchmarks) calls :func:`isolate` first: there the user's
domain and range do not stay, or a second gate could come onto a real robot's ``cmd_vel``.
"""

from __future__ import annotations

import importlib.util
import os

from vla_bt.settings import SettingsError, config_path

PROFILES = {False: "fastdds.xml", True: "fastdds_images.xml"}
_PROFILE_VARIABLES = ("FASTRTPS_DEFAULT_PROFILES_FILE", "FASTDDS_DEFAULT_PROFILES_FILE")  # before and from Fast DDS 3 on
_PEERS = ("ROS_STATIC_PEERS", "ROS_DISCOVERY_SERVER")  # would find others in spite of the range
_DOMAIN_VARIABLE = "VLA_BT_DEMO_DOMAIN"
_LAST_DOMAIN = 101  # with higher ones, ports reach into those Linux hands out by itself


def prepare(publishes_images: bool = False) -> None:
    """Set what is unset for ROS: discovery range, Fast DDS profile.

    Parameters
    ----------
    publishes_images : bool
        Give this process the shared-memory segment that raw pictures need.

    Raises
    ------
    SettingsError
        When there is no rclpy here, with how to get it.
    """
    if importlib.util.find_spec("rclpy") is None:
        raise SettingsError(
            "no rclpy here: source the ROS 2 setup (. /opt/ros/<distro>/setup.bash), or pip install 'vla_bt[ros]'"
        )
    if os.environ.get("ROS_DISTRO") == "humble":
        os.environ.setdefault("ROS_LOCALHOST_ONLY", "1")
    elif "ROS_LOCALHOST_ONLY" not in os.environ:  # deprecated there, but who sets it means it
        os.environ.setdefault("ROS_AUTOMATIC_DISCOVERY_RANGE", "LOCALHOST")
    if "fastrtps" not in os.environ.get("RMW_IMPLEMENTATION", "rmw_fastrtps_cpp"):
        return
    ours = {str(config_path(name)) for name in PROFILES.values()}
    # A profile of ours may be a parent's, who publishes no pictures: it is replaced; an empty one would be an error in Fast DDS.
    if all(os.environ.get(name, "") in {"", *ours} for name in _PROFILE_VARIABLES):
        os.environ.update(dict.fromkeys(_PROFILE_VARIABLES, str(config_path(PROFILES[publishes_images]))))


def isolate() -> int:
    """Give this process and its children a ROS domain of their own on this machine, whatever is set; returns the domain.

    ``VLA_BT_DEMO_DOMAIN`` chooses it; otherwise it follows from the process id and is neither 0 nor the user's.

    Raises
    ------
    SettingsError
        When that variable is no domain.
    """
    chosen = os.environ.get(_DOMAIN_VARIABLE, "")
    if not chosen:
        domain = 1 + os.getpid() % 100
        if os.environ.get("ROS_DOMAIN_ID", "").strip() == str(domain):
            domain = _LAST_DOMAIN
    elif chosen.isascii() and chosen.isdigit() and int(chosen) <= _LAST_DOMAIN:
        domain = int(chosen)
    else:
        raise SettingsError(f"{_DOMAIN_VARIABLE} is {chosen!r}; expected a ROS domain from 0 to {_LAST_DOMAIN}")
    for name in ("ROS_LOCALHOST_ONLY", "ROS_AUTOMATIC_DISCOVERY_RANGE", *_PEERS):
        os.environ.pop(name, None)
    if os.environ.get("ROS_DISTRO") == "humble":
        os.environ["ROS_LOCALHOST_ONLY"] = "1"
    else:
        os.environ["ROS_AUTOMATIC_DISCOVERY_RANGE"] = "LOCALHOST"
    os.environ["ROS_DOMAIN_ID"] = str(domain)
    return domain

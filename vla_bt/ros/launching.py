"""What the launch files share: the application's processes with topics, namespace and parameter file as arguments.

Promises: each node is ``python -m`` of its module, so that it starts the same from a colcon workspace and from pip; a node that
dies is started again, one that refuses its parameters (exit code 2) ends the launch; a parameter file that a namespace would make
void is refused in words. A namespaced robot gets a runtime directory of its own.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from vla_bt.settings import SettingsError, config_path, read_yaml
from vla_bt.wire import runtime_directory

if TYPE_CHECKING:  # ``launch`` comes with ROS, not from PyPI: only who launches needs it
    from launch.actions import ExecuteProcess, Shutdown
    from launch.events.process import ProcessExited

    from launch import LaunchContext, LaunchDescriptionEntity

TOPICS = (
    "camera/image",
    "camera/camera_info",
    "cmd_vel",
    "teleop/cmd_vel",
    "emergency_stop",
    "goal",
    "mode",
    "odom",
    "scan",
    "battery_state",
    "contact",
)
RESTART_DELAY_S = 0.5
USER_MISTAKE = 2


def common_arguments() -> list[LaunchDescriptionEntity]:
    """Declare namespace, parameter file and one argument for each topic (``teleop/cmd_vel`` is ``teleop_cmd_vel``)."""
    from launch.actions import DeclareLaunchArgument

    return [
        DeclareLaunchArgument("namespace", default_value="", description="namespace of nodes and topics: a second robot"),
        DeclareLaunchArgument(
            "params_file", default_value=str(config_path("robot.yaml")), description="parameters of all nodes but the camera"
        ),
        *(
            DeclareLaunchArgument(topic.replace("/", "_"), default_value=topic, description=f"topic to use as {topic}")
            for topic in TOPICS
        ),
    ]


def value(context: LaunchContext, name: str) -> str:
    """Return a launch argument's value."""
    from launch.substitutions import LaunchConfiguration

    return str(LaunchConfiguration(name).perform(context))


def node(
    context: LaunchContext, module: str, *options: str, files: tuple[Path, ...] = (), respawn: bool = True
) -> ExecuteProcess:
    """Make one node's process.

    Parameters
    ----------
    context : LaunchContext
        Holds the common arguments.
    module : str
        Of :mod:`vla_bt.ros`.
    options : str
        Its own options, or ROS arguments such as ``-p name:=value`` after ``--ros-args``.
    files : tuple of Path
        Parameter files instead of the common one.
    respawn : bool
        Start it again when it has ended.
    """
    from launch.actions import ExecuteProcess

    namespace = value(context, "namespace").strip("/")
    words = list(options) if "--ros-args" in options else [*options, "--ros-args"]
    for file in files or (Path(value(context, "params_file")),):
        check_file(file, namespace)
        words += ["--params-file", str(file)]
    for topic in TOPICS:
        name = value(context, topic.replace("/", "_"))
        if name != topic:
            words += ["-r", f"{topic}:={name}"]
    if namespace:
        words += ["-r", f"__ns:=/{namespace}"]
    return ExecuteProcess(
        cmd=[sys.executable, "-m", f"vla_bt.ros.{module}", *words],
        name=module,
        output="screen",
        additional_env=_environment(namespace),
        respawn=respawn,
        respawn_delay=RESTART_DELAY_S,
        on_exit=_end_on_mistake,
    )


def check_file(path: Path, namespace: str) -> None:
    """Refuse a parameter file of which a namespaced node would read nothing.

    Raises
    ------
    SettingsError
        With what to write instead.
    """
    content = read_yaml(path)
    if namespace:
        for name in content:
            if not str(name).startswith("/"):
                raise SettingsError(f"{path}: '{name}:' is not read in the namespace /{namespace}; write '/**/{name}:'")


def _environment(namespace: str) -> dict[str, str]:
    if not namespace or "VLA_BT_RUNTIME_DIR" in os.environ:
        return {}
    domain = os.environ.get("ROS_DOMAIN_ID", "0")
    return {"VLA_BT_RUNTIME_DIR": str(runtime_directory(f"{domain}-{namespace.replace('/', '-')}"))}


def _end_on_mistake(event: ProcessExited, _: LaunchContext) -> Shutdown | None:
    from launch.actions import Shutdown

    if event.returncode == USER_MISTAKE:
        return Shutdown(reason=f"{event.process_name} refused to start")
    return None

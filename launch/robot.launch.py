"""The application on a robot: camera bridge, gate and tree, which runs the policy's worker; with a camera node where asked for.

    ros2 launch vla_bt robot.launch.py policy:=hybrid camera:=csi:0
    ros2 launch vla_bt robot.launch.py namespace:=second params_file:=second.yaml cmd_vel:=base/cmd_vel

The robot's own driver hears ``cmd_vel`` and publishes ``odom``, ``scan`` and ``battery_state``, as far as the parameter
``required_inputs`` lists them.
"""

from launch.actions import DeclareLaunchArgument, OpaqueFunction

from launch import LaunchContext, LaunchDescription, LaunchDescriptionEntity
from vla_bt.ros.launching import common_arguments, node, value
from vla_bt.settings import config_path


def processes(context: LaunchContext) -> list[LaunchDescriptionEntity]:
    """Return the processes: the gate first, so that somebody sends zero before anybody asks for more."""
    tree = ["--ros-args"]
    for parameter in ("policy", "initial_mode"):
        if given := value(context, parameter):
            tree += ["-p", f"{parameter}:={given}"]
    started = [node(context, "gate_node"), node(context, "camera_bridge"), node(context, "tree_node", *tree)]
    if source := value(context, "camera"):
        device = source.startswith(("csi:", "usb:"))  # a file ends, and that is that
        started.append(node(context, "camera_node", "--source", source, files=(config_path("camera.yaml"),), respawn=device))
    return started


def generate_launch_description() -> LaunchDescription:
    """Declare the arguments and start the processes."""
    return LaunchDescription(
        [
            *common_arguments(),
            DeclareLaunchArgument("policy", default_value="", description="policy instead of the parameter file's"),
            DeclareLaunchArgument("initial_mode", default_value="", description="mode at start instead of the parameter file's"),
            DeclareLaunchArgument(
                "camera",
                default_value="",
                description="csi:N, usb:N, a file or folder; empty: another node publishes camera/image",
            ),
            OpaqueFunction(function=processes),
        ]
    )

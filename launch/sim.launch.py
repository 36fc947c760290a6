"""The application with the simulated robot instead of a real one.

ros2 launch vla_bt sim.launch.py scene:=2box_hori_right seed:=7 policy:=expert initial_mode:=vla
ros2 topic pub --once goal std_msgs/msg/String "data: go around the boxes on the right to the cup"
"""

from pathlib import Path

from launch.actions import DeclareLaunchArgument, IncludeLaunchDescription, OpaqueFunction
from launch.launch_description_sources import PythonLaunchDescriptionSource

from launch import LaunchContext, LaunchDescription, LaunchDescriptionEntity
from vla_bt.ros.launching import node, value

OPTIONS = ("scene", "distance", "position", "pattern", "seed", "camera_rate")


def simulator(context: LaunchContext) -> list[LaunchDescriptionEntity]:
    """Return the simulated robot's process."""
    options = []
    for name in OPTIONS:
        if given := value(context, name):
            options += [f"--{name.replace('_', '-')}", given]
    return [node(context, "sim_node", *options)]


def generate_launch_description() -> LaunchDescription:
    """Declare the arguments, include the application, start the simulator."""
    application = PythonLaunchDescriptionSource(str(Path(__file__).with_name("robot.launch.py")))
    return LaunchDescription(
        [
            *(
                DeclareLaunchArgument(name, default_value="", description=f"see vla-bt sim --help, --{name.replace('_', '-')}")
                for name in OPTIONS
            ),
            IncludeLaunchDescription(application),
            OpaqueFunction(function=simulator),
        ]
    )

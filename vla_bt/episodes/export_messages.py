"""Definitions of the standard ROS 2 messages that an exported episode holds, as they stand in the distribution's .msg files."""

from __future__ import annotations

import re

_FIELDS = {
    "builtin_interfaces/Time": "int32 sec\nuint32 nanosec",
    "std_msgs/Header": "builtin_interfaces/Time stamp\nstring frame_id",
    "std_msgs/String": "string data",
    "sensor_msgs/CompressedImage": "std_msgs/Header header\nstring format\nuint8[] data",
    "geometry_msgs/Vector3": "float64 x\nfloat64 y\nfloat64 z",
    "geometry_msgs/Vector3Stamped": "std_msgs/Header header\ngeometry_msgs/Vector3 vector",
    "geometry_msgs/Point": "float64 x\nfloat64 y\nfloat64 z",
    "geometry_msgs/Quaternion": "float64 x 0\nfloat64 y 0\nfloat64 z 0\nfloat64 w 1",
    "geometry_msgs/Twist": "geometry_msgs/Vector3 linear\ngeometry_msgs/Vector3 angular",
    "geometry_msgs/TwistStamped": "std_msgs/Header header\ngeometry_msgs/Twist twist",
    "geometry_msgs/Pose": "geometry_msgs/Point position\ngeometry_msgs/Quaternion orientation",
    "geometry_msgs/PoseWithCovariance": "geometry_msgs/Pose pose\nfloat64[36] covariance",
    "geometry_msgs/TwistWithCovariance": "geometry_msgs/Twist twist\nfloat64[36] covariance",
    "nav_msgs/Odometry": "std_msgs/Header header\nstring child_frame_id\n"
    "geometry_msgs/PoseWithCovariance pose\ngeometry_msgs/TwistWithCovariance twist",
}
_RULER = "=" * 80


def definition(name: str) -> str:
    """Return a message's definition followed by those of all it is made of, as MCAP's encoding ``ros2msg`` wants them.

    Parameters
    ----------
    name : str
        Such as ``nav_msgs/Odometry``.
    """
    parts: list[str] = []
    waiting = [name]
    while waiting:
        part = waiting.pop(0)
        if part not in parts:
            parts.append(part)
            waiting += re.findall(r"^(\w+/\w+)", _FIELDS[part], re.MULTILINE)
    return _FIELDS[name] + "".join(f"\n{_RULER}\nMSG: {part}\n{_FIELDS[part]}" for part in parts[1:]) + "\n"

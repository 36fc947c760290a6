"""``/diagnostics`` of the tree's process, once a second: the rows of :mod:`vla_bt.diagnosis`, as any ROS monitor reads them."""

from __future__ import annotations

import socket
from collections.abc import Sequence

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from rclpy.node import Node

from vla_bt.diagnosis import Row
from vla_bt.ros import qos


def status_row(node: Node, row: Row) -> DiagnosticStatus:
    """Return a row as a message, named after the node and the machine it runs on."""
    name = f"{node.get_fully_qualified_name()}: {row.what}"
    status = DiagnosticStatus(level=bytes([row.level]), name=name, message=row.message, hardware_id=socket.gethostname())
    status.values = [KeyValue(key=key, value=str(value)) for key, value in row.values.items()]
    return status


class TreeDiagnostics:
    """Publishes rows.

    Parameters
    ----------
    node : Node
        The tree's.
    """

    def __init__(self, node: Node) -> None:
        self._node = node
        self._publisher = node.create_publisher(DiagnosticArray, "/diagnostics", qos.COMMAND)

    def publish(self, rows: Sequence[Row]) -> None:
        """Publish all rows."""
        array = DiagnosticArray(status=[status_row(self._node, row) for row in rows])
        array.header.stamp = self._node.get_clock().now().to_msg()
        self._publisher.publish(array)

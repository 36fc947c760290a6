"""The tree's rows as ROS messages: named after node and machine, at the level a monitor knows."""

from __future__ import annotations

import pytest

pytest.importorskip("rclpy")
from diagnostic_msgs.msg import DiagnosticStatus

from vla_bt.diagnosis import ERROR, OK, STALE, WARN, Row
from vla_bt.ros import diagnostics

pytestmark = pytest.mark.ros


def test_levels_are_those_of_ros() -> None:
    known = (DiagnosticStatus.OK, DiagnosticStatus.WARN, DiagnosticStatus.ERROR, DiagnosticStatus.STALE)
    assert tuple(bytes([level]) for level in (OK, WARN, ERROR, STALE)) == known


def test_a_row_is_named_after_its_node_and_machine(ros_environment: dict[str, str]) -> None:
    import rclpy
    from rclpy.node import Node

    context = rclpy.Context()
    rclpy.init(context=context)
    node = Node("tree", namespace="robot2", context=context)
    try:
        status = diagnostics.status_row(node, Row("gate", WARN, "latched", {"source": "policy"}))
    finally:
        node.destroy_node()
        rclpy.shutdown(context=context)
    assert status.name == "/robot2/tree: gate"
    assert (status.level, status.message) == (DiagnosticStatus.WARN, "latched")
    assert status.hardware_id
    assert {pair.key: pair.value for pair in status.values}["source"] == "policy"

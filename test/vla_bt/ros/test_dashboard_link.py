"""A dashboard that was busy for a moment has missed no snapshot: each alone tells what changed since the last."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest


@pytest.mark.ros
def test_snapshots_that_pile_up_are_all_heard_in_order(ros_context: Any) -> None:
    from rclpy.node import Node
    from std_msgs.msg import String

    from vla_bt.ros import qos
    from vla_bt.ros.dashboard_node import RosLink

    heard: list[int] = []
    listener = Node("busy_dashboard", context=ros_context, namespace="piled_up")
    link = RosLink(listener, lambda kind, text: heard.append(json.loads(text)["number"]))
    speaker = Node("tree", context=ros_context, namespace="piled_up")
    publisher = speaker.create_publisher(String, "tree/snapshot", qos.LATCHED)
    end_s = time.monotonic() + 20.0
    while publisher.get_subscription_count() == 0:
        assert time.monotonic() < end_s
        time.sleep(0.01)
    for number in range(20):
        publisher.publish(String(data=json.dumps({"number": number})))
        time.sleep(0.01)
    link.start()
    while len(heard) < 20 and time.monotonic() < end_s:
        time.sleep(0.01)
    link.close()
    speaker.destroy_node()
    listener.destroy_node()
    assert heard == list(range(20))

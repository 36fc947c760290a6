"""A person's wishes to the memory guard, over its services."""

from __future__ import annotations

import rclpy
from rclpy.node import Node
from std_srvs.srv import SetBool, Trigger

WAIT_S = 5.0


def ask_tree(wish: str) -> str | None:
    """Carry a wish to the tree: ``clear``, ``next`` or ``release``. Returns its answer, None when nobody answers."""
    rclpy.init()
    node = Node("memory_wish")
    try:
        clear = wish == "clear"
        client = node.create_client(Trigger, "tree/memory/clear") if clear else node.create_client(SetBool, "tree/memory/level")
        if not client.wait_for_service(timeout_sec=WAIT_S):
            return None
        future = client.call_async(Trigger.Request() if clear else SetBool.Request(data=wish == "next"))
        rclpy.spin_until_future_complete(node, future, timeout_sec=WAIT_S)
        answer = future.result() if future.done() else None
        return str(answer.message) if answer is not None else None
    finally:
        node.destroy_node()
        rclpy.try_shutdown()

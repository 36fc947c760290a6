"""The memory guard towards ROS: services, log lines, and the order in which the kernel would kill.

Promises: a service returns at once, since the callbacks of the robot's inputs share its thread; what was done is logged with what
it freed, measured. Services: ``~/memory/clear`` (std_srvs/Trigger) clears all caches; ``~/memory/level`` (std_srvs/SetBool) with
true goes one level up and holds it, with false hands back to the guard and tries a policy again that was given up.
"""

from __future__ import annotations

import contextlib
from pathlib import Path

from rclpy.node import Node
from std_srvs.srv import SetBool, Trigger

from vla_bt.memory.monitor import MemoryMonitor

OOM_SCORES = {"tree": 200, "bridge": 300, "camera": 400, "sim": 400, "dashboard": 600}
"""Whom the kernel kills earlier: the worker (800) first, the gate (-999 where allowed, otherwise 0) last."""


def first_to_go(role: str) -> None:
    """Tell the kernel's memory killer that this process may go before the gate; raising one's own score is always allowed."""
    path = Path("/proc/self/oom_score_adj")
    with contextlib.suppress(OSError, ValueError):
        if int(path.read_text(encoding="ascii")) < OOM_SCORES[role]:
            path.write_text(str(OOM_SCORES[role]), encoding="ascii")


class MemoryDesk:
    """Where people meet the guard.

    Parameters
    ----------
    node : Node
        The tree's.
    memory : MemoryMonitor
    """

    def __init__(self, node: Node, memory: MemoryMonitor) -> None:
        self._node, self._memory = node, memory
        self._logged = 0
        node.create_service(Trigger, "~/memory/clear", self._on_clear)
        node.create_service(SetBool, "~/memory/level", self._on_level)

    def log_events(self) -> None:
        """Log what has happened since this was called last."""
        for event in self._memory.events_since(self._logged):
            self._logged = event.number
            self._node.get_logger().warning(f"memory: {event}")

    def _on_clear(self, request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        wait_s = self._memory.ask_clear()
        when = (
            f"the policy's caches are being cleared, the tree's again in {wait_s:.0f} s" if wait_s else "caches are being cleared"
        )
        response.success, response.message = True, f"{when}; what that frees is logged and in vla-bt memory"
        return response

    def _on_level(self, request: SetBool.Request, response: SetBool.Response) -> SetBool.Response:
        response.success = True
        if request.data:
            level = self._memory.ask_next_level()
            response.message = f"level {level.number} ({level.words}) is held until this is called with false"
        else:
            self._memory.ask_release()
            response.message = "the guard decides alone again; a policy that was given up is tried again; the mode stays as it is"
        return response

"""The memory guard towards ROS: diagnostics, services, log lines, and the order in which the kernel would kill.

Promises: a service returns at once, since the callbacks of the robot's inputs share its thread; what was done is logged with what
it freed, measured. Services: ``~/memory/clear`` (std_srvs/Trigger) clears all caches; ``~/memory/level`` (std_srvs/SetBool) with
true goes one level up and holds it, with false hands back to the guard and tries a policy again that was given up.
"""

from __future__ import annotations

import contextlib
from pathlib import Path

from diagnostic_msgs.msg import DiagnosticStatus, KeyValue
from rclpy.node import Node
from std_srvs.srv import SetBool, Trigger

from vla_bt.memory.ladder import Level
from vla_bt.memory.monitor import STALE_S, MemoryMonitor
from vla_bt.policy.port import PolicyStatus

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

    def rows(self, policy: PolicyStatus) -> list[DiagnosticStatus]:
        """Return the guard's rows of diagnostics, and log what has happened since."""
        for event in self._memory.events_since(self._logged):
            self._logged = event.number
            self._node.get_logger().warning(f"memory: {event}")
        report = self._memory.report()
        if not report:
            return [self._row("memory", DiagnosticStatus.STALE, "no sample yet", {})]
        level, state = DiagnosticStatus.OK, self._memory.state
        if report["level"] or any(row["leaking"] for row in report["processes"].values()):
            level = DiagnosticStatus.WARN
        if report["manual_only"] or (state is not None and state.level is Level.UNLOAD):
            level = DiagnosticStatus.ERROR
        stale = report["age_s"] > STALE_S
        names = ("level", "step", "available_mb", "total_mb", "limit_mb", "swap_used_mb", "stalled_some_percent", "age_s")
        values: dict[str, object] = {name: report[name] for name in names}
        values["out_of_memory"] = policy.out_of_memory
        if policy.memory is not None and policy.memory.gpu_reserved_mb:
            values["gpu_allocated_mb"] = round(policy.memory.gpu_allocated_mb, 1)
            values["gpu_reserved_mb"] = round(policy.memory.gpu_reserved_mb, 1)
        if report["gpu"] is not None:
            values["gpu_free_mb"] = round(report["gpu"]["free_mb"], 1)
        words = report["manual_only"] or report["words"]
        rows = [self._row("memory", DiagnosticStatus.STALE if stale else level, words, values)]
        for role, row in report["processes"].items():
            growth = row["growth_mb_h"]
            words = f"{row['rss_mb']:.0f} MB resident"
            if growth is not None:
                words += f", grows by {growth[0]:.1f} MB/h (95 %: {growth[1]:.1f} to {growth[2]:.1f})"
            level = DiagnosticStatus.WARN if row["leaking"] else DiagnosticStatus.OK
            figures = {name: row[name] for name in ("pid", "rss_mb", "uss_mb", "pss_mb") if row[name] is not None}
            rows.append(self._row(f"memory of {role}", DiagnosticStatus.STALE if stale else level, words, figures))
        return rows

    def _row(self, what: str, level: bytes, message: str, values: dict[str, object]) -> DiagnosticStatus:
        row = DiagnosticStatus(level=level, name=f"{self._node.get_fully_qualified_name()}: {what}", message=message)
        row.values = [KeyValue(key=key, value=str(value)) for key, value in values.items()]
        return row

    def _on_clear(self, request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        self._memory.ask_clear()
        response.success, response.message = True, "caches are being cleared; what that frees is logged and in vla-bt memory"
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

"""The memory guard's leaves: a threshold with two steps. None of them fails the branch; none does slow work on the tick."""

from __future__ import annotations

from py_trees.common import Status

from vla_bt.behaviours.leaf import Leaf
from vla_bt.memory.monitor import Level, MemoryReading


class MemoryFine(Leaf):
    """Read the monitor's newest sample; SUCCESS while nothing need be done."""

    WRITES = ("memory",)

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self._reading: MemoryReading | None = None

    def update(self) -> Status:
        """SUCCESS when fine (or nothing was sampled yet), FAILURE when the guard must act."""
        reading: MemoryReading | None = self.resources.memory.reading()
        if reading is None:
            self.feedback_message = "no sample yet"
            return Status.SUCCESS
        if reading is not self._reading:
            self._reading = reading
            self.write("memory", reading)
            self.feedback_message = f"{reading.available_mb:.0f} MB available"
        return Status.SUCCESS if reading.level is Level.OK else Status.FAILURE


class ClearCaches(Leaf):
    """Ask for the caches to be cleared, off the tick; SUCCESS while that may be enough."""

    READS = ("memory",)

    def update(self) -> Status:
        """SUCCESS at level ``clear``, FAILURE when memory is critical; asks in both cases."""
        reading: MemoryReading = self.read("memory")
        self.resources.memory.request_clear()
        self.feedback_message = f"clearing caches at {reading.available_mb:.0f} MB"
        return Status.SUCCESS if reading.level is Level.CLEAR else Status.FAILURE


class StopForMemory(Leaf):
    """Say that autonomy is stopped for memory; the cause itself is named by ``NameCauses``. Always SUCCESS."""

    READS = ("memory",)

    def update(self) -> Status:
        """SUCCESS: the last step of the ladder."""
        reading: MemoryReading = self.read("memory")
        self.feedback_message = f"autonomy stopped at {reading.available_mb:.0f} MB"
        return Status.SUCCESS

"""The memory guard's judgement: from a reading and what the policy says to what should be done now. No clock, no tree, no I/O.

Promises: those of :mod:`vla_bt.memory.ladder`; a step that disturbs inference is allowed only while the robot stands, or once
autonomy has been told to stop for :data:`STOP_S`; autonomy is only stopped for a step that frees memory, never for one that
takes a step back; every step is noted with what it freed, measured.
"""

from __future__ import annotations

from dataclasses import dataclass

from vla_bt.memory.ladder import Ladder, Level, after_out_of_memory, climb, limits_of
from vla_bt.memory.monitor import STALE_S, MemoryMonitor, MemoryReading
from vla_bt.policy.port import Grade, PolicyStatus
from vla_bt.settings import TreeSettings

STANDING_S = 0.3
"""A robot stands when it has not moved for this long [s]."""

STOP_S = 1.5
"""A robot that was told to stop has stopped by then, also one whose odometry nobody hears [s]."""

EFFECT_S = 2.0
"""After so long a step's effect is in the readings [s]."""

BLIND_S = 10.0
"""Without a sample for so long nobody knows what is left: autonomy stops [s]. From :data:`STALE_S` on no step is taken back."""

CLEAR_AGAIN_S = 30.0
"""While a level holds, caches are cleared once in this time [s]."""

SHORT_QUEUE = 4
"""Frames in recording's queue from level 2 on."""

GRADES = {Level.INT8: Grade.INT8, Level.LAYERS: Grade.LAYERS, Level.UNLOAD: Grade.UNLOADED}
"""The policy's grade at each level; full where nothing stands here."""


@dataclass(frozen=True)
class MemoryState:
    """What the guard wants now.

    Attributes
    ----------
    reading : MemoryReading
        What it was judged by.
    level : Level
        The ladder's.
    grade : Grade
        What the policy should be.
    act : bool
        The policy may be changed in this tick.
    stop : str
        Why autonomy must stop for a step, in words; empty if it need not.
    blind : str
        Why autonomy must stop because nobody knows how much memory is left, in words; empty if it need not.
    clear : bool
        Caches should be cleared now.
    forgive : bool
        A policy that was given up should be tried again now.
    manual_only : str
        Why nothing but manual driving is allowed, in words; empty if that isn't so.
    words : str
        For people.
    policy_grade : Grade
        What the policy is, or is becoming.
    out_of_memory : int
        How often the policy ended for want of memory.
    """

    reading: MemoryReading
    level: Level = Level.FINE
    grade: Grade = Grade.FULL
    act: bool = False
    stop: str = ""
    clear: bool = False
    forgive: bool = False
    manual_only: str = ""
    words: str = ""
    policy_grade: Grade = Grade.FULL
    out_of_memory: int = 0
    blind: str = ""

    @property
    def quiet(self) -> bool:
        """Nothing is in force and nothing is to be done."""
        return self.level is Level.FINE and not (self.act or self.stop or self.clear or self.forgive or self.blind)


class MemoryGuard:
    """Judges once a tick.

    Parameters
    ----------
    settings : TreeSettings
    memory : MemoryMonitor
        Where people's wishes come from and events go.
    """

    def __init__(self, settings: TreeSettings, memory: MemoryMonitor) -> None:
        self._limits = limits_of(settings)
        self._memory = memory
        self._ladder = Ladder()
        self._standing_since_s: float | None = None
        self._due_since_s: float | None = None
        self._footprint: dict[Grade, float] = {}
        self._changed: tuple[Grade, float, float] | None = None  # grade before, what the policy held [MB], since when [s]
        self._policy_mb = 0.0
        self._clear_due_s = 0.0
        self._clears = 0
        self._out_of_memory = 0
        self._gave_up = self._stale = False

    def judge(
        self, reading: MemoryReading, status: PolicyStatus, standing: bool, now_s: float, silence_s: float = 0.0
    ) -> MemoryState:
        """Judge.

        Parameters
        ----------
        reading : MemoryReading
            The newest.
        status : PolicyStatus
            Of this tick.
        standing : bool
            The robot does not move now.
        now_s : float
            The tick's time [s].
        silence_s : float
            How long there has been no sample although there should have been [s].
        """
        self._watch_samples(silence_s)
        self._watch_policy(reading, status, now_s)
        clear_asked, forgive = self._memory.take_asked()
        before = self._ladder
        if status.out_of_memory > self._out_of_memory:
            self._out_of_memory = status.out_of_memory
            self._memory.note(f"the policy ran out of memory: {status.detail}")
            level = {Grade.INT8: Level.INT8, Grade.LAYERS: Level.LAYERS}.get(status.grade, Level.INT8)
            self._ladder = after_out_of_memory(self._ladder, level, now_s, self._limits)
        self._ladder = climb(
            self._ladder,
            reading.available_mb,
            now_s,
            self._limits,
            cost_mb=self._cost_mb(status.grade),
            settled=not self._stale and self._settled(status, now_s),
            least=self._memory.least,
        )
        level = self._ladder.level
        if level is not before.level:
            way = "up" if level > before.level else "back"
            self._memory.note(f"{way} to level {level.number} ({level.words}) at {reading.available_mb:.0f} MB available")
            self._memory.forget_growth()
        grade = GRADES.get(level, Grade.FULL)
        act, stop = self._may_change(status, grade, standing, now_s)
        if level is Level.FINE:
            self._clear_due_s = now_s
        clear = clear_asked or (level >= Level.CLEAR and now_s >= self._clear_due_s)
        if clear:
            self._clear_due_s = now_s + CLEAR_AGAIN_S
        if status.gave_up and not self._gave_up:
            self._memory.note("the policy is given up; only manual driving is left")
        self._gave_up = status.gave_up
        manual_only = status.detail if status.gave_up and not forgive else ""
        words = f"level {level.number}, {level.words}; {reading.available_mb:.0f} MB available"
        silence = f"no sample for {silence_s:.0f} s"
        if self._stale:
            words += f" when last seen: {silence}"
        blind = silence if silence_s > BLIND_S else ""
        return MemoryState(
            reading, level, grade, act, stop, clear, forgive, manual_only, words, status.grade, status.out_of_memory, blind
        )

    def _watch_samples(self, silence_s: float) -> None:
        """Note when samples fail to come, and when they come again."""
        stale = silence_s > STALE_S
        if stale is not self._stale:
            self._stale = stale
            self._memory.note(
                f"no sample for {silence_s:.1f} s: nothing is taken back, and autonomy stops after {BLIND_S:g} s"
                if stale
                else "memory is sampled again"
            )

    def _watch_policy(self, reading: MemoryReading, status: PolicyStatus, now_s: float) -> None:
        """Learn what the policy holds at each grade, and measure what its steps freed."""
        process = reading.processes.get("policy")
        held = process.own_mb if process is not None else 0.0
        if self._changed is None:
            if status.state == "ready" and held:
                self._policy_mb = self._footprint[status.grade] = held
        elif now_s - self._changed[2] > EFFECT_S and (status.state == "ready" or status.grade is Grade.UNLOADED):
            before, before_mb, _ = self._changed
            self._changed = None
            if status.grade is Grade.UNLOADED:
                self._memory.note("unloaded the policy", before_mb)
            elif status.grade > before:
                shrunk = status.memory.shrunk_mb if status.memory is not None else 0.0
                self._memory.note(f"made the policy {status.grade.name.lower()}", shrunk)
            else:
                self._memory.note(f"loaded the policy as {status.grade.name.lower()}")
            self._memory.forget_growth()
        if status.memory is not None and status.memory.clears != self._clears:
            if status.memory.clears > self._clears:
                self._memory.note("cleared the policy's caches", status.memory.cleared_mb)
            self._clears = status.memory.clears

    def changing(self, status: PolicyStatus, now_s: float) -> None:
        """The policy is about to be changed, from what ``status`` says."""
        self._changed = (status.grade, self._policy_mb, now_s)

    def _cost_mb(self, grade: Grade) -> float:
        """Return what loading the policy anew will take at its peak, beyond what it holds now [MB]."""
        full = max(self._footprint.values(), default=0.0)
        return max(0.0, full - (0.0 if grade is Grade.UNLOADED else self._footprint.get(grade, 0.0)))

    def _settled(self, status: PolicyStatus, now_s: float) -> bool:
        if now_s - self._ladder.since_s < EFFECT_S:
            return False
        wanted = GRADES.get(self._ladder.level)
        if wanted is None:
            return True
        return self._changed is None and status.grade is wanted and (wanted is Grade.UNLOADED or status.state == "ready")

    def _may_change(self, status: PolicyStatus, grade: Grade, standing: bool, now_s: float) -> tuple[bool, str]:
        """Return whether the policy may be changed now, and why autonomy must stop for it."""
        if not standing:
            self._standing_since_s = None
        elif self._standing_since_s is None:
            self._standing_since_s = now_s
        if grade is status.grade or status.gave_up:
            self._due_since_s = None
            return False, ""
        frees = grade > status.grade
        if not frees:
            self._due_since_s = None
        elif self._due_since_s is None:
            self._due_since_s = now_s
        stands = self._standing_since_s is not None and now_s - self._standing_since_s >= STANDING_S
        told = self._due_since_s is not None and now_s - self._due_since_s >= STOP_S
        loading_back = not frees and self._changed is not None  # one step at a time
        return (stands or told) and not loading_back, f"the policy becomes {grade.name.lower()}" if frees else ""

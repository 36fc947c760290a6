"""The guard's judgement: steps that disturb inference only at rest or after a commanded stop, each noted with what it freed."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from vla_bt.memory.guard import STANDING_S, STOP_S, MemoryGuard, MemoryState
from vla_bt.memory.ladder import Level, needed
from vla_bt.memory.monitor import MemoryMonitor, MemoryReading
from vla_bt.memory.processes import ProcessMemory
from vla_bt.memory.system import SystemMemory
from vla_bt.policy.port import Grade, PolicyStatus, WorkerMemory
from vla_bt.settings import TreeSettings

SETTINGS = TreeSettings(memory_hold_s=2.0)
PERIOD_S = 0.05
HELD_MB = {Grade.FULL: 900.0, Grade.INT8: 450.0, Grade.LAYERS: 370.0, Grade.UNLOADED: 0.0}


class World:
    """A policy that obeys after a while, and memory that follows from it."""

    def __init__(self, changes_s: float = 0.5) -> None:
        self.now_s = 0.0
        self.memory = MemoryMonitor(SETTINGS, clock=lambda: self.now_s)
        self.guard = MemoryGuard(SETTINGS, self.memory)
        self.grade = Grade.FULL
        self.ready_s = 0.0
        self.changes_s = changes_s
        self.status = PolicyStatus("ready", "", None, 0, 0, 0, 0.0, memory=WorkerMemory(900.0))
        self.free_mb = 4000.0  # with no policy at all
        self.changes: list[tuple[float, Grade]] = []
        self.silent_since_s: float | None = None
        self.last: MemoryReading | None = None

    def tick(self, standing: bool) -> MemoryState:
        self.now_s += PERIOD_S
        ready = self.now_s >= self.ready_s and self.grade is not Grade.UNLOADED
        shrunk_mb = HELD_MB[Grade.FULL] - HELD_MB[self.grade]
        words = "ready" if ready else "dead" if self.grade is Grade.UNLOADED else "starting"
        self.status = replace(self.status, state=words, grade=self.grade, memory=WorkerMemory(0.0, shrunk_mb=shrunk_mb))
        held_mb = HELD_MB[self.grade]
        processes = {"policy": ProcessMemory(1, held_mb, held_mb)} if held_mb else {}
        reading = MemoryReading(max(0.0, self.free_mb - held_mb), self.now_s, SystemMemory(0.0, 0.0, 0.0), processes=processes)
        if self.silent_since_s is not None and self.last is not None:
            reading = self.last
        self.last = reading
        silence_s = 0.0 if self.silent_since_s is None else self.now_s - self.silent_since_s
        state = self.guard.judge(reading, self.status, standing, self.now_s, silence_s)
        self.memory.state = state
        if state.act:
            self.guard.changing(self.status, self.now_s)
            self.grade, self.ready_s = state.grade, self.now_s + self.changes_s
            self.changes.append((self.now_s, state.grade))
        return state

    def run(self, seconds: float, standing: bool = True) -> MemoryState:
        for _ in range(round(seconds / PERIOD_S)):
            state = self.tick(standing)
        return state

    def words(self) -> list[str]:
        return [event.words for event in self.memory.events_since(0)]


def test_with_enough_memory_nothing_is_wanted() -> None:
    state = World().run(1.0)
    assert state.quiet
    assert (state.level, state.grade, state.stop) == (Level.FINE, Grade.FULL, "")


def test_without_samples_nothing_is_taken_back_and_then_autonomy_stops() -> None:
    world = World()
    world.free_mb = 1600.0
    world.run(3.0)
    world.free_mb = 4000.0
    world.run(0.1)
    assert (world.guard._ladder.level, world.grade) == (Level.INT8, Grade.INT8)
    world.silent_since_s = world.now_s - 1.9
    state = world.run(7.1)
    assert state.level is Level.INT8, "there would have been room for long enough, had anybody looked"
    assert state.blind == ""
    assert "no sample for 9 s" in state.words
    assert world.words()[-1].startswith("no sample for 2.")
    state = world.run(2.0)
    assert state.blind == "no sample for 11 s"
    assert not state.quiet
    world.silent_since_s = None
    state = world.run(1.0)
    assert (state.blind, world.words()[-1]) == ("", "memory is sampled again")
    assert world.run(60.0).quiet


def test_down_the_whole_ladder_and_back_with_every_step_measured() -> None:
    world = World()
    world.run(1.0)
    for free_mb, level, grade in ((2300, 1, Grade.FULL), (2000, 2, Grade.FULL), (1700, 3, Grade.INT8), (1100, 4, Grade.LAYERS)):
        world.free_mb = free_mb
        state = world.run(4.0)
        assert (state.level, world.grade) == (level, grade)
    world.free_mb = 800.0
    state = world.run(4.0)
    assert (state.level, world.grade) == (Level.UNLOAD, Grade.UNLOADED)
    freed = {event.words: event.freed_mb for event in world.memory.events_since(0) if event.freed_mb is not None}
    assert freed == {"made the policy int8": 450.0, "made the policy layers": 530.0, "unloaded the policy": 370.0}
    world.free_mb = 4000.0
    state = world.run(30.0)
    assert (state.level, world.grade) == (Level.FINE, Grade.FULL)
    assert [grade for _, grade in world.changes] == [
        Grade.INT8, Grade.LAYERS, Grade.UNLOADED, Grade.LAYERS, Grade.INT8, Grade.FULL,
    ]  # fmt: skip


def test_a_moving_robot_is_told_to_stop_and_the_step_waits_for_it() -> None:
    world = World()
    world.run(1.0, standing=False)
    world.free_mb = 1700.0
    state = world.tick(standing=False)
    assert state.level is Level.INT8
    assert state.stop
    assert not state.act
    world.run(0.5, standing=False)
    assert not world.changes
    world.run(STANDING_S + 0.2, standing=True)
    assert [grade for _, grade in world.changes] == [Grade.INT8]


def test_a_robot_nobody_can_see_standing_counts_as_stopped_after_a_while() -> None:
    world = World()
    world.run(1.0, standing=False)
    world.free_mb, began_s = 1700.0, world.now_s
    world.run(STOP_S + 0.2, standing=False)
    assert len(world.changes) == 1
    assert world.changes[0][0] >= began_s + STOP_S


def test_nobody_is_stopped_for_a_step_back() -> None:
    world = World()
    world.run(1.0)
    world.free_mb = 1700.0
    world.run(4.0)
    assert world.grade == Grade.INT8
    world.free_mb = 4000.0
    for _ in range(600):
        state = world.tick(standing=False)
        assert not state.stop
    assert state.level is Level.FINE
    driving = world.grade
    assert driving is Grade.INT8, "loading back waits for the robot to stand"
    world.run(3.0, standing=True)
    assert world.grade == Grade.FULL  # type: ignore[comparison-overlap]


def test_what_loading_back_costs_is_known() -> None:
    """With room for level 0 but not for the full policy, the guard doesn't load it to throw it away again."""
    world = World()
    world.run(3.0)
    world.free_mb = 1200.0
    world.run(4.0)
    assert world.grade is Grade.UNLOADED
    world.free_mb = 1450.0
    world.run(60.0)
    assert world.grade is Grade.UNLOADED
    assert len(world.changes) == 1


def test_out_of_memory_goes_up_although_there_seems_to_be_room() -> None:
    world = World()
    world.run(1.0)
    world.grade = Grade.INT8  # the client has seen to that
    world.status = replace(world.status, out_of_memory=1, detail="killed by signal 9 by the kernel: out of memory")
    state = world.tick(standing=False)
    assert (state.level, state.grade, state.stop) == (Level.INT8, Grade.INT8, "")
    assert any("ran out of memory: killed by signal 9" in words for words in world.words())


def test_a_policy_that_was_given_up_leaves_manual_driving_until_somebody_forgives() -> None:
    world = World()
    world.run(1.0)
    world.status = replace(world.status, gave_up=True, detail="3 times in a row: out of memory")
    state = world.tick(standing=True)
    assert state.manual_only == "3 times in a row: out of memory"
    world.memory.ask_release()
    state = world.tick(standing=True)
    assert state.forgive
    assert state.manual_only == ""
    assert "the policy is given up; only manual driving is left" in world.words()


def test_people_can_ask() -> None:
    world = World()
    world.run(1.0)
    world.memory.ask_clear()
    assert world.tick(standing=True).clear
    assert not world.tick(standing=True).clear
    world.memory.ask_next_level()
    assert world.run(5.0).level is Level.CLEAR
    world.memory.ask_release()
    assert world.run(10.0).level is Level.FINE


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.floats(0.0, 5000.0), st.booleans(), st.integers(1, 80)), min_size=1, max_size=15),
    st.floats(0.05, 4.0),
)
def test_inference_is_disturbed_only_at_rest_or_after_a_commanded_stop(
    trace: list[tuple[float, bool, int]], changes_s: float
) -> None:
    world = World(changes_s)
    told_s: float | None = None
    stood_s: float | None = None
    for free_mb, standing, ticks in trace:
        world.free_mb = free_mb
        for _ in range(ticks):
            grade = world.grade
            state = world.tick(standing)
            assert state.level >= needed(state.reading.available_mb, world.guard._limits)
            told_s = (told_s if told_s is not None else world.now_s) if state.stop else None
            stood_s = (stood_s if stood_s is not None else world.now_s) if standing else None
            if state.act:
                at_rest = stood_s is not None and world.now_s - stood_s >= STANDING_S - 1e-9
                told = told_s is not None and world.now_s - told_s >= STOP_S - 1e-9
                assert at_rest or (told and state.grade > grade)
                assert state.grade is not grade
            if world.grade is not grade:
                told_s = None

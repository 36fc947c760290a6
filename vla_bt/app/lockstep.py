"""Lockstep: the simulator, the gate's rule and the tree in one process, on simulated time.

Promises: the same tree and the same gate rule as on the robot; nothing moves but in :meth:`LockstepRobot.advance`; the same
scene, seed and script give the same ``result``, bit for bit. Each request reaches the gate ``latency_s`` after it was sent, so
that lockstep doesn't flatter. A frame is rendered only when somebody consumes it, as the world was at its exposure.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict, deque
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vla_bt.camera.lens import Picture, framed, whole_size
from vla_bt.control.gate import GateRule
from vla_bt.port import Battery, Contact, FrameInfo, GateStatus, Operator, Request, Snapshot, TeleopInput
from vla_bt.settings import GateSettings, TreeSettings
from vla_bt.sim.world import SimWorld
from vla_bt.words import Mode, Twist

FRAMES_KEPT = 4
"""Like the ring on a robot: an older frame is gone."""


@dataclass
class Faults:
    """What the lockstep world withholds, switched by scenarios and tests."""

    camera_lost: bool = False
    camera_frozen: bool = False
    odometry_lost: bool = False
    scan_lost: bool = False
    gate_dead: bool = False


@dataclass(frozen=True)
class _Exposure:
    info: FrameInfo
    pose: tuple[float, float, float]


class LockstepRobot:
    """The ``Robot`` port over a :class:`SimWorld` in this process.

    Parameters
    ----------
    world : SimWorld
        The simulated robot.
    settings, gate_settings
        As on the robot; ``settings.required_inputs`` says which inputs this robot has.
    latency_s : float
        Delay of each request on its way to the gate [s].
    camera_period_s : float
        Time between frames [s]; a frame is exposed at the first tick at or after its due time.
    """

    def __init__(
        self,
        world: SimWorld,
        settings: TreeSettings,
        gate_settings: GateSettings,
        latency_s: float = 0.05,
        camera_period_s: float = 0.1,
    ) -> None:
        self.world = world
        self.gate = GateRule(gate_settings)
        self.faults = Faults()
        self.mode_line = ""
        self.goal_lines: deque[str] = deque(maxlen=200)
        self.proposed: Twist | None = None
        self.battery_fraction = 1.0
        self._settings = settings
        self._gate_period_s = gate_settings.period_s
        self._latency_s = latency_s
        self._camera_period_s = camera_period_s
        self._gate_steps = 0
        self._under_way: deque[tuple[float, Request]] = deque()
        self._status: GateStatus | None = None
        self._exposures: OrderedDict[int, _Exposure] = OrderedDict()
        self._sequence = 0
        self._next_exposure_s = 0.0
        self._teleop: TeleopInput | None = None
        self._modes: list[str] = []
        self._goals: list[str] = []
        self._records: list[bool] = []
        self._contact: Contact | None = None
        self.frames_rendered = 0
        self.frames_digest = hashlib.sha256()

    # ------------------------------------------------------------------ the port

    def now(self) -> float:
        """Simulated seconds."""
        return self.world.time_s

    def snapshot(self) -> Snapshot:
        """Copy all inputs this robot has."""
        now_s, has = self.now(), self._settings.required_inputs
        operator = Operator(self._teleop, tuple(self._modes), tuple(self._goals), tuple(self._records))
        self._modes, self._goals, self._records = [], [], []
        newest = next(reversed(self._exposures.values()), None)
        return Snapshot(
            now_s=now_s,
            frame=newest.info if newest is not None else None,
            odometry=self.world.odometry(now_s) if "odometry" in has and not self.faults.odometry_lost else None,
            scan=self.world.scan(now_s) if "scan" in has and not self.faults.scan_lost else None,
            battery=Battery(self.battery_fraction, now_s) if "battery" in has else None,
            contact=self._contact,
            gate=self._status,
            operator=operator,
        )

    def copy_frame(self, sequence: int) -> NDArray[np.uint8] | None:
        """Render a recent frame at the camera's own size."""
        return self.render_frame(sequence, 1280, 720)

    def send(self, request: Request) -> None:
        """Put a request on its way to the gate."""
        self._under_way.append((self.now() + self._latency_s, request))

    def publish_mode(self, mode: Mode, text: str) -> None:
        """Keep the line."""
        self.mode_line = f"{mode.value}: {text}"

    def publish_goal_status(self, text: str) -> None:
        """Keep the line."""
        self.goal_lines.append(text)

    def publish_action(self, twist: Twist) -> None:
        """Keep the policy's newest proposal."""
        self.proposed = twist

    # ------------------------------------------------------------------ people

    def press_teleop(self, twist: Twist) -> None:
        """A person asks for a velocity now."""
        self._teleop = TeleopInput(twist, self.now())

    def set_mode(self, mode: str) -> None:
        """A person asks for a mode."""
        self._modes.append(mode)

    def give_goal(self, text: str) -> None:
        """A person gives a goal."""
        self._goals.append(text)

    def record(self, wanted: bool) -> None:
        """A person starts or stops recording."""
        self._records.append(wanted)

    def emergency_stop(self, active: bool) -> None:
        """A person presses or releases the emergency stop."""
        self.gate.emergency_stop(active, self.now())

    def reset_emergency_stop(self) -> bool:
        """A person resets the latch."""
        return self.gate.reset(self.now())

    # ------------------------------------------------------------------ time

    def advance(self, duration_s: float) -> None:
        """Let simulated time pass: the gate steps, delayed requests arrive, physics moves, the camera exposes."""
        end_s = self.now() + duration_s
        while (due_s := self._gate_steps * self._gate_period_s) < end_s - 1e-9:
            self.world.advance(max(0.0, due_s - self.now()))
            self._step_gate(due_s)
            self._gate_steps += 1
        self.world.advance(max(0.0, end_s - self.now()))
        contact = self.world.contact(self.now())
        if contact is not None:
            self._contact = contact
        self._expose()

    def _step_gate(self, now_s: float) -> None:
        if self.faults.gate_dead:
            return
        while self._under_way and self._under_way[0][0] <= now_s + 1e-9:
            due_s, request = self._under_way.popleft()
            self.gate.receive(request, now_s, due_s - self._latency_s)
        self.world.command(self.gate.step(now_s))
        self._status = self.gate.status(now_s)

    def _expose(self) -> None:
        now_s = self.now()
        if now_s < self._next_exposure_s - 1e-9:
            return
        self._next_exposure_s += self._camera_period_s
        if self.faults.camera_lost:
            return
        self._sequence += 1
        newest = next(reversed(self._exposures.values()), None)
        pose = newest.pose if self.faults.camera_frozen and newest is not None else self.world.pose()
        # Equal poses give equal pictures, so the pose stands in for the checksum of pixels nobody may ever ask for.
        signature = int.from_bytes(hashlib.blake2b(np.array(pose).tobytes(), digest_size=4).digest(), "little")
        info = FrameInfo(self._sequence, now_s, now_s, 1280, 720, signature)
        self._exposures[self._sequence] = _Exposure(info, pose)
        while len(self._exposures) > FRAMES_KEPT:
            self._exposures.popitem(last=False)

    @property
    def newest_sequence(self) -> int:
        """Sequence of the newest frame, 0 before the first."""
        return self._sequence

    def policy_frame(self, sequence: int, picture: Picture) -> NDArray[np.uint8] | None:
        """Render a recent frame as a policy wants to see it; None when it is gone."""
        lens = self.world.lens
        frame = self.render_frame(sequence, *whole_size(picture, lens))
        return None if frame is None else framed(frame, lens, picture)

    def render_frame(self, sequence: int, width: int, height: int) -> NDArray[np.uint8] | None:
        """Render a recent frame at any size, as the world was at its exposure; None when it is gone."""
        exposure = self._exposures.get(sequence)
        if exposure is None:
            return None
        frame = self.world.render(width, height, exposure.pose)
        self.frames_rendered += 1
        self.frames_digest.update(frame.tobytes())
        return frame


def without(settings: TreeSettings, *inputs: str) -> TreeSettings:
    """Return the settings of a robot that lacks ``inputs``."""
    left = [name for name in settings.required_inputs if name not in inputs]
    return replace(settings, required_inputs=left)


def plain(value: Any) -> Any:
    """Round floats to 9 digits for a readable, reproducible ``result``."""
    if isinstance(value, float):
        return round(value, 9)
    if isinstance(value, dict):
        return {key: plain(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(entry) for entry in value]
    return value

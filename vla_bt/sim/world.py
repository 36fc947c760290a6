"""The simulated robot in its room: physics, camera, odometry, scan, contacts.

Promises: driven by simulated time alone: nothing moves but in :meth:`SimWorld.advance`, and the same scene and calls give the
same trajectory and the same frames, bit for bit. The base stops by itself when no command came for :data:`COMMAND_TIMEOUT_S` of
simulated time. The first contact is latched. Rendering works on a model of its own and can't influence the physics; it is set
up at the first frame, in the thread that asks for it (use one thread per world).
"""

from __future__ import annotations

import math
import zlib
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from vla_bt.camera.lens import Lens, lens_of
from vla_bt.port import Contact, Odometry, Scan
from vla_bt.sim.engine import mujoco
from vla_bt.sim.renderer import OverheadMap, SceneRenderer
from vla_bt.sim.scenes import ROBOT_RADIUS_M, Scene
from vla_bt.sim.truth import BoxTruth, Truth
from vla_bt.words import ZERO, Twist

TIMESTEP_S = 0.005
COMMAND_TIMEOUT_S = 0.5
SCAN_HEIGHT_M = 0.2
SCAN_RAYS = 240
SCAN_RANGE_M = 12.0
CUP_RADIUS_M = 0.065
CUP_HEIGHT_M = 0.16


class FirstContact(NamedTuple):
    """When the robot first touched something, and what touched what (geom names)."""

    time_s: float
    geoms: tuple[str, str]


def physics_xml(scene: Scene) -> str:
    """Write the MJCF of the physics: primitive shapes only, no looks.

    The base is two slides and a hinge with force-limited velocity actuators: 12 kg answers a command with a time constant of
    0.1 s and at most 6.7 m/s^2, slips along walls and is stopped by them.
    """
    room = scene.room
    mid_x, mid_y = (room.x_min + room.x_max) / 2, (room.y_min + room.y_max) / 2
    half_x, half_y, half_z = (room.x_max - room.x_min) / 2, (room.y_max - room.y_min) / 2, room.height / 2
    walls = {
        "wall_front": (room.x_max + 0.1, mid_y, 0.1, half_y + 0.2),
        "wall_back": (room.x_min - 0.1, mid_y, 0.1, half_y + 0.2),
        "wall_left": (mid_x, room.y_max + 0.1, half_x + 0.2, 0.1),
        "wall_right": (mid_x, room.y_min - 0.1, half_x + 0.2, 0.1),
    }
    still = [
        f'<geom name="{name}" type="box" pos="{x!r} {y!r} {half_z!r}" size="{hx!r} {hy!r} {half_z!r}"/>'
        for name, (x, y, hx, hy) in walls.items()
    ]
    still += [
        f'<geom name="box_{index}" type="box" pos="{box.x!r} {box.y!r} {box.half_z!r}" euler="0 0 {box.yaw!r}"'
        f' size="{box.half_x!r} {box.half_y!r} {box.half_z!r}"/>'
        for index, box in enumerate(scene.boxes, start=1)
    ]
    still.append(
        f'<geom name="cup" type="cylinder" pos="{scene.cup.x!r} {scene.cup.y!r} {CUP_HEIGHT_M / 2}"'
        f' size="{CUP_RADIUS_M} {CUP_HEIGHT_M / 2}"/>'
    )
    return f"""
<mujoco model="physics">
  <compiler angle="radian"/>
  <option timestep="{TIMESTEP_S}" integrator="implicitfast" gravity="0 0 0"/>
  <default><geom contype="0" conaffinity="1" friction="0.2 0.005 0.0001"/></default>
  <worldbody>
    {"".join(still)}
    <body name="base">
      <inertial pos="0 0 0.15" mass="12" diaginertia="0.3 0.3 0.3"/>
      <joint name="x" type="slide" axis="1 0 0"/>
      <joint name="y" type="slide" axis="0 1 0"/>
      <joint name="yaw" type="hinge" axis="0 0 1"/>
      <geom name="robot" type="cylinder" pos="0 0 0.17" size="{ROBOT_RADIUS_M} 0.15" contype="1" conaffinity="0"/>
    </body>
  </worldbody>
  <actuator>
    <velocity joint="x" kv="120" forcerange="-80 80"/>
    <velocity joint="y" kv="120" forcerange="-80 80"/>
    <velocity joint="yaw" kv="4" forcerange="-4 4"/>
  </actuator>
</mujoco>"""


class SimWorld:
    """A scene brought to life.

    Parameters
    ----------
    scene : Scene
        From :func:`vla_bt.sim.scenes.make_scene`.
    pretty : bool
        Real shadows and smooth edges, for pictures: a frame costs several times as much.
    """

    def __init__(self, scene: Scene, pretty: bool = False) -> None:
        self.scene = scene
        self.first_contact: FirstContact | None = None
        self._model = mujoco.MjModel.from_xml_string(physics_xml(scene))
        self._data = mujoco.MjData(self._model)
        self._base = mujoco.mj_name2id(self._model, mujoco.mjtObj.mjOBJ_BODY, "base")
        self._cup = (scene.cup.x, scene.cup.y)
        self._pretty = pretty
        self._renderer: SceneRenderer | None = None
        self._push = np.zeros(6)
        self.restart()

    def restart(self) -> None:
        """Go back to the start, as if fresh; a renderer that is set up stays."""
        mujoco.mj_resetData(self._model, self._data)
        start = self.scene.start
        self._data.qpos[:] = (start.x, start.y, start.yaw)
        mujoco.mj_forward(self._model, self._data)
        self.first_contact = None
        self._steps, self._due_s = 0, 0.0
        self._command, self._command_s = ZERO, -math.inf
        self._push[:] = 0.0
        self._push_until_s = -math.inf
        self._touching = False
        self.move_cup(self.scene.cup.x, self.scene.cup.y)

    # ------------------------------------------------------------------ time and motion

    @property
    def time_s(self) -> float:
        """Simulated time since the start [s], a whole number of physics steps."""
        return self._steps * TIMESTEP_S

    def command(self, twist: Twist) -> None:
        """Take a velocity in ``base_link``; it holds for :data:`COMMAND_TIMEOUT_S` of simulated time, then the base stops.

        Raises
        ------
        ValueError
            For a non-finite velocity; the last one then stays in force until its time-out.
        """
        if not twist.is_finite():
            raise ValueError(f"velocity {tuple(twist)} is not finite")
        self._command = Twist(*(float(value) for value in twist))
        self._command_s = self.time_s

    def push(self, force_x: float, force_y: float, torque_z: float = 0.0, duration_s: float = 0.2) -> None:
        """Push the robot from outside, for fault tests.

        Parameters
        ----------
        force_x, force_y : float
            Force [N] in ``base_link`` as it stands now; about 80 N is what the drive can resist.
        torque_z : float
            Torque [N m]; about 4 is what the drive can resist.
        duration_s : float
            From now on, in simulated time [s].
        """
        cos, sin = math.cos(self._data.qpos[2]), math.sin(self._data.qpos[2])
        self._push[:] = (cos * force_x - sin * force_y, sin * force_x + cos * force_y, 0.0, 0.0, 0.0, torque_z)
        self._push_until_s = self.time_s + duration_s

    def move_cup(self, x: float, y: float) -> None:
        """Put the cup somewhere else [m], from now on, in the pictures too; :meth:`restart` puts it back."""
        if (x, y) == self._cup:
            return
        self._cup = (x, y)
        self._model.geom("cup").pos[:2] = (x, y)
        self._model.opt.disableflags |= mujoco.mjtDisableBit.mjDSBL_MIDPHASE  # its tree of boxes was built for the old place
        if self._renderer is not None:
            self._renderer.move_cup(x, y)

    def advance(self, duration_s: float) -> None:
        """Let simulated time pass. Fractions of a physics step are carried over to the next call, so no time is lost.

        Raises
        ------
        ValueError
            When the duration is negative or not finite.
        """
        if not 0.0 <= duration_s < math.inf:
            raise ValueError(f"duration is {duration_s}; expected a finite number of seconds >= 0")
        self._due_s += duration_s
        target = round(self._due_s / TIMESTEP_S)
        while self._steps < target:
            self._step()

    def _step(self) -> None:
        data = self._data
        now = self.time_s
        twist = self._command if now - self._command_s < COMMAND_TIMEOUT_S - TIMESTEP_S / 2 else ZERO
        yaw = data.qpos[2]
        cos, sin = math.cos(yaw), math.sin(yaw)
        data.ctrl[0] = cos * twist.linear_x - sin * twist.linear_y
        data.ctrl[1] = sin * twist.linear_x + cos * twist.linear_y
        data.ctrl[2] = twist.angular_z
        if self._push_until_s > -math.inf:
            if now < self._push_until_s - TIMESTEP_S / 2:
                data.xfrc_applied[self._base] = self._push
            else:
                data.xfrc_applied[self._base] = 0.0
                self._push_until_s = -math.inf
        mujoco.mj_step(self._model, data)
        self._steps += 1
        self._touching = data.ncon > 0  # only the robot can collide: everything else is still
        if self._touching and self.first_contact is None:
            pair = data.contact[0].geom
            names = tuple(str(self._model.geom(int(index)).name) for index in pair)
            self.first_contact = FirstContact(self.time_s, (names[0], names[1]))

    # ------------------------------------------------------------------ what the robot senses

    def odometry(self, received_s: float) -> Odometry:
        """Return the pose relative to the start (yaw in -pi..pi) and the velocity in ``base_link``, without drift or noise."""
        start = self.scene.start
        x, y, yaw = (float(value) for value in self._data.qpos)
        cos, sin = math.cos(start.yaw), math.sin(start.yaw)
        east, north = x - start.x, y - start.y
        turn = math.remainder(yaw - start.yaw, 2 * math.pi)
        return Odometry(cos * east + sin * north, cos * north - sin * east, turn, self._twist(), received_s)

    def _twist(self) -> Twist:
        vx, vy, wz = (float(value) for value in self._data.qvel)
        cos, sin = math.cos(self._data.qpos[2]), math.sin(self._data.qpos[2])
        return Twist(cos * vx + sin * vy, cos * vy - sin * vx, wz)

    def scan(self, received_s: float) -> Scan:
        """Cast :data:`SCAN_RAYS` rays all around from the base's centre, anticlockwise from -pi.

        At :data:`SCAN_HEIGHT_M`, which is above the cup: the cup isn't in the scan, so the goal is never an obstacle. The robot
        itself is left out. ``inf`` where nothing is within :data:`SCAN_RANGE_M`.
        """
        step = 2 * math.pi / SCAN_RAYS
        angles = float(self._data.qpos[2]) - math.pi + step * np.arange(SCAN_RAYS)
        rays = np.stack([np.cos(angles), np.sin(angles), np.zeros(SCAN_RAYS)], axis=1)
        origin = np.array([self._data.qpos[0], self._data.qpos[1], SCAN_HEIGHT_M])
        geoms = np.empty(SCAN_RAYS, np.int32)
        distances = np.empty(SCAN_RAYS)
        mujoco.mj_multiRay(
            self._model, self._data, origin, rays.ravel(), None, True, self._base, geoms, distances, None, SCAN_RAYS, SCAN_RANGE_M
        )
        ranges = np.where((geoms >= 0) & (distances <= SCAN_RANGE_M), distances, np.inf).astype(np.float32)
        return Scan(ranges, -math.pi, step, received_s)

    def contact(self, received_s: float) -> Contact | None:
        """Return the direction of what the robot touches now (the mean of all contact points), or None."""
        if not self._touching:
            return None
        yaw = float(self._data.qpos[2])
        points = np.array([contact.pos[:2] for contact in self._data.contact]) - self._data.qpos[:2]
        east, north = points.mean(axis=0)
        length = math.hypot(east, north) or 1.0
        cos, sin = math.cos(yaw), math.sin(yaw)
        return Contact((cos * east + sin * north) / length, (cos * north - sin * east) / length, received_s)

    def truth(self) -> Truth:
        """Return everything, in the world frame."""
        scene, room = self.scene, self.scene.room
        x, y, yaw = (float(value) for value in self._data.qpos)
        return Truth(
            time_s=self.time_s,
            x=x,
            y=y,
            yaw=math.remainder(yaw, 2 * math.pi),
            twist=self._twist(),
            robot_radius=ROBOT_RADIUS_M,
            cup_x=self._cup[0],
            cup_y=self._cup[1],
            boxes=tuple(BoxTruth(box.x, box.y, box.half_x, box.half_y, box.yaw) for box in scene.boxes),
            room=(room.x_min, room.x_max, room.y_min, room.y_max),
            side=scene.side,
            touching=self._touching,
            touched=self.first_contact is not None,
            scene=scene.name,
        )

    # ------------------------------------------------------------------ pictures

    def _ready_renderer(self) -> SceneRenderer:
        if self._renderer is None:
            self._renderer = SceneRenderer(self.scene, self._pretty)
            self._renderer.move_cup(*self._cup)
        return self._renderer

    def pose(self) -> tuple[float, float, float]:
        """Return where the base is now in the world frame [m, m, rad], yaw not wrapped; fit for :meth:`render`."""
        x, y, yaw = (float(value) for value in self._data.qpos)
        return x, y, yaw

    @property
    def lens(self) -> Lens:
        """What its camera sees, whatever the size of its pictures."""
        return lens_of(self.scene.camera.fovy_deg, 16, 9)

    def render(self, width: int = 1280, height: int = 720, pose: tuple[float, float, float] | None = None) -> NDArray[np.uint8]:
        """Return what the forward camera sees from ``pose`` (default: now): uint8, shape (height, width, 3), RGB.

        Raises
        ------
        SimulatorError
            When off-screen OpenGL is missing, with the apt packages to install.
        """
        seen_from = np.array(self.pose() if pose is None else pose)
        frame = self._ready_renderer().forward(seen_from, width, height)
        if self.scene.camera.blur > 0.0:
            frame = np.asarray(cv2.GaussianBlur(frame, (0, 0), max(0.05, 1e-3 * width * self.scene.camera.blur)))
        if self.scene.camera.noise > 0.0:
            rng = np.random.default_rng([self.scene.seed, zlib.crc32(seen_from.tobytes()), width, height])
            grain = rng.normal(0.0, self.scene.camera.noise, frame.shape)
            frame = np.clip(frame + grain, 0, 255).astype(np.uint8)
        return frame

    def render_overhead(self, width: int = 960, height: int = 720) -> tuple[NDArray[np.uint8], OverheadMap]:
        """Return the room from above, +x to the right, and the map from world metres to its pixels."""
        return self._ready_renderer().overhead(self._data.qpos, width, height)

    def close(self) -> None:
        """Free the renderer. Call it in the thread that rendered."""
        if self._renderer is not None:
            self._renderer.close()
            self._renderer = None

"""Draws frames of a scene off screen, at any size.

Promises: a frame depends on the scene and the base's pose alone, bit for bit; one renderer serves all sizes. Create,
use and close it in one thread.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from vla_bt.sim.engine import make_gl_current, mujoco
from vla_bt.sim.looks import CEILING_GROUP, ROBOT_GROUP, build_visual_model
from vla_bt.sim.scenes import Scene

DEFAULT_WIDTH, DEFAULT_HEIGHT = 1280, 720


class OverheadMap(NamedTuple):
    """Maps world metres to pixels (column, row) of an overhead picture."""

    centre_x: float
    centre_y: float
    pixels_per_m: float
    width: int
    height: int

    def __call__(self, x: float, y: float) -> tuple[float, float]:
        """Return (column, row) of a world point; pixel centres are at half-integers."""
        column = self.width / 2 + (x - self.centre_x) * self.pixels_per_m
        return column, self.height / 2 - (y - self.centre_y) * self.pixels_per_m


class SceneRenderer:
    """Draws one scene from the robot's camera or from above."""

    def __init__(self, scene: Scene, pretty: bool = False) -> None:
        self._scene = scene
        self._model = build_visual_model(scene, pretty, DEFAULT_WIDTH, DEFAULT_HEIGHT)
        self._data = mujoco.MjData(self._model)
        self._mjv = mujoco.MjvScene(self._model, maxgeom=300)
        for flag in ("mjRND_SHADOW", "mjRND_REFLECTION"):
            self._mjv.flags[getattr(mujoco.mjtRndFlag, flag)] = pretty
        self._mjv.flags[mujoco.mjtRndFlag.mjRND_SKYBOX] = False
        self._mjv.flags[mujoco.mjtRndFlag.mjRND_HAZE] = False
        self._option = mujoco.MjvOption()
        self._camera = mujoco.MjvCamera()
        self._camera.type = mujoco.mjtCamera.mjCAMERA_FIXED
        make_gl_current()
        self._context: Any = mujoco.MjrContext(self._model, mujoco.mjtFontScale.mjFONTSCALE_50)
        self._soften_textures()
        self._cup = {name: self._model.geom(name).pos[:2].copy() for name in ("cup", "cup_handle", "cup_shadow")}

    def _soften_textures(self) -> None:
        """Take the nearest mip level, filtered: a third cheaper on a CPU than blending two levels."""
        from OpenGL import GL  # type: ignore[import-untyped]

        for name in self._context.texture[: self._context.ntexture]:
            GL.glBindTexture(GL.GL_TEXTURE_2D, int(name))
            GL.glTexParameteri(GL.GL_TEXTURE_2D, GL.GL_TEXTURE_MIN_FILTER, GL.GL_LINEAR_MIPMAP_NEAREST)

    def move_cup(self, x: float, y: float) -> None:
        """Put the cup somewhere else [m], with its handle and its shadow."""
        for name, place in self._cup.items():
            self._model.geom(name).pos[:2] = np.add(place, (x - self._scene.cup.x, y - self._scene.cup.y))

    def forward(self, qpos: NDArray[np.float64], width: int, height: int) -> NDArray[np.uint8]:
        """Draw what the forward camera sees: uint8, shape (height, width, 3), RGB."""
        return self._draw(qpos, "forward", width, height, hidden=(ROBOT_GROUP,))

    def overhead(self, qpos: NDArray[np.float64], width: int, height: int) -> tuple[NDArray[np.uint8], OverheadMap]:
        """Draw the room from above without its ceiling, +x to the right, and return the map from world metres to pixels."""
        room = self._scene.room
        camera = self._model.camera("overhead")
        length_x, length_y = room.x_max - room.x_min, room.y_max - room.y_min
        span = 1.06 * max(length_y, length_x * height / width)  # metres from top to bottom
        self._model.cam_fovy[camera.id] = span
        picture = self._draw(qpos, "overhead", width, height, hidden=(CEILING_GROUP,))
        centre_x, centre_y = (room.x_min + room.x_max) / 2, (room.y_min + room.y_max) / 2
        return picture, OverheadMap(centre_x, centre_y, height / span, width, height)

    def _draw(
        self, qpos: NDArray[np.float64], camera: str, width: int, height: int, hidden: tuple[int, ...]
    ) -> NDArray[np.uint8]:
        if self._context is None:
            raise RuntimeError("the renderer is closed")
        if not (0 < width <= 8192 and 0 < height <= 8192):
            raise ValueError(f"frame size is {width}x{height}; expected 1 to 8192 pixels a side")
        make_gl_current()
        if width > self._context.offWidth or height > self._context.offHeight:
            mujoco.mjr_resizeOffscreen(max(width, self._context.offWidth), max(height, self._context.offHeight), self._context)
        mujoco.mjr_setBuffer(mujoco.mjtFramebuffer.mjFB_OFFSCREEN, self._context)  # another renderer's may be bound
        self._data.qpos[:] = qpos
        mujoco.mj_kinematics(self._model, self._data)
        mujoco.mj_camlight(self._model, self._data)
        self._option.geomgroup[:] = 1
        self._option.geomgroup[list(hidden)] = 0
        self._camera.fixedcamid = mujoco.mj_name2id(self._model, mujoco.mjtObj.mjOBJ_CAMERA, camera)
        everything = mujoco.mjtCatBit.mjCAT_ALL
        mujoco.mjv_updateScene(self._model, self._data, self._option, None, self._camera, everything, self._mjv)
        area = mujoco.MjrRect(0, 0, width, height)
        mujoco.mjr_render(area, self._mjv, self._context)
        pixels = np.empty((height, width, 3), np.uint8)
        mujoco.mjr_readPixels(pixels, None, area, self._context)
        return np.ascontiguousarray(pixels[::-1])

    def close(self) -> None:
        """Free what the graphics driver holds."""
        if self._context is not None:
            make_gl_current()
            self._context.free()
            self._context = None

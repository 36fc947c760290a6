"""The scene as it looks: a MuJoCo model of meshes, lights and textures that only the renderer uses.

Promises: built from the scene alone; every picture is mapped by explicit texture coordinates, so prints stand upright and
unmirrored.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from vla_bt.sim import surfaces, textures
from vla_bt.sim.engine import mujoco
from vla_bt.sim.scenes import ROBOT_RADIUS_M, Box, Scene

CEILING_GROUP, ROBOT_GROUP = 1, 2

Floats = NDArray[np.float64]


@dataclass
class _Builder:
    """Collects assets and geoms; textures are filled in after compiling, which spares encoding them."""

    assets: list[str] = field(default_factory=list)
    geoms: list[str] = field(default_factory=list)
    images: dict[str, NDArray[np.uint8]] = field(default_factory=dict)
    files: dict[str, bytes] = field(default_factory=dict)

    def picture(self, name: str, image: NDArray[np.uint8], material: str = "") -> None:
        """Add a texture and a material of the same name."""
        height, width, channels = image.shape
        if channels == 4:  # built-in textures can't be translucent
            self.files[f"{name}.png"] = cv2.imencode(".png", cv2.cvtColor(image, cv2.COLOR_RGBA2BGRA))[1].tobytes()
            self.assets.append(f'<texture name="{name}" type="2d" file="{name}.png" nchannel="4"/>')
        else:
            self.images[name] = image
            self.assets.append(f'<texture name="{name}" type="2d" builtin="flat" width="{width}" height="{height}"/>')
        self.assets.append(f'<material name="{name}" texture="{name}" {material}/>')

    def mesh(self, name: str, points: Floats, normals: Floats, uv: Floats, faces: NDArray[np.int64]) -> None:
        """Add a mesh with one normal and one texture coordinate per vertex (v = 0 at the top of the image)."""
        self.assets.append(
            f'<mesh name="{name}" inertia="shell" vertex="{_text(points)}" normal="{_text(normals)}" texcoord="{_text(uv)}"'
            f' face="{" ".join(map(str, faces.ravel()))}"/>'
        )

    def quad(self, name: str, corners: Floats, material: str, repeat: float = 1.0, v: tuple[float, float] = (0.0, 1.0)) -> None:
        """Add a picture on a rectangle.

        ``corners`` are bottom left, bottom right, top right, top left as the viewer sees them; the picture is repeated sideways
        ``repeat`` times; ``v`` is the part of it shown from top to bottom (a translucent picture repeats into its own edge).
        """
        normal = np.cross(corners[1] - corners[0], corners[3] - corners[0])
        normals = np.tile(normal / np.linalg.norm(normal), (4, 1))
        thick = corners - 0.002 * normals  # a mesh needs volume: a back face behind the picture
        points = np.concatenate([corners, thick])
        uv = np.array([(0, v[1]), (repeat, v[1]), (repeat, v[0]), (0, v[0])])
        faces = np.array([(0, 1, 2), (0, 2, 3), (4, 6, 5), (4, 7, 6)])
        self.mesh(name, points, np.concatenate([normals, -normals]), np.concatenate([uv, uv]), faces)
        self.geoms.append(f'<geom name="{name}" type="mesh" mesh="{name}" material="{material}"/>')

    def block(self, pos: tuple[float, ...], size: tuple[float, ...], rgba: str, extra: str = "") -> None:
        """Add a plain box."""
        self.geoms.append(f'<geom type="box" pos="{_text(pos)}" size="{_text(size)}" rgba="{rgba}" {extra}/>')


def _text(values: Any) -> str:
    return " ".join(f"{value:.6g}" for value in np.asarray(values, float).ravel())


def build_visual_model(scene: Scene, pretty: bool, max_width: int, max_height: int) -> Any:
    """Compile the visual model (``mujoco.MjModel``); its three joints are the base's x, y and yaw.

    Parameters
    ----------
    scene : Scene
        What to show.
    pretty : bool
        Real shadows and eight samples a pixel.
    max_width, max_height : int
        Largest frame the off-screen buffer is made for [px]; larger ones enlarge it.
    """
    build = _Builder()
    _room(build, scene)
    _decoration(build, scene)
    for index, box in enumerate(scene.boxes, start=1):
        _cardboard_box(build, f"box_{index}", box, scene)
    _cup(build, scene)
    mount = scene.camera
    cos, sin = math.cos(mount.pitch), math.sin(mount.pitch)
    room = scene.room
    span = 1.08 * max((room.y_max - room.y_min), (room.x_max - room.x_min) * 0.75)
    xml = f"""
<mujoco model="looks">
  <compiler angle="radian"/>
  <statistic extent="8" center="2 0 0.5"/>
  <visual>
    <global offwidth="{max_width}" offheight="{max_height}" orthographic="false"/>
    <map znear="0.005" zfar="4"/>
    <quality offsamples="{8 if pretty else 0}" shadowsize="{4096 if pretty else 0}"/>
    <headlight ambient="0 0 0" diffuse="{_text(np.full(3, 0.14 * scene.light.brightness))}" specular="0 0 0"/>
  </visual>
  <asset>{"".join(build.assets)}</asset>
  <default><geom contype="0" conaffinity="0"/></default>
  <worldbody>
    {_lights(scene, pretty)}
    {"".join(build.geoms)}
    <camera name="overhead" pos="{(room.x_min + room.x_max) / 2} {(room.y_min + room.y_max) / 2} 12" xyaxes="1 0 0 0 1 0"
      projection="orthographic" fovy="{span}"/>
    <body name="base">
      <joint name="x" type="slide" axis="1 0 0"/>
      <joint name="y" type="slide" axis="0 1 0"/>
      <joint name="yaw" type="hinge" axis="0 0 1"/>
      <inertial pos="0 0 0.1" mass="1" diaginertia="1 1 1"/>
      <camera name="forward" pos="{mount.x} 0 {mount.z}" xyaxes="0 -1 0 {sin:.9g} 0 {cos:.9g}" fovy="{mount.fovy_deg}"/>
      {_robot(scene)}
    </body>
  </worldbody>
</mujoco>"""
    model = mujoco.MjModel.from_xml_string(xml, build.files)
    for name, image in build.images.items():
        index = mujoco.mj_name2id(model, mujoco.mjtObj.mjOBJ_TEXTURE, name)
        start = model.tex_adr[index]
        model.tex_data[start : start + image.size] = image.ravel()
    return model


def _lights(scene: Scene, pretty: bool) -> str:
    """Hang a soft light under the ceiling, a key light from the side and a weak fill from the other."""
    light = scene.light
    tint = np.array([1.0 + 0.035 * light.warmth, 1.0, 1.0 - 0.05 * light.warmth]) * light.brightness
    key = np.array([math.cos(light.azimuth) * 0.6, math.sin(light.azimuth) * 0.6, 1.0])
    shadow = "true" if pretty else "false"
    return (
        f'<light type="directional" pos="0 0 6" dir="0 0 -1" castshadow="false" ambient="{_text(0.68 * tint)}"'
        f' diffuse="{_text(0.12 * tint)}" specular="0 0 0"/>'
        f'<light type="directional" pos="{_text(key * 5)}" dir="{_text(-key)}" castshadow="{shadow}"'
        f' diffuse="{_text(0.26 * tint)}" specular="0.35 0.35 0.35"/>'
        f'<light type="directional" pos="0 0 6" dir="{_text((key[0], key[1], -0.7))}" castshadow="false"'
        f' diffuse="{_text(0.16 * tint)}" specular="0.1 0.1 0.1"/>'
    )


def _walls(scene: Scene) -> dict[str, tuple[Floats, Floats, float]]:
    """Return for each wall its left end seen from inside, the unit vector to its right end, and its length."""
    r = scene.room
    length_x, length_y = r.x_max - r.x_min, r.y_max - r.y_min
    return {
        "front": (np.array([r.x_max, r.y_max, 0.0]), np.array([0.0, -1.0, 0.0]), length_y),
        "right": (np.array([r.x_max, r.y_min, 0.0]), np.array([-1.0, 0.0, 0.0]), length_x),
        "back": (np.array([r.x_min, r.y_min, 0.0]), np.array([0.0, 1.0, 0.0]), length_y),
        "left": (np.array([r.x_min, r.y_max, 0.0]), np.array([1.0, 0.0, 0.0]), length_x),
    }


_UP = np.array([0.0, 0.0, 1.0])


def _room(build: _Builder, scene: Scene) -> None:
    room = scene.room
    mid_x, mid_y = (room.x_min + room.x_max) / 2, (room.y_min + room.y_max) / 2
    half_x, half_y = (room.x_max - room.x_min) / 2, (room.y_max - room.y_min) / 2
    repeat = 1.0 / textures.FLOOR_SIZE_M
    build.picture(
        "floor",
        surfaces.floor(scene.surfaces, scene.floor_seed),
        f'texrepeat="{repeat} {repeat}" texuniform="true" specular="0.15" shininess="0.3"',
    )
    build.geoms.append(f'<geom name="floor" type="plane" pos="{mid_x} {mid_y} 0" size="{half_x} {half_y} 1" material="floor"/>')
    build.block((mid_x, mid_y, -0.1), (half_x + 3, half_y + 3, 0.05), "0.95 0.95 0.95 1")  # around the room, from above
    build.picture("wall", surfaces.wall(scene.surfaces, scene.wall_seed), 'specular="0"')
    build.picture("wall_shadow", textures.wall_shadow(), 'specular="0" rgba="1 1 1 0.99"')
    for name, (left, along, length) in _walls(scene).items():
        right = left + length * along
        top = room.height * _UP
        build.quad(f"wall_{name}", np.array([left, right, right + top, left + top]), "wall", length / room.height)
        inward = np.cross(along, _UP)
        body = left + along * length / 2 - inward * 0.06  # the wall's thickness, seen from above
        half = abs(along) * (length / 2 + 0.11) + abs(inward) * 0.05
        build.block((*body[:2], room.height / 2), (*half[:2], room.height / 2), "0.42 0.42 0.42 1")
        centre = left + along * length / 2 + inward * 0.008
        across = (abs(along) * length / 2) + abs(inward) * 0.008
        build.block((*(centre[:2]), 0.045), (across[0], across[1], 0.045), "0.93 0.92 0.90 1")
        near = inward * 0.55 + 0.0015 * _UP
        lift = 0.0015 * _UP
        corners = np.array([left + near, right + near, right + lift, left + lift])
        build.quad(f"wall_shadow_{name}", corners, "wall_shadow", v=(0.03, 0.85))
    build.block((mid_x, mid_y, room.height + 0.05), (half_x, half_y, 0.05), "0.95 0.95 0.94 1", f'group="{CEILING_GROUP}"')


def _on_wall(scene: Scene, wall: str, along_m: float, width: float, low: float, high: float, out: float) -> Floats:
    """Return the corners of a rectangle on a wall, ``along_m`` from the wall's middle (to the right), ``out`` metres in front."""
    left, along, length = _walls(scene)[wall]
    middle = left + along * (length / 2 + along_m) + np.cross(along, _UP) * out
    half = along * width / 2
    return np.array(
        [middle - half + low * _UP, middle + half + low * _UP, middle + half + high * _UP, middle - half + high * _UP]
    )


def _framed(build: _Builder, scene: Scene, name: str, wall: str, area: tuple[float, float, float, float], rgba: str) -> None:
    """Hang a picture (material ``name``) in a frame: area is (along, width, low, high)."""
    along_m, width, low, high = area
    build.quad(name, _on_wall(scene, wall, along_m, width, low, high, 0.012), name)
    for shift, w, lo, hi in (
        (0.0, width + 0.1, high, high + 0.05),
        (0.0, width + 0.1, low - 0.05, low),
        (-width / 2 - 0.025, 0.05, low, high),
        (width / 2 + 0.025, 0.05, low, high),
    ):
        corners = _on_wall(scene, wall, along_m + shift, w, lo, hi, 0.012)
        centre, half = corners.mean(axis=0), np.abs(corners[2] - corners[0]) / 2
        build.block(tuple(centre), tuple(np.maximum(half, 0.02)), rgba)


def _decoration(build: _Builder, scene: Scene) -> None:
    """Hang a painting and a window, and set a door, where the seed says."""
    rng = np.random.default_rng([106, scene.wall_seed])
    build.picture("painting", surfaces.painting(scene.surfaces, scene.wall_seed), 'specular="0.05"')
    build.picture("window", textures.window(), 'specular="0" emission="0.45"')
    side = 1.0 if rng.random() < 0.5 else -1.0
    _framed(build, scene, "painting", "front", (side * rng.uniform(0.7, 1.3), 0.9, 0.95, 1.62), "0.25 0.2 0.17 1")
    walls = ("left", "right") if rng.random() < 0.5 else ("right", "left")
    _framed(build, scene, "window", walls[0], (rng.uniform(-0.8, 0.8), 1.5, 0.9, 2.1), "0.96 0.96 0.95 1")
    for wall, along_m in ((walls[1], rng.uniform(-1.0, 1.0)), ("front", -side * rng.uniform(1.1, 1.5))):
        _door(build, scene, wall, along_m)


def _door(build: _Builder, scene: Scene, wall: str, along_m: float) -> None:
    for width, high, out, rgba in ((0.98, 2.09, 0.012, "0.92 0.91 0.89 1"), (0.84, 2.02, 0.02, "0.80 0.74 0.66 1")):
        corners = _on_wall(scene, wall, along_m, width, 0.0, high, 0.0)
        centre, half = corners.mean(axis=0), np.abs(corners[2] - corners[0]) / 2
        build.block(tuple(centre), tuple(np.maximum(half, out)), rgba)
    for low, high in ((0.25, 0.95), (1.1, 1.85)):
        corners = _on_wall(scene, wall, along_m, 0.56, low, high, 0.0)
        centre, half = corners.mean(axis=0), np.abs(corners[2] - corners[0]) / 2
        build.block(tuple(centre), tuple(np.maximum(half, 0.024)), "0.76 0.70 0.62 1")
    knob = _on_wall(scene, wall, along_m + 0.34, 0.0, 1.0, 1.0, 0.05)[0]
    build.geoms.append(f'<geom type="sphere" pos="{_text(knob)}" size="0.028" rgba="0.62 0.60 0.56 1"/>')


def _shadow(build: _Builder, name: str, polygon: Floats, half_size: float, x: float, y: float, scene: Scene) -> None:
    azimuth = scene.light.azimuth
    away = (-0.07 * math.cos(azimuth), -0.07 * math.sin(azimuth))
    build.picture(name, textures.soft_shadow(polygon, half_size, away), 'specular="0" rgba="1 1 1 0.99"')
    s, z = half_size, 0.002
    corners = np.array([(x - s, y - s, z), (x + s, y - s, z), (x + s, y + s, z), (x - s, y + s, z)])
    build.quad(name, corners, name)


def _cardboard_box(build: _Builder, name: str, box: Box, scene: Scene) -> None:
    hx, hy, hz = box.half_x, box.half_y, box.half_z
    # to the decimetre: a print is stretched by a tenth at most, and most boxes find theirs painted already
    length, width, height = (max(0.1, round(2 * half, 1)) for half in (hx, hy, hz))
    image = surfaces.cardboard(scene.surfaces, box.texture_seed, (length, width, height))
    build.picture(name, image, 'specular="0.05" shininess="0.1"')
    # bottom left, bottom right, top right, top left of each face, seen from outside
    faces = {
        "front": [(-hx, hy, 0), (-hx, -hy, 0), (-hx, -hy, 1), (-hx, hy, 1)],
        "back": [(hx, -hy, 0), (hx, hy, 0), (hx, hy, 1), (hx, -hy, 1)],
        "left": [(hx, hy, 0), (-hx, hy, 0), (-hx, hy, 1), (hx, hy, 1)],
        "right": [(-hx, -hy, 0), (hx, -hy, 0), (hx, -hy, 1), (-hx, -hy, 1)],
        "top": [(-hx, hy, 1), (-hx, -hy, 1), (hx, -hy, 1), (hx, hy, 1)],
        "bottom": [(hx, hy, 0), (hx, -hy, 0), (-hx, -hy, 0), (-hx, hy, 0)],
    }
    points: list[Floats] = []
    normals: list[Floats] = []
    uv: list[tuple[float, float]] = []
    triangles: list[tuple[int, int, int]] = []
    inset = 1.5 / textures.BOX_CELL  # stay inside the cell, so that its neighbour never bleeds in
    for index, face in enumerate(textures.BOX_FACES):
        corners = np.array([(x, y, 2 * hz * top) for x, y, top in faces[face]])
        normal = np.cross(corners[1] - corners[0], corners[3] - corners[0])
        row, column = divmod(index, 3)
        first = len(points)
        for corner, (u, v) in zip(corners, ((0, 1), (1, 1), (1, 0), (0, 0)), strict=True):
            points.append(corner)
            normals.append(normal / np.linalg.norm(normal))
            uv.append(((column + inset + u * (1 - 2 * inset)) / 3, (row + inset + v * (1 - 2 * inset)) / 2))
        triangles += [(first, first + 1, first + 2), (first, first + 2, first + 3)]
    build.mesh(name, np.array(points), np.array(normals), np.array(uv), np.array(triangles))
    place = f'pos="{box.x:.9g} {box.y:.9g} 0" euler="0 0 {box.yaw:.9g}"'
    build.geoms.append(f'<geom name="{name}" type="mesh" mesh="{name}" material="{name}" {place}/>')
    cos, sin = math.cos(box.yaw), math.sin(box.yaw)
    outline = np.array([(-hx, -hy), (hx, -hy), (hx, hy), (-hx, hy)]) @ np.array([(cos, sin), (-sin, cos)])
    _shadow(build, f"{name}_shadow", outline, math.hypot(hx, hy) + 0.25, box.x, box.y, scene)


_OUTSIDE = ((0.0, 0.004), (0.040, 0.0), (0.046, 0.004), (0.050, 0.02), (0.056, 0.06), (0.061, 0.11), (0.065, 0.155))
_RIM = ((0.0655, 0.158), (0.0635, 0.160), (0.0615, 0.158))
_INSIDE = ((0.0605, 0.152), (0.057, 0.11), (0.052, 0.06), (0.045, 0.016), (0.03, 0.011), (0.0, 0.010))


def _revolve(profile: Floats, v: Floats, around: int = 40) -> tuple[Floats, Floats, Floats, NDArray[np.int64]]:
    """Turn a profile (radius, height) about the vertical; outside is to the right of the profile's direction."""
    slope = np.gradient(profile, axis=0)
    out = np.stack([slope[:, 1], -slope[:, 0]], axis=1)
    out /= np.linalg.norm(out, axis=1, keepdims=True)
    angle = np.linspace(0, 2 * np.pi, around + 1)
    cos, sin = np.cos(angle)[None, :], np.sin(angle)[None, :]
    radius, height = profile[:, 0][:, None], profile[:, 1][:, None]
    points = np.stack([radius * cos, radius * sin, height + 0 * cos], axis=-1)
    normals = np.stack([out[:, 0][:, None] * cos, out[:, 0][:, None] * sin, out[:, 1][:, None] + 0 * cos], axis=-1)
    uv = np.stack(np.broadcast_arrays(angle[None, :] / (2 * np.pi), v[:, None]), axis=-1)
    return points.reshape(-1, 3), normals.reshape(-1, 3), uv.reshape(-1, 2), _grid_faces(len(profile), around + 1)


def _grid_faces(rows: int, columns: int) -> NDArray[np.int64]:
    faces = []
    for row in range(rows - 1):
        for column in range(columns - 1):
            a = row * columns + column
            b, c, d = a + 1, a + columns + 1, a + columns
            faces += [(a, b, c), (a, c, d)]
    return np.array(faces)


def _cup(build: _Builder, scene: Scene) -> None:
    cup = scene.cup
    build.picture("cup", surfaces.cup(scene.surfaces, cup.colour), 'specular="0.7" shininess="0.75"')
    profile = np.array(_OUTSIDE + _RIM + _INSIDE)
    heights = np.array([point[1] for point in _OUTSIDE]) / 0.155
    v = np.concatenate([1 - 0.51 * heights, np.full(len(_RIM), 0.455), np.linspace(0.42, 0.02, len(_INSIDE))])
    build.mesh("cup", *_revolve(profile, v))
    swing = np.linspace(-0.5 * np.pi, 0.5 * np.pi, 15)
    tube = np.linspace(0, 2 * np.pi, 13)
    ring = 0.040 * np.cos(swing)[:, None], 0.038 * np.sin(swing)[:, None]
    thick = 0.0085
    across = np.cos(tube)[None, :] * thick, np.sin(tube)[None, :] * thick
    outward = np.stack([np.cos(swing), 0 * swing, np.sin(swing)], axis=1)[:, None, :]
    normals = outward * np.cos(tube)[None, :, None] + np.array([0.0, 1.0, 0.0]) * np.sin(tube)[None, :, None]
    centre = np.stack([0.054 + ring[0], 0 * ring[0], 0.088 + ring[1]], axis=-1)
    points = centre + outward * across[0][..., None] + np.array([0.0, 1.0, 0.0]) * across[1][..., None]
    uv = np.full((points.shape[0] * points.shape[1], 2), 0.97)
    faces = _grid_faces(len(swing), len(tube))[:, ::-1]
    build.mesh("cup_handle", points.reshape(-1, 3), normals.reshape(-1, 3), uv, faces)
    place = f'pos="{cup.x:.9g} {cup.y:.9g} 0" euler="0 0 {cup.yaw:.9g}"'
    for mesh in ("cup", "cup_handle"):
        build.geoms.append(f'<geom name="{mesh}" type="mesh" mesh="{mesh}" material="cup" {place}/>')
    angle = np.linspace(0, 2 * np.pi, 24, endpoint=False)
    disc = 0.05 * np.stack([np.cos(angle), np.sin(angle)], axis=1)
    _shadow(build, "cup_shadow", disc, 0.22, cup.x, cup.y, scene)


def _robot(scene: Scene) -> str:
    """Draw the robot's own body: seen from above and in pictures of the scene, never by its own camera."""
    r, x, z = ROBOT_RADIUS_M, scene.camera.x, scene.camera.z
    group = f'group="{ROBOT_GROUP}"'
    return f"""
      <geom type="cylinder" pos="0 0 0.10" size="{r} 0.06" rgba="0.20 0.22 0.25 1" {group}/>
      <geom type="cylinder" pos="0 0 0.20" size="{r - 0.02} 0.05" rgba="0.93 0.94 0.95 1" {group}/>
      <geom type="cylinder" pos="0 0 0.256" size="{r - 0.06} 0.006" rgba="0.16 0.46 0.78 1" {group}/>
      <geom type="capsule" fromto="{x - 0.03} 0 0.25 {x - 0.03} 0 {z}" size="0.015" rgba="0.3 0.3 0.32 1" {group}/>
      <geom type="box" pos="{x - 0.01} 0 {z}" size="0.025 0.05 0.02" rgba="0.12 0.12 0.13 1" {group}/>
      <geom type="box" pos="{r - 0.03} 0 0.26" size="0.03 0.012 0.004" rgba="0.95 0.45 0.1 1" {group}/>"""

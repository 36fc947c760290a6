"""Between ``sensor_msgs/Image`` and arrays, with one copy at most and no Python list in between; ``CameraInfo`` and lenses."""

from __future__ import annotations

import array
import math

import numpy as np
from numpy.typing import NDArray
from sensor_msgs.msg import CameraInfo, Image

from vla_bt.camera.lens import Lens

ENCODINGS = ("rgb8", "bgr8")


class ImageError(ValueError):
    """A picture that can't be used; the message says why and what would be right."""


def pixels_of(message: Image) -> NDArray[np.uint8]:
    """Return a message's pixels, (height, width, 3) RGB; a view of the message where it can be.

    Raises
    ------
    ImageError
        For an encoding other than rgb8 and bgr8, or sizes that don't fit together.
    """
    width, height, step = message.width, message.height, message.step
    if message.encoding not in ENCODINGS:
        raise ImageError(f"encoding '{message.encoding[:40]}'; expected {' or '.join(ENCODINGS)}")
    if width < 1 or height < 1 or step < 3 * width or len(message.data) != step * height:
        got = f"{width}x{height} in rows of {step} bytes, {len(message.data)} bytes in all"
        raise ImageError(f"{got}; expected rows of at least {3 * width} bytes, and height times that")
    rows = np.frombuffer(message.data, np.uint8).reshape(height, step)
    pixels = rows[:, : 3 * width].reshape(height, width, 3)
    if message.encoding == "bgr8":
        import cv2  # only here: rgb8, the rule, does without

        return np.asarray(cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB), np.uint8)
    return pixels


def message_of(pixels: NDArray[np.uint8], stamp_s: float, frame_id: str) -> Image:
    """Return (height, width, 3) RGB pixels as an rgb8 message, stamped with seconds since the epoch."""
    message = Image(encoding="rgb8", height=pixels.shape[0], width=pixels.shape[1], step=3 * pixels.shape[1])
    message.header.frame_id = frame_id
    message.header.stamp.sec, message.header.stamp.nanosec = divmod(round(stamp_s * 1e9), 10**9)
    message.data = array.array("B", pixels.tobytes())
    return message


def lens_from(message: CameraInfo) -> Lens:
    """Return what a calibrated camera sees, from its matrix K.

    Raises
    ------
    ImageError
        When the message carries no calibration.
    """
    focal_x, focal_y, size = message.k[0], message.k[4], (message.width, message.height)
    if not (0.0 < focal_x < math.inf and 0.0 < focal_y < math.inf) or 0 in size:
        raise ImageError(f"camera_info of {size[0]}x{size[1]} with focal lengths {focal_x:g}, {focal_y:g} px is no calibration")
    return Lens(size[0] / 2 / focal_x, size[1] / 2 / focal_y)


def camera_info_of(lens: Lens, image: Image) -> CameraInfo:
    """Return the calibration that belongs to an image of a camera without distortion, its axis at the centre."""
    info = CameraInfo(header=image.header, width=image.width, height=image.height, distortion_model="plumb_bob", d=[0.0] * 5)
    wide, tall = image.width / 2, image.height / 2
    info.k = [wide / lens.x, 0.0, wide, 0.0, tall / lens.y, tall, 0.0, 0.0, 1.0]
    info.r = [1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0]
    info.p = [wide / lens.x, 0.0, wide, 0.0, 0.0, tall / lens.y, tall, 0.0, 0.0, 0.0, 1.0, 0.0]
    return info

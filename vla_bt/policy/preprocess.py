"""A camera frame to what the encoders see: one resize for all of them, on 8-bit pixels.

Promises: bicubic with antialias as the models' own processors do, at most 1e-4 of the value range away from them on average and
several times faster; the whole frame is seen (boxes stand at the sides) unless a centre-cropped second view is asked for.
"""

from __future__ import annotations

import functools

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from vla_bt.policy.config import PolicyConfig
from vla_bt.words import Twist

# Mean and deviation of CLIP's pixels, which Kosmos-2 shares.
MEAN = (0.48145466, 0.4578275, 0.40821073)
DEVIATION = (0.26862954, 0.26130258, 0.27577711)

MOTION = 6
"""Numbers that tell how the robot moves, see :func:`motion_of`."""


def views_of(frame: NDArray[np.uint8], config: PolicyConfig) -> Tensor:
    """Resize one frame.

    Parameters
    ----------
    frame : ndarray of uint8, shape (height, width, 3), RGB

    Returns
    -------
    Tensor of uint8, shape (views, 3, config.image.height, config.image.width)
        The whole frame, and where ``config.centre_crop`` a crop of the same shape from its centre.
    """
    if frame.dtype != np.uint8 or frame.ndim != 3 or frame.shape[2] != 3 or 0 in frame.shape:
        raise ValueError(f"frame is {frame.dtype} {frame.shape}; expected uint8 (height, width, 3) RGB")
    pixels = torch.from_numpy(np.ascontiguousarray(frame)).permute(2, 0, 1)[None]
    height, width = config.image.height, config.image.width
    whole = _resized(pixels, height, width)
    if not config.centre_crop:
        return whole
    scale = max(height / frame.shape[0], width / frame.shape[1])
    # Truncated as the reference processor does for the longer side.
    tall, wide = max(height, int(frame.shape[0] * scale)), max(width, int(frame.shape[1] * scale))
    top, left = (tall - height) // 2, (wide - width) // 2
    return torch.cat([whole, _resized(pixels, tall, wide)[:, :, top : top + height, left : left + width]])


def _resized(pixels: Tensor, height: int, width: int) -> Tensor:
    if pixels.shape[-2:] == (height, width):
        return pixels
    return functional.interpolate(pixels, size=(height, width), mode="bicubic", antialias=True, align_corners=False)


def motion_of(measured: Twist, elapsed_s: float) -> tuple[float, ...]:
    """Return how the robot moves, as networks read it: velocity, then the way since the frame before.

    Parameters
    ----------
    measured : Twist
        [m/s, m/s, rad/s].
    elapsed_s : float
        Since the frame before [s]; 0 for the first. Frames come at uneven times, and without it no memory could tell how far
        the robot has come while its goal was out of sight.

    Returns
    -------
    tuple of float
        :data:`MOTION` numbers; the way in units of 0.1 m and 0.1 rad.
    """
    return (*measured, *(value * elapsed_s / 0.1 for value in measured))


def normalised(views: Tensor, dtype: torch.dtype = torch.float32) -> Tensor:
    """Scale 8-bit views (..., 3, height, width) to the encoders' value range."""
    mean, deviation = _constants(views.device)
    return ((views.float() - mean) / deviation).to(dtype)


@functools.cache
def _constants(device: torch.device) -> tuple[Tensor, Tensor]:
    """Keep mean and deviation where the pictures are: copying them there anew would make a GPU wait for every frame."""
    with torch.inference_mode(False):
        mean, deviation = (torch.tensor(values, device=device).view(3, 1, 1) * 255.0 for values in (MEAN, DEVIATION))
    return mean, deviation

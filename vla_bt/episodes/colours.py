"""Are red and blue swapped? Judged by what cameras indoors mostly see: wood, cardboard, skin and warm light, seldom their blues.

Swapping red and blue turns a hue of 30 degrees (orange, wood) into one of 210 (sky blue), and every hue h into 240 - h. So the
share of coloured pixels that are warm stands against the share that has the mirrored hue, in the lower half of each picture: sky
and windows are above. Limits: a blue floor or a blue box looks swapped; grey scenes can't be told, then the answer is None.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

WARM, COLD = (8, 50), (190, 232)  # degrees of hue; mirrored at 120
SUSPICIOUS = 0.75
"""Share of coloured pixels that are cold from which a swap is suspected."""

_WIDTH = 160
_LEAST_SATURATION, _LEAST_VALUE = 45, 40  # of 255
_LEAST_COLOURED = 0.03  # of the pixels looked at


def swapped_share(images: NDArray[np.uint8]) -> float | None:
    """Return how much of what is coloured is cold: near 0 in true colours, near 1 with red and blue swapped.

    Parameters
    ----------
    images : ndarray of uint8, shape (n, height, width, 3)
        Taken for RGB.

    Returns
    -------
    float or None
        0 to 1; None when too little is coloured to tell.
    """
    warm = cold = seen = 0
    for image in images[:: max(1, len(images) // 6)]:
        lower = image[image.shape[0] // 2 :]
        step = max(1, lower.shape[1] // _WIDTH)
        hue, saturation, value = cv2.split(cv2.cvtColor(np.ascontiguousarray(lower[::step, ::step]), cv2.COLOR_RGB2HSV))
        coloured = (saturation >= _LEAST_SATURATION) & (value >= _LEAST_VALUE)
        degrees = hue.astype(int) * 2
        warm += int((coloured & (degrees >= WARM[0]) & (degrees <= WARM[1])).sum())
        cold += int((coloured & (degrees >= COLD[0]) & (degrees <= COLD[1])).sum())
        seen += hue.size
    return cold / (warm + cold) if warm + cold >= _LEAST_COLOURED * max(1, seen) else None

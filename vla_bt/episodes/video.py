"""H.264 in MP4: what browsers, phones, office programs and LeRobot play.

OpenCV's wheel can write MPEG-4 part 2 alone ("mp4v"), which no browser plays; PyAV's wheel brings an H.264 encoder.
"""

from __future__ import annotations

from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray


class VideoWriter:
    """Writes RGB pictures of one size, one after the other; a context manager.

    Parameters
    ----------
    path : Path
        Ends in ``.mp4``.
    width, height : int
        Both even: two pixels share their colour.
    rate : Fraction
        Pictures a second.
    quality : int
        H.264's constant rate factor: 0 without loss, 23 usual, 51 worst.
    key_every : int
        Each so many pictures one stands alone, so that players can jump to it.

    Raises
    ------
    ValueError
        When the size is odd.
    OSError
        When the file can't be written.
    """

    def __init__(self, path: Path, width: int, height: int, rate: Fraction, quality: int = 20, key_every: int = 50) -> None:
        if width % 2 or height % 2:
            raise ValueError(f"pictures are {width} x {height}; H.264 needs even sizes")
        self._container = av.open(str(path), "w", options={"movflags": "faststart"})
        self._stream = self._container.add_stream("libx264", rate=rate)
        self._stream.width, self._stream.height, self._stream.pix_fmt = width, height, "yuv420p"
        self._stream.options = {"crf": str(quality), "preset": "veryfast", "bf": "0"}
        self._stream.gop_size = key_every
        self._stream.thread_count = 1
        context = self._stream.codec_context
        context.color_range, context.colorspace = 1, 1  # broadcast range, BT.709: what players take a picture of this size for
        context.color_primaries, context.color_trc = 1, 1
        self._closed = False
        self.bytes = 0
        """Size of what was encoded so far."""

    def write(self, image: NDArray[np.uint8]) -> None:
        """Add one picture, shape (height, width, 3), RGB."""
        frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgb24")
        frame = frame.reformat(format="yuv420p", dst_colorspace=1, src_color_range=2, dst_color_range=1)
        self._mux(self._stream.encode(frame))

    def _mux(self, packets: list[Any]) -> None:
        self.bytes += sum(packet.size for packet in packets)
        self._container.mux(packets)

    def close(self) -> None:
        """Finish the file."""
        if not self._closed:
            self._closed = True
            self._mux(self._stream.encode())
            self._container.close()

    def __enter__(self) -> VideoWriter:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def write_video(path: Path, images: Iterable[NDArray[np.uint8]], rate: Fraction) -> Path:
    """Write pictures of one size as a video; returns its path."""
    writer: VideoWriter | None = None
    for image in images:
        if writer is None:
            writer = VideoWriter(path, image.shape[1], image.shape[0], rate)
        writer.write(image)
    if writer is not None:
        writer.close()
    return path

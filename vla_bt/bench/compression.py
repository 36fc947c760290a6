"""What each way of keeping pictures costs and saves: processor time of a 720p frame, size of an episode, and what is lost.

Promises: every way gets the same frames, one thread, and processor time is counted, which other programs hardly lengthen. Frames
are rendered by the simulator, and the same with sensor noise: real pictures lie between, nearer to the noisy ones.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import h5py
import numpy as np
from numpy.typing import NDArray

from vla_bt.bench.tick import BenchError
from vla_bt.episodes.format import FRAMES
from vla_bt.episodes.writer import encode_jpeg

COUNT = 6
NOISE = 4.0
"""Standard deviation of the noise [grey levels]: a small camera's indoors."""

EVERYBODY, H5PY, PLUGIN, OURS = "any HDF5 reader", "h5py", "with hdf5plugin", "vla_bt's load"
Frames = list[NDArray[np.uint8]]


@dataclass(frozen=True)
class Way:
    """One way of keeping pictures, measured on one kind of picture.

    Attributes
    ----------
    name, pictures : str
        Which way, on which pictures.
    write_ms, read_ms : float
        Processor time of a frame [ms].
    ratio : float
        How many times smaller than plain.
    episode_mb : float
        Size of 18 frames [MB].
    error : float
        Mean absolute difference of what is read [grey levels].
    readers : str
        Who can read it.
    """

    name: str
    pictures: str
    write_ms: float
    read_ms: float
    ratio: float
    episode_mb: float
    error: float
    readers: str


def measure_compression() -> tuple[list[Way], str]:
    """Measure every way there is here; returns them, and what is missing in words.

    Raises
    ------
    BenchError
        Where the simulator can't draw.
    """
    ways: list[tuple[str, dict[str, Any], str]] = [
        ("none", {}, EVERYBODY),
        ("gzip 1", {"compression": "gzip", "compression_opts": 1}, EVERYBODY),
        ("gzip 4", {"compression": "gzip", "compression_opts": 4}, EVERYBODY),
        ("lzf", {"compression": "lzf"}, H5PY),
    ]
    missing = ""
    try:
        import hdf5plugin

        blosc = hdf5plugin.Blosc2
        ways += [
            ("blosc2 lz4", dict(blosc(cname="lz4", clevel=5, filters=blosc.BITSHUFFLE)), PLUGIN),
            ("blosc2 zstd", dict(blosc(cname="zstd", clevel=1, filters=blosc.NOFILTER)), PLUGIN),
        ]
    except ImportError:
        missing = "blosc2 was left out: it needs 'pip install hdf5plugin'"
    found: list[Way] = []
    before = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "pictures.h5"
            for pictures, frames in _pictures():
                _store(path, frames, {})  # the first write finds everything cold
                found += [_measure_filter(path, name, pictures, frames, options, readers) for name, options, readers in ways]
                found += [_measure_jpeg(quality, pictures, frames) for quality in (95, 85)]
    finally:
        cv2.setNumThreads(before)
    return found, missing


def _pictures() -> list[tuple[str, Frames]]:
    try:
        from vla_bt.sim.scenes import make_scene
        from vla_bt.sim.world import SimWorld

        world = SimWorld(make_scene("1box_vert_left"))
        try:
            drawn = [world.render(1280, 720, (0.1 * step, 0.02 * step, 0.03 * step)) for step in range(COUNT)]
        finally:
            world.close()
    except Exception as problem:  # no simulator, no display, no driver: each in its own words
        raise BenchError(f"the simulator can't draw the pictures: {problem}") from None
    random = np.random.default_rng(0)
    noisy = [np.clip(np.rint(frame + random.normal(0.0, NOISE, frame.shape)), 0, 255).astype(np.uint8) for frame in drawn]
    return [("rendered", drawn), ("noisy", noisy)]


def _store(path: Path, frames: Frames, options: dict[str, Any]) -> None:
    with h5py.File(path, "w") as file:
        images = file.create_dataset("images", (len(frames), *frames[0].shape), "u1", chunks=(1, *frames[0].shape), **options)
        for index, frame in enumerate(frames):
            images[index] = frame


def _fetch(path: Path) -> Frames:
    with h5py.File(path, "r") as file:
        return list(file["images"][:])


def _timed(work: Callable[[], Any]) -> tuple[Any, float]:
    began_s = time.process_time()
    result = work()
    return result, 1e3 * (time.process_time() - began_s) / COUNT


def _measure_filter(path: Path, name: str, pictures: str, frames: Frames, options: dict[str, Any], readers: str) -> Way:
    _, write_ms = _timed(lambda: _store(path, frames, options))
    back, read_ms = _timed(lambda: _fetch(path))
    return _way(name, pictures, write_ms, read_ms, path.stat().st_size, frames, back, readers)


def _measure_jpeg(quality: int, pictures: str, frames: Frames) -> Way:
    blobs, write_ms = _timed(lambda: [encode_jpeg(frame, quality) for frame in frames])
    back, read_ms = _timed(lambda: [_decoded(blob) for blob in blobs])
    return _way(f"jpeg {quality}", pictures, write_ms, read_ms, sum(map(len, blobs)), frames, back, OURS)


def _decoded(blob: bytes) -> NDArray[Any]:
    picture = cv2.imdecode(np.frombuffer(blob, np.uint8), cv2.IMREAD_COLOR)
    assert picture is not None
    return cv2.cvtColor(picture, cv2.COLOR_BGR2RGB)


def _way(name: str, pictures: str, write_ms: float, read_ms: float, size: int, frames: Frames, back: Frames, readers: str) -> Way:
    error = float(np.mean([np.abs(frame.astype(np.int16) - found).mean() for frame, found in zip(frames, back, strict=True)]))
    ratio = sum(frame.nbytes for frame in frames) / size
    return Way(name, pictures, write_ms, read_ms, ratio, size / len(frames) * FRAMES / 1e6, error, readers)

"""The newest episodes of a folder, each with a small picture: for the page.

Promises: a file is read once, when it is new or has changed; one that can't be read is listed with the reason; memory is bounded
by :data:`SHOWN`. Waits for the disk: not for an event loop.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from vla_bt.dashboard import protocol
from vla_bt.episodes.format import EpisodeError, load

SHOWN = 6
WIDTH = 176
QUALITY = 78


@dataclass(frozen=True)
class _Entry:
    changed: tuple[int, int]
    row: dict[str, Any]
    jpeg: bytes | None


class EpisodeShelf:
    """The newest episodes.

    Parameters
    ----------
    directory : Path
        Where the recorder puts them; it need not exist yet.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._lock = threading.Lock()
        self._entries: dict[str, _Entry] = {}
        self._told: list[dict[str, Any]] | None = None

    def refresh(self, time_s: float) -> str | None:
        """Look at the folder again; returns the ``episodes`` message if the list is another than last time."""
        entries: dict[str, _Entry] = {}
        for path, changed in self._newest():
            known = self._entries.get(path.name)
            entries[path.name] = known if known is not None and known.changed == changed else _read(path, changed)
        rows = [entry.row for entry in entries.values()]
        with self._lock:
            self._entries = entries
        if rows == self._told:
            return None
        self._told = rows
        return protocol.message("episodes", time_s, {"rows": rows})

    def thumbnail(self, name: str) -> bytes | None:
        """Return the picture of a listed episode, None for anything else: no path is made of a name from outside."""
        with self._lock:
            entry = self._entries.get(name)
        return entry.jpeg if entry is not None else None

    def _newest(self) -> list[tuple[Path, tuple[int, int]]]:
        found = []
        try:
            for path in self._directory.glob("episode_*.h5"):
                info = path.lstat()
                found.append((path, (info.st_mtime_ns, info.st_size)))
        except OSError:
            return []  # no folder, or one that goes while it is read: there is nothing to show
        found.sort(key=lambda item: item[1][0], reverse=True)
        return found[:SHOWN]


def _read(path: Path, changed: tuple[int, int]) -> _Entry:
    row: dict[str, Any] = {"name": path.name, "frames": 0, "scenario": "", "partial": "partial" in path.name, "problem": ""}
    try:
        episode = load(path)
    except (EpisodeError, OSError) as error:
        return _Entry(changed, row | {"problem": str(error)[:200]}, None)
    count = len(episode.images)
    row |= {"frames": count, "scenario": str(episode.attributes.get("scenario", ""))[:80]}
    return _Entry(changed, row, small_jpeg(episode.images[count // 2], WIDTH, QUALITY) if count else None)


def small_jpeg(pixels: NDArray[np.uint8], width: int, quality: int) -> bytes:
    """Return an RGB picture (height, width, 3) as a JPEG file of at most a width [px]."""
    height, full = pixels.shape[:2]
    if full > width:
        pixels = np.asarray(
            cv2.resize(pixels, (width, max(1, round(height * width / full))), interpolation=cv2.INTER_AREA), np.uint8
        )
    done, data = cv2.imencode(".jpg", cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, quality])
    if not done:
        raise ValueError(f"no JPEG of a picture of shape {pixels.shape}")
    return data.tobytes()

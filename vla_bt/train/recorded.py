"""Recorded episodes, and views of them, as drives to learn from: the shards that practice writes, made from 18-frame files.

Promises: only episodes of the training split are taken, by the split of :class:`vla_bt.episodes.dataset.EpisodeDataset`; where a
file doesn't tell the command, or no goal was told yet, there is nothing to learn; where cup and boxes were isn't in a file, so it
isn't asked for. An episode says one command a frame, not a chunk: the command is taken as held for all of it.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vla_bt.episodes.dataset import EpisodeDataset, Item, views_of
from vla_bt.episodes.schema import EpisodeError
from vla_bt.policy.expert import CHUNK
from vla_bt.settings import SettingsError
from vla_bt.train.collect import ARRAYS
from vla_bt.train.data import shards_in
from vla_bt.train.practice import AUXILIARY

PER_SHARD = 50


def write_shards(
    sources: list[Path], folder: Path, size: tuple[int, int], shown: Callable[[int, int], None] = lambda done, of: None
) -> list[Path]:
    """Write the training split of ``sources`` as shards, unless they are there.

    Parameters
    ----------
    sources : list of Path
        Folders of episodes, and books of views, which lie beside their episodes.
    folder : Path
        Where the shards go.
    size : (width, height)
        Of the frames the policy takes [px].
    shown : callable
        Is told how many items are done, and of how many.

    Raises
    ------
    SettingsError
        With one line, when a source can't be read or there is nothing to learn in any.
    """
    done = shards_in(folder)
    if done and (folder / "complete").exists():
        return done
    try:
        parts = [EpisodeDataset.open(path, size=size) for path in sources if path.suffix != ".json"]
        parts += views_of([path for path in sources if path.suffix == ".json"], size)
        parts = [part.split("train") for part in parts]
        total = sum(map(len, parts))
        drives: list[dict[str, Any]] = []
        paths: list[Path] = []
        folder.mkdir(parents=True, exist_ok=True)
        for index, item in enumerate((item for part in parts for item in part), start=1):
            drive = drive_of(item)
            if drive is not None:
                drives.append(drive)
            if drives and (len(drives) == PER_SHARD or index == total):
                paths.append(_write(drives, folder / f"{len(paths):05d}.npz"))
                drives = []
            shown(index, total)
    except EpisodeError as error:
        raise SettingsError(str(error)) from None
    if not paths:
        raise SettingsError(
            f"{', '.join(map(str, sources))}: no complete episode of the training split tells its side and commands"
        )
    (folder / "complete").touch()
    return paths


def drive_of(item: Item) -> dict[str, Any] | None:
    """Return one episode's arrays as in :class:`vla_bt.train.practice.Drive`, with ``side`` and ``boxes``; None where nothing is.

    Frames before the goal are left out, and so are those whose command the file doesn't tell. The stand at the end is the
    arrival, where something was driven before it.
    """
    kind, _, side = str(item.attributes.get("scenario", "")).rpartition("_")
    if side not in ("left", "right") or not kind[:1].isdigit():
        return None
    columns = item.columns
    told = np.array([bool(text) for text in columns.get("goal_text", np.full(len(item.actions), "?"))])
    first = int(np.argmax(told)) if told.any() else len(told)
    keep = np.flatnonzero(item.known & (np.arange(len(told)) >= first))
    if len(keep) < 2:
        return None
    actions = item.actions[keep]
    moving = np.flatnonzero(np.abs(actions).max(axis=1) > 0)
    stop = np.zeros(len(keep), np.float32)
    if len(moving):
        stop[moving[-1] + 1 :] = 1.0
    period_s = float(item.attributes.get("frame_period_s", 1.05))
    times = np.asarray(columns["exposure_s"], np.float64)[keep] if "exposure_s" in columns else keep * period_s
    count = len(keep)
    return {
        "frames": item.images[keep],
        "elapsed": np.diff(times, prepend=times[0]).clip(0.0).astype(np.float32),
        "twist": _measured(item, keep),
        "actions": np.repeat(actions[:, None], CHUNK, axis=1).astype(np.float32),
        "stop": stop,
        "auxiliary": np.zeros((count, AUXILIARY), np.float32),
        "known": np.zeros((count, AUXILIARY), np.float32),
        "side": side,
        "boxes": int(kind[0]),
    }


def _measured(item: Item, keep: NDArray[np.intp]) -> NDArray[np.float32]:
    """Return the velocity measured at each frame, (n, 3); where none was, what was commanded on the frame before."""
    before = np.vstack([np.zeros((1, 3), np.float32), item.actions[:-1]])[keep]
    if "odometry" not in item.columns:
        return before.astype(np.float32)
    measured = np.asarray(item.columns["odometry"], np.float32)[keep, 3:]
    return np.where(np.isfinite(measured), measured, before).astype(np.float32)


def _write(drives: list[dict[str, Any]], path: Path) -> Path:
    arrays: dict[str, Any] = {name: np.concatenate([one[name] for one in drives]) for name in ARRAYS}
    told: dict[str, Any] = {
        "sides": np.array([one["side"] for one in drives]),
        "boxes": np.array([one["boxes"] for one in drives]),
        "lengths": np.array([len(one["stop"]) for one in drives]),
        "fovy_deg": np.array(np.nan),
    }
    fresh = path.with_suffix(f".{os.getpid()}.tmp")
    with fresh.open("wb") as file:
        np.savez(file, **told, **arrays)
    fresh.rename(path)
    return path

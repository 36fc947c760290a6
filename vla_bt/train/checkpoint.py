"""Checkpoints and logs that survive a crash at any moment.

Promises: a file is there whole or not at all; nothing in a checkpoint is ever executed; a damaged one is one clear line.
"""

from __future__ import annotations

import csv
import fcntl
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from vla_bt.settings import SettingsError


def save_checkpoint(path: Path, state: dict[str, Any]) -> None:
    """Replace a checkpoint at once."""
    fresh = path.with_suffix(".tmp")
    with fresh.open("wb") as file:
        torch.save(state, file)
        file.flush()
        os.fsync(file.fileno())
    fresh.rename(path)


def load_checkpoint(path: Path) -> dict[str, Any] | None:
    """Read a checkpoint, None when there is none.

    Raises
    ------
    SettingsError
        When there is one that can't be read.
    """
    if not path.exists():
        return None
    try:
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # of a damaged file the reader may raise anything
        raise SettingsError(f"{path}: not a checkpoint: {' '.join(str(error).split())[:200]}; remove it to start anew") from None
    return state


def read_json(path: Path) -> dict[str, Any]:
    """Read one of a run's own files.

    Raises
    ------
    SettingsError
        When it is damaged.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise SettingsError(f"{path}: damaged: {' '.join(str(error).split())[:200]}; choose another --out or remove it") from None
    if not isinstance(content, dict):
        raise SettingsError(f"{path}: damaged: expected a mapping; choose another --out or remove it")
    return content


class FolderLock:
    """Holds a folder for one process; let go when it ends, however it ends.

    Raises
    ------
    SettingsError
        When another process holds it.
    """

    def __init__(self, folder: Path) -> None:
        self._file = (folder / ".lock").open("w")
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            self._file.close()
            raise SettingsError(f"{folder}: another training is under way in it; choose another --out") from None

    def release(self) -> None:
        """Let go."""
        self._file.close()


class Log:
    """A CSV file that grows by a row; rows from ``keep`` on, of a run that was interrupted, are dropped at the start."""

    def __init__(self, path: Path, columns: tuple[str, ...], keep: int) -> None:
        self.path, self._columns = path, columns
        rows = self.rows()[:keep]
        fresh = path.with_suffix(".tmp")
        with fresh.open("w", newline="") as file:
            writer = csv.DictWriter(file, columns, extrasaction="ignore")
            writer.writeheader()
            writer.writerows(rows)
        fresh.rename(path)

    def add(self, row: Mapping[str, Any]) -> None:
        """Append a row."""
        with self.path.open("a", newline="") as file:
            csv.DictWriter(file, self._columns).writerow(row)

    def rows(self) -> list[dict[str, str]]:
        """Return all rows there are."""
        if not self.path.exists():
            return []
        with self.path.open(newline="") as file:
            return list(csv.DictReader(file))


class Board:
    """TensorBoard's own log of the same rows, in a folder; nothing where the package tensorboardX isn't installed.

    Parameters
    ----------
    folder : Path
    steps : int
        Steps taken so far: what an interrupted run wrote of later ones is not shown.
    """

    def __init__(self, folder: Path, steps: int) -> None:
        try:
            from tensorboardX import SummaryWriter
        except ImportError:
            self._writer = None
        else:
            self._writer = SummaryWriter(str(folder), purge_step=steps + 1)

    @property
    def writes(self) -> bool:
        """Whether there is one."""
        return self._writer is not None

    def add(self, values: Mapping[str, float], steps: int) -> None:
        """Append a point to each curve."""
        if self._writer is not None:
            for name, value in values.items():
                self._writer.add_scalar(name, value, steps)
            self._writer.flush()

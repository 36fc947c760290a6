"""Where run logs lie, what they may be called, and which of them go when they take too much room.

Promises: a run is a folder with a name of :data:`NAME` in one directory, and in it nothing but parts ``000.mcap`` and so on;
nothing else is ever listed, opened by name or deleted. A part that a living process writes is locked and never deleted.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

from vla_bt.settings import SettingsError

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
PART = re.compile(r"[0-9]{3,6}\.mcap")


class Part(NamedTuple):
    """One file of a run, with its size [bytes]."""

    path: Path
    size: int


def state_directory() -> Path:
    """Return where run logs go by default: ``$XDG_STATE_HOME/vla_bt/runs``, or ``~/.local/state/vla_bt/runs``."""
    given = os.environ.get("XDG_STATE_HOME", "")
    base = Path(given) if given and Path(given).is_absolute() else Path.home() / ".local" / "state"
    return base / "vla_bt" / "runs"


def runs_directory(given: str | Path | None) -> Path:
    """Return the directory of run logs: what was given, or the default."""
    return Path(given) if given else state_directory()


def make_run(directory: Path, started: datetime, label: str) -> Path:
    """Make the folder of a new run, ``<UTC time>_<label>``, and return it; a number is appended if that name is taken.

    Raises
    ------
    OSError
        When it can't be made.
    """
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    stem = f"{started:%Y%m%d_%H%M%S}_{re.sub(r'[^A-Za-z0-9_-]+', '_', label)[:60] or 'run'}"
    number = 1
    while True:
        folder = directory / (stem if number == 1 else f"{stem}-{number}")
        try:
            folder.mkdir(mode=0o700)
        except FileExistsError:
            number += 1
            continue
        return folder


def run_folders(directory: Path) -> list[Path]:
    """Return the folders of all runs in a directory, oldest first; empty when there is no such directory."""
    try:
        entries = sorted(directory.iterdir())
    except FileNotFoundError:
        return []
    except OSError as error:
        raise SettingsError(f"{directory}: {error.strerror}") from None
    return [entry for entry in entries if NAME.fullmatch(entry.name) and not entry.is_symlink() and parts_of(entry)]


def parts_of(folder: Path) -> list[Part]:
    """Return the parts of a run in order; nothing but plain files of the right name counts."""
    found = []
    with contextlib.suppress(OSError):
        for entry in os.scandir(folder):
            if PART.fullmatch(entry.name) and entry.is_file(follow_symlinks=False):
                found.append(Part(Path(entry.path), entry.stat(follow_symlinks=False).st_size))
    return sorted(found, key=lambda part: (len(part.path.name), part.path.name))


def find_run(name: str, directory: Path) -> Path:
    """Return the folder, or the file, that a person means.

    Parameters
    ----------
    name : str
        A run's name, ``last`` for the newest, the beginning of exactly one name, or a path (with a slash in it).
    directory : Path
        Where names are looked up.

    Raises
    ------
    SettingsError
        In one line: what was looked for, where, and what there is.
    """
    if "/" in name:
        path = Path(name)
        if path.is_file() or (path.is_dir() and parts_of(path)):
            return path
        raise SettingsError(f"{name}: {'no run log in this folder' if path.is_dir() else 'no such run log'}")
    folders = run_folders(directory)
    if name == "last":
        if not folders:
            raise SettingsError(f"{directory}: no runs yet")
        return folders[-1]
    if not NAME.fullmatch(name):
        raise SettingsError(f"{name!r} is not the name of a run; see: vla-bt runs ls")
    found = [folder for folder in folders if folder.name == name] or [
        folder for folder in folders if folder.name.startswith(name)
    ]
    if len(found) == 1:
        return found[0]
    if found:
        raise SettingsError(f"'{name}' begins {len(found)} names: {', '.join(folder.name for folder in found[:3])} ...")
    raise SettingsError(f"{directory}: no run '{name}'; see: vla-bt runs ls")


def is_written(path: Path) -> bool:
    """Tell whether a living process holds this part."""
    with contextlib.suppress(OSError), path.open("rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def make_room(directory: Path, limit: int, own: Path | None = None) -> list[str]:
    """Delete the oldest runs, then the oldest parts of ``own``, until at most ``limit`` bytes are left.

    Parameters
    ----------
    directory : Path
        The directory of all runs.
    limit : int
        What may stay [bytes].
    own : Path, optional
        The run being written: last in line, and its newest part stays.

    Returns
    -------
    list of str
        One line for each thing deleted.
    """
    others = {folder: parts_of(folder) for folder in run_folders(directory) if own is None or folder.name != own.name}
    mine = parts_of(own) if own is not None else []
    total = sum(part.size for parts in (*others.values(), mine) for part in parts)
    told: list[str] = []
    for folder, parts in others.items():
        if total <= limit:
            return told
        if any(is_written(part.path) for part in parts):
            continue
        freed = sum(_remove(part) for part in parts)
        with contextlib.suppress(OSError):  # something that is not ours lies in it: the folder stays
            folder.rmdir()
        total -= freed
        told.append(f"deleted run {folder.name} ({freed / 1e6:.1f} MB): run logs may take {limit / 1e6:.0f} MB")
    for part in mine[:-1]:
        if total <= limit:
            break
        freed = _remove(part)
        total -= freed
        told.append(f"deleted the beginning of this run, {part.path.name} ({freed / 1e6:.1f} MB): it has grown too long")
    return told


def _remove(part: Part) -> int:
    """Delete a part; returns the bytes that were freed."""
    try:
        part.path.unlink()
    except OSError:
        return 0
    return part.size

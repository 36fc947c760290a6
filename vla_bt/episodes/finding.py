"""Which files a command line means: files as they are named, and the episodes in folders."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from vla_bt.episodes.printable import printable
from vla_bt.settings import SettingsError

SUFFIXES = (".h5", ".hdf5")


def episode_files(paths: Iterable[Path]) -> list[Path]:
    """Return the named files, and every ``.h5`` and ``.hdf5`` below the named folders, sorted; no link to a folder is followed.

    Raises
    ------
    SettingsError
        When a path does not exist, or a folder has no episode.
    """
    found: list[Path] = []
    for path in paths:
        if not os.path.lexists(path):
            raise SettingsError(f"{printable(path)}: no such file or folder")
        if not path.is_dir() or path.is_symlink():
            found.append(path)
            continue
        inside = [Path(folder) / name for folder, _, names in os.walk(path) for name in names if name.endswith(SUFFIXES)]
        if not inside:
            raise SettingsError(f"{printable(path)}: no episode (*.h5) in this folder")
        found += sorted(inside)
    return list(dict.fromkeys(found))

"""Which files a command line means: files as they are named, and the episodes in folders."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from vla_bt.episodes.printable import printable
from vla_bt.settings import SettingsError

SUFFIXES = (".h5", ".hdf5")


def episode_files(paths: Iterable[Path]) -> list[Path]:
    """Return the named files, and every ``.h5`` and ``.hdf5`` below the named folders, sorted.

    A named link to a folder is followed, one inside a folder isn't; what is hidden is in the making (:mod:`vla_bt.app.collect`)
    and passed over.

    Raises
    ------
    SettingsError
        When a path does not exist, or a folder has no episode.
    """
    found: list[Path] = []
    for path in paths:
        if not os.path.lexists(path):
            raise SettingsError(f"{printable(path)}: no such file or folder")
        if not path.is_dir():
            found.append(path)
            continue
        inside = list(_below(path))
        if not inside:
            raise SettingsError(f"{printable(path)}: no episode (*.h5) in this folder")
        found += sorted(inside)
    return list(dict.fromkeys(found))


def _below(top: Path) -> Iterator[Path]:
    for folder, folders, names in os.walk(top):
        folders[:] = [name for name in folders if not name.startswith(".")]
        yield from (Path(folder) / name for name in names if name.endswith(SUFFIXES) and not name.startswith("."))

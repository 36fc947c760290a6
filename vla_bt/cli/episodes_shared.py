"""What several of the episodes' verbs need."""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections.abc import Iterable, Iterator, Sequence, Sized
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")
_QUIET_S = 2.0


def counted(items: Iterable[T], what: str, total: int | None = None) -> Iterator[T]:
    """Hand the items on; once it takes longer than two seconds, tell on a terminal how many of ``total`` (theirs) are done."""
    began, shown = time.monotonic(), False
    count = len(items) if total is None and isinstance(items, Sized) else total
    for index, item in enumerate(items):
        yield item
        if time.monotonic() - began > _QUIET_S and sys.stderr.isatty():
            shown = True
            print(f"\r{what}: {index + 1} of {count}\x1b[K", end="", file=sys.stderr, flush=True)
    if shown:
        print("\r\x1b[K", end="", file=sys.stderr, flush=True)


def name_bad(refused: Sequence[str]) -> int:
    """Name what could not be read, a line each; returns the exit code: 1 when there was any."""
    for line in refused:
        print(line, file=sys.stderr, flush=True)
    return 1 if refused else 0


def names_for(paths: Sequence[Path]) -> list[str]:
    """Return a harmless name without an ending for each file; of several with one name the later ones get a number."""
    from vla_bt.episodes.schema import safe_name

    names: list[str] = []
    for path in paths:
        wanted = name = safe_name(path.stem)
        number = 1
        while name in names:
            number += 1
            name = f"{wanted}_{number}"
        names.append(name)
    return names


@contextlib.contextmanager
def out_of_way(target: Path) -> Iterator[Path]:
    """Hand out a name to write to; the file gets its own name once it is whole, and is gone if it isn't."""
    from vla_bt.episodes.writer import unused

    making = unused(target)
    try:
        yield making
        os.replace(making, target)
    finally:
        with contextlib.suppress(OSError):
            making.unlink()

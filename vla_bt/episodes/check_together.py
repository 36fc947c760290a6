"""The checks that look at several files at once: links of a demonstration, names and pictures that are there twice.

Promises: only what the files themselves tell is compared; an augmented view is never held against its source, whose pictures it
shares by design. Nothing is kept of a file but its :class:`Traits`, so a folder may be as large as it likes.
"""

from __future__ import annotations

import zlib
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations, pairwise
from pathlib import Path

import numpy as np

from vla_bt.episodes.check_frames import grid_of
from vla_bt.episodes.opening import Content
from vla_bt.episodes.printable import printable
from vla_bt.episodes.schema import EpisodeInfo, trusted

SHARED = 0.5
"""With this share of their pictures in common two files hold one recording; two drives of one world share their first at most."""

Told = tuple[Path, str, str]
"""Whom it concerns, the code, the words."""


@dataclass(frozen=True)
class Traits:
    """What tells a file from the others.

    Attributes
    ----------
    path : Path
    name : str
        ``episode_name``.
    demonstration, index, previous
        Its place in a demonstration; no id, no place.
    origin : str
    first_s, last_s : float
        When its first and its last frame were decided on; NaN where it doesn't tell [s].
    period_s, tick_s : float
        From frame to frame, and from tick to tick [s]; no tick, 0.
    dropped : int
        Frames it says were lost before its first.
    pictures : frozenset of int
        CRC-32 of each picture that isn't of one colour.
    """

    path: Path
    name: str
    demonstration: str
    index: int
    previous: str
    origin: str
    first_s: float
    last_s: float
    period_s: float
    tick_s: float
    dropped: int
    pictures: frozenset[int]


def traits_of(content: Content) -> Traits:
    """Return the traits of a file whose images were read, as far as it tells them."""
    told = trusted(content.attributes)
    decided = content.columns.get("decided_s")
    told_times = decided is not None and decided.ndim == 1 and decided.dtype.kind == "f" and len(decided) > 0
    times = decided if told_times and decided is not None else np.array([np.nan])
    dropped = content.columns.get("frames_dropped_before")
    counted = dropped is not None and dropped.ndim == 1 and dropped.dtype.kind in "iu" and len(dropped) > 0
    images = content.images if content.images is not None else ()
    return Traits(
        content.path,
        told.get("episode_name", ""),
        told.get("demonstration_id", ""),
        told.get("demonstration_index", 0),
        told.get("previous_episode", ""),
        told.get("origin", ""),
        float(times[0]),
        float(times[-1]),
        told.get("frame_period_s", EpisodeInfo().frame_period_s),
        told.get("tick_period_s", 0.0),
        int(dropped[0]) if counted and dropped is not None else 0,
        frozenset(zlib.crc32(np.ascontiguousarray(image)) for image in images if image.min() < image.max()),
    )


def check_together(files: Sequence[Traits]) -> Iterator[Told]:
    """Yield what is wrong between files, in no order."""
    yield from _names(files)
    yield from _pictures(files)
    demonstrations: dict[str, list[Traits]] = defaultdict(list)
    for each in files:
        if each.demonstration:
            demonstrations[each.demonstration].append(each)
    for linked in demonstrations.values():
        yield from _links(sorted(linked, key=lambda each: (each.index, each.path)))


def _names(files: Sequence[Traits]) -> Iterator[Told]:
    first: dict[str, Traits] = {}
    for each in files:
        if each.name and first.setdefault(each.name, each) is not each:
            yield each.path, "duplicate-episode", f"episode_name is that of {printable(first[each.name].path)}, too"


def _pictures(files: Sequence[Traits]) -> Iterator[Told]:
    """Find recordings that are there twice: by pictures they share, so that it takes no comparison of all with all."""
    holders: dict[int, list[Traits]] = defaultdict(list)
    for each in files:
        if each.origin != "augmented":
            for number in each.pictures:
                holders[number].append(each)
    shared: dict[tuple[Path, Path], int] = defaultdict(int)
    by_path = {each.path: each for each in files}
    for together in holders.values():
        for one, other in combinations(together[:50], 2):
            shared[one.path, other.path] += 1
    for (one_path, other_path), count in shared.items():
        smaller = min(len(by_path[one_path].pictures), len(by_path[other_path].pictures))
        if count >= 2 and count >= SHARED * smaller:
            yield other_path, "duplicate-episode", f"{count} of its pictures are those of {printable(one_path)}"


def _links(linked: list[Traits]) -> Iterator[Told]:
    """Check one demonstration, its episodes in their order."""
    first = linked[0]
    if first.index != 0:
        yield first.path, "link-missing", f"is number {first.index} of its demonstration; those before it aren't here"
    elif first.previous:
        yield first.path, "link-wrong", f"is the first of its demonstration, yet follows {printable(first.previous)!r}"
    for before, after in pairwise(linked):
        if after.index == before.index:
            what = f"number {after.index} of its demonstration, as {printable(before.path)}"
            yield after.path, "link-wrong", f"says that it is {what}"
            continue
        if after.index > before.index + 1:
            yield after.path, "link-missing", f"number {before.index + 1} of its demonstration isn't here"
            continue
        if after.previous != before.name:
            words = f"follows {printable(after.previous)!r}; the one before it is {printable(before.name)!r}"
            yield after.path, "link-wrong", words
        gap_s = after.first_s - before.last_s
        if gap_s <= 0:
            yield after.path, "link-wrong", f"begins {-gap_s:.3g} s before the end of {printable(before.path)}"
            continue
        expected_s, room_s = grid_of(after.period_s, after.tick_s)
        if gap_s > (1 + after.dropped) * expected_s + room_s:
            words = f"begins {gap_s:.3g} s after {printable(before.path)}, expected {(1 + after.dropped) * expected_s:.3g} s"
            yield after.path, "link-gap", words

"""Augmenting a folder of episodes: books of recipes over them, and views written as files where somebody wants files.

Promises: only complete recorded, simulated or imported episodes become sources, never augmented ones; the sources are not
changed; a materialised view is there whole or not at all, says what it was made of and how, and equals the view that
:class:`vla_bt.episodes.dataset.EpisodeDataset` hands out, pixel for pixel.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from datetime import datetime, timezone
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vla_bt.episodes.dataset import EpisodeDataset, episode_files
from vla_bt.episodes.format import Episode, columns_of
from vla_bt.episodes.opening import read
from vla_bt.episodes.plan import is_complete
from vla_bt.episodes.recipes import SUFFIX, Book, Source, digest_of, draw_distance, draw_general
from vla_bt.episodes.schema import COLUMNS, RAW, EpisodeError, EpisodeInfo, file_attributes, trusted
from vla_bt.episodes.view_sheet import FRAME, tile, write_sheet
from vla_bt.episodes.writer import assemble

_NEVER = datetime.fromtimestamp(0, timezone.utc)
Shown = Callable[[int, int], None]
"""Is told how many are done and how many there are."""


def find_sources(folder: Path, shown: Shown, refused: list[str] | None = None) -> list[Source]:
    """Return the episodes of a folder that views may be made of, with their digests.

    Parameters
    ----------
    refused : list of str, optional
        Takes a line for each file that is no episode, instead of raising.

    Raises
    ------
    EpisodeError
        When the folder or a file can't be read.
    """
    paths = episode_files(folder)
    sources = []
    for count, path in enumerate(paths, start=1):
        try:
            content = read(path, images=False)
            told = trusted(content.attributes)
            if is_complete(told) and told.get("origin") != "augmented":
                standing = standing_frames(columns_of(content)[0])
                sources.append(Source(path.stem, digest_of(path), str(told.get("distance", "")), standing))
        except EpisodeError as error:
            if refused is None:
                raise
            refused.append(str(error))
        shown(count, len(paths))
    return sources


def standing_frames(columns: dict[str, NDArray[Any]]) -> int:
    """Return in how many frames at its end the robot stood: told to, and told so by the gate as far as it said anything."""
    still = (columns["actions"] == 0.0).all(axis=1)
    if "applied" in columns:
        still &= (np.nan_to_num(columns["applied"]) == 0.0).all(axis=1)
    moving = np.flatnonzero(~still)
    return len(still) - 1 - int(moving[-1]) if len(moving) else len(still)


def write_books(folder: Path, sources: list[Source], general: int, distance: int, seed: int) -> dict[Path, Book]:
    """Draw both books and write them into the folder; returns each with its path."""
    books = [draw_general(sources, general, seed), draw_distance(sources, distance, seed)]
    return {book.save(folder / f"{book.kind}{SUFFIX}"): book for book in books if book.entries}


def spread(total: int, count: int) -> list[int]:
    """Return ``count`` different indices below ``total``, evenly apart."""
    count = min(count, total)
    return [int((index + 0.5) * total / count) for index in range(count)]


def materialise(views: EpisodeDataset, out: Path, shown: Shown) -> list[Path]:
    """Write views as files, and ``views.jpg``, which shows them beside their sources; files that are there already stay.

    Raises
    ------
    EpisodeError
        When a source can't be read or has changed.
    OSError
        When they can't be written.
    """
    if len(views):
        out.mkdir(parents=True, exist_ok=True)
    paths, tiles = [], []
    for index in range(len(views)):
        path = out / f"{views.attributes(index)['episode_name']}.h5"
        view, source = views.episode(index), views.source(index)
        if not path.exists():
            write_episode(view, out)
        paths.append(path)
        frame = min(FRAME, view.frames - 1)
        tiles.append(tile(source.images[frame], view.images[frame], view.attributes))
        shown(index + 1, len(views))
    if tiles:
        write_sheet(tiles, out / "views.jpg")
    return paths


def write_episode(episode: Episode, directory: Path) -> Path:
    """Write an episode as a file with its own attributes and units, under the name they tell; returns its path.

    Raises
    ------
    EpisodeError
        For one of the original format: who drove and when isn't in it, and this format has no gap for that.
    OSError
        When it can't be written.
    """
    if "schema_version" not in episode.attributes:
        raise EpisodeError(f"{episode.path}: is of the original format; 'vla-bt episodes import' makes it an episode first")
    height, width = episode.images.shape[1:3]
    name = str(episode.attributes["episode_name"])
    attributes = file_attributes(EpisodeInfo(), name, _NEVER, height, width)
    attributes |= {"started": "", "total_duration": math.nan} | episode.attributes  # what isn't told stays unknown
    attributes |= {"image_height": height, "image_width": width, "image_storage": RAW}
    rows = [{column: _value(episode.columns, column, index) for column in COLUMNS} for index in range(episode.frames)]
    pixels = [partial(_pixels, image) for image in episode.images]
    return assemble(directory, name, attributes, rows, pixels, episode.action_unit)


def _pixels(image: NDArray[np.uint8]) -> bytes:
    return np.ascontiguousarray(image).tobytes()


def _value(columns: dict[str, NDArray[Any]], name: str, index: int) -> Any:
    """Return one value as plain Python, what stands for unknown where a file lacks it."""
    column = COLUMNS[name]
    if name in columns:
        value = columns[name][index]
        return str(value) if column.text_bytes else value.tolist()
    if column.text_bytes:
        return ""
    unknown = math.nan if column.kind.startswith("f") else 0
    return (unknown,) * column.shape[0] if column.shape else unknown

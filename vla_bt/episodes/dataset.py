"""Episodes from disk for whoever learns from them: recorded files and augmented views of them, through one class.

    episodes = EpisodeDataset.open(Path("runs/document"), books=[Path("runs/document/general.recipes.json")], size=(128, 72))
    for item in episodes.split("train"):
        item.images, item.actions, item.known, item.goal, item.attributes

Promises: a view reads like a file. Pictures are read when an item is asked for, not before. The split goes by what was recorded:
all episodes of one demonstration, and of one simulated world, and all views of them, are in the same part, whatever the order of
files and whatever else lies beside them; a source that changed since its recipes were drawn is refused.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from vla_bt.episodes.format import Episode, columns_of, load
from vla_bt.episodes.mirror import mirror_words
from vla_bt.episodes.opening import Content, read
from vla_bt.episodes.plan import is_complete
from vla_bt.episodes.recipes import Book, Recipe, digest_of, load_book
from vla_bt.episodes.schema import EpisodeError, trusted
from vla_bt.episodes.units import KEYS
from vla_bt.episodes.views import change_attributes, change_columns, make_view

Each = Callable[[Sequence[Path]], Iterable[Path]]
"""Hands files on one by one: for whoever counts them while they are read."""

SPLITS = ("train", "validation", "test")
SHARES = (0.8, 0.1, 0.1)
"""Part of the groups that falls to each of :data:`SPLITS`, on average."""


@dataclass(frozen=True)
class Item:
    """One episode to learn from.

    Attributes
    ----------
    images : ndarray of uint8, shape (n, height, width, 3), RGB
    actions : ndarray of float32, shape (n, 3)
        Velocities commanded on these pictures [m/s, m/s, rad/s].
    known : ndarray of bool, shape (n,)
        False where the file doesn't tell the command: at frame 0 of the original format, which says zero there whatever it was.
    goal : str
        The first goal that was pursued; empty when none was.
    attributes : dict
        Of the file or the view.
    columns : dict of str to ndarray
        Everything else there is for each frame, see :data:`vla_bt.episodes.schema.COLUMNS`.
    """

    images: NDArray[np.uint8]
    actions: NDArray[np.float32]
    known: NDArray[np.bool_]
    goal: str
    attributes: dict[str, Any]
    columns: dict[str, NDArray[Any]]


@dataclass(frozen=True)
class _Entry:
    """A file, or a view of one."""

    path: Path
    group: str
    attributes: dict[str, Any]
    recipe: Recipe | None = None
    sha256: str = ""
    name: str = ""


def group_of(attributes: Mapping[str, Any], name: str = "") -> str:
    """Return what must not be torn apart when episodes are split: a simulated world, else a demonstration, else the episode.

    The told side isn't part of a world: left and right of one seed look the same at the start. Of an augmented file its source's.
    """
    if attributes.get("origin") == "augmented":
        try:
            return str(json.loads(str(attributes["recipe"]))["group"])
        except (KeyError, TypeError, ValueError):
            return str(attributes.get("source_episode") or name)
    seed = attributes.get("seed", -1)
    if isinstance(seed, int) and seed >= 0:
        kind = str(attributes.get("scenario", "")).rpartition("_")[0]
        words = (kind, attributes.get("distance", ""), attributes.get("position", ""), attributes.get("pattern", ""), seed)
        return "world " + " ".join(str(word) for word in words)
    return str(attributes.get("demonstration_id") or attributes.get("episode_name") or name)


def split_of(group: str, shares: tuple[float, float, float] = SHARES) -> str:
    """Return the part a group falls to, by a digest of its words alone."""
    at = int.from_bytes(hashlib.sha256(group.encode()).digest()[:6], "big") / 2**48
    return SPLITS[0] if at < shares[0] else SPLITS[1] if at < shares[0] + shares[1] else SPLITS[2]


class EpisodeDataset(Sequence[Item]):
    """A list of episodes; made by :meth:`open`.

    Parameters
    ----------
    entries : sequence
        Files and views.
    size : tuple of two ints, optional
        Width and height that pictures are shrunk to [px]; default: as they are.
    """

    def __init__(self, entries: Sequence[_Entry], size: tuple[int, int] | None = None) -> None:
        self._entries = tuple(entries)
        self._size = size
        self._checked: set[Path] = set()
        self._last: tuple[Path, Episode] | None = None

    @classmethod
    def open(
        cls,
        folder: Path,
        books: Iterable[Path | Book] = (),
        size: tuple[int, int] | None = None,
        each: Each = iter,
        refused: list[str] | None = None,
    ) -> EpisodeDataset:
        """List the complete episodes of a folder and the views of them; pictures stay where they are.

        Parameters
        ----------
        folder : Path
            Where the ``.h5`` files are.
        books : iterable of Path or Book
            Books of recipes over these files.
        size : tuple of two ints, optional
            Width and height that pictures are shrunk to [px].
        each : callable, optional
            Hands on the files to look at.
        refused : list of str, optional
            Takes a line for each file that can't be read, instead of raising.

        Raises
        ------
        EpisodeError
            With one line, when the folder, a file or a book can't be read, or a book tells of a file that isn't there.
        """
        entries = [
            _Entry(path, group_of(attributes, path.stem), attributes)
            for path, attributes in headers(folder, each, refused)
            if is_complete(attributes)
        ]
        by_name = {entry.path.stem: entry for entry in entries}
        for given in books:
            book = given if isinstance(given, Book) else load_book(given)
            for source in book.sources:
                if source.name not in by_name:
                    raise EpisodeError(f"{folder}: no complete episode {source.name}.h5, which recipes were drawn for")
            entries += [_view_entry(by_name, book, number) for number in range(len(book.entries))]
        return cls(entries, size)

    def __len__(self) -> int:
        return len(self._entries)

    def __iter__(self) -> Iterator[Item]:
        return (self[index] for index in range(len(self)))

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return EpisodeDataset(self._entries[index], self._size)
        episode = self.episode(index)
        columns, actions = episode.columns, episode.columns["actions"]
        known = np.ones(episode.frames, bool)
        if "commanded" in columns:
            known = np.isfinite(columns["commanded"]).all(axis=1)
            actions = np.where(known[:, None], columns["commanded"], actions)
        else:
            known[:1] = False
        return Item(episode.images, actions.astype(np.float32), known, goal_of(columns), episode.attributes, columns)

    def pick(self, indices: Iterable[int]) -> EpisodeDataset:
        """Return some of the items, in the order told."""
        return EpisodeDataset([self._entries[index] for index in indices], self._size)

    def attributes(self, index: int) -> dict[str, Any]:
        """Return an item's attributes without reading its pictures."""
        return self._entries[index].attributes

    def group(self, index: int) -> str:
        """Return what an item belongs to when episodes are split."""
        return self._entries[index].group

    def split(self, part: str, shares: tuple[float, float, float] = SHARES) -> EpisodeDataset:
        """Return the items of one of :data:`SPLITS`."""
        if part not in SPLITS:
            raise ValueError(f"unknown part '{part}'; known: {', '.join(SPLITS)}")
        return EpisodeDataset([entry for entry in self._entries if split_of(entry.group, shares) == part], self._size)

    def episode(self, index: int) -> Episode:
        """Read an item as an episode.

        Raises
        ------
        EpisodeError
            With one line, when its file can't be read or is not the one that recipes were drawn for.
        """
        entry = self._entries[index]
        source = self._load(entry.path)
        if entry.recipe is None:
            return source
        if entry.path not in self._checked:
            if digest_of(entry.path) != entry.sha256:
                raise EpisodeError(f"{entry.path}: changed since recipes were drawn for it; draw them again")
            self._checked.add(entry.path)
        return make_view(source, entry.recipe, entry.name, entry.group, entry.sha256)

    def contents(self) -> Iterator[Content]:
        """Yield every item without its pictures; each file is read once and not checked for changes."""
        read_already: dict[Path, Content] = {}
        for entry in self._entries:
            content = read_already.get(entry.path)
            if content is None:
                content = read_already[entry.path] = read(entry.path, images=False)
            if entry.recipe is not None:
                content = replace(
                    content, attributes=entry.attributes, columns=change_columns(columns_of(content)[0], entry.recipe)
                )
            yield content

    def source(self, index: int) -> Episode:
        """Read the file that an item is, or is a view of."""
        return self._load(self._entries[index].path)

    def _load(self, path: Path) -> Episode:
        """Read a file, or take the one read last."""
        if self._last is not None and self._last[0] == path:
            return self._last[1]
        episode = load(path)
        if episode.action_unit == KEYS:
            raise EpisodeError(f"{path}: its actions are key presses, no velocities; they are not mixed with velocities")
        if self._size is not None:
            shrunk = [cv2.resize(image, self._size, interpolation=cv2.INTER_AREA) for image in episode.images]
            episode = replace(episode, images=np.stack([np.asarray(image, np.uint8) for image in shrunk]))
        self._last = (path, episode)
        return episode


def views_of(books: Iterable[Path], size: tuple[int, int] | None = None, each: Each = iter) -> list[EpisodeDataset]:
    """Return the views of books that lie beside their sources, those of one folder together: its files are read once.

    ``size`` and ``each`` are as in :meth:`EpisodeDataset.open`.

    Raises
    ------
    EpisodeError
        As :meth:`EpisodeDataset.open` does.
    """
    folders: dict[Path, list[Path]] = {}
    for path in books:
        folders.setdefault(path.parent, []).append(path)
    found = []
    for folder, paths in folders.items():
        inside = [load_book(path) for path in paths]
        episodes = EpisodeDataset.open(folder, inside, size, each)
        found.append(episodes[len(episodes) - sum(len(book.entries) for book in inside) :])
    return found


def goal_of(columns: Mapping[str, NDArray[Any]]) -> str:
    """Return the first goal that was pursued, empty when none was."""
    return next((str(text) for text in columns.get("goal_text", ()) if text), "")


def headers(folder: Path, each: Each = iter, refused: list[str] | None = None) -> list[tuple[Path, dict[str, Any]]]:
    """Return files and attributes of all episodes in a folder, sorted by name; an attribute that can't be is left out.

    Parameters
    ----------
    refused : list of str, optional
        Takes a line for each file that can't be read, instead of raising.

    Raises
    ------
    EpisodeError
        When the folder or a file in it can't be read.
    """
    found = []
    for path in each(episode_files(folder)):
        try:
            found.append((path, trusted(read(path, images=False).attributes)))
        except EpisodeError as error:
            if refused is None:
                raise
            refused.append(str(error))
    return found


def episode_files(folder: Path) -> list[Path]:
    """Return the episode files of a folder, sorted by name.

    Raises
    ------
    EpisodeError
        When there is no such folder.
    """
    if not folder.is_dir():
        raise EpisodeError(f"{folder}: no such folder")
    return sorted(path for path in folder.glob("*.h5") if not path.name.startswith("."))


def _view_entry(by_name: Mapping[str, _Entry], book: Book, number: int) -> _Entry:
    at, recipe = book.entries[number]
    source = book.sources[at]
    entry = by_name[source.name]
    name = f"{mirror_words(source.name) if recipe.mirror else source.name}_{book.kind}-{number:04d}"
    attributes = change_attributes(entry.attributes, recipe, name, entry.group, source.sha256)
    return _Entry(entry.path, entry.group, attributes, recipe, source.sha256, name)

"""Recipes: how augmented views are made of recorded episodes, as small plain data instead of pixels.

Promises: a book of recipes depends on its sources, its number of views and its seed alone, and each recipe tells everything, so
that it makes the same pixels again whatever becomes of the drawing here. Views are dealt out evenly over the sources. A book
names its sources by name and SHA-256 and holds no path.

``general`` views: half of each episode's mirrored; brightness, colour, noise, blur, small crops, and time jitter: some frames of
a drive are left out, and the robot stands longer at its end.

``distance`` views: cropped and scaled up about the point straight ahead on the horizon. Scaled by ``z``, what stood on the floor
``d`` metres ahead looks as if it stood ``d / z`` ahead, at the same sideways place; so a view gets the distance label that its
scale leads to. Pictures are never scaled down, for their borders would have to be invented: ``far`` becomes any label, ``close``
stays close.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np

from vla_bt.episodes.schema import DISTANCES, FRAMES, EpisodeError
from vla_bt.sim import scenes

KINDS = ("general", "distance")
BOOK_VERSION = 1
SUFFIX = ".recipes.json"

HORIZON = 0.26
"""Row of the horizon as a share of the height: a camera pitched down by 12.5 deg with a vertical field of view of 50 deg."""

LABEL_ROOM_M = 0.12
"""A view's apparent distance stays this near to its label's own [m]; the labels are 0.4 m apart."""

LEAST_SCALE = 1.01
"""A distance view differs from its source by at least this factor."""

_HEX = re.compile(r"[0-9a-f]{64}")
_NAME = re.compile(r"[A-Za-z0-9_-]{1,120}")
_MOST_BYTES = 32 << 20


@dataclass(frozen=True)
class Recipe:
    """One view of one episode. The defaults change nothing.

    Attributes
    ----------
    kind : str
        One of :data:`KINDS`.
    seed : int
        Of the grain.
    mirror : bool
        Left and right swapped everywhere, before all else.
    scale : float
        At least 1: how much larger things look; the picture is cropped for it.
    across, down : float
        Place of the crop, 0..1 of the room there is.
    brightness : float
        Factor on every pixel.
    colour : tuple of three floats
        Factors on red, green, blue.
    blur : float
        Standard deviation of the blur in thousandths of the width.
    noise : float
        Standard deviation of the grain at a width of 1280 px [grey levels].
    frames : tuple of int
        Which frame of the source each one is; empty for all in order.
    distance : str
        The view's distance label; empty for its source's.
    """

    kind: str
    seed: int = 0
    mirror: bool = False
    scale: float = 1.0
    across: float = 0.5
    down: float = 0.5
    brightness: float = 1.0
    colour: tuple[float, float, float] = (1.0, 1.0, 1.0)
    blur: float = 0.0
    noise: float = 0.0
    frames: tuple[int, ...] = ()
    distance: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Return what differs from the defaults, as JSON knows it."""
        told: dict[str, Any] = {"kind": self.kind}
        for item in fields(self):
            value = getattr(self, item.name)
            if item.default is not MISSING and value != item.default:
                told[item.name] = list(value) if isinstance(value, tuple) else value
        return told

    @classmethod
    def from_dict(cls, told: Mapping[str, Any]) -> Recipe:
        """Read what :meth:`to_dict` told.

        Raises
        ------
        ValueError
            With one line for anything else.
        """
        values = dict(told)
        unknown = set(values) - {item.name for item in fields(cls)}
        if unknown:
            raise ValueError(f"unknown word '{sorted(unknown)[0]}' in a recipe")
        for name in ("colour", "frames"):
            if name in values:
                values[name] = tuple(values[name]) if isinstance(values[name], (list, tuple)) else None
        recipe = cls(**{"kind": "", **values})
        recipe.check()
        return recipe

    def check(self) -> None:
        """Refuse what can't be carried out, with one line (ValueError)."""
        numbers = (self.scale, self.across, self.down, self.brightness, self.blur, self.noise, *(self.colour or ("",)))
        ranges = {"scale": (1.0, 4.0), "across": (0.0, 1.0), "down": (0.0, 1.0), "brightness": (0.0, 10.0)}
        ranges |= {"blur": (0.0, 100.0), "noise": (0.0, 255.0), "seed": (0, 2**63)}
        if self.kind not in KINDS:
            raise ValueError(f"a recipe's kind is '{self.kind}'; known: {', '.join(KINDS)}")
        if not all(isinstance(number, (int, float)) and not isinstance(number, bool) for number in numbers):
            raise ValueError("a recipe holds something else than numbers")
        if isinstance(self.seed, bool) or not isinstance(self.seed, int) or not isinstance(self.mirror, bool):
            raise ValueError("a recipe's seed is no whole number, or its mirror neither true nor false")
        for name, (low, high) in ranges.items():
            if not low <= getattr(self, name) <= high:
                raise ValueError(f"a recipe's {name} is {getattr(self, name)!r}; expected {low:g} to {high:g}")
        if len(self.colour) != 3 or not all(0.0 <= gain <= 10.0 for gain in self.colour):
            raise ValueError(f"a recipe's colour is {self.colour!r}; expected three factors from 0 to 10")
        whole = all(isinstance(index, int) and 0 <= index < FRAMES for index in self.frames)
        if not whole or len(self.frames) not in (0, FRAMES):
            raise ValueError(f"a recipe's frames are {self.frames!r}; expected {FRAMES} numbers from 0 to {FRAMES - 1}, or none")
        if self.distance and self.distance not in DISTANCES:
            raise ValueError(f"a recipe's distance is '{self.distance}'; known: {', '.join(DISTANCES)}")


@dataclass(frozen=True)
class Source:
    """An episode that views are made of: its name, the SHA-256 of its file, and what drawing recipes needs to know of it.

    Attributes
    ----------
    name, sha256 : str
    distance : str
        Its label, empty without one.
    standing : int
        Frames at its end in which the robot stood.
    """

    name: str
    sha256: str
    distance: str = ""
    standing: int = 0


@dataclass(frozen=True)
class Book:
    """Recipes over sources.

    Attributes
    ----------
    kind : str
        One of :data:`KINDS`.
    seed : int
        It was drawn with.
    sources : tuple of Source
    entries : tuple of (int, Recipe)
        Which source, and what to do with it.
    """

    kind: str
    seed: int
    sources: tuple[Source, ...]
    entries: tuple[tuple[int, Recipe], ...]

    def save(self, path: Path) -> Path:
        """Write it, whole or not at all."""
        content = {
            "version": BOOK_VERSION,
            "kind": self.kind,
            "seed": self.seed,
            "sources": [asdict(source) for source in self.sources],
            "recipes": [{"source": at, **recipe.to_dict()} for at, recipe in self.entries],
        }
        lines = json.dumps(content).replace('}, {"', '},\n{"')
        fresh = path.with_name(f".{path.name}.{os.getpid()}")
        try:
            fresh.write_text(lines + "\n", encoding="utf-8")
            os.replace(fresh, path)
        finally:
            fresh.unlink(missing_ok=True)
        return path


def load_book(path: Path) -> Book:
    """Read a book.

    Raises
    ------
    EpisodeError
        With one line, when it isn't one.
    """
    try:
        if path.stat().st_size > _MOST_BYTES:
            raise EpisodeError(f"{path}: {path.stat().st_size >> 20} MB; a book of recipes has less than {_MOST_BYTES >> 20}")
        content = json.loads(path.read_text(encoding="utf-8"))
        if content["version"] != BOOK_VERSION:
            raise ValueError(f"version {content['version']!r}; this program reads {BOOK_VERSION}")
        sources = tuple(Source(**source) for source in content["sources"])
        entries = []
        for told in content["recipes"]:
            values = dict(told)
            at = values.pop("source")
            if not isinstance(at, int) or not 0 <= at < len(sources):
                raise ValueError(f"a recipe's source is {at!r}; there are {len(sources)}")
            entries.append((at, Recipe.from_dict(values)))
        book = Book(str(content["kind"]), int(content["seed"]), sources, tuple(entries))
    except OSError as error:
        raise EpisodeError(f"{path}: {error.strerror}") from None
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise EpisodeError(f"{path}: no book of recipes: {' '.join(str(error).split())[:200]}") from None
    for source in book.sources:
        if not _NAME.fullmatch(str(source.name)) or not _HEX.fullmatch(str(source.sha256)):
            raise EpisodeError(f"{path}: no book of recipes: source {str(source.name)[:60]!r} has no plain name or no SHA-256")
    return book


def draw_general(sources: Sequence[Source], count: int, seed: int) -> Book:
    """Draw ``count`` general views."""
    rng = np.random.default_rng([seed, 307])
    entries = []
    had = [0] * len(sources)
    for at in _dealt(len(sources), count, rng):
        had[at] += 1
        cropped = rng.random() < 0.6
        dim_or_bright = float(np.exp(rng.uniform(-0.45, 0.3)))
        entries.append(
            (
                at,
                Recipe(
                    "general",
                    seed=int(rng.integers(2**32)),
                    mirror=(had[at] + at) % 2 == 0,
                    scale=round(float(rng.uniform(1.01, 1.06)), 4) if cropped else 1.0,
                    across=round(float(rng.random()), 3) if cropped else 0.5,
                    down=round(float(rng.random()), 3) if cropped else 0.5,
                    brightness=round(dim_or_bright, 3),
                    colour=tuple(round(float(gain), 3) for gain in rng.uniform(0.92, 1.08, 3)),  # type: ignore[arg-type]
                    blur=round(float(rng.uniform(0.3, 2.0)), 2) if rng.random() < 0.25 else 0.0,
                    noise=round(float(rng.uniform(2.0, 10.0)), 2) if rng.random() < 0.4 else 0.0,
                    frames=_jittered(rng, sources[at].standing) if rng.random() < 0.3 else (),
                ),
            )
        )
    return Book("general", seed, tuple(sources), tuple(entries))


def draw_distance(sources: Sequence[Source], count: int, seed: int) -> Book:
    """Draw ``count`` distance-aware views, the labels that a source can have in turn.

    Raises
    ------
    EpisodeError
        When no source has a distance label.
    """
    labelled = [at for at, source in enumerate(sources) if source.distance in DISTANCES]
    if count and not labelled:
        raise EpisodeError("no episode tells its distance (close, medium or far): distance-aware views need one that does")
    rng = np.random.default_rng([seed, 311])
    turn = [int(value) for value in rng.integers(0, len(DISTANCES), len(sources))]
    entries = []
    for index in _dealt(len(labelled), count, rng):
        at = labelled[index]
        own = sources[at].distance
        reachable = DISTANCES[: DISTANCES.index(own) + 1]
        label = reachable[turn[at] % len(reachable)]
        turn[at] += 1
        true_m, wanted_m = scenes.DISTANCES[own], scenes.DISTANCES[label]
        furthest_m = min(wanted_m + LABEL_ROOM_M, true_m / LEAST_SCALE)
        seems_m = float(rng.uniform(wanted_m - LABEL_ROOM_M, furthest_m))
        recipe = Recipe("distance", scale=round(true_m / seems_m, 4), down=HORIZON, distance=label)
        entries.append((at, recipe))
    return Book("distance", seed, tuple(sources), tuple(entries))


def _dealt(players: int, cards: int, rng: np.random.Generator) -> list[int]:
    """Deal evenly: everybody gets as many, some one more; round by round."""
    if cards and not players:
        raise EpisodeError("there is no complete episode to make views of")
    hands: list[int] = []
    while len(hands) < cards:
        hands += [int(player) for player in rng.permutation(players)]
    return hands[:cards]


def _jittered(rng: np.random.Generator, standing: int) -> tuple[int, ...]:
    """Leave out one or two frames of the drive and repeat the last one, in which the robot stands; empty if it doesn't."""
    drive = FRAMES - standing
    if standing < 1 or drive < 5:
        return ()
    left_out = rng.choice(np.arange(1, drive), size=int(rng.integers(1, 3)), replace=False)
    kept = [index for index in range(FRAMES) if index not in left_out]
    return (*kept, *[FRAMES - 1] * (FRAMES - len(kept)))


def digest_of(path: Path) -> str:
    """Return the SHA-256 of a file, as hex.

    Raises
    ------
    EpisodeError
        When it can't be read.
    """
    digest = hashlib.sha256()
    try:
        with path.open("rb") as file:
            while block := file.read(1 << 20):
                digest.update(block)
    except OSError as error:
        raise EpisodeError(f"{path}: {error.strerror}") from None
    return digest.hexdigest()

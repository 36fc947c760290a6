"""Collecting data at the keyboard: what is demonstrated, when recording begins and ends, guides that drive a core pattern again.

    n  begin a demonstration: choose scenario, pattern, distance, position    m  end it
    k  play the guide of what was chosen, or stop playing it                  p  how far the plan is

A guide is the key presses of the newest core demonstration of the same scenario, distance and position, with their times; where
a plan wants no core demonstration of that kind, of the nearest one of the scenario, else of its mirror image, left and right keys
swapped. Nobody writes one by hand: the first core demonstration makes it.

Promises: pure but for the guides' files; while a choice is open no key drives; a key pressed by the person ends the playing; a
guide holds driving keys alone, whatever its file says.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

from vla_bt.control.teleop_console import QUIT_KEYS, STOP, Action, Kind, TeleopConsole
from vla_bt.control.teleop_keys import DIRECTIONS, TeleopKeys
from vla_bt.episodes.mirror import mirror_keys, mirror_words
from vla_bt.episodes.plan import Cell
from vla_bt.episodes.schema import DISTANCES, PATTERNS, POSITIONS
from vla_bt.sim.scenes import SCENE_NAMES

LEGEND = """\
   n  begin a demonstration       m  end it       k  play its guide, or stop       p  how far the plan is
"""

Guide = tuple[tuple[float, str], ...]
"""Times from the beginning [s], and the key pressed then."""

LONGEST_S = 600.0
_MOST_BYTES = 1 << 20
_CHOICES = (("scenario", SCENE_NAMES), ("pattern", PATTERNS), ("distance", DISTANCES), ("position", POSITIONS))


class Guides:
    """The guides in a folder, a small JSON file each.

    Parameters
    ----------
    folder : Path
        Made when the first guide is kept.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def _path(self, cell: Cell) -> Path:
        return self._folder / f"{cell.scenario}_{cell.distance}_{cell.position}.json"

    def find(self, cell: Cell) -> Guide:
        """Return the guide of a kind, empty when there is none that can be read."""
        path = self._path(cell)
        try:
            if path.stat().st_size > _MOST_BYTES:
                return ()
            presses = json.loads(path.read_text(encoding="utf-8"))["presses"]
            guide = tuple((float(at_s), str(key)) for at_s, key in presses)
        except (OSError, ValueError, TypeError, KeyError, RecursionError):
            return ()
        fine = all(0.0 <= at_s <= LONGEST_S and key in DIRECTIONS for at_s, key in guide)
        return tuple(sorted(guide)) if fine else ()

    def nearest(self, cell: Cell) -> tuple[Guide, str]:
        """Return the guide of a kind or of the one most like it, and which that is in words; empty for its own, or for none.

        Of the same scenario first, then of the other side's; there the same position first, then the nearest distance.
        """
        guide = self.find(cell)
        if guide:
            return guide, ""
        others = [(distance, position) for distance in DISTANCES for position in POSITIONS]
        for mirrored in (False, True):
            scenario, own = (mirror_words(word) if mirrored else word for word in (cell.scenario, cell.position))

            def far(kind: tuple[str, str], own: str = own) -> tuple[int, int]:
                along = abs(DISTANCES.index(kind[0]) - DISTANCES.index(cell.distance))
                return abs(POSITIONS.index(kind[1]) - POSITIONS.index(own)), along

            for distance, position in sorted(others, key=far):
                found = self.find(Cell(scenario, PATTERNS[0], distance, position))
                if found and mirrored:
                    found = tuple((at_s, mirror_keys(key)) for at_s, key in found)
                if found:
                    return found, f"{'mirrored from' if mirrored else 'of'} {scenario} {distance} {position}"
        return (), ""

    def keep(self, cell: Cell, guide: Guide) -> Path:
        """Write the guide of a kind, in place of an older one; returns its file.

        Raises
        ------
        OSError
            When it can't be written.
        """
        path = self._path(cell)
        path.parent.mkdir(parents=True, exist_ok=True)
        fresh = path.with_suffix(f".{os.getpid()}.tmp")
        fresh.write_text(json.dumps({**cell._asdict(), "presses": guide}) + "\n", encoding="utf-8")
        fresh.replace(path)
        return path


class CollectingConsole(TeleopConsole):
    """A console that also leads through demonstrations.

    Parameters
    ----------
    keys : TeleopKeys
        What the driving keys act on.
    guides : Guides
        Where guides are kept.

    Attributes
    ----------
    cell : Cell or None
        What is being demonstrated, or was last.
    """

    def __init__(self, keys: TeleopKeys, guides: Guides) -> None:
        super().__init__(keys)
        self.cell: Cell | None = None
        self._guides = guides
        self._chosen: list[str] | None = None
        self._began_s: float | None = None
        self._presses: list[tuple[float, str]] = []
        self._playing: list[tuple[float, str]] = []  # times on the clock of feed and advance
        self._guide: Guide = ()
        self._guide_from = ""

    @property
    def prompt(self) -> str:
        """The open choice or question; empty when keys drive."""
        if self._chosen is None:
            return super().prompt
        what, words = _CHOICES[len(self._chosen)]
        return f"{what}: " + "  ".join(f"{number} {word}" for number, word in enumerate(words, start=1)) + "   (Esc: never mind)"

    @property
    def demonstrating(self) -> bool:
        """A demonstration has begun and has not ended."""
        return self._began_s is not None

    @property
    def playing(self) -> bool:
        """A guide is driving."""
        return bool(self._playing)

    @property
    def key_pattern(self) -> str:
        """The keys of the guide of what is being demonstrated, empty without one."""
        return " ".join("space" if key == STOP else key for _, key in self._guide)

    def feed(self, key: str, now_s: float) -> Action | None:
        """Take one key press at ``now_s`` [s]; return what is to be sent, if anything beyond a velocity."""
        if self._chosen is not None:
            return self._choose(key)
        small = key.lower()
        if super().prompt or small not in ("n", "m", "k", "p"):
            if not super().prompt and small in DIRECTIONS:
                self._playing = []
                self._note(small, now_s)
            return super().feed(key, now_s)
        if small == "n":
            self._chosen, self._playing = [], []
            self.keys.press(STOP, now_s)
        elif small == "m":
            return self._end()
        elif small == "k":
            self._playing = [] if self._playing else [(now_s + at_s, guided) for at_s, guided in self._guide]
        else:
            return Action(Kind.PROGRESS)
        return None

    def _choose(self, key: str) -> Action | None:
        assert self._chosen is not None
        if key in QUIT_KEYS:
            self._chosen = None
            return None
        words = _CHOICES[len(self._chosen)][1]
        if key.isascii() and key.isdigit() and 1 <= int(key) <= len(words):
            self._chosen.append(words[int(key) - 1])
        if len(self._chosen) < len(_CHOICES):
            return None
        self.cell, self._chosen = Cell(*self._chosen), None
        self._guide, self._guide_from = self._guides.nearest(self.cell)
        self._began_s = None
        return Action(Kind.DEMONSTRATE, " ".join(self.cell))

    def begun(self, now_s: float) -> None:
        """Recording has begun: presses are noted from now on."""
        self._began_s, self._presses = now_s, []

    def _note(self, key: str, now_s: float) -> None:
        if self._began_s is not None:
            self._presses.append((round(now_s - self._began_s, 3), key))

    def _end(self) -> Action:
        """End the demonstration; one of the core pattern becomes the guide of its kind."""
        self._playing = []
        if self._began_s is not None and self.cell is not None and self.cell.pattern == "core" and self._presses:
            try:
                self._guides.keep(self.cell, tuple(self._presses))
            except OSError as error:
                self._began_s = None
                return Action(Kind.RECORD, f"off; the guide can't be kept: {error.strerror}")
        self._began_s = None
        return Action(Kind.RECORD, "off")

    def advance(self, now_s: float) -> None:
        """Press the guide's keys that are due at ``now_s`` [s]."""
        while self._playing and self._playing[0][0] <= now_s:
            _, key = self._playing.pop(0)
            self.keys.press(key, now_s)
            self._note(key, now_s)

    @property
    def guide_in_words(self) -> str:
        """Say whether there is a guide of what was chosen last."""
        if not self._guide:
            return "no guide yet: a core demonstration of this scenario or its mirror image makes one"
        whose = f" ({self._guide_from})" if self._guide_from else ""
        return f"guide of {len(self._guide)} keys{whose}, k plays it: {self.key_pattern}"

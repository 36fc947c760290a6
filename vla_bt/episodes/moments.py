"""A recorded run as a sequence of decisions: the linked episodes of a demonstration, frame by frame, with what each rested on."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vla_bt.episodes.dataset import episode_files
from vla_bt.episodes.format import Episode
from vla_bt.episodes.opening import read
from vla_bt.episodes.printable import printable
from vla_bt.episodes.schema import EpisodeError, trusted
from vla_bt.port import Odometry
from vla_bt.words import Mode, Source, Twist

OLDEST_S = 30.0
"""Nobody decides on an older picture; a file that says so would have the tree tick for ever [s]."""

_NEEDED = ("source", "mode", "goal_text", "frame_sequence", "receipt_s", "decided_s")


@dataclass(frozen=True)
class Moment:
    """One recorded decision.

    Attributes
    ----------
    episode, frame : int
        Which episode of the run, which frame of it, both from 0.
    image : ndarray of uint8, shape (height, width, 3), RGB
    sequence : int
        Counts the run's pictures from 1: a camera's own count may begin anew.
    exposure_s, receipt_s, decided_s : float
        Of the picture, and of the tick that decided [s].
    commanded : Twist or None
        The decision; None where the file doesn't tell it.
    source : Source
        Who it came from.
    applied : Twist
        What the gate sent after it; zero when it said nothing.
    mode : Mode
    goal : str
        What was pursued just then, one sub-goal at a time where the file tells; empty for nothing.
    odometry : Odometry or None
        As known at the decision.
    seen_odometry : Odometry or None
        As known when the policy was handed the picture; at the decision, where the file doesn't tell.
    """

    episode: int
    frame: int
    image: NDArray[np.uint8]
    sequence: int
    exposure_s: float
    receipt_s: float
    decided_s: float
    commanded: Twist | None
    source: Source
    applied: Twist
    mode: Mode
    goal: str
    odometry: Odometry | None
    seen_odometry: Odometry | None


def linked_episodes(path: Path) -> list[Path]:
    """Return the files of the demonstration that an episode belongs to, in their order; they lie in the same folder.

    Raises
    ------
    EpisodeError
        When a file can't be read, or an episode of the demonstration is missing.
    """
    told = trusted(read(path, images=False).attributes)
    demonstration = told.get("demonstration_id")
    if not demonstration:
        return [path]
    found = {told.get("demonstration_index", 0): path}
    for other in episode_files(path.parent):
        try:
            attributes = trusted(read(other, images=False).attributes)
        except EpisodeError:
            continue  # another recording; one that is missing shows as a gap
        if attributes.get("demonstration_id") == demonstration:
            found.setdefault(attributes.get("demonstration_index", 0), other)
    for expected, index in enumerate(sorted(found)):
        if index != expected:
            where = f"{printable(path.parent)}: demonstration {printable(demonstration, 100)}"
            raise EpisodeError(f"{where} lacks its episode {expected}")
    return [found[index] for index in sorted(found)]


def moments_of(episodes: list[Episode]) -> list[Moment]:
    """Return the decisions of linked episodes.

    Raises
    ------
    EpisodeError
        When a file lacks what a decision was made on, or its times run backwards.
    """
    moments: list[Moment] = []
    for number, episode in enumerate(episodes):
        for name in _NEEDED:
            if name not in episode.columns:
                hint = "; files of the original format don't tell what decisions were made on" if name == "source" else ""
                raise EpisodeError(f"{episode.path}: lacks {name}, so it can't be replayed{hint}")
        for frame in range(episode.frames):
            moments.append(_moment(episode, number, frame, len(moments) + 1))
    for moment in moments:
        if not math.isfinite(moment.decided_s):
            raise EpisodeError(f"{episodes[moment.episode].path}: frame {moment.frame}: doesn't tell when it was decided on")
    for before, after in pairwise(moments):
        if after.decided_s <= before.decided_s:
            where = f"{episodes[after.episode].path}: frame {after.frame}"
            raise EpisodeError(f"{where}: decided at {after.decided_s:.3f} s, not after the frame before")
    if not moments:
        raise EpisodeError(f"{episodes[0].path}: holds no frame")
    return moments


def _moment(episode: Episode, number: int, frame: int, sequence: int) -> Moment:
    columns = episode.columns

    def value(name: str, default: Any = math.nan) -> Any:
        return columns[name][frame] if name in columns else default

    decided_s = float(value("decided_s"))
    receipt_s = float(value("receipt_s"))
    receipt_s = receipt_s if math.isfinite(receipt_s) else decided_s
    exposure_s = float(value("exposure_s"))
    commanded = _twist(value("commanded", None))
    if commanded is None and frame and "commanded" not in columns:
        commanded = _twist(value("actions"))
    odometry = _odometry(value("odometry", None), decided_s)
    subgoal, goal = str(value("subgoal_text", "")), str(value("goal_text", ""))
    try:
        source, mode = Source(int(value("source"))), Mode(str(value("mode")))
    except ValueError as error:
        raise EpisodeError(f"{episode.path}: frame {frame}: {error}") from None
    return Moment(
        episode=number,
        frame=frame,
        image=episode.images[frame],
        sequence=sequence,
        exposure_s=exposure_s if math.isfinite(exposure_s) else receipt_s,
        receipt_s=min(max(receipt_s, decided_s - OLDEST_S), decided_s),
        decided_s=decided_s,
        commanded=commanded,
        source=source,
        applied=_twist(value("applied", None)) or Twist(),
        mode=mode,
        goal=subgoal or goal,
        odometry=odometry,
        seen_odometry=_odometry(value("seen_odometry", None), receipt_s) or odometry,
    )


def _twist(row: Any) -> Twist | None:
    return Twist(*(float(number) for number in row)) if row is not None and np.isfinite(row).all() else None


def _odometry(row: Any, at_s: float) -> Odometry | None:
    if row is None or not np.isfinite(row).all():
        return None
    x, y, yaw, *twist = (float(number) for number in row)
    return Odometry(x, y, yaw, Twist(*twist), at_s)

"""An episode as a film: each frame for as long as it lasted, with the action as an arrow and what drove it in words."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from vla_bt.episodes.format import Episode
from vla_bt.episodes.pictures import COLOURS, draw_action, source_of, write_words
from vla_bt.episodes.schema import EpisodeInfo
from vla_bt.episodes.units import SI
from vla_bt.episodes.video import write_video

WIDTH = 960
BAR = 64
RATE = 10
"""Pictures a second; more than an episode's, since players jump badly in films of one picture a second."""

LONGEST_SHOWN_S = 2.0
"""A frame that stood for longer is shown for so long; the time written below it stays true [s]."""

SHORTEST_PERIOD_S, LONGEST_PERIOD_S = 1e-3, 60.0
"""A file that tells of others is not believed: its film would have no end, or no length [s]."""

_PAPER, _INK, _FAINT = (250, 249, 247), (34, 34, 34), (110, 110, 110)


def write_film(episode: Episode, path: Path, each: Callable[[range], Iterable[int]] = iter) -> Path:
    """Write the film as H.264 in MP4; returns its path.

    Parameters
    ----------
    each : callable, optional
        Hands on the numbers of the frames: for whoever wants to count.

    Raises
    ------
    OSError
        When it can't be written.
    """
    return write_video(path, _repeated(episode, each), Fraction(RATE))


def _repeated(episode: Episode, each: Callable[[range], Iterable[int]]) -> Iterator[NDArray[np.uint8]]:
    times = shown_at(episode)
    lasts = [*np.diff(times).tolist(), period_of(episode)]
    shown, until = 0, 0.0
    for index in each(range(episode.frames)):
        picture = _still(episode, index, times[index])
        until += min(lasts[index], LONGEST_SHOWN_S)
        while shown == 0 or shown < round(until * RATE):
            yield picture
            shown += 1


def period_of(episode: Episode) -> float:
    """Return the time from frame to frame [s]: as the file tells it, by its duration, or the format's."""
    for name, frames in (("frame_period_s", 1), ("total_duration", max(1, episode.frames))):
        told = episode.attributes.get(name)
        if (
            isinstance(told, (int, float))
            and not isinstance(told, bool)
            and SHORTEST_PERIOD_S <= told / frames < LONGEST_PERIOD_S
        ):
            return float(told) / frames
    return EpisodeInfo().frame_period_s


def shown_at(episode: Episode) -> list[float]:
    """Return each frame's time since the first [s]; equally spaced where a file tells none."""
    decided = episode.columns.get("decided_s")
    if decided is not None and np.isfinite(decided).all() and (np.diff(decided) > 0).all():
        since = decided - decided[0]
        if not len(since) or since[-1] < 3600:
            return [float(value) for value in since]
    return [index * period_of(episode) for index in range(episode.frames)]


def _still(episode: Episode, index: int, since_s: float) -> NDArray[np.uint8]:
    image = episode.images[index]
    height = max(2, min(WIDTH, round(WIDTH * image.shape[0] / image.shape[1] / 2) * 2))
    picture = np.full((height + BAR, WIDTH, 3), _PAPER, np.uint8)
    view = np.ascontiguousarray(cv2.resize(image, (WIDTH, height), interpolation=cv2.INTER_AREA))
    source = source_of(episode, index)
    draw_action(view, episode.columns["actions"][index], COLOURS[source])
    picture[:height] = view
    x = write_words(picture, f"{index + 1} of {episode.frames}", (14, height + 26), 0.6, _INK)
    x = write_words(picture, f"+{since_s:.1f} s", (x + 18, height + 26), 0.55, _FAINT)
    x = write_words(
        picture, source.name.lower() if "source" in episode.columns else "", (x + 18, height + 26), 0.55, COLOURS[source]
    )
    forward, side, turn = (float(value) for value in episode.columns["actions"][index])
    units = ("m/s", "rad/s") if episode.action_unit == SI else ("", "(no m/s)")
    write_words(picture, f"{forward:+.2f} {side:+.2f} {units[0]}  {turn:+.2f} {units[1]}", (620, height + 26), 0.55, _INK)
    goal = str(episode.columns["goal_text"][index]) if "goal_text" in episode.columns else ""
    write_words(picture, (goal or str(episode.attributes.get("scenario", "")))[:90], (14, height + 52), 0.55, _FAINT)
    return picture

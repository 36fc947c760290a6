"""One picture of a whole episode: every frame with the time, who drove and the velocity asked for, as an arrow.

The arrow starts at the bottom centre of each frame: up is forward, left is left, longest at :data:`FULL_SPEED`; the arc above it
shows turning.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from vla_bt.episodes.format import Episode, load
from vla_bt.episodes.units import SI
from vla_bt.words import Source

COLUMNS = 6
THUMB_WIDTH = 320
MARGIN = 12
HEADER, LEGEND, CAPTION = 84, 44, 26
FULL_SPEED, FULL_TURN = 0.5, 1.0  # m/s and rad/s at which arrow and arc are longest

_PAPER, _INK, _FAINT = (250, 249, 247), (34, 34, 34), (120, 120, 120)
COLOURS: dict[Source, tuple[int, int, int]] = {  # RGB
    Source.IDLE: (150, 150, 150),
    Source.SAFETY: (214, 39, 40),
    Source.TELEOP: (31, 119, 180),
    Source.POLICY: (44, 160, 44),
    Source.TAKEOVER: (255, 127, 14),
    Source.MOTION: (148, 103, 189),
}
Picture = NDArray[np.uint8]


def contact_sheet(episode: Episode) -> Picture:
    """Draw the sheet.

    Returns
    -------
    ndarray of uint8, shape (height, width, 3), RGB
    """
    height, width = episode.images.shape[1:3]
    thumb_height = max(1, min(2 * THUMB_WIDTH, round(THUMB_WIDTH * height / width)))
    rows = max(1, math.ceil(episode.frames / COLUMNS))
    cell_width, cell_height = THUMB_WIDTH + MARGIN, thumb_height + CAPTION + MARGIN
    sheet = np.full((HEADER + rows * cell_height + LEGEND, COLUMNS * cell_width + MARGIN, 3), _PAPER, np.uint8)
    _header(sheet, episode)
    for index in range(episode.frames):
        row, column = divmod(index, COLUMNS)
        left, top = MARGIN + column * cell_width, HEADER + row * cell_height
        thumb = cv2.resize(episode.images[index], (THUMB_WIDTH, thumb_height), interpolation=cv2.INTER_AREA)
        colour = COLOURS[source_of(episode, index)]
        draw_action(thumb, episode.columns["actions"][index], colour)
        sheet[top : top + thumb_height, left : left + THUMB_WIDTH] = thumb
        cv2.rectangle(sheet, (left - 2, top - 2), (left + THUMB_WIDTH + 1, top + thumb_height + 1), colour, 3)
        _caption(sheet, episode, index, left, top + thumb_height + 19, colour)
    _legend(sheet)
    return sheet


def write_contact_sheet(episode_path: Path, picture_path: Path) -> Path:
    """Read an episode and write its sheet as PNG.

    Raises
    ------
    EpisodeError
        When the file is no episode.
    OSError
        When the picture can't be written.
    """
    return save_picture(contact_sheet(load(episode_path)), picture_path)


def save_picture(picture: Picture, path: Path) -> Path:
    """Write an RGB picture as PNG."""
    done, data = cv2.imencode(".png", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))
    if not done:
        raise OSError(f"{path}: the picture can't be encoded")
    path.write_bytes(data.tobytes())
    return path


def source_of(episode: Episode, index: int) -> Source:
    """Return who drove; files of the original format don't say."""
    column = episode.columns.get("source")
    try:
        return Source(int(column[index])) if column is not None else Source.IDLE
    except ValueError:
        return Source.IDLE


def write_words(picture: Picture, words: str, at: tuple[int, int], size: float, colour: tuple[int, int, int] = _INK) -> int:
    """Write words with their baseline at (x, y); returns the x behind them."""
    plain = words.encode("ascii", "replace").decode()  # the built-in font has no other letters
    cv2.putText(picture, plain, at, cv2.FONT_HERSHEY_SIMPLEX, size, colour, 1, cv2.LINE_AA)
    return at[0] + cv2.getTextSize(plain, cv2.FONT_HERSHEY_SIMPLEX, size, 1)[0][0]


def _header(sheet: Picture, episode: Episode) -> None:
    told: dict[str, Any] = episode.attributes
    write_words(sheet, str(told.get("episode_name", episode.path.stem)), (MARGIN, 34), 0.9)
    goals = [text for text in dict.fromkeys(episode.columns.get("goal_text", ())) if text]
    words = f"{episode.frames} frames in {float(told.get('total_duration', 0.0)):.1f} s"
    words += "" if told.get("complete", True) else ", partial"
    words += f"; goal: {'; then '.join(goals)}" if goals else "; no goal"
    write_words(sheet, words[:170], (MARGIN, 66), 0.6, _FAINT)


def _caption(sheet: Picture, episode: Episode, index: int, left: int, baseline: int, colour: tuple[int, int, int]) -> None:
    times = episode.columns.get("decided_s")
    since = f"+{times[index] - times[0]:.1f} s" if times is not None else ""
    x = write_words(sheet, f"{index}", (left, baseline), 0.55)
    x = write_words(sheet, since, (x + 10, baseline), 0.45, _FAINT)
    write_words(sheet, source_of(episode, index).name.lower(), (x + 10, baseline), 0.45, colour)
    forward, side, turn = (float(value) for value in episode.columns["actions"][index])
    si = episode.action_unit == SI
    figures = f"{forward:+.2f} {side:+.2f} m/s {turn:+.2f} rad/s" if si else f"{forward:+.2f} {side:+.2f} {turn:+.2f} (no m/s)"
    width = cv2.getTextSize(figures, cv2.FONT_HERSHEY_SIMPLEX, 0.4, 1)[0][0]
    write_words(sheet, figures, (left + THUMB_WIDTH - width, baseline), 0.4, _INK)


def draw_action(thumb: Picture, action: NDArray[np.float32], colour: tuple[int, int, int]) -> None:
    """Draw the velocity: arrow for driving, arc for turning, a ring for standing; each with a white rim to be seen anywhere."""
    height, width = thumb.shape[:2]
    forward, side, turn = (float(value) if math.isfinite(value) else 0.0 for value in action)
    scale = 0.38 * height / FULL_SPEED
    speed = math.hypot(forward, side)
    shrink = min(1.0, FULL_SPEED / speed) if speed else 1.0
    foot = (width // 2, round(0.74 * height))
    tip = (round(foot[0] - side * scale * shrink), round(foot[1] - forward * scale * shrink))
    radius = round(0.48 * height)
    sweep = -90.0 * max(-1.0, min(1.0, turn / FULL_TURN))
    for line, thickness in (((255, 255, 255), 7), (colour, 3)):
        if speed > 1e-3:
            cv2.arrowedLine(thumb, foot, tip, line, thickness, cv2.LINE_AA, tipLength=0.25)
        else:
            cv2.circle(thumb, foot, 5, line, thickness, cv2.LINE_AA)
        if abs(sweep) > 3.0:
            cv2.ellipse(thumb, foot, (radius, radius), -90.0, 0.0, sweep, line, thickness, cv2.LINE_AA)
            end = math.radians(-90.0 + sweep)
            head = (round(foot[0] + radius * math.cos(end)), round(foot[1] + radius * math.sin(end)))
            cv2.circle(thumb, head, 5 if thickness == 3 else 7, line, -1, cv2.LINE_AA)


def _legend(sheet: Picture) -> None:
    y, x = sheet.shape[0] - 18, MARGIN
    for source, colour in COLOURS.items():
        cv2.rectangle(sheet, (x, y - 11), (x + 14, y + 3), colour, -1)
        x = write_words(sheet, source.name.lower(), (x + 20, y + 2), 0.5) + 24
    write_words(
        sheet,
        f"arrow: velocity asked for, up is forward, longest at {FULL_SPEED:g} m/s; arc: turning",
        (x + 8, y + 2),
        0.5,
        _FAINT,
    )

"""The collection plan as a picture: a field for each kind of demonstration, coloured by what is there of what is wanted."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from vla_bt.episodes.plan import Cell, Plan, Progress
from vla_bt.episodes.schema import DISTANCES, PATTERNS, POSITIONS
from vla_bt.sim.scenes import SCENE_NAMES

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_NOT_WANTED = "#f1f0ec"


def draw_plan(plan: Plan, progress: Progress, path: Path) -> Path:
    """Write the heat map as PNG.

    Raises
    ------
    OSError
        When the picture can't be written.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize
    from matplotlib.figure import Figure

    figure = Figure(figsize=(13.5, 5.2), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(1, len(PATTERNS), sharey=True)
    shade = ScalarMappable(Normalize(0.0, 1.0), "YlGn")
    for axis, pattern in zip(axes, PATTERNS, strict=True):
        _draw_pattern(axis, pattern, plan, progress, shade)
    bar = figure.colorbar(shade, ax=list(axes), shrink=0.7, pad=0.01, label="there / wanted")
    bar.set_ticks([0.0, 0.5, 1.0])
    figure.suptitle(f"{plan.name}: {progress.done(plan)} of {plan.total} demonstrations there (in each field: there / wanted)")
    figure.savefig(path, format="png")
    return path


def _draw_pattern(axis: Axes, pattern: str, plan: Plan, progress: Progress, shade: object) -> None:
    columns = [(distance, position) for distance in DISTANCES for position in POSITIONS]
    colours = np.ones((len(SCENE_NAMES), len(columns), 4))
    for row, scenario in enumerate(SCENE_NAMES):
        for column, (distance, position) in enumerate(columns):
            cell = Cell(scenario, pattern, distance, position)
            wanted, there = plan.targets.get(cell, 0), progress.there.get(cell, 0)
            share = min(1.0, there / wanted) if wanted else 0.0
            if wanted:
                colours[row, column] = shade.to_rgba(share)  # type: ignore[attr-defined]
            else:
                from matplotlib.colors import to_rgba

                colours[row, column] = to_rgba(_NOT_WANTED)
            if wanted or there:
                colour = "white" if share > 0.6 else "#333333"
                axis.text(column, row, f"{there}/{wanted}", ha="center", va="center", fontsize=9, color=colour)
    axis.imshow(colours, aspect="auto")
    axis.set_title(pattern)
    axis.set_xticks(range(len(columns)), [position for _, position in columns], fontsize=8)
    axis.set_yticks(range(len(SCENE_NAMES)), SCENE_NAMES, fontsize=9)
    for at, distance in enumerate(DISTANCES):
        axis.text(3 * at + 1, len(SCENE_NAMES) + 0.05, distance, ha="center", va="top", fontsize=10)
        if at:
            axis.axvline(3 * at - 0.5, color="white", linewidth=4)
    axis.tick_params(length=0)
    for spine in axis.spines.values():
        spine.set_visible(False)

"""Pictures of the figures of :mod:`vla_bt.episodes.stats`: how many of each kind, the actions, and the baselines."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt

from vla_bt.episodes.stats import AXES
from vla_bt.episodes.units import SI

_INK, _BAR, _WARM = "#222222", "#4477aa", "#cc6677"
_UNITS = {"linear_x": "m/s", "linear_y": "m/s", "angular_z": "rad/s"}


def draw_stats(result: dict[str, Any], folder: Path) -> list[Path]:
    """Write ``kinds.png`` and, for each unit of the actions, ``actions*.png``; returns their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    with plt.rc_context({"font.size": 9, "axes.spines.top": False, "axes.spines.right": False, "text.color": _INK}):
        paths = [_kinds(result, folder / "kinds.png")]
        for unit, told in result["actions"].items():
            if told["known"]:
                name = "actions.png" if unit == SI else f"actions_{unit.replace(' ', '_')}.png"
                paths.append(_actions(unit, told, folder / name))
    return paths


def _kinds(result: dict[str, Any], path: Path) -> Path:
    kinds = result["kinds"]
    figure, axes = plt.subplots(1, len(kinds), figsize=(2.6 * len(kinds) + 1, 3.4), constrained_layout=True, squeeze=False)
    for axis, (kind, counts) in zip(axes[0], kinds.items(), strict=True):
        words, numbers = [word[:20] for word in counts], list(counts.values())
        axis.barh(range(len(words)), numbers, color=_BAR)
        axis.set_yticks(range(len(words)), words, parse_math=False)
        axis.invert_yaxis()
        axis.set_title(f"{kind}\nbalance {result['balance'][kind]:.2f}", fontsize=9)
        axis.set_xlabel("frames" if kind == "source" else "episodes")
        axis.set_xlim(0, max(numbers) * 1.18)
        for at, number in enumerate(numbers):
            axis.text(number, at, f" {number}", va="center", fontsize=8)
    figure.suptitle(f"{result['episodes']} episodes, {result['frames']} frames")
    figure.savefig(path, dpi=130)
    plt.close(figure)
    return path


def _actions(unit: str, told: dict[str, Any], path: Path) -> Path:
    figure, axes = plt.subplots(2, 3, figsize=(11, 6), constrained_layout=True)
    for axis, name in zip(axes[0], AXES, strict=True):
        about = told["axes"][name]
        edges, counts = about["histogram"]["edges"], about["histogram"]["counts"]
        axis.stairs(counts, edges, fill=True, color=_BAR)
        axis.axvline(0, color=_INK, linewidth=0.6)
        axis.set_title(f"{name}: still in {about['still']:.0%} of the frames", fontsize=9)
        axis.set_xlabel(_UNITS[name] if unit == SI else unit)
        axis.set_ylabel("frames")
        axis.locator_params(axis="x", nbins=6)
    for axis in axes[1]:
        axis.axis("off")
    grid = axes[1, 0].get_gridspec()
    left, right = figure.add_subplot(grid[1, :2]), figure.add_subplot(grid[1, 2])
    directions = list(told["directions"].items())[:12]
    left.bar(range(len(directions)), [count for _, count in directions], color=_BAR)
    left.set_xticks(range(len(directions)), [word.replace(" turn", "\nturn") for word, _ in directions], rotation=30, ha="right")
    left.set_ylabel("frames")
    left.set_title("directions", fontsize=9)
    names = list(told["baselines"])
    for shift, key, colour, label in ((-0.2, "mae", _WARM, "all frames"), (0.2, "without_first", _BAR, "without frame 0")):
        values = [told["baselines"][name][key] or 0.0 for name in names]
        bars = right.bar([at + shift for at in range(len(names))], values, 0.38, color=colour, label=label)
        right.bar_label(bars, fmt="%.3f", fontsize=7, padding=1)
    right.set_xticks(range(len(names)), [name.replace("_", " ") for name in names])
    right.set_ylabel("mean absolute error")
    right.set_title("to beat", fontsize=9)
    right.margins(y=0.15)
    right.legend(fontsize=8, frameon=False, loc="upper center", bbox_to_anchor=(0.5, -0.12), ncols=2)
    figure.suptitle(f"{told['known']} actions, {'m/s and rad/s' if unit == SI else unit}")
    figure.savefig(path, dpi=130)
    plt.close(figure)
    return path

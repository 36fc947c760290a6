"""A picture of a tree, drawn without graphviz: one row a node, children indented, composites and leaves told apart."""

from __future__ import annotations

from pathlib import Path

from py_trees.behaviour import Behaviour
from py_trees.composites import Composite, Parallel, Selector

_STYLES = {"Parallel": ("#dbeafe", "∥"), "Selector": ("#fef3c7", "?"), "Sequence": ("#dcfce7", "→"), "leaf": ("#f5f5f4", "")}


def draw_tree(root: Behaviour, path: Path) -> None:
    """Write a PNG of the tree.

    Raises
    ------
    OSError
        When ``path`` can't be written.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    rows: list[tuple[int, Behaviour, int]] = []  # depth, node, row of the parent

    def walk(node: Behaviour, depth: int, parent: int) -> None:
        rows.append((depth, node, parent))
        here = len(rows) - 1
        for child in node.children:
            walk(child, depth + 1, here)

    walk(root, 0, -1)
    figure = Figure(figsize=(8.5, 0.36 * len(rows) + 0.7))
    FigureCanvasAgg(figure)
    axes = figure.add_axes((0.01, 0.01, 0.98, 0.98))
    axes.set_axis_off()
    axes.set_xlim(-0.3, 9.5)
    axes.set_ylim(len(rows) + 0.6, -0.8)
    for row, (depth, node, parent) in enumerate(rows):
        if parent >= 0:
            bend = rows[parent][0] + 0.25
            axes.plot([bend, bend, depth], [parent + 0.35, row, row], color="#a8a29e", linewidth=1.1, zorder=0)
        colour, mark = _STYLES[_kind(node)]
        axes.text(
            depth + 0.05,
            row,
            f"{mark}  {node.name}" if mark else node.name,
            va="center",
            fontsize=10.5,
            fontweight="bold" if mark else "normal",
            bbox={"boxstyle": "round,pad=0.32", "facecolor": colour, "edgecolor": "#78716c", "linewidth": 0.8},
        )
    legend = "∥ parallel: all tick      ? selector: the first that can act      → sequence: one after the other"
    axes.text(0.0, len(rows) + 0.2, legend, fontsize=8.5, color="#57534e")
    figure.savefig(path, dpi=110, facecolor="white", format="png")


def _kind(node: Behaviour) -> str:
    if isinstance(node, Parallel):
        return "Parallel"
    if isinstance(node, Selector):
        return "Selector"
    return "Sequence" if isinstance(node, Composite) else "leaf"

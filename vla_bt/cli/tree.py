"""``vla-bt tree``: draw the behaviour tree with no robot present.

Examples: ``vla-bt tree show``, ``vla-bt tree dot > tree.dot``, ``vla-bt tree png --output tree.png``.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

EXAMPLES = """examples:
  vla-bt tree show                      as text
  vla-bt tree dot > tree.dot            for graphviz
  vla-bt tree png --output tree.png     as a picture
  vla-bt tree contract                  the blackboard's keys: type, unit, time to live, writer, readers
"""


def add_parser(subparsers: Any) -> None:
    """Add the verb."""
    parser = subparsers.add_parser(
        "tree",
        help="draw the behaviour tree with no robot present",
        description="Draw the behaviour tree. Nothing is started and no robot is needed.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("form", choices=("show", "dot", "png", "contract"), nargs="?", default="show")
    parser.add_argument(
        "--output", type=Path, metavar="FILE", help="write to FILE instead of the terminal (png: default tree.png)"
    )
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Draw; returns the exit code."""
    if options.form == "png":
        from vla_bt.app.tree_picture import draw_tree
        from vla_bt.trees.root import create_root

        path = options.output or Path("tree.png")
        return _written(path, lambda: draw_tree(create_root(), path))
    text = {"show": _show, "dot": _dot, "contract": _contract}[options.form]()
    if options.output is None:
        sys.stdout.write(text)
        return 0
    return _written(options.output, lambda: options.output.write_text(text, encoding="utf-8"))


def _written(path: Path, write: Any) -> int:
    try:
        write()
    except OSError as error:
        print(f"vla-bt tree: can't write {path}: {error.strerror}", file=sys.stderr)
        return 2
    print(f"wrote {path}")
    return 0


def _show() -> str:
    from py_trees import display

    from vla_bt.trees.root import create_root

    return str(display.unicode_tree(create_root()))


def _dot() -> str:
    from py_trees import display

    from vla_bt.trees.root import create_root

    return str(display.dot_tree(create_root()).to_string())


def _contract() -> str:
    from vla_bt.contract import KEYS

    rows = [("key", "type", "unit", "lives", "writer", "readers")]
    rows += [
        (key.name, key.kind, key.unit or "-", key.ttl, key.writer, ", ".join(key.readers) or "viewers") for key in KEYS.values()
    ]
    widths = [max(len(row[column]) for row in rows) for column in range(5)]
    lines = ["  ".join([*(cell.ljust(width) for cell, width in zip(row[:5], widths, strict=True)), row[5]]) for row in rows]
    return "\n".join(lines) + "\n"

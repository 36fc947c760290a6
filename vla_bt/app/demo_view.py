"""What the demo shows while it runs: the live tree and the figures to watch; plain lines where there is no terminal."""

from __future__ import annotations

import time
from typing import Any

from rich.console import Console, Group
from rich.live import Live
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from vla_bt.app.snapshot import MARKS

_STYLES = {"SUCCESS": "green", "RUNNING": "bold cyan", "FAILURE": "red", "INVALID": "dim"}
REDRAWS_PER_S = 5


class DemoView:
    """Shows the phases and the live state.

    Parameters
    ----------
    live : bool
        Redraw in place; False prints one line for each phase and check.
    """

    def __init__(self, live: bool) -> None:
        self.console = Console()
        self.phase = ""
        self._log: list[Text] = []
        self._live = Live(console=self.console, refresh_per_second=REDRAWS_PER_S, transient=True) if live else None
        self._drawn_s = 0.0
        self._began_s = time.monotonic()

    def __enter__(self) -> DemoView:
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._live is not None:
            self._live.stop()
            self._live = None

    def begin(self, phase: str) -> None:
        """Announce a phase."""
        self.phase = phase
        self._say(Text(f"[{time.monotonic() - self._began_s:5.1f} s] {phase}", style="bold"))

    def check(self, name: str, ok: bool, words: str) -> None:
        """Show a check's outcome."""
        mark, style = ("ok  ", "green") if ok else ("FAIL", "bold red")
        self._say(Text.assemble("          ", (mark, style), f"  {name}: {words}"))

    def _say(self, line: Text) -> None:
        self._log.append(line)
        if self._live is None:
            self.console.print(line)

    def update(self, snapshot: dict[str, Any], figures: list[tuple[str, str]]) -> None:
        """Redraw with the tree's newest moment."""
        now_s = time.monotonic()
        if self._live is None or now_s - self._drawn_s < 1.0 / REDRAWS_PER_S:
            return
        self._drawn_s = now_s
        table = Table.grid(padding=(0, 2))
        table.add_column(style="dim", no_wrap=True)
        table.add_column(overflow="fold")
        for name, text in figures:
            table.add_row(name, Text(text))  # what people typed is no markup
        columns = Table.grid(padding=(0, 1), expand=True)
        columns.add_column(ratio=5)
        columns.add_column(ratio=4)
        columns.add_row(
            Panel(_tree(snapshot), title="behaviour tree", border_style="blue"),
            Panel(table, title=self.phase, border_style="blue"),
        )
        self._live.update(Group(columns, *self._log[-8:]))


def _tree(snapshot: dict[str, Any]) -> Text:
    text = Text()
    for depth, name, status, message in snapshot.get("nodes", []):
        text.append(f"{'  ' * depth}{MARKS[status]} {name}", style=_STYLES[status])
        if message and status != "INVALID":
            text.append(f"  {message[:46]}", style="dim")
        text.append("\n")
    return text

"""Serving a finished run's page: on this machine alone, until a signal."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable

from vla_bt.dashboard.access import Access
from vla_bt.dashboard.finished import FinishedRun
from vla_bt.dashboard.server import Dashboard, listen


def view(source: FinishedRun, port: int, ready: Callable[[int], None]) -> None:
    """Serve until SIGINT, SIGTERM or SIGHUP.

    Parameters
    ----------
    source : FinishedRun
        What the page shows; there is no robot, so commands are refused.
    port : int
        0 takes any free one.
    ready : callable
        Called with the port once the page can be opened.

    Raises
    ------
    SettingsError
        When the port can't be listened on.
    """
    asyncio.run(_serve(source, port, ready))


async def _serve(source: FinishedRun, port: int, ready: Callable[[int], None]) -> None:
    ended = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        asyncio.get_running_loop().add_signal_handler(number, ended.set)
    dashboard = Dashboard(source, Access("localhost"), thumbnail=source.thumbnail)
    runner = await listen(dashboard, "localhost", port)
    try:
        ready(runner.addresses[0][1])
        await ended.wait()
    finally:
        await runner.cleanup()

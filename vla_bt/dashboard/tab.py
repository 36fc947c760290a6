"""One open page: its socket and what waits for it.

Promises: nothing queues. Snapshots, pictures and statuses that wait are replaced by newer ones, rows are cut to the newest; all
that leaves only once the page has answered the last beat, so what is under way to it is at most one of each, and the next leaves
as soon as it has. A page that owes an answer costs one beat a second.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

from aiohttp import web

from vla_bt.dashboard import protocol
from vla_bt.dashboard.authority import Visitor
from vla_bt.dashboard.protocol import Wire

PERIOD_S = 0.05
"""A page gets a beat this often, whether there is something to show or not: its velocities must answer fresh ones [s]."""

LAGGING_S = 1.0
ANSWERING_S = 0.3
ROWS_WAITING = 500
DIRECT_WAITING = 64


class Tab:
    """A page.

    Parameters
    ----------
    visitor : Visitor
        Who it is.
    socket : WebSocketResponse
        Open already.
    live : bool
        It shows what is now.
    clock : callable
        Monotonic time [s].
    transport : Transport, optional
        The connection itself, to cut it.

    Attributes
    ----------
    heard_s : float
        When it last said anything [s].
    refused_s : float
        When it was last told that a velocity was refused [s].
    sent : int
        Bytes sent so far.
    """

    def __init__(
        self,
        visitor: Visitor,
        socket: web.WebSocketResponse,
        live: bool,
        clock: Callable[[], float],
        transport: asyncio.Transport | None = None,
    ) -> None:
        self.visitor, self.socket, self.live, self.transport = visitor, socket, live, transport
        self.heard_s = clock()
        self.refused_s = float("-inf")
        self.sent = 0
        self.sought: float | None = None
        self.seeking: asyncio.Task[None] | None = None
        self._clock = clock
        self._newest: dict[str, Wire] = {}
        self._rows: dict[str, deque[Any]] = {}
        self._direct: deque[Wire] = deque(maxlen=DIRECT_WAITING)
        self._beat = 0
        self._beat_s = 0.0
        self._wake = asyncio.Event()

    @property
    def wants_picture(self) -> bool:
        """A picture would be sent soon: none waits, and the page answers."""
        return self.live and "camera" not in self._newest and not (self._owes and self._clock() - self._beat_s > ANSWERING_S)

    @property
    def _owes(self) -> bool:
        return self.visitor.answered < self._beat

    def show(self, kind: str, wire: Wire) -> None:
        """Let a message wait; it replaces one of its kind."""
        self._newest[kind] = wire
        if kind == "snapshot":  # what comes besides goes with it, or with the next beat
            self._wake.set()

    def append(self, kind: str, rows: Sequence[Any]) -> None:
        """Let rows wait."""
        self._rows.setdefault(kind, deque(maxlen=ROWS_WAITING)).extend(rows)

    def answered(self, beat: int) -> None:
        """Take the page's answer to a beat: what waits may leave."""
        self.heard_s = self._clock()
        self.visitor.heard(beat, self.heard_s)
        if self._newest or any(self._rows.values()):
            self._wake.set()

    def direct(self, *wires: Wire) -> None:
        """Send what this page has asked for, in order."""
        self._direct.extend(wires)
        self._wake.set()

    def look_back(self) -> None:
        """Show no longer what is now."""
        self.live = False
        for kind in set(self._newest) - {"status"}:
            del self._newest[kind]

    async def put(self, wire: Wire) -> None:
        """Send now."""
        self.sent += len(wire)
        if isinstance(wire, bytes):
            await self.socket.send_bytes(wire)
        else:
            await self.socket.send_str(wire)

    async def send(self) -> None:
        """Send what waits until the socket is closed."""
        with contextlib.suppress(ConnectionError):
            while not self.socket.closed:
                self._wake.clear()
                while self._direct:
                    await self.put(self._direct.popleft())
                now_s = self._clock()
                if not self._owes:
                    sent = await self._send_waiting(now_s)
                    if sent or now_s - self._beat_s >= PERIOD_S:
                        await self._put_beat(now_s)
                elif now_s - self._beat_s > LAGGING_S:
                    await self._put_beat(now_s)
                with contextlib.suppress(asyncio.TimeoutError):
                    await asyncio.wait_for(self._wake.wait(), PERIOD_S)

    async def _put_beat(self, now_s: float) -> None:
        self._beat, self._beat_s = self._beat + 1, now_s
        self.visitor.sent_beat(self._beat, now_s)
        await self.put(protocol.message("beat", now_s, {"n": self._beat}))

    async def _send_waiting(self, now_s: float) -> bool:
        sent = False
        for kind, rows in list(self._rows.items()):  # others may begin while this waits
            if rows:
                wire = protocol.message(kind, now_s, {"rows": list(rows)})
                rows.clear()
                await self.put(wire)
                sent = True
        for kind in list(self._newest):
            await self.put(self._newest.pop(kind))
            sent = True
        return sent

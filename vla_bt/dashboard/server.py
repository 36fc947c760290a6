"""The page's server: assets, thumbnails and the one websocket, on aiohttp.

Promises:

- what a page sends is at most 16 KB of JSON and a known command (:mod:`vla_bt.dashboard.protocol`); anything else is answered in
  words or ends the connection, and reaches no robot;
- who may connect is :mod:`vla_bt.dashboard.access`'s rule, who may drive is :mod:`vla_bt.dashboard.authority`'s;
- a velocity leaves as it arrives, at most every ``SAY_PERIOD_S``, and is never repeated: a tab's end is silence; a tab that says
  nothing for ``GONE_S`` is dropped, and nothing ever queues for it (:mod:`vla_bt.dashboard.tab`).
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import re
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from socket import gaierror
from typing import Any, Protocol

from aiohttp import WSCloseCode, WSMsgType, web

from vla_bt.dashboard import protocol
from vla_bt.dashboard.access import Access
from vla_bt.dashboard.authority import Authority, Visitor
from vla_bt.dashboard.pages import HEADERS, Pages
from vla_bt.dashboard.protocol import Command, ProtocolError, Source, Wire
from vla_bt.dashboard.tab import Tab
from vla_bt.settings import SettingsError
from vla_bt.words import Twist

logger = logging.getLogger(__name__)

PERIOD_S = 0.05
SAY_PERIOD_S = 0.02
STATUS_PERIOD_S = 0.1
STOP_REPEAT_S = 0.2
REFUSAL_PERIOD_S = 1.0
GONE_S = 20.0
MAX_TABS = 32
FASTEST = Twist(0.6, 0.4, 1.2)


class Robot(Protocol):
    """Where commands go. All methods are called from the server's loop and return at once; the awaited ones may take seconds."""

    def drive(self, twist: Twist) -> None:
        """Ask for a velocity, once."""

    def goal(self, text: str) -> None:
        """Give a goal."""

    def mode(self, word: str) -> None:
        """Ask for a mode."""

    def emergency_stop(self, active: bool) -> None:
        """Say the state of the emergency stop."""

    async def reset(self) -> tuple[bool, str]:
        """Reset the gate's latch; whether it worked, and in words."""

    async def record(self, on: bool) -> tuple[bool, str]:
        """Begin or end recording."""

    def status(self) -> Mapping[str, Any]:
        """Return what goes into each ``status``: ages, velocities, latch."""


class Dashboard:
    """One server.

    Parameters
    ----------
    source : Source
        What the page shows.
    access : Access
        Who may open it.
    robot : Robot, optional
        Where commands go; without one, such as for a finished run, they are refused.
    fastest : Twist
        Limits on what a page may ask for [m/s, m/s, rad/s].
    thumbnail : callable, optional
        Returns the picture (JPEG) of an episode by its name, None when there is no such episode. Called in a thread.
    clock : callable
        Monotonic time [s].
    """

    def __init__(
        self,
        source: Source,
        access: Access,
        robot: Robot | None = None,
        fastest: Twist = FASTEST,
        thumbnail: Callable[[str], bytes | None] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._source, self._access, self._robot, self._fastest = source, access, robot, fastest
        self._thumbnail, self._clock = thumbnail, clock
        self.authority = Authority(fastest)
        self._tabs: list[Tab] = []
        self._count = 0
        self._sent_before = 0
        self._reader = ThreadPoolExecutor(1, "dashboard source")
        self._pending: set[asyncio.Task[None]] = set()
        self._stop_due_s = self._status_due_s = self._said_s = 0.0
        pages = Pages(access)
        self.app = web.Application(middlewares=[pages.guard], client_max_size=protocol.MAX_COMMAND_BYTES)
        self.app.add_routes(
            [
                web.get("/", pages.asset),
                web.get("/feed", self._feed),
                web.get("/thumbnail/{name}", self._picture),
                web.get("/{name}", pages.asset),
            ]
        )
        self.app.cleanup_ctx.append(self._running)
        self.app.on_shutdown.append(self._end)

    # ------------------------------------------------------------------ what is shown

    @property
    def viewers(self) -> int:
        """How many pages are open."""
        return len(self._tabs)

    @property
    def bytes_sent(self) -> int:
        """Sent to all pages so far."""
        return self._sent_before + sum(tab.sent for tab in self._tabs)

    @property
    def wants_picture(self) -> bool:
        """Some page would be sent a picture at once."""
        return any(tab.wants_picture for tab in self._tabs)

    def show(self, kind: str, wire: Wire) -> None:
        """Give a message to all pages that show what is now; it replaces one of its kind that still waits."""
        for tab in self._tabs:
            if tab.live or kind == "status":
                tab.show(kind, wire)

    def append(self, kind: str, rows: Sequence[Any]) -> None:
        """Give rows to all pages, those that look back included."""
        for tab in self._tabs:
            tab.append(kind, rows)

    async def _running(self, _: web.Application) -> AsyncIterator[None]:
        """Run the loop beside the server."""
        loop = asyncio.create_task(self._loop())
        yield
        loop.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await loop
        self._reader.shutdown(wait=False, cancel_futures=True)

    async def _end(self, _: web.Application) -> None:
        """Say zero, if a page was driving, and close the pages; called before the server cuts them off."""
        if self.authority.driver is not None:
            self.authority.leave(self.authority.driver)
        self._say_velocity()
        for tab in list(self._tabs):
            with contextlib.suppress(Exception):
                await asyncio.wait_for(tab.socket.close(code=WSCloseCode.GOING_AWAY, message=b"the server ends"), 0.5)

    async def _loop(self) -> None:
        due_s = self._clock()
        while True:
            now_s = self._clock()
            self._say_velocity()
            if self._robot is not None and self.authority.pressed and now_s >= self._stop_due_s:
                self._stop_due_s = now_s + STOP_REPEAT_S  # said again and again: a gate may have just started
                self._robot.emergency_stop(True)
            if now_s >= self._status_due_s:
                self._status_due_s = now_s + STATUS_PERIOD_S
                self._show_status(now_s)
            due_s = max(due_s + PERIOD_S, now_s)
            await asyncio.sleep(due_s - now_s)

    def _say_velocity(self) -> None:
        now_s = self._clock()
        if self._robot is not None and (twist := self.authority.output(now_s)) is not None:
            self._said_s = now_s
            self._robot.drive(twist)

    def _show_status(self, now_s: float) -> None:
        if not self._tabs:
            return
        driver, driving = self.authority.driver, self.authority.driving(now_s)
        content: dict[str, Any] = {
            "driver": None if driver is None else {"number": driver.number, "name": driver.name},
            "driving": None if driving is None else list(driving),
            "viewers": len(self._tabs),
            "pressed": self.authority.pressed,
            **(self._robot.status() if self._robot is not None else {}),
        }
        self.show("status", protocol.message("status", now_s, content))
        for tab in self._tabs:
            transport = tab.transport
            if now_s - tab.heard_s > GONE_S and transport is not None:
                transport.abort()  # a close would wait for the page

    # ------------------------------------------------------------------ the websocket

    async def _picture(self, request: web.Request) -> web.Response:
        name = request.match_info["name"]
        if self._thumbnail is None or not re.fullmatch(r"[A-Za-z0-9_.-]{1,200}", name):
            raise web.HTTPNotFound(text="not here")
        jpeg = await self._in_thread(self._thumbnail, name)
        if jpeg is None:
            raise web.HTTPNotFound(text="not here")
        return web.Response(body=jpeg, content_type="image/jpeg")

    async def _in_thread(self, work: Callable[..., Any], *arguments: Any) -> Any:
        return await asyncio.get_running_loop().run_in_executor(self._reader, work, *arguments)

    async def _feed(self, request: web.Request) -> web.StreamResponse:
        if refusal := self._access.refuse_origin(request.headers.get("Origin", ""), request.headers.get("Host", "")):
            raise web.HTTPForbidden(text=refusal)
        if len(self._tabs) >= MAX_TABS:
            raise web.HTTPServiceUnavailable(text="too many pages are open")
        socket = web.WebSocketResponse(max_msg_size=protocol.MAX_COMMAND_BYTES, compress=False, timeout=1.0)
        socket.headers.update(HEADERS)
        await socket.prepare(request)
        self._count += 1
        visitor = Visitor(self._count, f"page {self._count} ({request.remote})")
        tab = Tab(visitor, socket, self._source.live, self._clock, request.transport)
        logger.info("%s has come", visitor.name)
        sender: asyncio.Task[None] | None = None
        try:
            await self._greet(tab)
            self._tabs.append(tab)
            sender = asyncio.create_task(tab.send())
            await self._listen(tab)
        except ConnectionError:
            pass  # it is gone: what follows is all there is to do
        finally:
            self._part(tab)
            for task in (sender, tab.seeking):
                if task is not None:
                    task.cancel()
        return socket

    def _part(self, tab: Tab) -> None:
        if tab in self._tabs:
            self._tabs.remove(tab)
            self._sent_before += tab.sent
        if self.authority.driver is tab.visitor:
            logger.warning("%s was in control and has gone", tab.visitor.name)
            self.authority.lose(tab.visitor)
        else:
            logger.info("%s has gone", tab.visitor.name)

    async def _greet(self, tab: Tab) -> None:
        first_s, last_s = await self._in_thread(self._source.span)
        content = {
            "protocol": protocol.VERSION,
            "live": self._source.live,
            "title": self._source.title,
            "client": tab.visitor.number,
            "span": [first_s, last_s],
            "fastest": list(self._fastest),
            "commands": self._robot is not None,
        }
        await tab.put(protocol.message("hello", last_s, content))
        for wire in await self._in_thread(self._source.opening):
            await tab.put(wire)

    async def _listen(self, tab: Tab) -> None:
        async for received in tab.socket:
            if received.type is not WSMsgType.TEXT:
                await tab.socket.close(code=WSCloseCode.UNSUPPORTED_DATA, message=b"text only")
                return
            tab.heard_s = self._clock()
            try:
                self._obey(tab, protocol.parse_command(received.data))
            except ProtocolError as problem:
                self._answer(tab, "message", False, str(problem))

    def _answer(self, tab: Tab, to: str, ok: bool, words: str) -> None:
        tab.direct(protocol.message("answer", self._clock(), {"to": to, "ok": ok, "words": words}))

    # ------------------------------------------------------------------ commands

    def _obey(self, tab: Tab, command: Command) -> None:
        kind = command.kind
        if kind == "alive":
            tab.answered(command.beat)
        elif kind == "live":
            tab.live, tab.sought = self._source.live, None
            if not tab.live:
                self._answer(tab, kind, False, "a finished run has no now")
        elif kind == "seek":
            tab.look_back()
            tab.sought = command.time_s
            if tab.seeking is None or tab.seeking.done():
                tab.seeking = asyncio.create_task(self._seek(tab))
        elif self._robot is None:
            self._answer(tab, kind, False, "a finished run takes no commands")
        elif kind in protocol.DRIVERS_ONLY and kind != "drive" and self.authority.driver is not tab.visitor:
            self._answer(tab, kind, False, "take control first")
        else:
            _COMMANDS[kind](self, self._robot, tab, command)

    def _drive(self, _: Robot, tab: Tab, command: Command) -> None:
        now_s = self._clock()
        problem = self.authority.drive(tab.visitor, command.twist, command.beat, now_s)
        if problem and now_s - tab.refused_s > REFUSAL_PERIOD_S:
            tab.refused_s = now_s
            self._answer(tab, "drive", False, problem)
        if now_s - self._said_s >= SAY_PERIOD_S:  # what comes faster waits for the loop, the newest alone
            self._say_velocity()

    def _release(self, _: Robot, tab: Tab, __: Command) -> None:
        self.authority.release(tab.visitor)
        self._say_velocity()

    def _take(self, _: Robot, tab: Tab, command: Command) -> None:
        problem = self.authority.take(tab.visitor, command.on)
        if not problem:
            logger.info("%s is in control", tab.visitor.name)
        self._say_velocity()  # who lost control says zero
        self._answer(tab, "take", not problem, problem or "you are in control")

    def _leave(self, _: Robot, tab: Tab, __: Command) -> None:
        self.authority.leave(tab.visitor)
        self._say_velocity()
        self._answer(tab, "leave", True, "control was given back")

    def _stop(self, robot: Robot, tab: Tab, _: Command) -> None:
        robot.goal("stop")
        self._answer(tab, "stop", True, "stop was said")

    def _press(self, robot: Robot, tab: Tab, _: Command) -> None:
        robot.emergency_stop(True)
        self.authority.pressed = True
        self._stop_due_s = self._clock() + STOP_REPEAT_S
        logger.warning("emergency stop pressed by %s", tab.visitor.name)
        self._answer(tab, "estop", True, "EMERGENCY STOP")

    def _goal(self, robot: Robot, tab: Tab, command: Command) -> None:
        robot.goal(command.text)
        self._answer(tab, "goal", True, "the goal was told")

    def _mode(self, robot: Robot, tab: Tab, command: Command) -> None:
        robot.mode(command.text)
        self._answer(tab, "mode", True, f"asked for mode {command.text}")

    def _reset(self, robot: Robot, tab: Tab, _: Command) -> None:
        self.authority.pressed = False
        robot.emergency_stop(False)
        self._later(tab, "reset", robot.reset())

    def _record(self, robot: Robot, tab: Tab, command: Command) -> None:
        self._later(tab, "record", robot.record(command.on))

    def _later(self, tab: Tab, kind: str, work: Coroutine[Any, Any, tuple[bool, str]]) -> None:
        async def finish() -> None:
            try:
                ok, words = await work
            except Exception as problem:  # the page is told whatever it was
                ok, words = False, f"{type(problem).__name__}: {problem}"
            self._answer(tab, kind, ok, words)

        task = asyncio.create_task(finish())
        self._pending.add(task)
        task.add_done_callback(self._pending.discard)

    async def _seek(self, tab: Tab) -> None:
        """Show the newest wish; those that were replaced meanwhile are skipped."""
        while tab.sought is not None:
            time_s, tab.sought = tab.sought, None
            wires = await self._in_thread(self._source.moment, time_s)
            span = await self._in_thread(self._source.span)
            if tab.live:
                return
            tab.direct(*wires, protocol.message("moment", time_s, {"span": list(span)}))


_COMMANDS: Mapping[str, Callable[[Dashboard, Robot, Tab, Command], None]] = {
    "drive": Dashboard._drive,
    "release": Dashboard._release,
    "take": Dashboard._take,
    "leave": Dashboard._leave,
    "stop": Dashboard._stop,
    "estop": Dashboard._press,
    "goal": Dashboard._goal,
    "mode": Dashboard._mode,
    "reset": Dashboard._reset,
    "record": Dashboard._record,
}


async def listen(dashboard: Dashboard, host: str, port: int) -> web.AppRunner:
    """Begin to serve; end it with ``await runner.cleanup()``.

    Raises
    ------
    SettingsError
        When the address can't be listened on.
    """
    runner = web.AppRunner(dashboard.app, access_log=None, shutdown_timeout=1.0)  # a log of addresses could hold a token
    await runner.setup()
    try:
        await web.TCPSite(runner, host, port).start()
    except (OSError, UnicodeError) as error:  # the latter for what can be no host's name
        await runner.cleanup()
        raise SettingsError(f"can't listen on {host} port {port}: {_plainly(error)}") from None
    return runner


def _plainly(error: OSError | UnicodeError) -> str:
    """Return why in the system's words, without those asyncio puts around them."""
    if isinstance(error, UnicodeError):
        return "not a name or an address"
    if isinstance(error, gaierror) or not error.errno:
        return str(error.strerror or error)
    return os.strerror(error.errno)

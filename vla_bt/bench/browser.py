"""A headless Chromium by its own DevTools protocol: just what a benchmark of a page needs, with no further package.

Promises: a profile of its own in a temporary folder, removed at the end; every process of it is ended, and they end when this
process does.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import shutil
import signal
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import psutil

from vla_bt.parent import die_with_parent

NAMES = ("chromium", "chromium-browser", "google-chrome")
START_S = 60.0
ANSWER_S = 60.0
OPEN_ATTEMPTS = 5
FLAGS = (
    "--headless=new",
    "--no-sandbox",  # it opens our own page on this machine only; the sandbox needs rights that containers lack
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-dev-shm-usage",
    "--remote-debugging-port=0",
    "--window-size=1600,1000",
)


class BrowserError(RuntimeError):
    """The browser did not do what was asked; one line."""


class TabCrashedError(BrowserError):
    """The process that runs the page has ended."""


def browser_path() -> str:
    """Return the path of a Chromium, empty when there is none; ``CHROMIUM`` names another."""
    for name in (os.environ.get("CHROMIUM", ""), *NAMES):
        if name and (path := shutil.which(name)):
            return path
    return ""


class Tab:
    """One tab.

    Parameters
    ----------
    browser : Browser
        Whose it is.
    target, session : str
        Its names in the protocol.
    """

    def __init__(self, browser: Browser, target: str, session: str) -> None:
        self._browser, self._target, self._session = browser, target, session

    async def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Call a method of the protocol."""
        return await self._browser.call(method, self._session, **parameters)

    async def value(self, expression: str) -> Any:
        """Return an expression's value on the page."""
        answer = await self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in answer:
            raise BrowserError(f"{expression[:80]}: {answer['exceptionDetails'].get('text', 'failed')}")
        return answer["result"].get("value")

    async def until(self, expression: str, seconds: float = 90.0) -> None:
        """Wait until an expression is true."""
        end_s = asyncio.get_running_loop().time() + seconds
        while True:
            try:
                if await self.value(f"Boolean({expression})"):
                    return
            except TabCrashedError:
                raise
            except BrowserError:
                pass  # a page that is still loading has nothing to ask
            if asyncio.get_running_loop().time() > end_s:
                raise BrowserError(f"after {seconds:g} s still not: {expression[:120]}")
            await asyncio.sleep(0.05)

    async def key(self, code: str, key: str, down: bool, shift: bool = False) -> None:
        """Press a key or let it go."""
        await self.call(
            "Input.dispatchKeyEvent", type="keyDown" if down else "keyUp", code=code, key=key, modifiers=8 if shift else 0
        )

    async def memory(self) -> dict[str, float]:
        """Return what the page holds after a garbage collection: ``heap_mb``, ``nodes``, ``listeners``."""
        await self.call("HeapProfiler.collectGarbage")
        answer = await self.call("Performance.getMetrics")
        found = {entry["name"]: entry["value"] for entry in answer["metrics"]}
        return {"heap_mb": found["JSHeapUsedSize"] / 1e6, "nodes": found["Nodes"], "listeners": found["JSEventListeners"]}

    async def close(self) -> None:
        """Close it."""
        with contextlib.suppress(BrowserError):
            await self._browser.call("Target.closeTarget", "", targetId=self._target)


class Browser:
    """A running browser; made by :func:`browser`."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse, pid: int) -> None:
        self._socket, self._pid = socket, pid
        self._numbers = itertools.count(1)
        self._waiting: dict[int, tuple[str, asyncio.Future[dict[str, Any]]]] = {}
        self._reader = asyncio.create_task(self._read())

    async def _read(self) -> None:
        async for received in self._socket:
            message = received.json()
            if message.get("method") == "Inspector.targetCrashed":  # what it was asked is never answered
                self._fail(TabCrashedError("the page crashed"), message.get("sessionId", ""))
            _, waiting = self._waiting.pop(message.get("id", 0), ("", None))
            if waiting is not None and not waiting.done():
                waiting.set_result(message)
        self._fail(BrowserError("the browser has ended"))

    def _fail(self, why: BrowserError, session: str = "") -> None:
        """Let all calls that wait, or those of one session, end."""
        for number, (asked, waiting) in list(self._waiting.items()):
            if session in ("", asked):
                del self._waiting[number]
                if not waiting.done():
                    waiting.set_exception(why)

    async def tell(self, method: str, session: str, **parameters: Any) -> int:
        """Send without waiting for an answer."""
        number = next(self._numbers)
        message = {"id": number, "method": method, "params": parameters} | ({"sessionId": session} if session else {})
        await self._socket.send_json(message)
        return number

    async def call(self, method: str, session: str, **parameters: Any) -> dict[str, Any]:
        """Call a method of the protocol."""
        future: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
        number = await self.tell(method, session, **parameters)
        self._waiting[number] = session, future
        try:
            message = await asyncio.wait_for(future, ANSWER_S)
        except asyncio.TimeoutError:
            raise BrowserError(f"{method} did not answer") from None
        if "error" in message:
            words = str(message["error"].get("message", "failed"))
            raise (TabCrashedError if "crashed" in words else BrowserError)(f"{method}: {words}")
        return dict(message["result"])

    async def open(self, url: str) -> Tab:
        """Open a page in a new tab, and wait until it has loaded.

        A browser keeps a process ready for its next page. Where that one was just ended with those of the other pages, the new
        page crashes as it opens, and another is opened.
        """
        attempts = 0
        while True:
            target = (await self.call("Target.createTarget", "", url=url))["targetId"]
            session = (await self.call("Target.attachToTarget", "", targetId=target, flatten=True))["sessionId"]
            tab = Tab(self, target, session)
            try:
                for domain in ("Inspector", "Performance", "Page"):
                    await tab.call(f"{domain}.enable")
                await tab.until("location.href !== 'about:blank' && document.readyState === 'complete'")
                return tab
            except TabCrashedError:
                await tab.close()
                attempts += 1
                if attempts == OPEN_ATTEMPTS:
                    raise

    def signal_pages(self, number: int) -> None:
        """Send a signal to every process that runs a page: SIGKILL as the kernel would, SIGSTOP as a page that hangs."""
        for process in psutil.Process(self._pid).children(recursive=True):
            with contextlib.suppress(psutil.Error):  # gone by now
                if "--type=renderer" in process.cmdline():
                    process.send_signal(number)

    async def close(self) -> None:
        """Close it."""
        with contextlib.suppress(BrowserError, ConnectionError):
            await asyncio.wait_for(self.call("Browser.close", ""), 3.0)
        self._reader.cancel()


@contextlib.asynccontextmanager
async def browser() -> AsyncIterator[Browser]:
    """Start a browser; it is ended with the block.

    Raises
    ------
    BrowserError
        When there is none, or it does not start.
    """
    path = browser_path()
    if not path:
        raise BrowserError("no Chromium here; on Debian: apt-get install chromium (CHROMIUM names another)")
    folder = Path(tempfile.mkdtemp(prefix="vla_bt-browser-"))
    process = await asyncio.create_subprocess_exec(
        path,
        *FLAGS,
        f"--user-data-dir={folder}",
        "about:blank",
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
        start_new_session=True,
        preexec_fn=die_with_parent,
    )
    try:
        async with aiohttp.ClientSession() as session:
            socket = await session.ws_connect(await _address(folder, process), max_msg_size=0)
            started = Browser(socket, process.pid)
            try:
                yield started
            finally:
                await started.close()
                await socket.close()
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)  # its own group: renderers included
        await process.wait()
        shutil.rmtree(folder, ignore_errors=True)


async def _address(folder: Path, process: asyncio.subprocess.Process) -> str:
    told = folder / "DevToolsActivePort"
    for _ in range(int(START_S / 0.05)):
        lines = told.read_text().split() if told.exists() else []
        if len(lines) == 2:
            return f"ws://127.0.0.1:{lines[0]}{lines[1]}"
        if process.returncode is not None:
            raise BrowserError(f"Chromium ended at once with code {process.returncode}")
        await asyncio.sleep(0.05)
    raise BrowserError(f"Chromium did not start within {START_S:g} s")

"""What looking costs: the tree's process with no stream, no, one and five viewers; a browser over minutes; a lost tab to zero.

Promises: real processes, a real browser, sockets of this machine. The tree of the first two parts is the real one grown to a
size, with a robot in memory (:mod:`vla_bt.bench.view_tree`): what differs between the phases is the viewers. The last part drives
the simulated robot through gate and tree from a page and kills the page's process, or stops it as if it hung.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp

from vla_bt.app.processes import ProcessGroup
from vla_bt.bench.browser import Browser, BrowserError, Tab, browser
from vla_bt.bench.figures import Spread, spread
from vla_bt.bench.tick import BenchError

PAGES = (0, 1, 5)
"""Pages open on a running dashboard, which looks at the tree itself: the last ten minutes are kept for whoever comes."""

NO_STREAM, NOBODY = "no stream", "nobody looks"
SETTLE_S = 3.0
SAMPLE_PERIOD_S = 10.0
START_S = 60.0
MOVING_S = 30.0
STOP_S = 5.0
STEADY_S = 0.5
STEADY_ATTEMPTS = 20
LOSSES = {"killed": signal.SIGKILL, "hung": signal.SIGSTOP}
"""How a page is lost, and the signal to its process that does it."""
DRIVING_KEYS = (("KeyW", "W"), ("KeyS", "S"))  # there and back

COUNTER = """
window.updates = 0;
new MutationObserver(() => window.updates++).observe(document.getElementById('tick'), {childList: true});
"""

Say = Callable[[str], None]


@dataclass(frozen=True)
class Watched:
    """The tree's process with so many viewers.

    Attributes
    ----------
    what : str
        :data:`NO_STREAM`, :data:`NOBODY` (no dashboard runs), or how many pages are open on a dashboard (their sockets; a
        browser's drawing is its own affair).
    cpu : dict
        Spread of a tick's processor time, stream included [ms].
    own : dict
        Spread of the stream's own part of it [ms]; empty without a stream.
    bytes_per_s : float
        What the server sent to all of them [B/s].
    updates_per_s : float
        Snapshots the worst served of them got [1/s].
    """

    what: str
    cpu: dict[str, float]
    own: dict[str, float]
    bytes_per_s: float = 0.0
    updates_per_s: float = 0.0


@dataclass(frozen=True)
class Browsed:
    """A browser that looked for minutes.

    Attributes
    ----------
    seconds : float
        How long [s].
    updates_per_s : float
        Snapshots that were drawn [1/s].
    slowest_updates_per_s : float
        The same in the slowest :data:`SAMPLE_PERIOD_S` [1/s].
    samples : list of dict
        ``at_s``, ``heap_mb``, ``nodes`` after a garbage collection, and ``updates_per_s`` since the one before.
    """

    seconds: float
    updates_per_s: float
    slowest_updates_per_s: float
    samples: list[dict[str, float]]

    @property
    def growth_mb(self) -> float:
        """Heap of the last third of the samples over that of the second, by their least values [MB]."""
        heaps = [sample["heap_mb"] for sample in self.samples]
        third = max(1, len(heaps) // 3)
        return min(heaps[-third:]) - min(heaps[third : 2 * third] or heaps)


class _Tree:
    """The process of :mod:`vla_bt.bench.view_tree`."""

    def __init__(self, environment: dict[str, str], nodes: int) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "vla_bt.bench.view_tree", "--nodes", str(nodes)],
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    async def mark(self, then: str = "") -> dict[str, dict[str, float]]:
        """Return the spreads of the ticks since the last mark; ``then`` is how they go on."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            self._process.stdin.write(f"{then}\n")
            self._process.stdin.flush()
            line = await asyncio.get_running_loop().run_in_executor(None, self._process.stdout.readline)
        except OSError:
            line = ""
        if not line:
            raise BenchError("the tree's process has ended")
        return dict(json.loads(line))

    def close(self) -> None:
        """End it."""
        assert self._process.stdin is not None
        with contextlib.suppress(OSError):
            self._process.stdin.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(5.0)
        self._process.kill()
        self._process.wait()


class _Viewer:
    """A page without a browser: takes everything and answers beats."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._socket = socket
        self.bytes = self.snapshots = 0
        self._task = asyncio.create_task(self._read())

    async def _read(self) -> None:
        async for received in self._socket:
            self.bytes += len(received.data)
            if received.type is not aiohttp.WSMsgType.TEXT:
                continue
            if received.data.startswith('{"type":"snapshot"'):
                self.snapshots += 1
            elif received.data.startswith('{"type":"beat"'):
                await self._socket.send_json({"type": "alive", "beat": json.loads(received.data)["n"]})

    async def close(self) -> None:
        self._task.cancel()
        await self._socket.close()


async def _served(group: ProcessGroup) -> str:
    """Start a dashboard in the group; returns its address."""
    log = group.logs / "dashboard.log"
    before = len(log.read_text()) if log.exists() else 0  # an earlier one's address stands there, too
    group.start("dashboard", ["dashboard", "--port", "0", "--runs", str(group.logs)])
    for _ in range(int(START_S / 0.1)):
        await asyncio.sleep(0.1)
        found = re.search(r"dashboard: (http://\S+/)", log.read_text()[before:])
        if found:
            return found[1]
        if "dashboard" in group.dead():
            raise BenchError(f"the dashboard did not start: {group.last_words('dashboard')}")
    raise BenchError(f"the dashboard did not start within {START_S:g} s (log: {log})")


@contextlib.asynccontextmanager
async def _grown(group: ProcessGroup, nodes: int) -> AsyncIterator[_Tree]:
    tree = _Tree(group.environment, nodes)
    try:
        yield tree
    finally:
        tree.close()


async def measure_viewers(group: ProcessGroup, nodes: int, seconds: float, say: Say) -> list[Watched]:
    """Measure the tree's process with its stream left out, with nobody looking, and with :data:`PAGES` open.

    Raises
    ------
    BenchError
        When a viewer gets nothing.
    """
    async with _grown(group, nodes) as tree, aiohttp.ClientSession() as session:
        await asyncio.sleep(SETTLE_S)
        say(f"no stream, and nobody who looks, by turns: {2 * seconds:g} s ...")
        await tree.mark("drawn")
        await asyncio.sleep(2 * seconds)
        ticks = await tree.mark()
        found = [Watched(NO_STREAM, ticks["without"], {}), Watched(NOBODY, ticks["cpu"], ticks["own"])]
        address = await _served(group)
        viewers: list[_Viewer] = []
        for count in PAGES:
            while len(viewers) < count:
                socket = await session.ws_connect(f"{address}feed", origin=address.rstrip("/"), max_msg_size=0)
                viewers.append(_Viewer(socket))
            say(f"{count} pages: {seconds:g} s ...")
            await asyncio.sleep(SETTLE_S)
            before = [(viewer.bytes, viewer.snapshots) for viewer in viewers]
            await tree.mark()
            began_s = time.monotonic()
            await asyncio.sleep(seconds)
            ticks, took_s = await tree.mark(), time.monotonic() - began_s
            sent = sum(viewer.bytes for viewer in viewers) - sum(size for size, _ in before)
            updates = [viewer.snapshots - then for viewer, (_, then) in zip(viewers, before, strict=True)]
            if count and not min(updates):
                raise BenchError("a viewer got no snapshot")
            rate = min(updates) / took_s if updates else 0.0
            found.append(Watched(str(count), ticks["cpu"], ticks["own"], sent / took_s, rate))
        for viewer in viewers:
            await viewer.close()
    group.end("dashboard")
    return found


async def measure_browser(group: ProcessGroup, nodes: int, seconds: float, say: Say) -> Browsed:
    """Let a browser look at a tree of ``nodes`` nodes, and watch its memory.

    Raises
    ------
    BenchError
        When the page shows another tree.
    """
    async with _grown(group, nodes), browser() as chromium:
        tab = await chromium.open(await _served(group))
        await tab.until("document.querySelectorAll('#tree li').length > 0")
        shown = await tab.value("document.querySelectorAll('#tree li').length")
        if shown != nodes:
            raise BenchError(f"the page shows {shown} nodes, not {nodes}")
        await tab.value(COUNTER)
        await asyncio.sleep(SETTLE_S)
        began_s = before_s = time.monotonic()
        first = before = await tab.value("window.updates")
        samples: list[dict[str, float]] = []
        while time.monotonic() - began_s < seconds:
            await asyncio.sleep(min(SAMPLE_PERIOD_S, seconds))
            now_s, count = time.monotonic(), await tab.value("window.updates")
            rate = (count - before) / (now_s - before_s)
            before, before_s = count, now_s
            samples.append({"at_s": now_s - began_s, "updates_per_s": rate, **await tab.memory()})
            say(f"browser: {now_s - began_s:.0f} of {seconds:.0f} s, {rate:.1f} updates/s, {samples[-1]['heap_mb']:.1f} MB")
        took_s = before_s - began_s
    group.end("dashboard")
    return Browsed(took_s, (before - first) / took_s, min(sample["updates_per_s"] for sample in samples), samples)


async def measure_losses(group: ProcessGroup, times: int, say: Say) -> dict[str, Spread]:
    """Drive the simulated robot from a page, lose the page, and time the first zero on ``cmd_vel``, for each of :data:`LOSSES`.

    Raises
    ------
    BenchError
        When the robot did not move, or did not stop.
    """
    import rclpy

    from vla_bt.ros.demo_operator import DemoOperator

    group.start("gate")
    group.start("sim", ["--ros-args", "-p", "camera_width:=320", "-p", "camera_height:=180", "-p", "camera_rate_hz:=8.0"])
    group.start("bridge")
    group.start("tree", ["--ros-args", "-p", "policy:=expert", "-p", f"runs_directory:={group.logs}", "-p", "run_log_mb:=0.0"])
    address = await _served(group)
    context = rclpy.Context()
    rclpy.init(args=[], context=context)
    operator = DemoOperator(rclpy.create_node("stopwatch", context=context))
    took: dict[str, list[float]] = {way: [] for way in LOSSES}
    try:
        await _until(lambda: operator.has_gate() and operator.has_tree(), START_S, "gate and tree are not there", group)
        async with browser() as chromium:
            for number in range(times):
                for way, key in zip(LOSSES, DRIVING_KEYS, strict=True):
                    took[way].append(await _lose(chromium, address, operator, way, key, group))
                    say(f"{way} {number + 1} of {times}: {1e3 * took[way][-1]:.0f} ms")
    finally:
        operator.close()
        operator.node.destroy_node()
        context.try_shutdown()
    return {way: spread(values) for way, values in took.items()}


async def _lose(chromium: Browser, address: str, operator: Any, way: str, key: tuple[str, str], group: ProcessGroup) -> float:
    tab: Tab = await chromium.open(address)
    await tab.until("document.querySelectorAll('#tree li').length > 0")
    await tab.value("document.getElementById('take').click()")
    await tab.until("document.getElementById('take').textContent === 'Give back'")
    await tab.key("ShiftLeft", "Shift", True, shift=True)
    await tab.key(*key, True, shift=True)
    for _ in range(STEADY_ATTEMPTS):  # a busy machine holds the page up now and then, and the robot stops: as it should
        await _until(lambda: operator.zero_since_s() is None, MOVING_S, "the robot does not move", group)
        await asyncio.sleep(STEADY_S)
        if operator.zero_since_s() is None:
            break
    else:
        raise BenchError(f"the robot never moved for {STEADY_S:g} s: this machine is too busy to drive from a page")
    lost_s = time.monotonic()
    chromium.signal_pages(LOSSES[way])
    await _until(lambda: operator.zero_since_s() is not None, STOP_S, f"the robot goes on after the page was {way}", group)
    stopped_s = float(operator.zero_since_s() or time.monotonic())
    await asyncio.sleep(0.3)
    if operator.zero_since_s() != stopped_s:
        raise BenchError(f"the robot moved again after the page was {way}")
    chromium.signal_pages(signal.SIGKILL)
    await tab.close()
    return stopped_s - lost_s


async def _until(found: Callable[[], bool], seconds: float, otherwise: str, group: ProcessGroup) -> None:
    end_s = time.monotonic() + seconds
    while not found():
        if dead := group.dead():
            raise BenchError(f"{otherwise}: {dead} (logs: {group.logs})")
        if time.monotonic() > end_s:
            raise BenchError(f"{otherwise} after {seconds:g} s (logs: {group.logs})")
        await asyncio.sleep(0.01)


async def measure_view(
    nodes: int, viewer_s: float, browser_s: float, losses: int, logs: Path, domain: int, say: Say
) -> tuple[list[Watched], Browsed, dict[str, Spread]]:
    """Measure everything, one after the other.

    Raises
    ------
    BenchError
        When something could not be measured.
    """
    directory = Path("/dev/shm") / f"vla_bt-view-{os.getpid()}"
    group = ProcessGroup(directory, logs, domain)
    try:
        viewers = await measure_viewers(group, nodes, viewer_s, say)
        browsed = await measure_browser(group, nodes, browser_s, say)
        lost = await measure_losses(group, losses, say)
    except BrowserError as problem:
        raise BenchError(str(problem)) from None
    finally:
        group.close()
    return viewers, browsed, lost

"""The server over real sockets: hostile visitors get nothing, nothing queues, a tab's end is silence."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from vla_bt.dashboard import protocol, tab
from vla_bt.dashboard.access import Access
from vla_bt.dashboard.history import History
from vla_bt.dashboard.server import MAX_TABS, SAY_PERIOD_S, Dashboard, listen
from vla_bt.settings import SettingsError
from vla_bt.words import ZERO, Twist

TOKEN = "a-token-that-nobody-guesses"
LIMIT_S = 5.0


class Listener:
    """A robot that writes down what reaches it."""

    def __init__(self) -> None:
        self.said: list[tuple[str, Any]] = []
        self.at_s: list[float] = []

    def note(self, what: str, value: Any) -> None:
        self.said.append((what, value))
        self.at_s.append(time.monotonic())

    def drive(self, twist: Twist) -> None:
        self.note("drive", twist)

    def goal(self, text: str) -> None:
        self.note("goal", text)

    def mode(self, word: str) -> None:
        self.note("mode", word)

    def emergency_stop(self, active: bool) -> None:
        self.note("estop", active)

    async def reset(self) -> tuple[bool, str]:
        self.note("reset", None)
        return True, "reset"

    async def record(self, on: bool) -> tuple[bool, str]:
        raise RuntimeError("no tree")

    def status(self) -> Mapping[str, Any]:
        return {"latched": False}

    def velocities(self) -> list[Twist]:
        return [value for what, value in self.said if what == "drive"]


class Page:
    """What a browser's tab does."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self.socket = socket
        self.beat = 0
        self.answering = True
        self.seen: list[dict[str, Any]] = []
        self.pictures: list[dict[str, Any]] = []
        self.reader = asyncio.create_task(self.read())

    async def read(self) -> None:
        async for received in self.socket:
            if received.type is aiohttp.WSMsgType.BINARY:
                self.pictures.append(protocol.unpack_picture(received.data)[0])
                continue
            message = json.loads(received.data)
            if message["type"] != "beat":
                self.seen.append(message)
                continue
            self.beat = message["n"]
            if self.answering:
                await self.send(type="alive", beat=self.beat)

    async def send(self, **command: Any) -> None:
        await self.socket.send_str(json.dumps(command))

    async def drive(self, twist: list[float]) -> None:
        await self.send(type="drive", twist=twist, beat=self.beat)

    async def until(self, found: Callable[[], Any]) -> Any:
        end_s = time.monotonic() + LIMIT_S
        while not (result := found()):
            assert time.monotonic() < end_s, f"in vain; last {self.seen[-3:]}"
            await asyncio.sleep(0.01)
        return result

    async def answer(self, to: str) -> dict[str, Any]:
        def newest() -> dict[str, Any] | None:
            return next((entry for entry in self.seen if entry["type"] == "answer" and entry["to"] == to), None)

        found: dict[str, Any] = await self.until(newest)
        self.seen.remove(found)
        return found

    def of(self, kind: str) -> list[dict[str, Any]]:
        return [entry for entry in self.seen if entry["type"] == kind]


class Served:
    def __init__(
        self, dashboard: Dashboard, runner: web.AppRunner, robot: Listener, history: History, session: aiohttp.ClientSession
    ) -> None:
        self.dashboard, self.runner, self.robot, self.history, self.session = dashboard, runner, robot, history, session
        self.root = f"http://127.0.0.1:{runner.addresses[0][1]}"
        self.pages: list[Page] = []

    async def page(self) -> Page:
        page = Page(await self.session.ws_connect(f"{self.root}/feed", origin=self.root, max_msg_size=1 << 24))
        self.pages.append(page)
        await page.until(lambda: page.of("hello") and page.beat)
        return page


@asynccontextmanager
async def served(access: Access | None = None, robot: Listener | None = None, live: bool = True) -> AsyncIterator[Served]:
    history, listener = History("robot"), robot or Listener()
    thumbnails = {"episode_1.h5": b"\xff\xd8jpeg"}
    dashboard = Dashboard(history, access or Access("127.0.0.1"), listener if live else None, thumbnail=thumbnails.get)
    runner = await listen(dashboard, "127.0.0.1", 0)
    try:
        async with aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True)) as session:
            world = Served(dashboard, runner, listener, history, session)
            yield world
            for page in world.pages:
                page.reader.cancel()
                await page.socket.close()
    finally:
        await runner.cleanup()


def run(work: Callable[[], Awaitable[None]]) -> None:
    async def limited() -> None:
        await asyncio.wait_for(work(), 20.0)

    asyncio.run(limited())


async def status_of(world: Served, path: str, **headers: str) -> int:
    async with world.session.get(world.root + path, headers=headers, allow_redirects=False) as response:
        return response.status


def test_the_page_is_served_whole_and_locked_down() -> None:
    async def work() -> None:
        async with served() as world:
            async with world.session.get(world.root + "/") as response:
                text = await response.text()
                policy = response.headers["Content-Security-Policy"]
            assert "default-src 'none'" in policy
            assert "unsafe" not in policy
            for name in ("app.js", "feed.js", "tree.js", "drive.js", "camera.js", "panels.js", "dom.js", "style.css", "icon.svg"):
                assert await status_of(world, f"/{name}") == 200, name
            assert "http://" not in text.replace("http://www.w3.org", "")  # works offline
            assert "https://" not in text
            for path in (
                "/../server.py",
                "/%2e%2e/server.py",
                "/server.py",
                "/thumbnail/..%2f..%2fetc%2fpasswd",
                "/thumbnail/x.h5",
            ):
                assert await status_of(world, path) == 404, path
            assert await status_of(world, "/thumbnail/episode_1.h5") == 200

    run(work)


def test_foreign_names_and_origins_are_refused() -> None:
    async def work() -> None:
        async with served() as world:
            assert await status_of(world, "/", Host="evil.example") == 421
            for headers in (
                {"Origin": "http://evil.example"},
                {"Origin": "null"},
                {},
                {"Origin": world.root, "Host": "evil.example"},
            ):
                with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
                    await world.session.ws_connect(f"{world.root}/feed", headers=headers)
                assert refused.value.status in (403, 421)
            assert world.dashboard.viewers == 0

    run(work)


def test_without_the_token_there_is_nothing_and_with_it_a_cookie() -> None:
    async def work() -> None:
        async with served(Access("0.0.0.0", TOKEN)) as world:
            for path in ("/", "/app.js", "/feed", "/thumbnail/episode_1.h5", "/?token=", "/?token=wrong", "/?token=%C3%A9"):
                assert await status_of(world, path, Origin=world.root) == 401, path
            with pytest.raises(aiohttp.WSServerHandshakeError):
                await world.session.ws_connect(f"{world.root}/feed", origin=world.root)
            async with world.session.get(f"{world.root}/?token={TOKEN}", allow_redirects=False) as response:
                assert (response.status, response.headers["Location"]) == (303, "/")
                cookie = response.headers["Set-Cookie"]
            assert "HttpOnly" in cookie
            assert "SameSite=Strict" in cookie
            assert await status_of(world, "/") == 200
            page = await world.page()
            assert page.of("hello")[0]["live"]

    run(work)


@pytest.mark.parametrize("frame", [b"\x00" * 10_000_000, "x" * 10_000_000, b"\x01binary"])
def test_a_huge_or_binary_frame_ends_the_connection_and_nothing_else(frame: str | bytes) -> None:
    async def work() -> None:
        async with served() as world:
            other = await world.page()
            page = await world.page()
            with suppress(ConnectionError, aiohttp.ClientError):
                await (page.socket.send_str(frame) if isinstance(frame, str) else page.socket.send_bytes(frame))
            await page.until(lambda: world.dashboard.viewers == 1)
            await other.send(type="stop")
            assert (await other.answer("stop"))["ok"]
            assert world.robot.said == [("goal", "stop")]

    run(work)


def test_broken_messages_are_answered_in_words_and_reach_no_robot() -> None:
    async def work() -> None:
        async with served() as world:
            page = await world.page()
            await page.send(type="take", on=False)
            huge = "1" + "0" * 400
            for text in (
                "{",
                "[]",
                '{"type":"drive"}',
                '{"type":"rm -rf"}',
                '{"type":"goal","text":5}',
                '{"type":"goal","text":"go to the cup\\u0000"}',
                f'{{"type":"seek","time_s":{huge}}}',
                f'{{"type":"drive","twist":[{huge},0,0],"beat":{page.beat}}}',
                f'{{"type":"alive","beat":{huge}}}',
                "[" * 5000,
            ):
                await page.socket.send_str(text)
                answer = await page.answer("message")
                assert not answer["ok"]
                assert answer["words"]
            assert world.robot.said == []
            assert world.dashboard.viewers == 1

    run(work)


def test_only_the_driver_commands_but_everybody_stops() -> None:
    async def work() -> None:
        async with served() as world:
            driver, other = await world.page(), await world.page()
            for page in (driver, other):
                commands: tuple[dict[str, Any], ...] = (
                    {"type": "goal", "text": "go"},
                    {"type": "mode", "text": "vla"},
                    {"type": "reset"},
                    {"type": "record", "on": True},
                )
                for command in commands:
                    await page.send(**command)
                    assert not (await page.answer(command["type"]))["ok"]
            await driver.send(type="take", on=False)
            assert (await driver.answer("take"))["ok"]
            await other.send(type="take", on=False)
            assert "in control" in (await other.answer("take"))["words"]
            await driver.send(type="goal", text="<script>alert(1)</script>")
            assert (await driver.answer("goal"))["ok"]
            await other.send(type="stop")
            await other.send(type="estop")
            assert (await other.answer("estop"))["ok"]
            assert world.robot.said[:3] == [("goal", "<script>alert(1)</script>"), ("goal", "stop"), ("estop", True)]
            await other.socket.close()
            await asyncio.sleep(0.5)  # pressed stays pressed, whatever becomes of the tab
            assert world.robot.said.count(("estop", True)) >= 3
            await driver.send(type="record", on=True)
            assert "no tree" in (await driver.answer("record"))["words"]  # what fails is told, not swallowed
            await driver.send(type="reset")
            assert (await driver.answer("reset"))["ok"]
            assert world.robot.said[-2:] == [("estop", False), ("reset", None)]
            await asyncio.sleep(0.3)
            assert world.robot.said[-1] == ("reset", None)

    run(work)


def test_takeover_is_explicit_and_ends_what_the_other_did() -> None:
    async def work() -> None:
        async with served() as world:
            first, second = await world.page(), await world.page()
            await first.send(type="take", on=False)
            await first.drive([0.3, 0, 0])
            await first.until(world.robot.velocities)
            await second.send(type="take", on=True)
            assert (await second.answer("take"))["ok"]
            assert world.robot.velocities()[-1] == ZERO
            count = len(world.robot.velocities())
            await first.drive([0.3, 0, 0])
            assert not (await first.answer("drive"))["ok"]
            await asyncio.sleep(0.15)
            assert len(world.robot.velocities()) == count

    run(work)


@pytest.mark.parametrize("way", ["killed", "silent", "released"])
def test_velocities_end_in_silence_and_with_a_zero_for_who_lets_go(way: str) -> None:
    async def work() -> None:
        async with served() as world:
            page = await world.page()
            await page.send(type="take", on=False)
            for _ in range(6):
                await page.drive([0.3, 0.0, 0.1])
                await asyncio.sleep(0.05)
            if way == "killed":
                assert page.socket._response.connection is not None
                page.socket._response.connection.transport.abort()  # type: ignore[union-attr]
                await page.until(lambda: world.dashboard.authority.driver is None)
            elif way == "released":
                await page.send(type="release")
                await page.until(lambda: world.robot.velocities()[-1] == ZERO)
            await asyncio.sleep(0.4)
            moving = [Twist(0.3, 0.0, 0.1)] * 6  # each once, however long the silence: the tree's time-out counts from the last
            assert world.robot.velocities() == ([*moving, ZERO] if way == "released" else moving)
            assert (world.dashboard.authority.driver is None) is (way == "killed")

    run(work)


def test_velocities_leave_at_once_and_a_flood_of_them_thinned() -> None:
    async def work() -> None:
        async with served() as world:
            page = await world.page()
            await page.send(type="take", on=False)
            began_s = time.monotonic()
            for count in range(500):
                await page.drive([0.3, 0.0, count / 1000])
            await page.until(lambda: world.robot.velocities() and world.robot.velocities()[-1].angular_z == 0.499)
            most = 2 + (time.monotonic() - began_s) / SAY_PERIOD_S
            assert len(world.robot.velocities()) <= most

    run(work)


def test_a_page_that_does_not_answer_gets_no_more_and_costs_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tab, "LAGGING_S", 0.3)

    async def work() -> None:
        async with served() as world:
            page = await world.page()
            page.answering = False
            await asyncio.sleep(0.15)
            pictures, seen = len(page.pictures), len(page.of("snapshot"))
            for count in range(40):
                world.dashboard.show("camera", protocol.picture(count, bytes(50_000), count, 4, 3))
                world.dashboard.show("snapshot", protocol.message("snapshot", count))
                world.dashboard.append("transitions", [[count, "Idle", "INVALID", "RUNNING", ""]] * 50)
                await asyncio.sleep(0.01)
            assert len(page.pictures) - pictures <= 1
            assert len(page.of("snapshot")) - seen <= 1
            assert not world.dashboard.wants_picture
            page.answering = True
            await page.until(lambda: page.pictures and page.pictures[-1]["sequence"] == 39)  # the newest, not the next
            await page.until(lambda: page.of("transitions")[-1]["rows"][-1][0] == 39)
            assert len(page.pictures) - pictures <= 3
            assert sum(len(entry["rows"]) for entry in page.of("transitions")) <= tab.ROWS_WAITING * 2

    run(work)


def test_a_silent_page_is_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vla_bt.dashboard.server.GONE_S", 0.4)

    async def work() -> None:
        async with served() as world:
            page = await world.page()
            page.answering = False
            await page.send(type="take", on=False)
            await page.until(lambda: world.dashboard.viewers == 0)
            assert world.dashboard.authority.driver is None

    run(work)


def test_looking_back_stops_the_stream_and_going_live_starts_it_again() -> None:
    async def work() -> None:
        async with served() as world:
            for second in range(10):
                world.history.add_snapshot(float(second), protocol.message("snapshot", second, {"tick": second}))
            page = await world.page()
            assert page.of("hello")[0]["span"] == [0.0, 9.0]
            assert page.of("snapshot")[-1]["tick"] == 9
            await page.send(type="seek", time_s=4.5)
            await page.until(lambda: page.of("moment"))
            assert page.of("snapshot")[-1]["tick"] == 4
            count = len(page.of("snapshot"))
            world.dashboard.show("snapshot", protocol.message("snapshot", 10.0, {"tick": 10}))
            statuses = len(page.of("status"))
            await page.until(lambda: len(page.of("status")) > statuses + 1)  # who drives is always now
            assert len(page.of("snapshot")) == count
            await page.send(type="live")
            await asyncio.sleep(0.05)
            world.dashboard.show("snapshot", protocol.message("snapshot", 11.0, {"tick": 11}))
            await page.until(lambda: page.of("snapshot")[-1]["tick"] == 11)

    run(work)


def test_a_finished_run_takes_no_commands() -> None:
    async def work() -> None:
        async with served(live=False) as world:
            page = await world.page()
            commands: tuple[dict[str, Any], ...] = (
                {"type": "estop"},
                {"type": "take", "on": True},
                {"type": "goal", "text": "go"},
            )
            for command in commands:
                await page.send(**command)
                assert "finished run" in (await page.answer(command["type"]))["words"]

    run(work)


def test_so_many_pages_and_no_more() -> None:
    async def work() -> None:
        async with served() as world:
            for _ in range(MAX_TABS):
                await world.page()
            with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
                await world.session.ws_connect(f"{world.root}/feed", origin=world.root)
            assert refused.value.status == 503

    run(work)


def test_the_servers_end_says_zero_and_closes_the_pages() -> None:
    async def work() -> None:
        async with served() as world:
            page = await world.page()
            await page.send(type="take", on=False)
            await page.drive([0.3, 0.0, 0.0])
            await page.until(world.robot.velocities)
            await world.runner.cleanup()
            assert world.robot.velocities()[-1] == ZERO
            await page.until(lambda: page.socket.closed)

    run(work)


def test_a_port_that_is_taken_is_one_line() -> None:
    async def work() -> None:
        async with served() as world:
            port = int(world.root.rpartition(":")[2])
            with pytest.raises(SettingsError, match=f"can't listen on 127.0.0.1 port {port}"):
                await listen(Dashboard(History("x"), Access("127.0.0.1")), "127.0.0.1", port)

    run(work)


@pytest.mark.parametrize("host", ["999.1.1.1", "a" * 80, "a..b"])
def test_an_address_that_is_none_is_one_line(host: str) -> None:
    async def work() -> None:
        with pytest.raises(SettingsError, match=r"can't listen on \S+ port 0: [\w ]+$"):
            await listen(Dashboard(History("x"), Access(host)), host, 0)

    run(work)


def test_bytes_that_are_no_text_are_a_wrong_token_and_no_failure(caplog: pytest.LogCaptureFixture) -> None:
    async def work() -> None:
        async with served(Access("0.0.0.0", TOKEN)) as world:
            port = int(world.root.rpartition(":")[2])
            for name in (b"Cookie: vla_bt_dashboard=", b"Origin: http://", b"X: "):
                reader, writer = await asyncio.open_connection("127.0.0.1", port)
                writer.write(b"GET /feed HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n" + name + b"\xff\xfe\r\n\r\n")
                answer = await reader.read()
                writer.close()
                assert answer.startswith(b"HTTP/1.1 401"), (name, answer[:80])

    run(work)
    assert not caplog.records

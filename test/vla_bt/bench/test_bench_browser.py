"""The benchmark's browser: pages are opened, lost and opened again."""

from __future__ import annotations

import asyncio
import os
import signal
from typing import Any

import pytest

from vla_bt.bench import browser as module
from vla_bt.bench.browser import Browser, BrowserError, TabCrashedError, browser, browser_path

pytestmark = pytest.mark.slow

PAGE = "data:text/html,<title>a</title><p id=here>here"


@pytest.fixture(autouse=True)
def _chromium() -> None:
    if not browser_path():
        if os.environ.get("CI"):
            pytest.fail("chromium is missing, and in CI that is a failure: tools/browser.sh installs it")
        pytest.skip("chromium is missing: tools/browser.sh says how to get it")


def test_a_page_that_was_killed_is_told_and_the_next_one_opens() -> None:
    async def kill_and_open() -> None:
        async with browser() as chromium:
            for _ in range(5):  # at once: what the browser keeps ready for its next page was killed, too
                tab = await chromium.open(PAGE)
                assert await tab.value("document.getElementById('here').textContent") == "here"
                chromium.signal_pages(signal.SIGKILL)
                with pytest.raises(TabCrashedError):
                    await tab.until("false", 10.0)
                await tab.close()

    asyncio.run(kill_and_open())


@pytest.mark.parametrize("unlucky", [2, module.OPEN_ATTEMPTS])
def test_a_page_that_crashes_as_it_opens_is_opened_anew_for_some_times(unlucky: int, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[str] = []
    call = Browser.call

    async def killing(self: Browser, method: str, session: str, **parameters: Any) -> dict[str, Any]:
        if method == "Target.attachToTarget":
            opened.append(parameters["targetId"])
        if method == "Runtime.evaluate" and len(opened) <= unlucky:
            self.signal_pages(signal.SIGKILL)
        return await call(self, method, session, **parameters)

    async def open_one() -> str:
        async with browser() as chromium:
            tab = await chromium.open(PAGE)
            return str(await tab.value("document.title"))

    monkeypatch.setattr(Browser, "call", killing)
    if unlucky == module.OPEN_ATTEMPTS:
        with pytest.raises(BrowserError, match="crashed"):
            asyncio.run(open_one())
    else:
        assert asyncio.run(open_one()) == "a"
    assert len(opened) == min(unlucky + 1, module.OPEN_ATTEMPTS)
    assert len(set(opened)) == len(opened)

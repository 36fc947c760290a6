"""Make the pictures of ``docs/dashboard.md`` from the real page over the real processes.

    .venv/bin/python test/tools/dashboard_pictures.py docs/images

The shipped policy drives: each picture is taken while the robot moves towards a goal, its velocity drawn as an arrow, the last
one right after an emergency stop. Needs a Chromium and Playwright, as the browser tests do; takes about a minute.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from playwright.sync_api import ViewportSize, sync_playwright
from robot_world import World, browser_path  # type: ignore[import-not-found]  # the folder of this script is on the path

POLICY = "default"
CAMERA = ("camera_width:=640", "camera_height:=360", "camera_rate_hz:=10.0")  # the page shows no more, and the browser draws, too
GOAL = "go around the box on the left to the cup"
THERE_AND_BACK = "turn left 25 degrees, then turn right 25 degrees, then go back 20 cm, then go forward 20 cm"
DRIVING = """picture.dataset.stale === 'false' && Number(document.querySelector('.v .n-applied').textContent) > 0.1
    && document.querySelector('#ledger [data-state=active]') !== null"""
WIDE: ViewportSize = {"width": 1600, "height": 1000}
TABLET: ViewportSize = {"width": 820, "height": 1180}

WATCH = """window.wasStale = false;
    new MutationObserver(() => (window.wasStale = true)).observe(picture, {attributeFilter: ["data-stale"]});"""


def wait(page: Any, expression: str, seconds: float = 60.0) -> None:
    """Wait until an expression is true on the page; none in vain: a picture of something else would be no use."""
    end_s = time.monotonic() + seconds
    while not page.evaluate(expression):
        if time.monotonic() > end_s:
            raise SystemExit(f"waited {seconds:g} s in vain for {expression}; the page says: {page.inner_text('#words')}")
        time.sleep(0.02)


def tell(page: Any, goal: str) -> None:
    """Tell a goal, and put away what the answer says: it would lie over the log."""
    page.fill("#goal", goal)
    page.keyboard.press("Enter")
    wait(page, "!notice.hidden")
    page.evaluate("notice.hidden = true")
    page.locator("#tree li").first.focus()


def drive(page: Any) -> None:
    """Wait until the robot drives; where it has arrived meanwhile it goes back and sets out again."""
    for _ in range(5):
        end_s = time.monotonic() + 20.0
        while time.monotonic() < end_s:
            if page.evaluate(DRIVING):
                return
            time.sleep(0.02)
        if page.evaluate("document.querySelector('#ledger [data-state=active]') === null"):
            tell(page, "go back 1 m")
            wait(page, "document.querySelector('#ledger li').dataset.state === 'reached'")
            tell(page, GOAL)
    raise SystemExit(f"the robot does not drive; the page says: {page.inner_text('#words')}")


def take(page: Any, path: Path) -> None:
    """Take a picture of the robot driving: it does so before and after."""
    for _ in range(10):
        drive(page)
        page.evaluate(WATCH)
        page.screenshot(path=path)
        if page.evaluate(f"!window.wasStale && ({DRIVING})"):
            return
    raise SystemExit(f"{path.name}: the robot never drove for as long as a picture takes")


def main(folder: Path) -> int:
    """Write the pictures."""
    folder.mkdir(parents=True, exist_ok=True)
    logs = Path(tempfile.mkdtemp(prefix="vla_bt-pictures-"))
    world = World(1 + os.getpid() % 100, logs, *CAMERA, policy=POLICY)
    try:
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=browser_path(), args=["--no-sandbox"])
            page = browser.new_page(viewport=WIDE)
            page.set_default_timeout(120_000.0)
            page.goto(world.url)
            page.wait_for_selector("#tree li[data-status=RUNNING]")
            page.click("#take")
            page.wait_for_selector("#record:enabled")
            page.click("#record")
            page.click("[data-mode=hybrid]")
            tell(page, THERE_AND_BACK)
            wait(page, "document.querySelector('#ledger [data-state=reached]') !== null")
            wait(page, "document.querySelectorAll('#episodes img').length > 0")
            page.mouse.move(0, 0)
            tell(page, GOAL)
            take(page, folder / "dashboard_wide.png")
            page.set_viewport_size(TABLET)
            time.sleep(0.5)
            take(page, folder / "dashboard_tablet.png")
            page.set_viewport_size(WIDE)
            page.emulate_media(color_scheme="dark")
            time.sleep(0.5)
            drive(page)
            page.keyboard.press("Escape")
            page.wait_for_selector("#alarm:visible")
            wait(page, "notice.hidden && picture.dataset.stale === 'false'")
            page.screenshot(path=folder / "dashboard_dark.png")
            browser.close()
    finally:
        world.close()
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))

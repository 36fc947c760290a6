"""Make the pictures of ``docs/dashboard.md`` from the real page over the real processes.

    .venv/bin/python test/tools/dashboard_pictures.py docs/images

Needs a Chromium and Playwright, as the browser tests do; takes about a minute.
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

GOAL = "go around the box on the left to the cup"
WIDE: ViewportSize = {"width": 1600, "height": 1000}
TABLET: ViewportSize = {"width": 820, "height": 1180}


def wait(page: Any, expression: str, seconds: float = 60.0) -> None:
    """Wait until an expression is true on the page."""
    end_s = time.monotonic() + seconds
    while not page.evaluate(expression) and time.monotonic() < end_s:
        time.sleep(0.05)


def fresh(page: Any) -> None:
    """Wait for a picture that is not stale."""
    wait(page, "picture.dataset.stale === 'false'", 20.0)


def main(folder: Path) -> int:
    """Write the pictures."""
    world = World(1 + os.getpid() % 100, Path(tempfile.mkdtemp(prefix="vla_bt-pictures-")))
    try:
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=browser_path(), args=["--no-sandbox"])
            page = browser.new_page(viewport=WIDE)
            page.goto(world.url)
            page.wait_for_selector("#tree li[data-status=RUNNING]")
            page.click("#take")
            page.wait_for_selector("#record:enabled")
            page.click("#record")
            page.click("[data-mode=hybrid]")
            page.fill("#goal", "go forward 30 cm, then turn left 20 degrees")
            page.keyboard.press("Enter")
            wait(page, "document.querySelector('#ledger [data-state=reached]')")
            page.fill("#goal", GOAL)
            page.keyboard.press("Enter")
            wait(page, "document.querySelectorAll('#episodes img').length > 0")
            page.locator("#tree li").first.focus()
            page.mouse.move(0, 0)
            time.sleep(4.5)  # the answers' words go
            fresh(page)
            page.screenshot(path=folder / "dashboard_wide.png")
            page.set_viewport_size(TABLET)
            time.sleep(0.5)
            fresh(page)
            page.screenshot(path=folder / "dashboard_tablet.png")
            page.set_viewport_size(WIDE)
            page.emulate_media(color_scheme="dark")
            page.keyboard.press("Escape")
            page.wait_for_selector("#alarm:visible")
            time.sleep(4.5)
            fresh(page)
            page.screenshot(path=folder / "dashboard_dark.png")
            browser.close()
    finally:
        world.close()
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))

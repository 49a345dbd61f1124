"""Makes the pictures of docs/images from a running cluster: python tools/screenshots.py URL KUBECONFIG.

URL is what `pynetes up --with dashboard` prints; the example shop should be running, so that there is something to see.
"""

import asyncio
import shutil
import sys
from pathlib import Path
from typing import Any

from playwright.async_api import async_playwright

IMAGES = Path(__file__).parents[1] / "docs" / "images"
FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"]
#: File → page, what is clicked there, dark or light, width and height.
PICTURES: tuple[tuple[str, str, str, str, tuple[int, int]], ...] = (
    ("map", "#/map", "", "dark", (1440, 990)),
    ("map-path", "#/map/7", "", "light", (1440, 860)),
    ("overview", "#/", "", "light", (1280, 860)),
    ("pods", "#/list/core/pods", "", "dark", (1280, 620)),
    ("story", "#/object/apps/deployments/shop/front/story", "", "dark", (1280, 760)),
    ("terminal", "#/list/core/pods", "front-", "dark", (1280, 640)),
    ("phone", "#/list/core/pods", "", "light", (360, 700)),
)


async def picture(browser: Any, url: str, credential: str, name: str) -> None:
    """Log in, go there, let the page settle, and take it."""
    _, page_of, link, scheme, (width, height) = next(each for each in PICTURES if each[0] == name)
    context = await browser.new_context(
        ignore_https_errors=True, color_scheme=scheme, viewport={"width": width, "height": height}
    )
    page = await context.new_page()
    await page.goto(f"{url}/{page_of}")
    await page.fill("#credential", credential)
    await page.click("button[type=submit]")
    await page.wait_for_selector("main h1")
    await page.wait_for_timeout(7000 if name.startswith("map") else 2000)
    if link:
        await page.fill("main input[type=search]", link)
        target = await page.locator(".td a").first.get_attribute("href")
        await page.evaluate("hash => { location.hash = hash }", f"{target}/{name}")
        await page.wait_for_timeout(3500)
        await page.keyboard.type("wget -qO- http://front/cgi-bin/who; nslookup front.shop.svc.cluster.local\n")
        await page.wait_for_timeout(2000)
    await page.screenshot(path=str(IMAGES / f"{name}.png"))
    await context.close()


async def main(url: str, kubeconfig: str, *names: str) -> None:
    """All pictures, or those named."""
    credential = Path(kubeconfig).read_text()
    async with async_playwright() as driver:
        browser = await driver.chromium.launch(executable_path=shutil.which("chromium"), args=FLAGS)
        for name in names or [each[0] for each in PICTURES]:
            await picture(browser, url.rstrip("/"), credential, name)
            print(name, (IMAGES / f"{name}.png").stat().st_size >> 10, "KiB")
        await browser.close()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))

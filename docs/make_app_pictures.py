"""Writes docs/app/*.png, the screens of the tablet app: `python docs/make_app_pictures.py BUNDLE`.

The bundle's classes and evidence are shown as they are; the pictures that it answers are drawn here and show no patient.
"""

from __future__ import annotations

import io
import shutil
import sys
import tempfile
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from clinquant.edge.app.write import write_app

FOLDER = Path(__file__).with_name("app")
COLOURS = 128
SEEDS = (0, 2, 4, 6, 9, 11)
"""Of the drawings: with the EfficientNet-Lite0 of the chest radiographs some are answered and some referred."""

SHOTS = (
    ("picture", "picture", 1280, "light", "en"),
    ("result", "result/ANSWERED", 1280, "light", "en"),
    ("refer", "result/REFERRED", 768, "dark", "en"),
    ("outside", "result/OUTSIDE", 768, "light", "en"),
    ("outside-small", "result/OUTSIDE", 320, "dark", "ar"),
    ("unreadable", "result/UNREADABLE", 768, "light", "pt"),
    ("worklist", "picture", 768, "light", "fr"),
    ("history", "history", 768, "light", "en"),
    ("evidence", "evidence", 1280, "dark", "en"),
    ("live", "live", 768, "dark", "sw"),
    ("settings", "settings", 768, "light", "en"),
    ("result-small", "result/ANSWERED", 320, "light", "es"),
    ("arabic", "result/ANSWERED", 768, "light", "ar"),
    ("arabic-small", "settings", 320, "dark", "ar"),
)
"""File name, screen, width in pixels, colours, language."""

MARKS = {"ANSWERED": ".mark:not(.refer)", "REFERRED": ".mark .icon.refer", "OUTSIDE": ".mark .icon.stop"}
"""What stands in the card of a picture that became this."""


def drawn(seed: int) -> Image.Image:
    """A drawing after a chest radiograph: dark lungs, ribs, a heart's shadow, and blurred spots that grow with `seed`."""
    random = np.random.default_rng(seed)
    image = Image.new("L", (640, 560), 24)
    draw = ImageDraw.Draw(image)
    draw.rounded_rectangle((60, 20, 580, 620), 160, fill=150)
    for centre in (215, 425):
        draw.ellipse((centre - 95, 90, centre + 95, 480), fill=80)
        for rib in range(7):
            draw.arc((centre - 120, 90 + rib * 52, centre + 120, 190 + rib * 52), 200, 340, fill=130, width=9)
    draw.rectangle((300, 0, 340, 560), fill=190)
    draw.ellipse((285, 270, 450, 480), fill=175)
    for left, top in ((90, 430), (320, 440)):
        draw.pieslice((left, top, left + 235, 700), 180, 360, fill=183)
    for _ in range(seed * 3):
        x, y, r = random.integers(150, 480), random.integers(200, 450), random.integers(25, 60)
        draw.ellipse((x - r, y - r, x + r, y + r), fill=150)
    soft = np.asarray(image.filter(ImageFilter.GaussianBlur(4)), np.float64) + np.linspace(0, 25, 560)[:, None]
    return Image.fromarray(np.clip(soft + random.normal(0, 9, soft.shape), 0, 255).astype(np.uint8))


def landscape() -> Image.Image:
    """Hills under a sun: what no model of radiographs was trained on."""
    image = Image.new("RGB", (640, 480), (150, 200, 240))
    draw = ImageDraw.Draw(image)
    draw.ellipse((450, 60, 550, 160), fill=(255, 220, 90))
    draw.ellipse((-200, 260, 420, 800), fill=(70, 140, 70))
    draw.ellipse((250, 300, 900, 900), fill=(110, 170, 60))
    return image


def take_all(page: Any, url: str, pictures: list[Path]) -> None:
    """Every shot, of one page that has been given `pictures`."""
    page.goto(url)
    page.wait_for_selector("html[data-ready]", state="attached")
    page.set_input_files("input[type=file][multiple]", pictures)
    page.locator(".cards .card:not(.waiting):not(.busy)").nth(len(pictures) - 1).wait_for(timeout=60_000)
    page.wait_for_selector("#badge[data-state=ready]")
    page.wait_for_timeout(300)
    found = {name: page.evaluate(CARD, selector) for name, selector in MARKS.items()} | {"UNREADABLE": f"#/result/{len(pictures) - 1}"}
    for name, screen, width, theme, language in SHOTS:
        page.set_viewport_size({"width": width, "height": 900 if width > 320 else 640})
        go(page, "#/settings")
        page.select_option("#language", language)
        page.wait_for_selector(f"html[lang={language}]", state="attached")
        page.check(f"input[value={theme}]")
        go(page, found.get(screen.removeprefix("result/"), f"#/{screen}"))
        page.wait_for_timeout(700)
        if screen == "live":
            page.click(".screen button.primary")
            page.wait_for_selector("[data-rate]")
            page.wait_for_timeout(3000)
        save(page.screenshot(full_page=width == 320), FOLDER / f"{name}.png")


CARD = "(selector) => document.querySelector(`a.card:has(${selector})`).hash"


def take_refusal(page: Any, url: str) -> None:
    """The screen that stands in place of all others where a file is not the one that was tested."""
    page.route("**/bundle/card.json", lambda route: route.fulfill(body="{}"))
    page.set_viewport_size({"width": 768, "height": 640})
    page.goto(url)
    page.wait_for_selector("[data-code]")
    save(page.screenshot(), FOLDER / "refused.png")


def go(page: Any, screen: str) -> None:
    """Shows a screen, anew where it is shown already."""
    page.evaluate("(hash) => { location.hash = hash; dispatchEvent(new Event('hashchange')) }", screen)


def save(png: bytes, path: Path) -> None:
    """The picture with few colours, so that it is small."""
    image = Image.open(io.BytesIO(png)).convert("RGB")
    image.quantize(COLOURS, dither=Image.Dither.NONE).save(path, optimize=True)


def main(bundle: Path) -> None:
    """Makes the app, answers drawn pictures in Chromium, and takes every screen."""
    from playwright.sync_api import sync_playwright

    FOLDER.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as name, sync_playwright() as driver:
        folder = Path(name)
        write_app(bundle, folder / "app")
        server = ThreadingHTTPServer(("127.0.0.1", 0), partial(SimpleHTTPRequestHandler, directory=str(folder / "app")))
        threading.Thread(target=server.serve_forever, daemon=True).start()
        pictures = [folder / f"drawing-{seed}.png" for seed in SEEDS]
        for seed, path in zip(SEEDS, pictures, strict=True):
            drawn(seed).save(path)
        landscape().save(folder / "landscape.png")
        (folder / "cut-short.png").write_bytes(pictures[0].read_bytes()[:9000])
        pictures += [folder / "landscape.png", folder / "cut-short.png"]
        flags = ["--no-sandbox", "--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"]
        browser = driver.chromium.launch(executable_path=shutil.which("chromium"), args=flags)
        url = f"http://127.0.0.1:{server.server_port}/"
        take_all(browser.new_context().new_page(), url, pictures)
        take_refusal(browser.new_context(service_workers="block").new_page(), url)
        browser.close()
        server.shutdown()


if __name__ == "__main__":
    main(Path(sys.argv[1]))

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

from clinquant.edge.app import write_app

FOLDER = Path(__file__).with_name("app")
COLOURS = 128

SHOTS = (
    ("picture", "picture", 1280, "light", "en"),
    ("result", "result/0", 1280, "light", "en"),
    ("refer", "result/REFER", 768, "dark", "en"),
    ("worklist", "picture", 768, "light", "fr"),
    ("history", "history", 768, "light", "en"),
    ("evidence", "evidence", 1280, "dark", "en"),
    ("live", "live", 768, "dark", "sw"),
    ("result-small", "result/0", 320, "light", "es"),
    ("arabic", "result/0", 768, "light", "ar"),
    ("arabic-small", "settings", 320, "dark", "ar"),
)
"""File name, screen, width in pixels, colours, language."""


def drawn(seed: int) -> Image.Image:
    """A drawing after a chest radiograph: dark lungs, ribs, a heart's shadow, and blurred spots that grow with `seed`."""
    random = np.random.default_rng(seed)
    image = Image.new("L", (640, 560), 24)
    draw = ImageDraw.Draw(image)
    draw.rounded_rectangle((60, 20, 580, 620), 160, fill=150)
    for centre in (215, 425):
        draw.ellipse((centre - 95, 90, centre + 95, 480), fill=58)
        for rib in range(7):
            draw.arc((centre - 120, 90 + rib * 52, centre + 120, 190 + rib * 52), 200, 340, fill=108, width=9)
    draw.rectangle((300, 0, 340, 560), fill=176)
    draw.ellipse((285, 270, 450, 480), fill=165)
    for _ in range(seed * 3):
        x, y, r = random.integers(150, 480), random.integers(200, 450), random.integers(25, 60)
        draw.ellipse((x - r, y - r, x + r, y + r), fill=150)
    soft = np.asarray(image.filter(ImageFilter.GaussianBlur(7)), np.float64)
    return Image.fromarray(np.clip(soft + random.normal(0, 5, soft.shape), 0, 255).astype(np.uint8))


def take_all(page: Any, url: str, pictures: list[Path]) -> None:
    """Every shot, of one page that has answered `pictures`."""
    page.goto(url)
    page.wait_for_selector("html[data-ready]", state="attached")
    page.set_input_files("input[type=file][multiple]", pictures)
    page.locator("a.card").nth(len(pictures) - 1).wait_for(timeout=60_000)
    page.wait_for_selector("#badge[data-state=ready]")
    page.wait_for_timeout(300)
    refer = page.evaluate("[...document.querySelectorAll('a.card')].find((card) => card.querySelector('.refer'))?.hash ?? '#/result/0'")
    for name, screen, width, theme, language in SHOTS:
        page.set_viewport_size({"width": width, "height": 900 if width > 320 else 640})
        go(page, "#/settings")
        page.select_option("#language", language)
        page.wait_for_selector(f"html[lang={language}]", state="attached")
        page.check(f"input[value={theme}]")
        go(page, refer if "REFER" in screen else f"#/{screen}")
        page.wait_for_timeout(700)
        if screen == "live":
            page.click(".screen button.primary")
            page.wait_for_selector("[data-rate]")
            page.wait_for_timeout(3000)
        save(page.screenshot(full_page=width == 320), FOLDER / f"{name}.png")


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
        pictures = [folder / f"drawing-{seed}.png" for seed in range(6)]
        for seed, path in enumerate(pictures):
            drawn(seed).save(path)
        flags = ["--no-sandbox", "--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"]
        browser = driver.chromium.launch(executable_path=shutil.which("chromium"), args=flags)
        take_all(browser.new_context().new_page(), f"http://127.0.0.1:{server.server_port}/", pictures)
        browser.close()
        server.shutdown()


if __name__ == "__main__":
    main(Path(sys.argv[1]))

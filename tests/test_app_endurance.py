"""The tablet app for a day's work: many pictures in a row, the camera, a page that is not secure."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from chromium import Memory, chromium, open_app, serving
from tiny_bundle import write_pictures

CAMERA = ("--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream")
ELSEWHERE = "--host-resolver-rules=MAP tablet.test 127.0.0.1"
MOST_GROWTH = 10_000_000
"""Bytes of heap after 200 pictures."""


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium(*CAMERA, ELSEWHERE) as browser:
        yield browser


def photographs(folder: Path, count: int) -> list[Path]:
    folder.mkdir()
    for index in range(count):
        smooth = np.random.default_rng(index).integers(0, 256, (6, 8, 3), dtype=np.uint8)
        out = io.BytesIO()
        Image.fromarray(smooth).resize((800, 600), Image.Resampling.BICUBIC).save(out, "JPEG")
        (folder / f"{index}.jpg").write_bytes(out.getvalue())
    return sorted(folder.iterdir())


@pytest.mark.slow
def test_two_hundred_pictures_leave_no_memory_behind(browser: Any, tablet_app: Path, tmp_path: Path) -> None:
    pictures = photographs(tmp_path / "photographs", 210)
    with serving(tablet_app) as server:
        page = browser.new_context().new_page()
        memory = Memory(page)
        open_app(page, server.url)
        page.set_input_files("input[type=file][multiple]", pictures[:10])
        page.locator("a.card").nth(9).wait_for()
        before = memory.bytes
        page.set_input_files("input[type=file][multiple]", pictures[10:])
        page.locator("a.card").nth(209).wait_for(timeout=120_000)
        assert memory.workers == 1 and before > 1_000_000
        assert memory.bytes - before <= MOST_GROWTH
        page.context.close()


def test_the_camera_answers_frame_by_frame_and_a_frame_is_kept(browser: Any, tablet_app: Path) -> None:
    with serving(tablet_app) as server:
        page = open_app(browser.new_context().new_page(), server.url + "#/live")
        page.click("text=Start the camera")
        page.wait_for_selector("[data-rate]:not([data-rate='0.00'])")
        assert float(page.get_attribute("[data-rate]", "data-rate")) > 0
        page.click("text=Keep this frame")
        page.wait_for_selector(".decision")
        page.context.close()


def test_a_page_that_is_not_secure_checks_by_its_own_hash_and_says_what_is_missing(browser: Any, tablet_app: Path, tmp_path: Path) -> None:
    with serving(tablet_app) as server:
        url = server.url.replace("127.0.0.1", "tablet.test")
        page = open_app(browser.new_context().new_page(), url)
        assert page.evaluate("[isSecureContext, typeof crypto.subtle, 'serviceWorker' in navigator]") == [False, "undefined", False]
        assert "Only with a network" in page.inner_text("header")
        page.set_input_files("input[type=file][multiple]", next(write_pictures(tmp_path / "p", each=1).rglob("*.png")))
        page.wait_for_selector(".decision")
        page.evaluate("location.hash = '#/settings'")
        page.wait_for_selector("text=This page is not secure")
        page.evaluate("location.hash = '#/live'")
        page.click("text=Start the camera")
        page.wait_for_selector("text=needs a secure page")
        card = tablet_app / "bundle" / "card.json"
        honest = card.read_text()
        card.write_text(honest.replace("0.5", "0.4"))
        refused = open_app(browser.new_context().new_page(), url)
        card.write_text(honest)
        assert refused.get_attribute("[data-code]", "data-code") == "changed"


def test_the_bundled_hash_is_sha256(browser: Any, tablet_app: Path) -> None:
    import hashlib

    lengths = [0, 1, 55, 56, 63, 64, 65, 119, 128, 1000]
    script = """async (lengths) => {
      const { digest, hex } = await import(new URL("modules/sha256.js", location.href).href);
      return lengths.map((length) => hex(digest(Uint8Array.from({ length }, (_, index) => (index * 7) % 256))));
    }"""
    with serving(tablet_app) as server:
        page = open_app(browser.new_context().new_page(), server.url)
        expected = [hashlib.sha256(bytes(index * 7 % 256 for index in range(length))).hexdigest() for length in lengths]
        assert page.evaluate(script, lengths) == expected

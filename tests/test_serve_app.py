"""The tablet app from `clinquant serve`, in a real Chromium under the server's own headers: it answers as the API does."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from chromium import chromium, open_app
from clinquant.edge.bundle import Bundle
from serving import Served, serving
from tiny_bundle import write_pictures


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """It minds no certificate: whether one is trusted is tested in `test_serve_tls.py`."""
    with chromium("--ignore-certificate-errors") as browser:
        yield browser


@pytest.fixture(scope="module")
def picture(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return next(write_pictures(tmp_path_factory.mktemp("p") / "pictures", each=1).rglob("*.png"))


def shown(page: Any, picture: Path) -> str:
    page.set_input_files("input[type=file][multiple]", picture)
    page.wait_for_selector(".decision")
    text: str = page.inner_text("main")
    return text


def check_alike(served: Served, words: str, picture: Path) -> None:
    answer = served.predict(picture.read_bytes()).json["answer"]
    assert answer["class"] in words
    percents = [float(found) for found in re.findall(r"([\d.]+)\s*%", words)]
    assert any(abs(found - 100 * answer["probability"]) < 0.6 for found in percents), (answer, words)


def test_the_app_answers_as_the_api_does(browser: Any, integer_bundle: Bundle, picture: Path) -> None:
    with serving(integer_bundle.path) as served:
        context = browser.new_context()
        page, said = context.new_page(), []
        page.on("console", lambda message: said.append(message.text) if message.type == "error" else None)
        open_app(page, f"http://127.0.0.1:{served.port}/")
        check_alike(served, shown(page, picture), picture)
        assert said == [], "the policy that the server sends forbids the app nothing that it needs"
        assert page.evaluate("crossOriginIsolated"), "the headers under which a browser gives threads"
        context.close()


def test_over_https_it_is_installed_and_answers_when_the_server_is_gone(
    browser: Any, integer_bundle: Bundle, picture: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CLINQUANT_CONFIG", str(tmp_path))
    with serving(integer_bundle.path, "--tls") as served:
        context = browser.new_context(ignore_https_errors=True)
        page = context.new_page()
        open_app(page, f"https://127.0.0.1:{served.port}/")
        page.evaluate("navigator.serviceWorker.ready.then(() => true)")
        served.process.terminate()
        served.process.wait(20)
        page.reload()
        page.wait_for_selector("html[data-ready]", state="attached", timeout=60_000)
        assert "%" in shown(page, picture)
        context.close()

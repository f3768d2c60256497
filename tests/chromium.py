"""A real headless Chromium, a file server that can be killed, and the app of a bundle open in a page."""

from __future__ import annotations

import base64
import functools
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from clinquant.edge.app.write import STATIC

READY = "html[data-ready], [data-code]"
"""What stands in the page once it answers, or has refused to."""


def need_app() -> None:
    if not (STATIC / "vendor" / "VERSION").is_file():
        pytest.skip("the app's files are not assembled: python web/assemble.py")


@contextmanager
def chromium(*flags: str) -> Iterator[Any]:
    """The browser; skips where it or its driver is missing."""
    need_app()
    playwright = pytest.importorskip("playwright.sync_api", reason="the Python package playwright is not installed")
    path = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if path is None:
        pytest.skip("chromium is not installed")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=path, args=["--no-sandbox", "--disable-dev-shm-usage", *flags])
        try:
            yield browser
        finally:
            browser.close()


class Server:
    """Serves one folder on a port of its own; counts what it sent and can be killed."""

    def __init__(self, folder: Path) -> None:
        server, self.sent, self.paths = self, 0, list[str]()

        class Handler(SimpleHTTPRequestHandler):
            def log_message(self, *_: object) -> None:
                pass

            def end_headers(self) -> None:
                self.send_header("Cache-Control", "no-cache")
                super().end_headers()

            def copyfile(self, source: Any, outputfile: Any) -> None:
                data = source.read()
                server.sent += len(data)
                server.paths.append(self.path)
                outputfile.write(data)

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Handler, directory=str(folder)))
        self.url = f"http://127.0.0.1:{self._server.server_port}/"
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def kill(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@contextmanager
def serving(folder: Path) -> Iterator[Server]:
    server = Server(folder)
    try:
        yield server
    finally:
        server.kill()


def open_app(page: Any, url: str, *, timeout: float = 60_000) -> Any:
    """The page once it is ready to answer, or has refused to."""
    page.goto(url)
    page.wait_for_selector(READY, timeout=timeout, state="attached")
    return page


START_ENGINE = """async () => {
  const { Engine } = await import(new URL("modules/engine.js", location.href).href);
  window.engine = new Engine(() => {});
  await window.engine.open();
}"""

ASK = """async (text) => {
  const bytes = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
  const answer = await window.engine.answer(bytes).catch((error) => ({ code: error.code }));
  if (answer.code) return answer;
  const hex = (array) => array && Array.from(new Uint8Array(array.buffer), (byte) => byte.toString(16).padStart(2, "0")).join("");
  return { logits: hex(answer.logits), classMap: hex(answer.classMap), width: answer.width, height: answer.height };
}"""


def start_engine(page: Any) -> None:
    """An engine of the page's own modules that `ask` uses."""
    page.evaluate(START_ENGINE)


def ask(page: Any, encoded: bytes) -> dict[str, Any]:
    """What the page's engine answers for an encoded picture: bytes as hex, or the `code` of a refusal."""
    answer: dict[str, Any] = page.evaluate(ASK, base64.b64encode(encoded).decode())
    return answer

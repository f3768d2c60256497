"""A real headless Chromium, a file server that can be killed, and the app of a bundle open in a page."""

from __future__ import annotations

import base64
import functools
import json
import shutil
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from clinquant.edge.app.write import STATIC

READY = "html[data-ready], [data-code]"
"""What stands in the page once it answers, or has refused to."""

KEPT = "#badge[data-state=ready]"
"""What stands in the page once it can do without its server."""


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
  const outputs = { logits: hex(answer.logits), classMap: hex(answer.classMap) };
  return { ...outputs, width: answer.width, height: answer.height, distance: answer.distance };
}"""


def start_engine(page: Any) -> None:
    """An engine of the page's own modules that `ask` uses."""
    page.evaluate(START_ENGINE)


def ask(page: Any, encoded: bytes) -> dict[str, Any]:
    """What the page's engine answers for an encoded picture: bytes as hex, or the `code` of a refusal."""
    answer: dict[str, Any] = page.evaluate(ASK, base64.b64encode(encoded).decode())
    return answer


class Memory:
    """The JavaScript heaps of a page and its workers, array buffers and WebAssembly included, after collecting garbage."""

    def __init__(self, page: Any) -> None:
        self._session = page.context.new_cdp_session(page)
        self._workers: list[str] = []
        self._answers: dict[int, dict[str, Any]] = {}
        self._session.on("Target.attachedToTarget", self._attached)
        self._session.on("Target.receivedMessageFromTarget", self._received)
        self._session.send("Target.setAutoAttach", {"autoAttach": True, "waitForDebuggerOnStart": False, "flatten": False})

    @property
    def bytes(self) -> int:
        """Of all heaps together."""
        return self._page() + sum(self._worker(session) for session in self._workers)

    @property
    def workers(self) -> int:
        return len(self._workers)

    def _page(self) -> int:
        self._session.send("HeapProfiler.collectGarbage")
        return _heap(self._session.send("Runtime.getHeapUsage"))

    def _worker(self, session: str) -> int:
        self._ask(session, "HeapProfiler.collectGarbage")
        return _heap(self._ask(session, "Runtime.getHeapUsage"))

    def _ask(self, session: str, method: str) -> dict[str, Any]:
        number = len(self._answers) + 1
        message = json.dumps({"id": number, "method": method})
        self._session.send("Target.sendMessageToTarget", {"message": message, "sessionId": session})
        for _ in range(100):
            if number in self._answers:
                return self._answers[number]
            self._session.send("Runtime.evaluate", {"expression": "0"})
            time.sleep(0.02)
        raise AssertionError(f"the worker does not answer {method}")

    def _attached(self, event: dict[str, Any]) -> None:
        if event["targetInfo"]["type"] == "worker":
            self._workers.append(event["sessionId"])

    def _received(self, event: dict[str, Any]) -> None:
        answer = json.loads(event["message"])
        if "id" in answer:
            self._answers[answer["id"]] = answer.get("result", {})


def _heap(usage: dict[str, Any]) -> int:
    return int(usage["usedSize"] + usage.get("embedderHeapUsedSize", 0) + usage.get("backingStorageSize", 0))

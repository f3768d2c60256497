"""WebAssembly in Chromium: a page that this process serves on loopback runs the job and sends its answers back."""

from __future__ import annotations

import os
import shutil
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from clinquant.edge.agree.process import run_process
from clinquant.edge.agree.targets import Waiting
from clinquant.edge.agree.targets.wasm_node import missing_files, vendor_folder

WEB = True
THREADS = 1
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
HERE = Path(__file__).parents[1]
TYPES = {".html": "text/html", ".mjs": "text/javascript", ".json": "application/json"}


def missing() -> str | None:
    """What is not installed."""
    if _browser() is None:
        return "Chromium is not installed. On Debian: apt-get install chromium."
    return missing_files()


def answer(folder: Path, waiting: Waiting) -> None:
    """Answers the job in `folder`."""
    options = ["--headless", "--disable-gpu", "--no-first-run", "--disable-background-networking", "--disable-dev-shm-usage"]
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        options.append("--no-sandbox")  # Chromium has no sandbox for root
    with _serving(folder) as port, tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        command = [str(_browser()), *options, f"--user-data-dir={profile}", f"http://127.0.0.1:{port}/browser.html"]
        run_process(command, folder, waiting)


@contextmanager
def _serving(folder: Path) -> Iterator[int]:
    """The page, the runtime and the job on a free port of loopback."""
    vendor = vendor_folder()
    assert vendor is not None
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(_Handler, {"": HERE, "vendor": vendor, "job": folder})) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield server.server_address[1]
        finally:
            server.shutdown()
            thread.join()


class _Handler(BaseHTTPRequestHandler):
    """Files of three folders by their bare names; only the job's takes new ones."""

    def __init__(self, folders: dict[str, Path], *arguments: object) -> None:
        self._folders = folders
        super().__init__(*arguments)  # type: ignore[arg-type]

    def do_GET(self) -> None:
        """A file."""
        path = self._path()
        if path is None or not path.is_file():
            self.send_error(404)
            return
        data = path.read_bytes()
        self.send_response(200)
        self.send_header("Content-Type", TYPES.get(path.suffix, "application/octet-stream"))
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def do_PUT(self) -> None:
        """An answer; whole before it has its name, because that name is waited for."""
        path = self._path()
        if path is None or path.parent != self._folders["job"]:
            self.send_error(404)
            return
        part = path.with_name(f"{path.name}.part")
        part.write_bytes(self.rfile.read(int(self.headers.get("Content-Length", "0"))))
        part.replace(path)
        self.send_response(204)
        self.end_headers()

    def log_message(self, *arguments: object) -> None:
        """Says nothing."""

    def _path(self) -> Path | None:
        folder, _, name = self.path.lstrip("/").rpartition("/")
        return self._folders[folder] / name if folder in self._folders and name and "/" not in name and ".." not in name else None


def _browser() -> str | None:
    return next((path for name in BROWSERS if (path := shutil.which(name))), None)

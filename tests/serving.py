"""A running `clinquant serve`, and the plainest HTTP client there is."""

from __future__ import annotations

import json
import os
import re
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

SERVE = (sys.executable, "-m", "clinquant.cli.main", "serve")
LIMITED = (
    "import sys; from clinquant.edge.serve.serve import serve, Settings; from clinquant.edge.serve.limits import Limits; "
    "serve(sys.argv[1], Settings(port=0, limits=Limits(**eval(sys.argv[2]))), say=lambda line: print(line, file=sys.stderr, flush=True))"
)


@dataclass
class Served:
    """A server process that answers."""

    port: int
    process: subprocess.Popen[str]
    said: list[str] = field(default_factory=list)

    def request(self, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None) -> Answered:
        connection = HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            connection.request(method, path, body, headers or {})
            response = connection.getresponse()
            return Answered(response.status, {name.lower(): value for name, value in response.getheaders()}, response.read())
        finally:
            connection.close()

    def predict(self, data: bytes, kind: str = "application/octet-stream") -> Answered:
        return self.request("POST", "/v1/predictions", data, {"Content-Type": kind})

    def resident(self) -> int:
        """Bytes of memory that the process holds."""
        pages = int(Path(f"/proc/{self.process.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")


@dataclass(frozen=True)
class Answered:
    """One HTTP answer."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@contextmanager
def serving(bundle: Path, *options: str, limits: dict[str, Any] | None = None) -> Iterator[Served]:
    """The server on a free port; stopped, and its exit code looked at, in the end."""
    command = [sys.executable, "-c", LIMITED, str(bundle), repr(limits)] if limits else [*SERVE, str(bundle), "--port", "0", *options]
    with subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True) as process:
        try:
            served = Served(_port(process, said := []), process, said)
            yield served
            process.send_signal(signal.SIGTERM)
            assert process.wait(20) == 0
        finally:
            if process.poll() is None:
                process.kill()


def _port(process: subprocess.Popen[str], said: list[str]) -> int:
    assert process.stderr is not None
    found = 0
    for line in process.stderr:
        said.append(line.rstrip("\n"))
        if match := re.match(r"open https?://.*:(\d+)/", line):
            found = int(match[1])
        if line.startswith("stop with"):
            return found
    raise AssertionError("\n".join(said))


def raw(port: int, parts: Sequence[bytes], *, pause: float = 0.0, endless: bytes = b"") -> Answered:
    """What comes back for bytes written to the socket as they are; `endless` is then sent again and again until an answer is there."""
    with socket.create_connection(("127.0.0.1", port), timeout=30) as client:
        for part in parts:
            client.sendall(part)
            time.sleep(pause)
        if endless:
            _send_until_answered(client, endless)
        return _parse(_all(client))


def _send_until_answered(client: socket.socket, block: bytes) -> None:
    client.setblocking(False)
    until, left = time.monotonic() + 20, block
    while time.monotonic() < until and not select.select([client], [], [], 0)[0]:
        if select.select([], [client], [], 0.05)[1]:
            left = left[client.send(left) :] or block
    client.settimeout(20)


def _all(client: socket.socket) -> bytes:
    """Everything up to the end of the first answer."""
    received = b""
    while True:
        head, separator, rest = received.partition(b"\r\n\r\n")
        length = re.search(rb"(?i)content-length: (\d+)", head)
        if separator and length and len(rest) >= int(length[1]):
            return received
        try:
            block = client.recv(65536)
        except ConnectionResetError:
            return received
        if not block:
            return received
        received += block


def _parse(received: bytes) -> Answered:
    head, _, body = received.partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    return Answered(int(first.split(" ")[1]) if first else 0, headers, body)


def form(*files: tuple[str, str | None, bytes], boundary: str = "----clinquant") -> tuple[bytes, str]:
    """A multipart body of (field, file name, content), and its content type."""
    parts = b""
    for name, file_name, content in files:
        disposition = f'form-data; name="{name}"' + (f'; filename="{file_name}"' if file_name is not None else "")
        parts += f"--{boundary}\r\nContent-Disposition: {disposition}\r\n\r\n".encode() + content + b"\r\n"
    return parts + f"--{boundary}--\r\n".encode(), f"multipart/form-data; boundary={boundary}"

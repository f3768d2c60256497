"""Whatever is sent, the answer is a 4xx with a problem that says what is wrong; the server stands, and shows nothing of its inside."""

from __future__ import annotations

import asyncio
import gzip
import io
import json
import socket
import struct
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from clinquant.edge.bundle import open_bundle
from clinquant.edge.serve.application import application
from clinquant.edge.serve.limits import Limits
from clinquant.edge.serve.predictor import Predictor
from serving import Answered, Served, form, raw, serving
from tiny_bundle import write_bundle

LIMITS = {"upload_bytes": 3_000_000, "upload_seconds": 2.0, "drain_seconds": 0.5, "header_seconds": 2.0, "connections": 40}

PIXELS = np.random.default_rng(0).integers(0, 256, (64, 48, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with serving(write_bundle(tmp_path_factory.mktemp("bad")).path, limits=LIMITS) as found:
        yield found


def image(kind: str) -> bytes:
    out = io.BytesIO()
    Image.fromarray(PIXELS).save(out, kind)
    return out.getvalue()


def chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def png(width: int, height: int, *, depth: int = 8, colour: int = 2, rows: bytes = b"", extra: bytes = b"") -> bytes:
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + extra + chunk(b"IDAT", zlib.compress(rows, 9)) + chunk(b"IEND", b"")


def flipped(data: bytes, place: int) -> bytes:
    return data[:place] + bytes([data[place] ^ 0xFF]) + data[place + 1 :]


TEXT_BOMB = chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(90_000_000), 9))

BODIES: dict[str, tuple[bytes, int, str]] = {
    "empty": (b"", 400, "upload-empty"),
    "cut PNG": (image("PNG")[:900], 422, "image-broken"),
    "cut JPEG": (image("JPEG")[:600], 422, "image-broken"),
    "cut WebP": (image("WEBP")[:300], 422, "image-broken"),
    "PNG of a signature only": (image("PNG")[:8], 422, "image-broken"),
    "JPEG of a signature only": (b"\xff\xd8\xff\xe0", 422, "image-broken"),
    "PNG with a changed byte": (flipped(image("PNG"), 3000), 422, "image-broken"),
    "PNG signature, then noise": (b"\x89PNG\r\n\x1a\n" + PIXELS.tobytes(), 422, "image-broken"),
    "16-bit colour PNG": (png(4, 4, depth=16, rows=bytes(4 * 25)), 415, "upload-type"),
    "bomb that only claims its size": (png(100_000, 100_000), 413, "image-too-large"),
    "bomb of real pixels": (png(9000, 9000, colour=0, rows=bytes(9000 * 9001)), 413, "image-too-large"),
    "bomb in a text chunk": (png(4, 4, rows=bytes(52), extra=TEXT_BOMB), 422, "image-broken"),
    "0 x 0 PNG": (png(0, 0), 422, "image-broken"),
    "GIF": (image("GIF"), 415, "upload-type"),
    "TIFF": (image("TIFF"), 415, "upload-type"),
    "BMP": (image("BMP"), 415, "upload-type"),
    "SVG": (b'<svg xmlns="http://www.w3.org/2000/svg"><image href="file:///etc/passwd"/></svg>', 415, "upload-type"),
    "PDF": (b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n", 415, "upload-type"),
    "PostScript": (b"%!PS-Adobe-3.0 EPSF-3.0\n", 415, "upload-type"),
    "DICOM": (bytes(128) + b"DICM", 415, "upload-type"),
    "ZIP": (b"PK\x03\x04" + bytes(30), 415, "upload-type"),
    "HTML": (b"<!doctype html><script>alert(1)</script>", 415, "upload-type"),
    "noise": (PIXELS.tobytes(), 415, "upload-type"),
    "one byte": (b"\x89", 415, "upload-type"),
    "too many bytes": (bytes(3_000_001), 413, "upload-too-large"),
    "far too many bytes": (bytes(30_000_000), 413, "upload-too-large"),
}  # fmt: skip

GOOD = image("PNG")
FORMS: dict[str, tuple[tuple[bytes, str], int, str]] = {
    "two files": (form(("image", "a.png", GOOD), ("image", "b.png", GOOD)), 400, "upload-parts"),
    "a thousand files": (form(*[("image", "a.png", b"x")] * 1000), 400, "upload-parts"),
    "no file": (form(), 400, "upload-parts"),
    "a field in place of a file": (form(("image", None, GOOD)), 400, "upload-parts"),
    "a field beside the file": (form(("image", "a.png", GOOD), ("patient", None, b"Jane")), 400, "upload-parts"),
    "an empty file": (form(("image", "a.png", b"")), 400, "upload-empty"),
    "a file name that climbs": (form(("image", "../../../../etc/passwd", b"root:x:0:0")), 415, "upload-type"),
    "no boundary": ((form(("image", "a.png", GOOD))[0], "multipart/form-data"), 400, "upload-parts"),
    "another boundary": ((form(("image", "a.png", GOOD))[0], "multipart/form-data; boundary=other"), 400, "upload-parts"),
    "a boundary that never ends": ((form(("image", "a.png", GOOD))[0][:-40], form()[1]), 400, "upload-parts"),
    "text in place of an image": ((b"{}", "application/json"), 415, "upload-type"),
    "a web form": ((b"image=1", "application/x-www-form-urlencoded"), 415, "upload-type"),
    "SVG by type": ((GOOD, "image/svg+xml"), 415, "upload-type"),
    "a content type that is none": ((GOOD, "\t;;;,"), 415, "upload-type"),
}  # fmt: skip


def head(*lines: str, method: str = "POST", path: str = "/v1/predictions", host: str = "localhost") -> bytes:
    return "\r\n".join((f"{method} {path} HTTP/1.1", f"Host: {host}", *lines, "", "")).encode("latin-1")


TWICE = gzip.compress(GOOD)
OCTETS = "Content-Type: application/octet-stream"

WIRE: dict[str, tuple[Callable[[int], Answered], int, str]] = {
    "no content type": (lambda port: raw(port, [head(f"Content-Length: {len(GOOD)}"), GOOD]), 415, "upload-type"),
    "compressed twice": (
        lambda port: raw(port, [head(OCTETS, "Content-Encoding: gzip", f"Content-Length: {len(TWICE)}"), TWICE]),
        415, "upload-type",
    ),
    "PUT": (lambda port: raw(port, [head(method="PUT")]), 405, "method-unknown"),
    "GET": (lambda port: raw(port, [head(method="GET")]), 405, "method-unknown"),
    "TRACE": (lambda port: raw(port, [head(method="TRACE")]), 405, "method-unknown"),
    "a path that climbs": (lambda port: raw(port, [head(method="GET", path="/v1/../../../etc/passwd")]), 404, "path-unknown"),
    "a coded path that climbs": (lambda port: raw(port, [head(method="GET", path="/%2e%2e/etc/passwd%00.png")]), 404, "path-unknown"),
    "another path": (lambda port: raw(port, [head(path="/v1/prediction")]), 404, "path-unknown"),
    "a huge header": (lambda port: raw(port, [head(f"X-Filler: {'a' * 20_000}")]), 431, "header-too-large"),
    "a header without end": (lambda port: raw(port, [head()[:-2]], endless=b"X-Filler: aaaaaaa\r\n" * 50), 431, "header-too-large"),
    "chunks without end": (
        lambda port: raw(port, [head(OCTETS, "Transfer-Encoding: chunked")], endless=b"10000\r\n" + bytes(65536) + b"\r\n"),
        413, "upload-too-large",
    ),
    "chunks that are none": (lambda port: raw(port, [head(OCTETS, "Transfer-Encoding: chunked") + b"zz\r\n"]), 400, "request-invalid"),
    "bytes that come too slowly": (lambda port: raw(port, [head(OCTETS, "Content-Length: 1000") + b"\x89PNG"]), 408, "upload-timeout"),
    "a length that is no number": (lambda port: raw(port, [head(OCTETS, "Content-Length: -5")]), 400, "request-invalid"),
    "two lengths": (lambda port: raw(port, [head(OCTETS, "Content-Length: 5", "Content-Length: 6")]), 400, "request-invalid"),
    "no HTTP": (lambda port: raw(port, [b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(64)]), 400, "request-invalid"),
    "a name that is not the server's": (lambda port: raw(port, [head(OCTETS, host="evil.example")]), 421, "host-unknown"),
    "another web site": (lambda port: raw(port, [head(OCTETS, "Sec-Fetch-Site: cross-site")]), 403, "origin-foreign"),
}  # fmt: skip


def check(served: Served, answered: Answered, status: int, code: str) -> None:
    assert (answered.status, answered.headers.get("content-type")) == (status, "application/problem+json"), answered
    problem = answered.json
    assert problem["code"] == code and problem["status"] == status and problem["detail"] and problem["fix"].endswith(".")
    text = answered.body.decode()
    assert not any(word in text for word in ("Traceback", ".py", "/tmp", "PIL", "starlette", "object at")), text
    assert served.request("GET", problem["type"]).status == 200
    assert served.predict(GOOD).status == 200, "it still answers"


@pytest.mark.parametrize("kind", BODIES)
def test_a_body_that_cannot_be_answered_is_refused_with_its_code(served: Served, kind: str) -> None:
    body, status, code = BODIES[kind]
    check(served, served.predict(body), status, code)


@pytest.mark.parametrize("kind", FORMS)
def test_a_form_that_cannot_be_read_is_refused_with_its_code(served: Served, kind: str) -> None:
    (body, content_type), status, code = FORMS[kind]
    check(served, served.predict(body, content_type), status, code)


@pytest.mark.parametrize("kind", WIRE)
def test_a_request_that_breaks_http_is_refused_with_its_code(served: Served, kind: str) -> None:
    send, status, code = WIRE[kind]
    check(served, send(served.port), status, code)


def test_who_never_ends_the_header_is_let_go(served: Served) -> None:
    with socket.create_connection(("127.0.0.1", served.port), timeout=20) as client:
        client.sendall(head()[:-2])
        began = time.monotonic()
        with suppress(ConnectionResetError):
            assert client.recv(1) == b""
        assert time.monotonic() - began < 10


def test_many_idle_connections_do_not_keep_others_out(served: Served) -> None:
    idle = [socket.create_connection(("127.0.0.1", served.port), timeout=20) for _ in range(60)]
    try:
        until = time.monotonic() + 10
        while time.monotonic() < until:
            with suppress(OSError):
                if served.predict(GOOD).status == 200:
                    return
            time.sleep(0.2)
        raise AssertionError("it no longer answers")
    finally:
        for connection in idle:
            connection.close()


def test_a_fault_of_ours_shows_nothing(tmp_path: Path) -> None:
    found = Predictor(open_bundle(write_bundle(tmp_path).path), Limits())
    found._timed = lambda data, name: 1 / 0  # type: ignore[method-assign,assignment,return-value]
    sent: list[Any] = []
    scope = {"type": "http", "method": "POST", "path": "/v1/predictions", "raw_path": b"", "query_string": b"", "root_path": ""}
    scope["headers"] = [(b"host", b"localhost"), (b"content-type", b"image/png")]

    async def receive() -> Any:
        return {"type": "http.request", "body": GOOD, "more_body": False}

    async def send(message: Any) -> None:
        sent.append(message)

    asyncio.run(application(found, Limits())(scope, receive, send))  # type: ignore[arg-type]
    found.close()
    assert sent[0]["status"] == 500
    assert json.loads(sent[1]["body"])["code"] == "internal" and b"division" not in sent[1]["body"]

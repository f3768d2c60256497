"""One image out of a request: its bytes counted while they arrive, its kind and size read from its own header before it is decoded."""

from __future__ import annotations

import asyncio
import io
import sys
from collections.abc import AsyncGenerator

from PIL import Image
from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import ClientDisconnect, Request

from clinquant.core.errors import ClinquantError
from clinquant.edge.serve.limits import Limits

RAW_TYPES = ("image/png", "image/jpeg", "image/webp", "application/octet-stream")
"""Content types of a body that is the image itself; which of the three it is, its own first bytes say."""

FORM_TYPE = "multipart/form-data"

PNG, JPEG = b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff"


class _Form(MultiPartParser):
    """Keeps files in memory: a patient's image is never written to the disk."""

    spool_max_size = sys.maxsize


async def image_bytes(request: Request, limits: Limits) -> bytes:
    """The image's bytes: the whole body, or the one file of a form.

    Raises:
        ClinquantError: `upload-empty`, `upload-too-large`, `upload-type`, `upload-parts`, `upload-timeout`, `upload-cut`.
    """
    declared = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if declared not in (*RAW_TYPES, FORM_TYPE):
        raise _type_refused(f"the content type is {declared!r}" if declared else "the request has no content type")
    if request.headers.get("content-encoding", "identity").strip().lower() != "identity":
        raise _type_refused("the body is compressed a second time (Content-Encoding)")
    body = await _body(request, limits)
    data = await _form_file(request, body) if declared == FORM_TYPE else body
    if not data:
        raise ClinquantError("upload-empty", "the upload has no bytes.", fix="send the bytes of a PNG, JPEG or WebP file as the body.")
    return data


def check_header(data: bytes, limits: Limits) -> None:
    """Looks at the image's own header only.

    Raises:
        ClinquantError: `upload-type` unless it is a PNG, JPEG or WebP of at most 8 bits a colour (grey: 16); `image-too-large`;
            `image-broken`.
    """
    kind = _kind(data)
    if kind is None:
        raise _type_refused("the bytes are no PNG, JPEG or WebP image")
    if kind == "PNG" and data[24:25] == b"\x10" and data[25:26] in (b"\x02", b"\x06"):
        raise _type_refused("the PNG has 16 bits a colour, of which half would be dropped unseen")
    try:
        with Image.open(io.BytesIO(data), formats=(kind,)) as image:
            width, height = image.size
    except Image.DecompressionBombError as error:
        raise _too_many_pixels("far more pixels than any camera", limits) from error
    except Exception as error:  # Pillow's parsers raise nearly every kind on damaged bytes
        raise ClinquantError("image-broken", f"the {kind} header cannot be read.", fix="send an intact image file.") from error
    if width * height > limits.pixels:
        raise _too_many_pixels(f"{width} x {height} pixels", limits)


def _kind(data: bytes) -> str | None:
    if data.startswith(PNG):
        return "PNG"
    if data.startswith(JPEG):
        return "JPEG"
    return "WEBP" if data[:4] == b"RIFF" and data[8:12] == b"WEBP" else None


async def _body(request: Request, limits: Limits) -> bytes:
    length = request.headers.get("content-length", "0")
    if length.isascii() and length.isdigit() and int(length) > limits.upload_bytes:
        raise _too_large(limits)
    received = bytearray()
    try:
        async with asyncio.timeout(limits.upload_seconds):
            async for chunk in request.stream():
                received += chunk
                if len(received) > limits.upload_bytes:
                    raise _too_large(limits)
    except TimeoutError as error:
        raise ClinquantError(
            "upload-timeout",
            f"the upload was not complete after {limits.upload_seconds:g} seconds.",
            fix="send it again over a better connection, or send a smaller picture.",
        ) from error
    except ClientDisconnect as error:
        raise ClinquantError("upload-cut", "the connection ended before the upload did.", fix="send it again.") from error
    return bytes(received)


async def _form_file(request: Request, body: bytes) -> bytes:
    try:
        form = await _Form(request.headers, _once(body), max_files=1, max_fields=0).parse()
    except MultiPartException as error:
        raise _parts(error.message.rstrip(".")) from error
    except (ValueError, KeyError, LookupError, UnicodeError) as error:
        raise _parts("the form cannot be read") from error
    files = [value for _, value in form.multi_items() if isinstance(value, UploadFile)]
    if len(files) != 1:
        raise _parts(f"the form holds {len(files)} files")
    try:
        return await files[0].read()
    finally:
        await files[0].close()


async def _once(body: bytes) -> AsyncGenerator[bytes, None]:
    yield body


def _parts(what: str) -> ClinquantError:
    return ClinquantError("upload-parts", f"{what}.", fix="send a form with one file and nothing else, or the image as the whole body.")


def _type_refused(what: str) -> ClinquantError:
    return ClinquantError(
        "upload-type",
        f"{what}.",
        fix=f"send an 8-bit PNG, JPEG or WebP, or a 16-bit grey PNG, as one of: {', '.join((*RAW_TYPES, FORM_TYPE))}.",
    )


def _too_large(limits: Limits) -> ClinquantError:
    return ClinquantError(
        "upload-too-large",
        f"more than {limits.upload_bytes:,} bytes.",
        fix="send a smaller picture, or start the server with a larger --max-upload.",
    )


def _too_many_pixels(what: str, limits: Limits) -> ClinquantError:
    return ClinquantError("image-too-large", f"{what}; at most {limits.pixels:,} pixels are read.", fix="send a smaller picture.")

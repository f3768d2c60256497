"""Errors as RFC 9457 problem details: the code, what is wrong and what mends it; never a traceback."""

from __future__ import annotations

from typing import NamedTuple

from starlette.responses import JSONResponse

from clinquant.core.errors import ClinquantError, Exit


class Kind(NamedTuple):
    """A kind of problem: its HTTP status, a title that never varies, and for some a fix that fits an upload better than the error's own."""

    status: int
    title: str
    fix: str | None = None


ANOTHER_IMAGE = "send the whole bytes of an intact PNG, JPEG or WebP file."

PROBLEMS: dict[str, Kind] = {
    "upload-empty": Kind(400, "The request holds no image"),
    "upload-parts": Kind(400, "The form is not one image"),
    "upload-cut": Kind(400, "The upload ended early"),
    "upload-timeout": Kind(408, "The upload took too long"),
    "upload-too-large": Kind(413, "The upload is too large"),
    "image-too-large": Kind(
        413, "The picture has too many pixels", "send a smaller picture, or start the server with a larger --max-pixels."
    ),
    "upload-type": Kind(415, "The upload is of another type"),
    "image-broken": Kind(422, "The image cannot be decoded", ANOTHER_IMAGE),
    "image-mode": Kind(422, "The image has no agreed grey levels"),
    "request-invalid": Kind(400, "The request is not valid HTTP"),
    "header-too-large": Kind(431, "The request's header is too large"),
    "host-unknown": Kind(421, "The server is not known by that name"),
    "origin-foreign": Kind(403, "Another web site sent the request"),
    "path-unknown": Kind(404, "There is nothing at this path"),
    "method-unknown": Kind(405, "The path does not take this method"),
    "server-busy": Kind(503, "Too many predictions are waiting"),
    "internal": Kind(500, "A fault of the server"),
}
"""Error code -> its problem; every code that a request can meet."""

MEDIA_TYPE = "application/problem+json"


def body(error: ClinquantError) -> dict[str, object]:
    """The members of the problem: RFC 9457's, then `code` and `fix`."""
    kind = PROBLEMS.get(error.code) or PROBLEMS["internal"]
    known = error.code in PROBLEMS
    return {
        "type": f"/problems/{error.code if known else 'internal'}",
        "title": kind.title,
        "status": kind.status,
        "detail": error.message if known else internal().message,
        "code": error.code if known else "internal",
        "fix": kind.fix or (error.fix if known else internal().fix),
    }


def problem(error: ClinquantError, headers: dict[str, str] | None = None) -> JSONResponse:
    """The response that tells of `error`; one that no request should meet is told as `internal` and nothing more."""
    members = body(error)
    return JSONResponse(members, status_code=int(str(members["status"])), headers=headers, media_type=MEDIA_TYPE)


def internal() -> ClinquantError:
    """What a client is told of a fault of ours; the server's own log holds the rest."""
    return ClinquantError(
        "internal", "the server met a fault of its own.", fix="try again; tell the operator, whose log has it.", exit_code=Exit.INTERNAL
    )

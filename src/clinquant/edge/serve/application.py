"""The HTTP application: which path answers what."""

from __future__ import annotations

import json
from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import FileResponse, PlainTextResponse, Response
from starlette.routing import BaseRoute, Route
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Receive, Scope, Send

from clinquant.core.artifact import dump_json, sha256_bytes
from clinquant.core.errors import ClinquantError
from clinquant.edge.serve.guard import Guard
from clinquant.edge.serve.limits import Limits
from clinquant.edge.serve.metrics import MEDIA_TYPE, Metrics
from clinquant.edge.serve.openapi import openapi
from clinquant.edge.serve.pages import PAGE_POLICY, SITE_POLICY, front_page, trust_page
from clinquant.edge.serve.prediction import Prediction, describe, model_sha256
from clinquant.edge.serve.predictor import Busy, Predictor
from clinquant.edge.serve.problems import PROBLEMS, internal, problem
from clinquant.edge.serve.upload import image_bytes

if TYPE_CHECKING:
    from clinquant.edge.serve.authority import Identity

JSON = "application/json"


def application(
    predictor: Predictor, limits: Limits, *, names: Collection[str] = (), site: Path | None = None, identity: Identity | None = None
) -> ASGIApp:
    """The whole server as an ASGI application.

    Args:
        predictor: answers images.
        limits: of uploads and headers.
        names: host names it is known by; addresses and `localhost` are always taken.
        site: folder of static files for `/` (the tablet app), or None for a plain page that says so.
        identity: of this server over HTTPS; its authority is offered at `/ca.crt`, and how to trust it at `/trust`.
    """
    metrics = Metrics(predictor)
    service = _Service(predictor, limits, metrics, identity)
    inner = Starlette(
        routes=service.routes(front=site is None),
        exception_handlers={ClinquantError: _clinquant_error, Busy: _busy, HTTPException: _http_error, Exception: _fault},
    )
    if site:
        inner.router.default = _Site(site)
    return Guard(inner, limits=limits, names=names, answered=metrics.answered)


class _Service:
    """The handlers and what they share."""

    def __init__(self, predictor: Predictor, limits: Limits, metrics: Metrics, identity: Identity | None) -> None:
        self._predictor, self._limits, self._metrics, self._identity = predictor, limits, metrics, identity
        self._model = describe(predictor.bundle, predictor.runtime)
        self._openapi = openapi(limits)

    def routes(self, *, front: bool) -> list[BaseRoute]:
        """Path -> handler; with `front` a plain page at `/`."""
        found: list[BaseRoute] = [
            Route("/v1/predictions", self.predict, methods=["POST"]),
            Route("/v1/model", self.model),
            Route("/openapi.json", self.description),
            Route("/healthz", self.health),
            Route("/metrics", self.metrics),
            Route("/problems/{code}", self.explain),
        ]
        if self._identity:
            found += [Route("/ca.crt", self.certificate), Route("/trust", self.trust)]
        return [*found, Route("/", self.front)] if front else found

    async def predict(self, request: Request) -> Response:
        """An image's bytes to its prediction."""
        with self._predictor.place():
            data = await image_bytes(request, self._limits)
            answer, seconds = await self._predictor.predict(data, name=sha256_bytes(data))
        self._metrics.predicted(answer, seconds)
        prediction = Prediction(
            answer=answer,
            model_sha256=model_sha256(self._predictor.bundle),
            runtime=self._predictor.runtime,
            limits=self._predictor.bundle.card.limits,
        )
        return Response(dump_json(prediction, kind="prediction"), media_type=JSON)

    async def model(self, request: Request) -> Response:
        """The bundle that answers."""
        return Response(dump_json(self._model, kind="model"), media_type=JSON)

    async def description(self, request: Request) -> Response:
        """The OpenAPI document."""
        return Response(dump_plain(self._openapi), media_type=JSON)

    async def health(self, request: Request) -> Response:
        """That the server answers."""
        return Response(dump_plain({"status": "ok", "model_sha256": model_sha256(self._predictor.bundle)}), media_type=JSON)

    async def metrics(self, request: Request) -> Response:
        """Counters."""
        return Response(self._metrics.text(), headers={"content-type": MEDIA_TYPE})

    async def explain(self, request: Request) -> Response:
        """What the `type` of a problem points to."""
        kind = PROBLEMS.get(request.path_params["code"])
        if kind is None:
            raise HTTPException(404)
        return PlainTextResponse(
            f"{kind.status} {request.path_params['code']}: {kind.title}.\n" + (f"Fix: {kind.fix}\n" if kind.fix else "")
        )

    async def front(self, request: Request) -> Response:
        """A page for people where the app is not installed."""
        return _page(front_page(self._model))

    async def trust(self, request: Request) -> Response:
        """How a tablet comes to trust this server."""
        assert self._identity is not None
        return _page(trust_page(self._identity.fingerprint))

    async def certificate(self, request: Request) -> Response:
        """The local authority's certificate."""
        assert self._identity is not None
        return FileResponse(self._identity.authority, media_type="application/x-x509-ca-cert", filename="clinquant-ca.crt")


class _Site:
    """Static files with a policy under which a page may use them, asked for anew each time: the service worker keeps its own copies."""

    def __init__(self, folder: Path) -> None:
        self._files = StaticFiles(directory=folder, html=True)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One file, where no path of the API was meant."""
        if scope["method"] not in ("GET", "HEAD"):
            raise HTTPException(404)
        response = await self._files.get_response(self._files.get_path(scope), scope)
        response.headers.setdefault("content-security-policy", SITE_POLICY)
        response.headers.setdefault("cache-control", "no-cache")
        await response(scope, receive, send)


def dump_plain(value: dict[str, object]) -> str:
    """JSON of a document that is no artifact of ours."""
    return json.dumps(value, indent=1, ensure_ascii=False) + "\n"


def _page(text: str) -> Response:
    return Response(text, media_type="text/html; charset=utf-8", headers={"content-security-policy": PAGE_POLICY})


async def _clinquant_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, ClinquantError)
    return problem(error)


async def _fault(request: Request, error: Exception) -> Response:
    """What nobody foresaw; the guard logs it."""
    return problem(internal())


async def _busy(request: Request, error: Exception) -> Response:
    assert isinstance(error, Busy)
    return problem(error.error, {"retry-after": str(error.retry_after)})


async def _http_error(request: Request, error: Exception) -> Response:
    """Starlette's own refusals: no such path, no such method."""
    assert isinstance(error, HTTPException)
    headers = dict(error.headers or {})
    if error.status_code == 405:
        allowed = headers.get("Allow", "GET, HEAD")
        return problem(ClinquantError("method-unknown", f"{request.method} is not taken here.", fix=f"use {allowed}."), headers)
    if error.status_code == 404:
        return problem(ClinquantError("path-unknown", "nothing is at this path.", fix="see /openapi.json."), headers)
    return problem(ClinquantError("request-invalid", "the request cannot be served.", fix="see /openapi.json."), headers)

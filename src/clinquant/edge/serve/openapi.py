"""The OpenAPI description of the server, from the same dataclasses that its answers are made of."""

from __future__ import annotations

import json
from typing import Any

from clinquant import __version__
from clinquant.core.card import RESEARCH_USE
from clinquant.core.schema import json_schema
from clinquant.edge.serve.limits import Limits
from clinquant.edge.serve.prediction import Model, Prediction
from clinquant.edge.serve.problems import MEDIA_TYPE, PROBLEMS
from clinquant.edge.serve.upload import RAW_TYPES

UPLOAD_PROBLEMS = sorted({kind.status for code, kind in PROBLEMS.items() if code.startswith(("upload", "image"))})
ANYWHERE_PROBLEMS = sorted({PROBLEMS[code].status for code in ("origin-foreign", "host-unknown", "header-too-large", "internal")})


def openapi(limits: Limits) -> dict[str, Any]:
    """The document, OpenAPI 3.1."""
    schemas: dict[str, Any] = {"Problem": _problem_schema()}
    for kind, cls in (("prediction", Prediction), ("model", Model)):
        schemas |= _hoisted(json_schema(cls, kind=kind), cls.__name__)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "clinquant",
            "version": __version__,
            "description": RESEARCH_USE,
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "paths": {
            "/v1/predictions": {"post": _predictions(limits)},
            "/v1/model": {"get": _get("getModel", "The card, what was measured, and the hashes of the model that answers.", "Model")},
            "/healthz": {"get": _get("getHealth", "Whether the server answers.", None)},
            "/metrics": {"get": _text("getMetrics", "Counters in the text format of Prometheus.")},
        },
        "components": {"schemas": schemas},
    }


def _predictions(limits: Limits) -> dict[str, Any]:
    image = {"type": "string", "format": "binary", "maxLength": limits.upload_bytes}
    form = {"type": "object", "properties": {"image": image}, "required": ["image"], "additionalProperties": False}
    content = {kind: {"schema": image} for kind in RAW_TYPES} | {"multipart/form-data": {"schema": form}}
    busy = _problem_answer("The queue is full.") | {
        "headers": {"Retry-After": {"schema": {"type": "integer"}, "description": "Seconds to wait."}}
    }
    return {
        "operationId": "createPrediction",
        "summary": "Class, probabilities and referral of one image.",
        "requestBody": {"required": True, "content": content},
        "responses": {
            "200": _answer("The prediction.", {"$ref": "#/components/schemas/Prediction"}),
            **_problems((*UPLOAD_PROBLEMS, *ANYWHERE_PROBLEMS)),
            "503": busy,
        },
    }


def _get(name: str, summary: str, schema: str | None) -> dict[str, Any]:
    body = {"$ref": f"#/components/schemas/{schema}"} if schema else {"type": "object"}
    return {"operationId": name, "summary": summary, "responses": {"200": _answer(summary, body), **_problems(ANYWHERE_PROBLEMS)}}


def _text(name: str, summary: str) -> dict[str, Any]:
    answer = {"description": summary, "content": {"text/plain": {"schema": {"type": "string"}}}}
    return {"operationId": name, "summary": summary, "responses": {"200": answer, **_problems(ANYWHERE_PROBLEMS)}}


def _answer(description: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {"description": description, "content": {"application/json": {"schema": schema}}}


def _problems(statuses: tuple[int, ...] | list[int]) -> dict[str, Any]:
    titles = {status: [kind.title for kind in PROBLEMS.values() if kind.status == status] for status in sorted(set(statuses))}
    return {str(status): _problem_answer("; ".join(names) + ".") for status, names in titles.items()}


def _problem_answer(description: str) -> dict[str, Any]:
    return {"description": description, "content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}}


def _problem_schema() -> dict[str, Any]:
    words = {name: {"type": "string"} for name in ("type", "title", "detail", "fix")}
    return {
        "description": "RFC 9457 problem details.",
        "type": "object",
        "properties": {**words, "status": {"type": "integer"}, "code": {"enum": sorted(PROBLEMS)}},
        "required": ["type", "title", "status", "detail", "code", "fix"],
        "additionalProperties": False,
    }


def _hoisted(schema: dict[str, Any], name: str) -> dict[str, Any]:
    """The schema and its definitions as components of one document."""
    text = json.dumps(schema).replace("#/$defs/", "#/components/schemas/")
    body = json.loads(text)
    definitions: dict[str, Any] = body.pop("$defs")
    body.pop("$schema")
    return {**definitions, name: body}

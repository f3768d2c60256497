"""The JSON Schema of an artifact, from its dataclass: what a program may rely on when it reads `--json` or a file of a run."""

from __future__ import annotations

import dataclasses
import enum
import types
import typing
from collections.abc import Mapping
from typing import Any

DIALECT = "https://json-schema.org/draft/2020-12/schema"
_PLAIN: dict[Any, str] = {str: "string", int: "integer", float: "number", bool: "boolean", type(None): "null"}


def json_schema(cls: type, *, kind: str, version: int = 1) -> dict[str, Any]:
    """Schema of the artifact `clinquant/<kind>` that holds a `cls`: exactly these keys, with `format` and `version`."""
    definitions: dict[str, Any] = {}
    body = _object(cls, definitions)
    head = {"format": {"const": f"clinquant/{kind}"}, "version": {"const": version}}
    return {
        "$schema": DIALECT,
        "title": f"clinquant/{kind} version {version}",
        **body,
        "properties": {**head, **body["properties"]},
        "required": [*head, *body["required"]],
        "$defs": dict(sorted(definitions.items())),
    }


def _object(cls: Any, definitions: dict[str, Any]) -> dict[str, Any]:
    hints = typing.get_type_hints(cls)
    names = {field.name: str(field.metadata.get("json", field.name)) for field in dataclasses.fields(cls)}
    return {
        "description": (cls.__doc__ or "").split("\n")[0],
        "type": "object",
        "properties": {key: _schema(hints[name], definitions) for name, key in names.items()},
        "required": [names[field.name] for field in dataclasses.fields(cls) if not field.metadata.get("omit_empty")],
        "additionalProperties": False,
    }


def _schema(kind: Any, definitions: dict[str, Any]) -> dict[str, Any]:
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if kind in _PLAIN:
        return {"type": _PLAIN[kind]}
    if dataclasses.is_dataclass(kind):
        return _reference(kind, definitions)
    if isinstance(kind, type) and issubclass(kind, enum.Enum):
        return {"enum": [member.value for member in kind]}
    if origin in (types.UnionType, typing.Union):
        return {"anyOf": [_schema(argument, definitions) for argument in arguments]}
    if origin is tuple:
        return _array(arguments, definitions)
    if isinstance(origin, type) and issubclass(origin, Mapping):
        return {"type": "object", "additionalProperties": _schema(arguments[1], definitions)}
    return {}


def _array(arguments: tuple[Any, ...], definitions: dict[str, Any]) -> dict[str, Any]:
    if arguments[-1] is Ellipsis:
        return {"type": "array", "items": _schema(arguments[0], definitions)}
    items = [_schema(argument, definitions) for argument in arguments]
    return {"type": "array", "prefixItems": items, "minItems": len(items), "maxItems": len(items)}


def _reference(cls: Any, definitions: dict[str, Any]) -> dict[str, Any]:
    if cls.__name__ not in definitions:
        definitions[cls.__name__] = {}
        definitions[cls.__name__] = _object(cls, definitions)
    return {"$ref": f"#/$defs/{cls.__name__}"}

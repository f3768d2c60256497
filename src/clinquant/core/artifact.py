"""Frozen artifacts on disk: hashed, written atomically, loaded strictly.

Every artifact is a JSON object with `format` (`clinquant/<kind>`) and `version`. Reading one with an unknown key is an
error that names the nearest known key, so a typo or a file of another version never passes silently.
"""

from __future__ import annotations

import dataclasses
import difflib
import enum
import errno
import functools
import hashlib
import json
import os
import tempfile
import types
import typing
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from clinquant.core.errors import ClinquantError, Exit

T = TypeVar("T")

UNWRITABLE = (
    *(errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOENT, errno.ENOTDIR, errno.EEXIST, errno.EISDIR, errno.ENAMETOOLONG),
    *(errno.EFBIG, errno.EINVAL),
)
"""The system's reasons, apart from a full disk, for which nothing can be written at a place."""


def sha256_bytes(data: bytes) -> str:
    """Hex sha256 of `data`."""
    return hashlib.sha256(data).hexdigest()


def sha256_file(path: Path | str) -> str:
    """Hex sha256 of a file's bytes, read in blocks."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def sha256_json(value: Any) -> str:
    """Hex sha256 of `value`'s canonical JSON (see `to_json`): equal values have equal hashes on every machine."""
    return sha256_bytes(json.dumps(to_json(value), sort_keys=True, separators=(",", ":")).encode())


@contextmanager
def replacing(path: Path | str) -> Iterator[Path]:
    """A temporary path beside `path` that takes its place when the block ends well, and is removed when it does not.

    Raises:
        ClinquantError: `disk-full` or `output-unwritable`, with whatever stood at `path` before left as it was.
    """
    path = Path(path)
    with writing_to(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=path.suffix or ".tmp")
        os.close(handle)
    temporary = Path(name)
    try:
        with writing_to(path):
            yield temporary
            with open(temporary, "rb") as file:
                os.fsync(file.fileno())
            os.chmod(temporary, 0o666 & ~_umask())
            os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def writing_to(path: Path | str) -> Iterator[None]:
    """Turns the operating system's refusals to write at `path` into errors with a fix."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise ClinquantError(
                "disk-full",
                f"no space left to write {path}.",
                fix="free some space or choose another --out, then run the same command again; finished steps are kept.",
                exit_code=Exit.ENVIRONMENT,
            ) from error
        if error.errno in UNWRITABLE:
            raise ClinquantError(
                "output-unwritable",
                f"cannot write {path}: {error.strerror}.",
                fix="choose an --out that this user may write to.",
                exit_code=Exit.ENVIRONMENT,
            ) from error
        raise


def write_bytes(path: Path | str, data: bytes) -> None:
    """Writes `data` to `path` atomically."""
    with replacing(path) as temporary:
        temporary.write_bytes(data)


def write_text(path: Path | str, text: str) -> None:
    """Writes `text` to `path` atomically, as UTF-8 with Unix line ends."""
    write_bytes(path, text.encode())


def write_json(path: Path | str, value: Any, *, kind: str, version: int = 1) -> None:
    """Writes `value` (a dataclass or mapping) as the artifact `clinquant/<kind>`."""
    write_text(path, dump_json(value, kind=kind, version=version))


def dump_json(value: Any, *, kind: str, version: int = 1) -> str:
    """The text of `value` as the artifact `clinquant/<kind>`: stable key order, shortest floats that round-trip."""
    body = {"format": f"clinquant/{kind}", "version": version, **to_json(value)}
    return json.dumps(body, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def read_json(path: Path | str, cls: type[T], *, kind: str, version: int = 1) -> T:
    """The `cls` stored at `path` by `write_json`.

    Raises:
        ClinquantError: `artifact-missing`, `artifact-broken`, `artifact-kind`, `artifact-version`, `artifact-key` or `artifact-value`.
    """
    return from_json(cls, read_body(path, kind=kind, version=version), where=str(path))


def read_body(path: Path | str, *, kind: str, version: int = 1) -> dict[str, Any]:
    """The mapping stored at `path`, its format and version checked and taken off. Raises as `read_json`."""
    try:
        body = json.loads(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ClinquantError(
            "artifact-missing", f"{path} does not exist.", fix=f"name an existing {kind} file, or run the step that writes it."
        ) from error
    except (ValueError, OSError) as error:
        raise ClinquantError(
            "artifact-broken", f"{path} is not readable JSON ({error}).", fix="delete it and run the step that writes it again."
        ) from error
    if not isinstance(body, dict) or body.get("format") != f"clinquant/{kind}":
        found = body.get("format") if isinstance(body, dict) else type(body).__name__
        raise ClinquantError("artifact-kind", f"{path} is {found!r}, expected 'clinquant/{kind}'.", fix=f"name a {kind} file.")
    if body.get("version") != version:
        raise ClinquantError(
            "artifact-version",
            f"{path} has version {body.get('version')}, this clinquant reads version {version}.",
            fix="use the clinquant that wrote it, or run the step that writes it again.",
        )
    return {key: value for key, value in body.items() if key not in ("format", "version")}


def to_json(value: Any) -> Any:
    """`value` as plain JSON types: dataclasses become objects, enumerations their values, tuples lists, paths strings.

    A field is written under its name, or under `metadata["json"]` where the name is a word Python keeps for itself (`class`). One marked
    `metadata["omit_empty"]` is left out where it is empty.
    """
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        kept = (field for field in dataclasses.fields(value) if getattr(value, field.name) or not field.metadata.get("omit_empty"))
        return {_key(field): to_json(getattr(value, field.name)) for field in kept}
    if isinstance(value, enum.Enum):
        return value.value
    if isinstance(value, Mapping):
        return {str(key): to_json(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [to_json(item) for item in value]
    if isinstance(value, Path):
        return value.as_posix()
    if hasattr(value, "tolist"):
        return to_json(value.tolist())
    return value


def from_json(cls: type[T], value: Any, *, where: str) -> T:
    """A `cls` from what `to_json` made of one, strictly: every key known, every required key there, every value of its type.

    Raises:
        ClinquantError: `artifact-key` or `artifact-value`.
    """
    return typing.cast(T, _build(cls, value, where))


def _build(kind: Any, value: Any, where: str) -> Any:
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if dataclasses.is_dataclass(kind):
        return _build_dataclass(kind, value, where)
    if origin in (types.UnionType, typing.Union):
        if value is None and type(None) in arguments:
            return None
        inner = [argument for argument in arguments if argument is not type(None)]
        return _build(inner[0], value, where) if len(inner) == 1 else value
    if origin is tuple:
        if not isinstance(value, list):
            raise _bad(where, "a list", value)
        kinds = [arguments[0]] * len(value) if arguments[-1] is Ellipsis else list(arguments)
        if len(value) != len(kinds):
            raise _bad(where, f"a list of {len(kinds)}", value)
        return tuple(_build(k, item, f"{where}[{i}]") for i, (k, item) in enumerate(zip(kinds, value, strict=True)))
    if origin is not None and isinstance(origin, type) and issubclass(origin, Mapping):
        if not isinstance(value, dict):
            raise _bad(where, "an object", value)
        return {key: _build(arguments[1], item, f"{where}.{key}") for key, item in value.items()}
    if isinstance(kind, type) and issubclass(kind, enum.Enum):
        if value not in {member.value for member in kind}:
            raise _bad(where, f"one of {', '.join(str(member.value) for member in kind)}", value)
        return kind(value)
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if kind in (int, float, str, bool) and (not isinstance(value, kind) or (kind is int and isinstance(value, bool))):
        raise _bad(where, kind.__name__, value)
    return value


def _build_dataclass(cls: Any, value: Any, where: str) -> Any:
    if not isinstance(value, dict):
        raise _bad(where, cls.__name__, value)
    hints = _hints(cls)
    fields = {_key(field): field for field in dataclasses.fields(cls)}
    for key in value:
        if key not in fields:
            near = difflib.get_close_matches(key, fields, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"known keys: {', '.join(fields)}."
            raise ClinquantError("artifact-key", f"{where} has the unknown key {key!r}.", fix=hint)
    for name, field in fields.items():
        required = field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
        if required and name not in value:
            raise ClinquantError("artifact-key", f"{where} lacks the key {name!r}.", fix=f"add {name!r}, or write the file again.")
    return cls(**{fields[key].name: _build(hints[fields[key].name], item, f"{where}.{key}") for key, item in value.items()})


@functools.cache
def _hints(cls: type) -> dict[str, Any]:
    """Annotations with their names resolved; a study has thousands of cases of one class."""
    return typing.get_type_hints(cls)


def _key(field: dataclasses.Field[Any]) -> str:
    return str(field.metadata.get("json", field.name))


def _bad(where: str, expected: str, value: Any) -> ClinquantError:
    return ClinquantError("artifact-value", f"{where} is {value!r}, expected {expected}.", fix="correct it, or write the file again.")


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask

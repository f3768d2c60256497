"""The manifest of a bundle: every file with its bytes and sha256, a rising version and a date.

It carries the digest of its own content and has one spelling only, so that a change of any byte shows, within it too.
That finds accidents and clumsy hands. Against somebody who writes a whole new manifest, compare its sha256 with the one published.
"""

from __future__ import annotations

import dataclasses
import json
import re
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from clinquant.core.artifact import dump_json, from_json, sha256_bytes, sha256_json
from clinquant.core.errors import ClinquantError, Exit

NAME = "manifest.json"
KIND = "manifest"
SAFE_PART = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
"""What a part of a path in a bundle may look like on every file system: no separators, no dots in front, no spaces."""


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One file of the bundle: its length in bytes and its hex sha256."""

    bytes: int
    sha256: str


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """What a bundle consists of.

    Attributes:
        bundle_version: 1, then one more with every bundle that replaces another.
        created: date and time of packing, UTC, ISO 8601.
        clinquant: version that packed it.
        previous: sha256 of the manifest that this one replaces, or None.
        files: path within the bundle, with forward slashes -> length and hash; the manifest itself is not in it.
        digest: sha256 of all the above in canonical JSON.
    """

    bundle_version: int
    created: str
    clinquant: str
    previous: str | None
    files: dict[str, Entry]
    digest: str = ""

    @property
    def text(self) -> str:
        """The only spelling of this manifest."""
        return dump_json(self, kind=KIND)

    @property
    def sha256(self) -> str:
        """Of the manifest file: one number that stands for the whole bundle."""
        return sha256_bytes(self.text.encode())


def sealed(manifest: Manifest) -> Manifest:
    """The manifest with its digest filled in and its files in the order of their names."""
    ordered = dataclasses.replace(manifest, files=dict(sorted(manifest.files.items())), digest="")
    return dataclasses.replace(ordered, digest=sha256_json(ordered))


def read_manifest(bundle: Path) -> Manifest:
    """The manifest of `bundle`, itself unchanged since it was sealed; the other files are not looked at.

    Raises:
        ClinquantError: `bundle-missing` when there is none, `bundle-changed` when any byte of it is not as it was written.
    """
    path = bundle / NAME
    if path.is_symlink() or not path.is_file():
        raise _no_bundle(bundle)
    data = path.read_bytes()
    try:
        manifest = from_json(Manifest, _body(data), where=str(path))
        intact = manifest.text.encode() == data and sealed(manifest) == manifest
        intact = intact and all(is_safe(name) for name in manifest.files)
    except (ClinquantError, KeyError, ValueError, TypeError, AttributeError, RecursionError):
        intact = False
    if not intact:
        raise changed(path, "its own digest does not hold")
    return manifest


def _no_bundle(path: Path) -> ClinquantError:
    """The error for a place that is no bundle; it names the one that a run directory holds."""
    if not path.exists():
        message, fix = f"{path} does not exist.", "name the bundle/ folder that 'clinquant pack' wrote."
    elif path.is_file():
        message, fix = f"{path} is a file and no bundle.", "name the bundle/ folder that 'clinquant pack' wrote."
    elif (path / "bundle" / NAME).is_file():
        message, fix = f"{path} has no {NAME}: it is a run, and its bundle is {path / 'bundle'}.", f"name {path / 'bundle'}."
    elif (path / "plan.json").is_file():
        message, fix = (
            f"{path} has no {NAME}: it is a run without a bundle.",
            f"finish it: 'clinquant pack --out {path}', or its build again.",
        )
    else:
        message, fix = f"{path} has no {NAME}.", "name the bundle/ folder that 'clinquant pack' wrote."
    return ClinquantError("bundle-missing", message, fix=fix, exit_code=Exit.REFUSED)


def is_safe(name: str) -> bool:
    """True for a path that stays inside the bundle on every file system, and is not the manifest's own."""
    path = PurePosixPath(name)
    return str(path) == name and name != NAME and all(SAFE_PART.fullmatch(part) for part in path.parts)


def changed(path: Path, what: str) -> ClinquantError:
    """The error for a file that is not the one that was packed."""
    return ClinquantError(
        "bundle-changed",
        f"{path} is not as it was packed ({what}).",
        fix="do not use it: fetch the bundle again from where it was published.",
        exit_code=Exit.REFUSED,
    )


def _body(data: bytes) -> dict[str, Any]:
    body = json.loads(data.decode("utf-8"))
    if body.pop("format") != f"clinquant/{KIND}" or body.pop("version") != 1:
        raise ValueError("not a manifest of this version")
    return dict(body)

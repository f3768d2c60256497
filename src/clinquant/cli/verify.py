"""clinquant verify."""

from __future__ import annotations

from pathlib import Path

import click

from clinquant.cli.options import as_json, bundle
from clinquant.cli.output import show


@click.command("verify")
@bundle
@as_json
def command(bundle: Path, as_json: bool) -> None:
    """Refuse BUNDLE when any byte was changed, lost or added; then replay its golden vectors bit for bit.

    Prints the sha256 of the manifest: compare it with the one published beside the bundle.
    """
    from clinquant.edge.verify import verify

    manifest = verify(bundle)
    text = f"{bundle} is intact and answers as it was packed.\nversion {manifest.bundle_version} of {manifest.created}"
    show(
        {"intact": True, "manifest_sha256": manifest.sha256, "bundle_version": manifest.bundle_version, "created": manifest.created},
        f"{text}\nmanifest sha256 {manifest.sha256}",
        kind="verified",
        as_json=as_json,
    )

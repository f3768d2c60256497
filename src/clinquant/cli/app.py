"""clinquant app."""

from __future__ import annotations

from pathlib import Path

import click

from clinquant.cli.options import as_json, bundle
from clinquant.cli.output import show


@click.command("app")
@bundle
@click.option(
    "--out", required=True, metavar="DIR", type=click.Path(path_type=Path, file_okay=False), help="The folder; an app in it is replaced."
)
@as_json
def command(bundle: Path, out: Path, as_json: bool) -> None:
    """Write the tablet app of BUNDLE: a folder of static files that works without a network once a browser has opened it.

    Serve the folder over HTTPS from anywhere: a browser installs and keeps it only from there or from localhost.
    """
    from clinquant.edge.app.write import write_app

    app = write_app(bundle, out.resolve())
    text = f"{out} holds the app of bundle version {app.bundle_version}: {len(app.files) + 2} files, {app.bytes / 1e6:.1f} MB.\n"
    text += f"model {app.model}, sha256 {app.files[app.model].sha256}\nrun by {app.runtime}; manifest sha256 {app.manifest_sha256}\n"
    if app.percent_of_float is not None:
        text += f"in a browser this network took {app.percent_of_float}% of its float file's time (benchmarks/wasm.py)\n"
        if app.percent_of_float > 100:
            text += "warning: integers are slower than float in a browser for this network; 'clinquant methods' lists faster ones\n"
    text += f"Try it here: python -m http.server --directory {out} --bind 127.0.0.1 8000"
    show(app, text, kind="app", as_json=as_json)

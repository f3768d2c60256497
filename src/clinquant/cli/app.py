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
    text += _speed(app.architecture)
    text += f"Try it here: python -m http.server --directory {out} --bind 127.0.0.1 8000"
    show(app, text, kind="app", as_json=as_json)


def _speed(architecture: str) -> str:
    """What was measured of the network in a browser, and which is quicker."""
    from clinquant.edge.speed import TABLET, speeds

    measured = speeds()
    if architecture not in measured:
        return ""
    speed, tablet = measured[architecture], measured[TABLET]
    times = f"{speed.browser:.2f} of its float file's time, {speed.browser_ms:.0f} ms"
    text = f"{architecture} in 8 bits at {speed.size} px took {times} in a browser (clinquant methods)\n"
    if speed.browser > 1:
        text += "warning: integers are slower than float in a browser for this network\n"
    if speed.size == tablet.size and speed.browser_ms > tablet.browser_ms:
        text += f"the tablet's default network is {TABLET}, {tablet.browser_ms:.0f} ms; it learns from this one, trained in RUN, by\n"
        text += f"  clinquant build DATA --out NEW --arch {TABLET} --teacher RUN\n"
    return text

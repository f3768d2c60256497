"""clinquant serve."""

from __future__ import annotations

from pathlib import Path

import click

from clinquant.cli.options import bundle, size_in_bytes, threads


@click.command("serve")
@bundle
@click.option("--host", default="127.0.0.1", show_default=True, metavar="ADDRESS", help="Where to listen; 0.0.0.0 is every network.")
@click.option("--port", default=8700, show_default=True, metavar="N", type=click.IntRange(0, 65535), help="0 takes a free one.")
@click.option("--name", "names", multiple=True, metavar="NAME", help="Another host name that the server is known by; repeatable.")
@click.option("--tls", is_flag=True, help="HTTPS, by an authority that this machine makes for itself; tells how tablets come to trust it.")
@click.option(
    "--queue", default=16, show_default=True, metavar="N", type=click.IntRange(min=1), help="Predictions in hand at most; then 503."
)
@click.option("--max-upload", default="20M", show_default=True, metavar="SIZE", callback=size_in_bytes, help="Largest upload: 5M, 500k.")
@click.option("--max-pixels", default="25M", show_default=True, metavar="N", callback=size_in_bytes, help="Largest picture: 12M, 40M.")
@threads
def command(
    bundle: Path, host: str, port: int, names: tuple[str, ...], tls: bool, queue: int, max_upload: int, max_pixels: int, threads: int
) -> None:
    """Answer images over HTTP with BUNDLE: POST /v1/predictions; see /openapi.json, /v1/model, /healthz and /metrics.

    The bundle is verified and its golden vectors are replayed before the port opens. Ctrl-C finishes what is in hand and stops.
    Research use only; a clinician must review every image.
    """
    from clinquant.edge.serve.limits import Limits
    from clinquant.edge.serve.serve import Settings, serve

    limits = Limits(upload_bytes=max_upload, pixels=max_pixels, queue=queue)
    serve(
        bundle,
        Settings(host=host, port=port, names=names, tls=tls, threads=threads, limits=limits),
        say=lambda line: click.echo(line, err=True),
    )

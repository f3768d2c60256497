"""The two pages that the server itself has for people: what it is, and how a tablet comes to trust it."""

from __future__ import annotations

from html import escape
from pathlib import Path

from clinquant.edge.serve.prediction import Model

PAGE_POLICY = "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
"""For these pages: no script, nothing fetched."""

SITE_POLICY = (
    "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; worker-src 'self'; connect-src 'self'; img-src 'self' blob: data:; "
    "media-src 'self' blob: mediastream:; style-src 'self'; font-src 'self'; manifest-src 'self'; "
    "frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
)
"""For the tablet app: its own files, WebAssembly, and pictures that are in memory; no other origin."""

STYLE = """
:root{color-scheme:light dark}body{font:1rem/1.5 system-ui,sans-serif;max-width:44rem;margin:2rem auto;padding:0 1rem}
pre,code{font-family:ui-monospace,monospace;overflow-wrap:anywhere;white-space:pre-wrap}pre{padding:.75rem;border:1px solid}
"""


def front_page(model: Model) -> str:
    """What a browser shows at `/` when the tablet app is not part of this installation."""
    card = model.card
    return _html(
        "clinquant",
        f"""<h1>clinquant</h1>
<p><strong>{escape(card.limits)}</strong></p>
<p>This server answers images over HTTP. The tablet app is not part of this installation, so there is nothing to click on here.</p>
<p>Model: {escape(card.architecture)}, {escape(card.bits)}; classes: {escape(", ".join(card.classes))}. {escape(model.evidence.summary)}</p>
<pre>curl --data-binary @image.png -H 'Content-Type: image/png' HERE/v1/predictions</pre>
<p>Everything it answers: <a href="/openapi.json">/openapi.json</a>, <a href="/v1/model">/v1/model</a>, <a href="/healthz">/healthz</a>,
<a href="/metrics">/metrics</a>.</p>
<p>Model sha256: <code>{model.model_sha256}</code></p>""",
    )


def trust_page(authority: Path) -> str:
    """How to trust the local authority on a tablet."""
    raise NotImplementedError


def _html(title: str, body: str) -> str:
    head = f'<meta charset="utf-8"><meta name="viewport" content="width=device-width,initial-scale=1"><title>{escape(title)}</title>'
    return f'<!doctype html>\n<html lang="en"><head>{head}<style>{STYLE}</style></head>\n<body>{body}</body></html>\n'

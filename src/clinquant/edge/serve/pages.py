"""The two pages that the server itself has for people: what it is, and how a tablet comes to trust it."""

from __future__ import annotations

from html import escape

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


TRUST = {
    "Android": (
        "Open this page in Chrome; past the warning by Advanced, Proceed. Download ca.crt.",
        "Settings, Security and privacy, More security settings, Encryption and credentials, Install a certificate, CA certificate.",
        "Install anyway, and choose ca.crt.",
        "The names of these menus differ a little between makers: search the settings for \u201cCA certificate\u201d.",
    ),
    "iPadOS": (
        "Open this page in Safari; past the warning by Show Details, visit this website. Tap the download, and Allow.",
        "Settings, General, VPN and Device Management, the downloaded profile, Install.",
        "Settings, General, About, Certificate Trust Settings: switch full trust on for this authority.",
    ),
    "Windows": (
        "Download ca.crt and open it. Install Certificate, Current User.",
        "Place all certificates in the following store: Trusted Root Certification Authorities. Finish.",
        "Firefox has a list of its own: Settings, Privacy and Security, View Certificates, Authorities, Import.",
    ),
}
"""What to do on each system."""


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


def trust_page(fingerprint: str) -> str:
    """How a tablet or PC comes to trust the local authority, with the fingerprint to compare."""
    steps = "".join(
        f"<h2>{escape(system)}</h2><ol>{''.join(f'<li>{escape(step)}</li>' for step in found)}</ol>" for system, found in TRUST.items()
    )
    return _html(
        "Trust this server",
        f"""<h1>Trust this server</h1>
<p>The app installs, opens the camera and works offline only where the browser trusts the server. This machine signs for itself,
so each tablet must be told once, by hand.</p>
<p><a href="/ca.crt">Download the certificate of its authority (ca.crt)</a></p>
<p>Before you install it, compare this SHA-256 fingerprint with the one that the server printed when it was started, and with the one
that the tablet shows. Do not install it where they differ.</p>
<pre>{escape(fingerprint)}</pre>
<p>The authority can sign for private addresses, local names and this machine only, so it cannot stand in for any site of the internet.</p>
{steps}
<p>Then close this page, and open the server's address again: the warning is gone.</p>""",
    )


def _html(title: str, body: str) -> str:
    head = f'<meta charset="utf-8"><meta name="viewport" content="width=device-width,initial-scale=1"><title>{escape(title)}</title>'
    return f'<!doctype html>\n<html lang="en"><head>{head}<style>{STYLE}</style></head>\n<body>{body}</body></html>\n'

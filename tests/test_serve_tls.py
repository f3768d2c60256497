"""HTTPS by the machine's own authority: trusted where it is installed, for this machine only, with keys that nobody else can read."""

from __future__ import annotations

import json
import os
import shutil
import socket
import ssl
import subprocess
import threading
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from http.client import HTTPSConnection
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization

from clinquant.core.errors import ClinquantError
from clinquant.edge.serve import authority
from clinquant.edge.serve.authority import identity
from serving import Served, serving
from tiny_bundle import write_bundle


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A settings folder of these tests alone."""
    folder = tmp_path_factory.mktemp("config")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CLINQUANT_CONFIG", str(folder))
        yield folder


@pytest.fixture(scope="module")
def served(config: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with serving(write_bundle(tmp_path_factory.mktemp("tls")).path, "--host", "0.0.0.0", "--tls") as found:
        yield found


def ask(served: Served, host: str, path: str, context: ssl.SSLContext) -> bytes:
    connection = HTTPSConnection(host, served.port, context=context, timeout=20)
    connection.request("GET", path)
    return connection.getresponse().read()


def test_who_trusts_the_authority_trusts_the_server(served: Served, config: Path) -> None:
    trusting = ssl.create_default_context(cafile=str(config / "tls" / "ca.crt"))
    for host in ("localhost", "127.0.0.1"):
        assert json.loads(ask(served, host, "/healthz", trusting))["status"] == "ok"
    with pytest.raises(ssl.SSLCertVerificationError):
        ask(served, "localhost", "/healthz", ssl.create_default_context())


def test_the_authority_is_offered_with_its_fingerprint(served: Served, config: Path) -> None:
    unsure = ssl._create_unverified_context()
    assert ask(served, "localhost", "/ca.crt", unsure) == (config / "tls" / "ca.crt").read_bytes()
    digest = x509.load_pem_x509_certificate((config / "tls" / "ca.crt").read_bytes()).fingerprint(hashes.SHA256()).hex(":").upper()
    page = ask(served, "localhost", "/trust", unsure).decode()
    assert all(word in page for word in (digest, "Android", "iPadOS", "Windows"))
    said = "\n".join(served.said)
    assert digest in said and "/trust" in said and "warning: plain http" not in said


def test_only_the_user_may_read_the_keys(served: Served, config: Path) -> None:
    assert {path.name: path.stat().st_mode & 0o777 for path in (config / "tls").glob("*.key")} == {"ca.key": 0o600, "server.key": 0o600}
    assert (config / "tls").stat().st_mode & 0o777 == 0o700


@pytest.mark.skipif(not (shutil.which("chromium") and shutil.which("certutil")), reason="Chromium or certutil is not installed")
def test_chromium_trusts_it_once_it_is_told(served: Served, config: Path, tmp_path: Path) -> None:
    def shows_health() -> bool:
        command = ["chromium", "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path / 'profile'}", "--dump-dom"]
        url = f"https://localhost:{served.port}/healthz"
        done = subprocess.run([*command, url], env={**os.environ, "HOME": str(tmp_path)}, capture_output=True, text=True, timeout=90)
        return "model_sha256" in done.stdout

    store = tmp_path / ".pki" / "nssdb"
    store.mkdir(parents=True)
    subprocess.run(["certutil", "-d", f"sql:{store}", "-N", "--empty-password"], check=True)
    assert not shows_health()
    subprocess.run(["certutil", "-d", f"sql:{store}", "-A", "-t", "C,,", "-n", "clinic", "-i", str(config / "tls" / "ca.crt")], check=True)
    assert shows_health()


def handshake(chain: Path, key: Path, trusted: Path, name: str) -> None:
    """A TLS handshake between two ends of this process; raises what the client raises."""
    server_side, client_side = socket.socketpair()
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(chain, key)

    def accept() -> None:
        with suppress(ssl.SSLError, OSError), server.wrap_socket(server_side, server_side=True):
            pass

    thread = threading.Thread(target=accept)
    thread.start()
    try:
        with ssl.create_default_context(cafile=str(trusted)).wrap_socket(client_side, server_hostname=name):
            pass
    finally:
        client_side.close()
        thread.join()


def test_the_authority_cannot_stand_in_for_a_site_of_the_internet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A thief of its key signs for a bank: the control is that the same hand's work for this network is believed."""
    found = identity(("localhost",), folder=tmp_path)
    certificate = x509.load_pem_x509_certificate(found.authority.read_bytes())
    key = serialization.load_pem_private_key((tmp_path / "ca.key").read_bytes(), None)
    for name, believed in (("ward.local", True), ("bank.example", False), ("192.168.7.7", True), ("8.8.8.8", False)):
        authority._sign(tmp_path, certificate, key, [name])  # type: ignore[arg-type]
        if believed:
            handshake(found.chain, found.key, found.authority, name)
        else:
            with pytest.raises(ssl.SSLCertVerificationError, match="permitted subtree"):
                handshake(found.chain, found.key, found.authority, name)


def test_it_is_kept_and_made_anew_only_where_it_must(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def files() -> tuple[bytes, bytes]:
        return (tmp_path / "ca.crt").read_bytes(), (tmp_path / "server.crt").read_bytes()

    identity(("localhost",), folder=tmp_path)
    authority_first, server_first = files()
    identity(("localhost",), folder=tmp_path)
    assert files() == (authority_first, server_first)
    identity(("localhost", "ward.local"), folder=tmp_path)
    authority_second, server_second = files()
    assert authority_second == authority_first and server_second != server_first
    handshake(tmp_path / "server.crt", tmp_path / "server.key", tmp_path / "ca.crt", "ward.local")
    monkeypatch.setattr(authority, "_days_left", lambda found: (found.not_valid_after_utc - datetime.now(UTC) - timedelta(days=380)).days)
    identity(("localhost", "ward.local"), folder=tmp_path)
    assert files()[0] == authority_first and files()[1] != server_second, "17 days left: the server's is renewed, the authority is not"


def test_a_name_that_it_may_not_sign_for_is_refused(tmp_path: Path) -> None:
    identity(("localhost",), folder=tmp_path)
    with pytest.raises(ClinquantError) as caught:
        identity(("www.example.org",), folder=tmp_path)
    assert caught.value.code == "tls-name"
    assert identity(("localhost",), also=("www.example.org", "10.1.2.3"), folder=tmp_path).names == ("localhost", "10.1.2.3")


@pytest.mark.parametrize("what", ["damaged", "lost", "another's"])
def test_a_key_that_is_not_the_authoritys_is_named(tmp_path: Path, what: str) -> None:
    """Not replaced unseen: tablets trust the certificate that stands."""
    identity(("localhost",), folder=tmp_path)
    key, trusted = tmp_path / "ca.key", (tmp_path / "ca.crt").read_bytes()
    if what == "lost":
        key.unlink()
    else:
        key.write_bytes(b"no key" if what == "damaged" else (tmp_path / "server.key").read_bytes())
    with pytest.raises(ClinquantError) as caught:
        identity(("localhost",), folder=tmp_path)
    assert caught.value.code == "tls-broken" and "ca.key" in caught.value.message and (tmp_path / "ca.crt").read_bytes() == trusted

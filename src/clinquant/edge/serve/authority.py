"""A certificate authority of this machine alone, and the server's certificate that it signs: HTTPS on a network without a public name.

A tablet that trusts the authority would believe whatever it signs. So its certificate is constrained (RFC 5280, 4.2.1.10) to private
addresses, local names and what this machine was called when it was made: who stole its key could not pass for any other site. Keys are
readable by the user alone (0600).
"""

from __future__ import annotations

import ipaddress
import os
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import platformdirs
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from clinquant.core.artifact import writing_to
from clinquant.core.errors import ClinquantError, Exit

AUTHORITY_DAYS = 3650
SERVER_DAYS = 397
"""Browsers and tablets refuse certificates that last much longer than a year."""

RENEW_DAYS = 30
"""A certificate with fewer days left is made anew."""

PRIVATE_NETWORKS = (
    *("127.0.0.0/8", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "169.254.0.0/16", "100.64.0.0/10"),
    *("::1/128", "fc00::/7", "fe80::/10"),
)
"""Addresses that mean something on a local network only (RFC 1918, 3927, 4193, 4291, 6598)."""

LOCAL_SUFFIXES = ("localhost", "local", "lan", "home.arpa", "internal")
"""Endings of names that no public name server answers (RFC 6761, 6762, 8375)."""

Key = ec.EllipticCurvePrivateKey


@dataclass(frozen=True, kw_only=True)
class Identity:
    """Files of a server's identity.

    Attributes:
        authority: certificate to be trusted, PEM.
        chain: the server's certificate and the authority's, PEM.
        key: of the server, PEM, 0600.
        names: host names and addresses that the certificate holds.
        fingerprint: SHA-256 of the authority's certificate, as systems show it.
    """

    authority: Path
    chain: Path
    key: Path
    names: tuple[str, ...]
    fingerprint: str


def tls_folder() -> Path:
    """Where keys and certificates are kept: under `CLINQUANT_CONFIG`, or the system's place for a user's settings."""
    root = os.environ.get("CLINQUANT_CONFIG") or platformdirs.user_config_dir("clinquant", appauthor=False)
    return Path(root) / "tls"


def identity(names: Sequence[str], *, also: Sequence[str] = (), folder: Path | None = None) -> Identity:
    """The server's identity for host names and addresses; made on first use and used again as long as it holds.

    The authority is kept, so that tablets need to trust it once; the server's certificate is made anew when it nears its end or lacks
    a name.

    Args:
        names: must be in the certificate.
        also: are in it where the authority may sign for them.
        folder: where the files are kept; default `tls_folder()`.

    Raises:
        ClinquantError: `tls-name` when the authority may not sign for a name, `tls-broken` when the kept files are not readable keys.
    """
    folder = folder or tls_folder()
    with writing_to(folder):
        folder.mkdir(parents=True, exist_ok=True)
        folder.chmod(0o700)
    authority, key = _authority(folder, (*names, *also))
    for name in names:
        if not _permitted(authority, name):
            raise _name_refused(name, folder)
    names = tuple(dict.fromkeys((*names, *(name for name in also if _permitted(authority, name)))))
    if not _holds(folder, authority, names):
        _sign(folder, authority, key, names)
    digest = authority.fingerprint(hashes.SHA256()).hex(":").upper()
    return Identity(authority=folder / "ca.crt", chain=folder / "server.crt", key=folder / "server.key", names=names, fingerprint=digest)


def _authority(folder: Path, names: Sequence[str]) -> tuple[x509.Certificate, Key]:
    """What stands, or a new one; a certificate whose key is lost or another's is not replaced unseen, because tablets trust it."""
    certificate, key = folder / "ca.crt", folder / "ca.key"
    if not certificate.exists():
        return _new_authority(folder, names)
    found = _read_certificate(certificate)
    if _days_left(found) < RENEW_DAYS:
        return _new_authority(folder, names)
    if not key.exists() or (held := _read_key(key)).public_key() != found.public_key():
        raise _broken(key)
    return found, held


def _new_authority(folder: Path, names: Sequence[str]) -> tuple[x509.Certificate, Key]:
    key = ec.generate_private_key(ec.SECP256R1())
    own = [name for name in names if not _is_address(name) and not name.endswith(tuple(f".{suffix}" for suffix in LOCAL_SUFFIXES))]
    permitted: list[x509.GeneralName] = [x509.DNSName(name) for name in dict.fromkeys((*LOCAL_SUFFIXES, *own))]
    networks = [ipaddress.ip_network(network) for network in (*PRIVATE_NETWORKS, *filter(_is_address, names))]
    permitted += [x509.IPAddress(network) for network in dict.fromkeys(networks)]
    made = datetime.now(UTC)
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"clinquant on {(own or ['this network'])[0][:40]}, {made:%Y-%m-%d}")])
    certificate = (
        _started(subject, subject, key, AUTHORITY_DAYS)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(x509.KeyUsage(*_usage(signing_certificates=True)), critical=True)
        .add_extension(x509.NameConstraints(permitted_subtrees=permitted, excluded_subtrees=None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    _write(folder / "ca.key", _pem_key(key), secret=True)
    _write(folder / "ca.crt", certificate.public_bytes(serialization.Encoding.PEM))
    return certificate, key


def _sign(folder: Path, authority: x509.Certificate, authority_key: Key, names: Sequence[str]) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "clinquant serve")])
    certificate = (
        _started(subject, authority.subject, key, SERVER_DAYS)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.KeyUsage(*_usage(signing_certificates=False)), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectAlternativeName(_general_names(names)), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(authority_key.public_key()), critical=False)
        .sign(authority_key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    _write(folder / "server.key", _pem_key(key), secret=True)
    _write(folder / "server.crt", certificate.public_bytes(pem) + authority.public_bytes(pem))


def _started(subject: x509.Name, issuer: x509.Name, key: Key, days: int) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=days))
    )


def _usage(*, signing_certificates: bool) -> tuple[bool, ...]:
    """The nine usages in the order of x509.KeyUsage: a server signs handshakes, an authority certificates and nothing else."""
    signature = not signing_certificates
    return (signature, False, False, False, False, signing_certificates, signing_certificates, False, False)


def _holds(folder: Path, authority: x509.Certificate, names: Sequence[str]) -> bool:
    """Whether the kept certificate is this authority's, lasts long enough and has every name."""
    if not (folder / "server.crt").exists() or not (folder / "server.key").exists():
        return False
    found = _read_certificate(folder / "server.crt")
    try:
        found.verify_directly_issued_by(authority)
    except Exception:  # an invalid signature has an exception of its own; any reason will do
        return False
    same_key = found.public_key() == _read_key(folder / "server.key").public_key()
    has = found.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    return same_key and _days_left(found) >= RENEW_DAYS and set(_general_names(names)) <= set(has)


def _permitted(authority: x509.Certificate, name: str) -> bool:
    """Whether the authority's constraints let it sign for a name or an address."""
    subtrees = authority.extensions.get_extension_for_class(x509.NameConstraints).value.permitted_subtrees or []
    if _is_address(name):
        networks = [ipaddress.ip_network(str(subtree.value)) for subtree in subtrees if isinstance(subtree, x509.IPAddress)]
        return any(ipaddress.ip_address(name) in network for network in networks)
    suffixes = [subtree.value for subtree in subtrees if isinstance(subtree, x509.DNSName)]
    return any(name == suffix or name.endswith(f".{suffix}") for suffix in suffixes)


def _name_refused(name: str, folder: Path) -> ClinquantError:
    return ClinquantError(
        "tls-name",
        f"the local authority may not sign for {name}: it is kept to private addresses and the names it was made for.",
        fix=f"serve on a private address or another --name; or remove {folder}, and let every tablet trust the new authority.",
    )


def _general_names(names: Iterable[str]) -> list[x509.GeneralName]:
    return [x509.IPAddress(ipaddress.ip_address(name)) if _is_address(name) else x509.DNSName(name) for name in dict.fromkeys(names)]


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _days_left(certificate: x509.Certificate) -> float:
    return (certificate.not_valid_after_utc - datetime.now(UTC)) / timedelta(days=1)


def _read_certificate(path: Path) -> x509.Certificate:
    try:
        return x509.load_pem_x509_certificate(path.read_bytes())
    except (OSError, ValueError) as error:
        raise _broken(path) from error


def _read_key(path: Path) -> Key:
    try:
        key = serialization.load_pem_private_key(path.read_bytes(), password=None)
    except (OSError, ValueError, TypeError) as error:
        raise _broken(path) from error
    if not isinstance(key, Key):
        raise _broken(path)
    path.chmod(0o600)
    return key


def _pem_key(key: Key) -> bytes:
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())


def _write(path: Path, data: bytes, *, secret: bool = False) -> None:
    """Replaces a file as a whole; a secret one is never readable by others, not even while it is written."""
    with writing_to(path):
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        with os.fdopen(handle, "wb") as file:
            file.write(data)
        os.chmod(temporary, 0o600 if secret else 0o644)
        os.replace(temporary, path)


def _broken(path: Path) -> ClinquantError:
    return ClinquantError(
        "tls-broken",
        f"{path} is not the key or certificate of the local authority.",
        fix=f"remove {path.parent}, and let every tablet trust the authority that is made anew.",
        exit_code=Exit.ENVIRONMENT,
    )

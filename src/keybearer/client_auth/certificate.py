"""The certificate of a TLS client: its thumbprint, its names, and whether an authority of ours vouches for it.

It comes from the connection itself or from a trusted proxy that ended it; both prove that the sender has its key.
Spec: RFC 8705 §2 and §3.1.
"""

from __future__ import annotations

from base64 import urlsafe_b64encode
from collections.abc import Sequence
from datetime import UTC, datetime
from hashlib import sha256
from ipaddress import ip_address
from typing import Final, NamedTuple

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import ExtendedKeyUsageOID
from cryptography.x509.verification import (
    Criticality,
    ExtensionPolicy,
    PolicyBuilder,
    Store,
    VerificationError,
)

from ..core.clients import Client
from ..core.instant import Instant

MAX_LENGTH: Final = 16_384


class Certificate(NamedTuple):
    """A certificate whose key the sender proved to have; who it names, only ``is_vouched_for`` says."""

    der: bytes
    parsed: x509.Certificate

    @property
    def thumbprint(self) -> str:
        """The ``x5t#S256`` of the certificate. Spec: RFC 8705 §3.1."""
        return urlsafe_b64encode(sha256(self.der).digest()).rstrip(b"=").decode()

    @property
    def public_key(self) -> bytes:
        """The subject's public key, in one spelling."""
        return self.parsed.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def load(der: bytes) -> Certificate | None:
    """Return the certificate, or ``None`` when the bytes are none that can be read."""
    if len(der) > MAX_LENGTH:
        return None
    try:
        parsed = x509.load_der_x509_certificate(der)
        parsed.public_key()
    except (ValueError, TypeError, UnsupportedAlgorithm):
        return None
    return Certificate(der, parsed)


def is_in_time(certificate: Certificate, now: Instant) -> bool:
    """Tell whether the certificate is valid at this instant."""
    at = datetime.fromtimestamp(now / 1_000_000, UTC)
    return certificate.parsed.not_valid_before_utc <= at <= certificate.parsed.not_valid_after_utc


def is_vouched_for(certificate: Certificate, authorities: Sequence[x509.Certificate], now: Instant) -> bool:
    """Tell whether one of these certificate authorities issued it, directly, and it is valid now. Nobody vouches for
    anything where no authority is configured."""
    if not authorities:
        return False
    lenient = ExtensionPolicy.permit_all()  # client certificates often have no alternative name
    policy = lenient.may_be_present(x509.ExtendedKeyUsage, Criticality.AGNOSTIC, _is_for_clients)
    verifier = (
        PolicyBuilder()
        .store(Store(list(authorities)))
        .time(datetime.fromtimestamp(now // 1_000_000, UTC).replace(tzinfo=None))
        .extension_policies(ca_policy=ExtensionPolicy.webpki_defaults_ca(), ee_policy=policy)
        .build_client_verifier()
    )
    try:
        verifier.verify(certificate.parsed, [])
    except VerificationError:
        return False
    return True


def _is_for_clients(policy: object, certificate: x509.Certificate, usage: x509.ExtendedKeyUsage | None) -> None:
    if usage is not None and ExtendedKeyUsageOID.CLIENT_AUTH not in usage:
        raise ValueError("not for TLS clients")


def names_client(certificate: Certificate, client: Client) -> bool:
    """Tell whether the certificate has the one name that the client registered. Spec: RFC 8705 §2.1.2."""
    registered = [
        (client.tls_client_auth_subject_dn, _subjects),
        (client.tls_client_auth_san_dns, _dns_names),
        (client.tls_client_auth_san_uri, _uris),
        (client.tls_client_auth_san_ip, _addresses),
        (client.tls_client_auth_san_email, _emails),
    ]
    chosen = [(value, names) for value, names in registered if value]
    if len(chosen) != 1:
        return False
    value, names = chosen[0]
    if names is _addresses:
        try:
            value = str(ip_address(value))
        except ValueError:
            return False
    elif names is _dns_names:
        value = value.lower()
    elif names is _subjects:
        try:
            return x509.Name.from_rfc4514_string(value) == certificate.parsed.subject
        except ValueError:
            return False
    return value in names(certificate.parsed)


def _alternatives(parsed: x509.Certificate) -> x509.SubjectAlternativeName | None:
    try:
        return parsed.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (x509.ExtensionNotFound, ValueError):
        return None


def _subjects(parsed: x509.Certificate) -> list[str]:
    return [parsed.subject.rfc4514_string()]


def _dns_names(parsed: x509.Certificate) -> list[str]:
    names = _alternatives(parsed)
    return [] if names is None else [name.lower() for name in names.get_values_for_type(x509.DNSName)]


def _uris(parsed: x509.Certificate) -> list[str]:
    names = _alternatives(parsed)
    return [] if names is None else names.get_values_for_type(x509.UniformResourceIdentifier)


def _addresses(parsed: x509.Certificate) -> list[str]:
    names = _alternatives(parsed)
    return [] if names is None else [str(address) for address in names.get_values_for_type(x509.IPAddress)]


def _emails(parsed: x509.Certificate) -> list[str]:
    names = _alternatives(parsed)
    return [] if names is None else names.get_values_for_type(x509.RFC822Name)

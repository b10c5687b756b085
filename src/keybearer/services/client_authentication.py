"""Who asks at an endpoint of OAuth: the client that proved itself, with throttled failures.

Spec: RFC 6749 §2.3, SECURITY-BAR 21.
"""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path
from typing import Final

from cryptography import x509

from .. import client_auth
from ..client_auth import Means, Presented
from ..core.clients import Client, is_document_id
from ..core.errors import ConfigurationError
from ..core.form import Form
from ..core.oauth_error import InvalidClient, TooManyRequests
from ..core.secret import Secret
from ..formats.assertion import claimed_client
from ..ports import Throttle
from . import client_documents
from .authority import Authority, Caller
from .clients import SEAL_PURPOSE
from .key_sets import KeySets
from .known_clients import KnownClient, KnownClients
from .metadata import ENDPOINTS, endpoint
from .sealing import open_sealed

Address = IPv4Address | IPv6Address

TOO_MANY: Final = "Too many failed requests from this address; wait a little."


@dataclass(frozen=True, slots=True)
class OAuthRequest:
    """One request at an endpoint of OAuth: what the client presents, and from where. ``proofs`` are DPoP headers."""

    presented: Presented
    source: Address | None = None
    request_id: str | None = None
    proofs: tuple[str, ...] = ()
    bearer: Secret | None = None
    accepts_jwt: bool = False

    @property
    def form(self) -> Form:
        """The parameters."""
        return self.presented.form

    def caller(self, client: Client) -> Caller:
        """Return the client as the logs name it."""
        return Caller(
            actor=client.id,
            permissions=frozenset(),
            project_id=client.project_id,
            source=None if self.source is None else str(self.source),
            request_id=self.request_id,
        )


class ClientAuthentication:
    """Authenticates clients; one object serves a process."""

    def __init__(self, authority: Authority, throttle: Throttle, key_sets: KeySets) -> None:
        self._authority = authority
        self._throttle = throttle
        self._key_sets = key_sets
        self._known = KnownClients(authority)
        settings = authority.settings
        self.audiences = frozenset({settings.issuer_url})
        """What an assertion of the JWT bearer grant may be for."""
        more = {endpoint(settings, ENDPOINTS["token_endpoint"])} if settings.assertion_audience != "issuer" else set()
        self._client_audiences = self.audiences | more
        self._authorities = load_authorities(authority.settings.client_ca)

    async def client_of(self, request: OAuthRequest) -> KnownClient:
        """Return the client that proved itself; raises ``InvalidClient``, ``TooManyRequests``."""
        self.slow_down(request)
        authority = self._authority
        presented = request.presented
        named = presented.form.get("client_id") or (presented.assertion and claimed_client(presented.assertion))
        if is_document_id(named):
            await client_documents.resolve(authority, named, str(request.source or ""))
        found: list[KnownClient] = []

        async def find_client(client_id: str) -> Client | None:
            known = await self._known.find(client_id)
            if known is None:
                return None
            found.append(known)
            return known.client

        means = Means(
            keyring=authority.keyring,
            store=authority.store,
            now=authority.clock.now(),
            audiences=self._client_audiences,
            find_client=find_client,
            keys_of=self._key_sets.of_client,
            open_secret=self._open_secret,
            authorities=self._authorities,
        )
        try:
            await client_auth.authenticate(request.presented, means)
        except InvalidClient:
            self.failed(request)
            raise
        return found[-1]

    def client_now(self, request: OAuthRequest) -> KnownClient | None:
        """Return the client that proved itself by its secret at once.

        ``None``, ``OAuthError`` and ``NotReady`` say that ``client_of`` has to look; nothing was counted then.
        """
        self.slow_down(request)
        known: KnownClient | None = None

        def find_client(record_id: str) -> Client | None:
            nonlocal known
            known = self._known.find_now(record_id)
            return None if known is None else known.client

        authority = self._authority
        now = authority.clock.now()
        found = client_auth.authenticate_now(request.presented, find_client, authority.keyring, now)
        return None if found is None else known

    def _open_secret(self, client: Client, sealed: bytes) -> str:
        return open_sealed(self._authority.keyring, SEAL_PURPOSE, sealed, client.id.encode()).decode()

    def slow_down(self, request: OAuthRequest) -> None:
        """Raise ``TooManyRequests`` for an address that failed too often."""
        if request.source is not None:
            retry_in = self._throttle.retry_in(request.source)
            if retry_in:
                raise TooManyRequests(TOO_MANY, retry_in)

    def failed(self, request: OAuthRequest) -> None:
        """Count a bad credential of the request's address."""
        self.failed_from(request.source)

    def failed_from(self, source: Address | None) -> None:
        """Count a bad credential of an address."""
        if source is not None:
            self._throttle.failed(source)


def load_authorities(path: str) -> tuple[x509.Certificate, ...]:
    """Return the certificate authorities whose word about TLS clients counts; nobody's without a file.

    Raises ``ConfigurationError``.
    """
    if not path:
        return ()
    try:
        return tuple(x509.load_pem_x509_certificates(Path(path).read_bytes()))
    except (OSError, ValueError) as error:
        raise ConfigurationError(f"KEYBEARER_CLIENT_CA: {path} cannot be read as PEM certificates: {error}.") from error

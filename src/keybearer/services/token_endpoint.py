"""The token endpoint: who asks, with which proof, by which grant; then the grant decides and the desk issues.

Spec: RFC 6749 §3.2, RFC 8705 §3, RFC 9449 §5, DESIGN §7.
"""

from __future__ import annotations

from typing import Any, Final

from ..core.clients import Client, GrantType
from ..core.instant import MINUTE
from ..core.oauth_error import (
    InvalidDpopProof,
    InvalidGrant,
    InvalidRequest,
    TooManyRequests,
    UnauthorizedClient,
    UnsupportedGrantType,
)
from ..core.records import RateLimit, Take, bind_limits
from ..core.sources import counted_as
from ..grants import GRANTS, TokenRequest
from ..ports import Observer
from ..settings import Settings
from ..verify import Verifier
from . import issue
from .authority import Authority
from .client_authentication import Address, ClientAuthentication, OAuthRequest
from .dpop import check_proof
from .key_sets import KeySets
from .providers import Providers
from .token_desk import TokenDesk

PATH: Final = "/oauth/token"
TOO_OFTEN: Final = "This client asks for tokens too often; keep and reuse them."
_BY_TYPE: Final = {grant.grant_type.value: grant for grant in GRANTS}


class TokenEndpoint:
    """Answers token requests; one object serves a process."""

    def __init__(
        self, authority: Authority, verifier: Verifier, authentication: ClientAuthentication, key_sets: KeySets
    ) -> None:
        self._authority = authority
        self._authentication = authentication
        self._verifier = verifier
        self._providers = Providers(authority, key_sets)
        self._observer: Observer = verifier.engines.observer
        self._tag_key = authority.keyring.derived(issue.TAG_PURPOSE)
        self.url = authority.settings.issuer_url.rstrip("/") + PATH

    async def answer(self, request: OAuthRequest) -> dict[str, Any]:
        """Return the members of the answer; raises ``OAuthError``, and ``Unavailable`` when nothing was issued."""
        authority, form = self._authority, request.form
        client, project, apis = await self._authentication.client_of(request)
        await self._slow_down(client, request.source)
        grant_type = form.need("grant_type")
        grant = _BY_TYPE.get(grant_type)
        if grant is None:
            raise UnsupportedGrantType(f"grant_type must be one of {', '.join(_BY_TYPE)}.")
        if grant.grant_type not in client.grant_types:
            raise UnauthorizedClient(f"This client may not use the grant {grant_type}.")
        token_request = TokenRequest(
            client=client,
            project=project,
            apis=apis,
            form=form,
            now=authority.clock.now(),
            key_thumbprint=await self._key_of(request, client),
            certificate_thumbprint=_certificate_of(request, client),
            source=request.source,
        )
        desk = TokenDesk(
            authority,
            self._verifier,
            self._providers,
            self._authentication.audiences,
            request.caller(client),
            GrantType(grant_type),
            self._tag_key,
        )
        try:
            issued = await grant.redeem(token_request, desk)
        except InvalidGrant:
            self._authentication.failed(request)
            raise
        self._observer.issued(project.id, client.id, issued.token.api_id or "", token_request.now)
        return await issue.answer(authority, issued, authority.clock.now())

    async def _slow_down(self, client: Client, source: Address | None) -> None:
        takes = takes_of(self._authority.settings, client, source)
        if takes:
            taken = await self._verifier.engines.limiter.take(takes)
            if not taken.admitted:
                raise TooManyRequests(TOO_OFTEN, taken.retry_in)

    async def _key_of(self, request: OAuthRequest, client: Client) -> str:
        """Return the thumbprint of the key that the request proves, empty without a proof. Spec: RFC 9449 §5."""
        if len(request.proofs) > 1:
            raise InvalidDpopProof("There is more than one DPoP header.")
        if not request.proofs:
            if client.dpop_bound_access_tokens:
                raise InvalidRequest("This client's tokens are bound to a key: send a DPoP proof.")
            return ""
        return await check_proof(
            self._authority,
            request.proofs[0],
            method="POST",
            url=self.url,
            needs_nonce=self._authority.settings.dpop_nonces,
        )


def takes_of(settings: Settings, client: Client, source: Address | None) -> list[Take]:
    """Return what one token request of a client takes.

    Anybody can say that they are a public client: each address then has a budget of its own, or strangers could use it
    up for everybody.
    """
    per_minute = settings.token_requests_per_minute
    if not per_minute:
        return []
    limit = RateLimit("token-requests", per_minute, MINUTE, per_minute)
    owner = f"oauth:{client.id}/{counted_as(str(source))}" if client.is_public else f"oauth:{client.id}"
    return [Take(bound, 1) for bound in bind_limits(owner, (limit,))]


def _certificate_of(request: OAuthRequest, client: Client) -> str:
    """Return the thumbprint of the certificate that tokens are bound to, empty where they are not."""
    if not client.tls_client_certificate_bound_access_tokens:
        return ""
    certificate = request.presented.certificate
    if certificate is None:
        raise InvalidRequest("This client's tokens are bound to its certificate: connect with it.")
    return certificate.thumbprint

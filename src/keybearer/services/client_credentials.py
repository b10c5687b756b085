"""Client credentials at once: what ``token_endpoint.py`` does for them, where nothing has to be waited for.

A leave is what a request entitles its client to. It is the same for the same request until an event comes or a secret
of the client ends, and may be used as often as the request comes. Spec: RFC 6749 §4.4.
"""

from __future__ import annotations

from functools import partial
from ipaddress import IPv4Address, IPv6Address
from typing import Any, NamedTuple

from ..client_auth.client_secret import living
from ..core.clients import GrantType
from ..core.instant import Instant
from ..core.oauth_error import InvalidGrant, TooManyRequests
from ..grants import Entitlement, Issued, TokenRequest
from ..grants.client_credentials import GRANT
from ..ports import NotReady, Observer
from ..verify import Verifier
from . import issue
from .authority import SYSTEM, Authority
from .client_authentication import ClientAuthentication, OAuthRequest
from .token_endpoint import TOO_OFTEN, takes_of


class Leave(NamedTuple):
    """What may be issued, to whom, and when the client's secret may have ended."""

    entitlement: Entitlement
    source: IPv4Address | IPv6Address | None
    until: Instant | None


class ClientCredentialsAtOnce:
    """Issues tokens to clients that act for themselves; one object serves a process."""

    def __init__(self, authority: Authority, verifier: Verifier, authentication: ClientAuthentication) -> None:
        self._authority = authority
        self._authentication = authentication
        self._immediate = verifier.engines.immediate
        self._observer: Observer = verifier.engines.observer
        self._tag_key = authority.keyring.derived(issue.TAG_PURPOSE)

    def leave_now(self, request: OAuthRequest) -> Leave | None:
        """Return what a request entitles to.

        ``None``, ``OAuthError`` and ``NotReady`` leave it to the token endpoint; nothing was counted or taken then.
        """
        if request.proofs or request.form.get("grant_type") != GrantType.CLIENT_CREDENTIALS.value:
            return None
        known = self._authentication.client_now(request)
        if known is None or GrantType.CLIENT_CREDENTIALS not in known.client.grant_types:
            return None
        client = known.client
        if client.dpop_bound_access_tokens or client.tls_client_certificate_bound_access_tokens:
            return None
        now = self._authority.clock.now()
        entitlement = GRANT.entitled(
            TokenRequest(
                client=client, project=known.project, apis=known.apis, form=request.form, now=now, source=request.source
            )
        )
        ends = [secret.expires_at for secret in living(client, now) if secret.expires_at is not None]
        return Leave(entitlement, request.source, min(ends, default=None))

    def draft(self, leave: Leave) -> Issued:
        """Make the token; raises ``OAuthError``, also when the client asks too often, and ``NotReady``."""
        client = leave.entitlement.client
        takes = takes_of(self._authority.settings, client, None)
        if takes:
            if self._immediate is None:
                raise NotReady
            taken = self._immediate.take_now(takes)
            if not taken.admitted:
                raise TooManyRequests(TOO_OFTEN, taken.retry_in)
        try:
            return issue.draft(self._authority, leave.entitlement, self._authority.clock.now(), self._tag_key)
        except InvalidGrant:
            self._authentication.failed_from(leave.source)
            raise

    def answer_now(self, issued: Issued) -> dict[str, Any]:
        """Return the members of the answer with a JWT; raises ``NotReady``."""
        said = issue.answer_now(self._authority, issued, self._authority.clock.now())
        self._count(issued)
        return said

    async def answer(self, issued: Issued) -> dict[str, Any]:
        """Return the members of the answer when the token is durable; raises ``Unavailable``."""
        if issued.opaque is not None:
            # No entry in the audit log, as in the grant.
            await self._authority.store.transact(partial(issue.keep, issued=issued, caller=SYSTEM, grant_type=None))
        said = await issue.answer(self._authority, issued, self._authority.clock.now())
        self._count(issued)
        return said

    def _count(self, issued: Issued) -> None:
        token = issued.token
        self._observer.issued(token.project_id, token.client_id, token.api_id or "", token.issued_at)

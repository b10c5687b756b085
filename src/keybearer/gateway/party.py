"""The gateway as an OAuth client of its own authority: it asks the same services as any client, without a network.

Spec: OIDC Core §3.1.3.7, RFC 9207, RFC 7009, OIDC Back-Channel Logout §2.6, draft-ietf-oauth-browser-based-apps §6.1.
"""

from __future__ import annotations

import contextlib
import hmac
from collections.abc import Mapping
from ipaddress import IPv4Address, IPv6Address
from typing import TYPE_CHECKING, Any, Final

from ..client_auth import Presented
from ..client_auth.presented import BasicCredentials
from ..core.clients import ClientAuthMethod
from ..core.errors import NotFound, Unavailable
from ..core.form import Form
from ..core.instant import SECOND
from ..core.oauth_error import InvalidGrant
from ..core.routes import Bff
from ..core.sessions import Session
from ..formats.jws import InvalidJws
from ..ports import UnitOfWork
from ..services import id_tokens, sessions
from ..services.authority import Authority, Caller
from ..verify import Verifier
from .secrets import UpstreamSecrets

if TYPE_CHECKING:
    from ..services.client_authentication import ClientAuthentication, OAuthRequest
    from ..services.token_endpoint import TokenEndpoint

Address = IPv4Address | IPv6Address
LOGOUT_TYP: Final = "logout+jwt"
LOGOUT_EVENT: Final = "http://schemas.openid.net/event/backchannel-logout"
CLOCKS_APART: Final = 30


class Party:
    """One client of the authority for each BFF; what they need of JOSE and of the grants is loaded on first use."""

    def __init__(self, authority: Authority, verifier: Verifier, secrets: UpstreamSecrets) -> None:
        self._authority = authority
        self._verifier = verifier
        self._secrets = secrets
        self._made: tuple[ClientAuthentication, TokenEndpoint] | None = None

    async def redeem(self, bff: Bff, parameters: Mapping[str, str], source: Address | None) -> dict[str, Any]:
        """Return what the token endpoint answers; raises ``OAuthError``, ``Unavailable``."""
        _, endpoint = self._services()
        return await endpoint.answer(await self._request(bff, parameters, source))

    async def revoke(self, bff: Bff, token: str, source: Address | None) -> None:
        """Revoke a token, and with a refresh token all that came of it. Raises ``OAuthError``, ``Unavailable``."""
        from ..services import issue, revocation

        authentication, _ = self._services()
        request = await self._request(bff, {"token": token}, source)
        tag_key = self._authority.keyring.derived(issue.TAG_PURPOSE)
        await revocation.revoke(self._authority, authentication, request, tag_key)

    async def id_token_claims(self, bff: Bff, text: str, nonce: str) -> Mapping[str, Any]:
        """Return the claims of the ID token of one sign-in; raises ``InvalidGrant``. Spec: OIDC Core §3.1.3.7."""
        claims = await self._claims(bff, text, id_tokens.TYP)
        if not hmac.compare_digest(str(claims.get("nonce", "")).encode(), nonce.encode()):
            raise InvalidGrant("The ID token is of another sign-in.")
        return claims

    async def end_sign_in(self, session_id: str, source: Address | None) -> None:
        """End the session at the authority that a sign-in came from, and with it all that hangs on it."""
        authority = self._authority

        async def work(uow: UnitOfWork) -> None:
            session = await uow.get(Session, session_id)
            caller = Caller(session.user_id, frozenset(), source=None if source is None else str(source))
            await sessions.end(uow, authority, caller, session)

        with contextlib.suppress(NotFound):  # it ended and was swept meanwhile
            await authority.store.transact(work)

    async def ended_session(self, bff: Bff, logout_token: str) -> tuple[str, str]:
        """Return the session that a logout token is about, and the token's own id; raises ``InvalidGrant``."""
        claims = await self._claims(bff, logout_token, LOGOUT_TYP)
        events, session, token_id = claims.get("events"), claims.get("sid"), claims.get("jti")
        if "nonce" in claims or not isinstance(events, dict) or LOGOUT_EVENT not in events:
            raise InvalidGrant("This is no logout token.")
        if not isinstance(session, str) or not isinstance(token_id, str) or not session or not token_id:
            raise InvalidGrant("The logout token names no session.")
        return session, token_id

    async def _claims(self, bff: Bff, text: str, typ: str) -> Mapping[str, Any]:
        authority = self._authority
        try:
            claims = await authority.signing_keys.verify(text, typ)
        except InvalidJws as error:
            raise InvalidGrant("The token is not one of this authority's.", detail=error.detail) from None
        now, expires = authority.clock.now() // SECOND, claims.get("exp")
        if claims.get("iss") != authority.settings.issuer_url or claims.get("aud") != bff.client_id:
            raise InvalidGrant("The token is for somebody else.")
        if not isinstance(expires, int) or expires + CLOCKS_APART < now:
            raise InvalidGrant("The token is over.")
        return claims

    def _services(self) -> tuple[ClientAuthentication, TokenEndpoint]:
        if self._made is None:
            from ..services.client_authentication import ClientAuthentication
            from ..services.key_sets import KeySets
            from ..services.token_endpoint import TokenEndpoint

            key_sets = KeySets(self._authority)
            authentication = ClientAuthentication(self._authority, self._verifier.engines.throttle, key_sets)
            endpoint = TokenEndpoint(self._authority, self._verifier, authentication, key_sets)
            self._made = (authentication, endpoint)
        return self._made

    async def _request(self, bff: Bff, parameters: Mapping[str, str], source: Address | None) -> OAuthRequest:
        from ..services.client_authentication import OAuthRequest

        form = {**parameters, "client_id": bff.client_id}
        basic = None
        if bff.secret:
            found = await self._authority.records.find_client(bff.client_id)
            if found is None:
                raise Unavailable("Signing in is not ready.", detail=f"there is no client {bff.client_id!r}")
            secret = (await self._secrets.secret(bff.secret)).reveal()
            if found.client.token_endpoint_auth_method is ClientAuthMethod.BASIC:
                basic = BasicCredentials(bff.client_id, secret)
            else:
                form["client_secret"] = secret
        return OAuthRequest(Presented(Form(form, {}), basic), source)

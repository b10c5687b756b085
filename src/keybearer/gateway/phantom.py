"""Phantom tokens: the client's credential ends at the gateway, and the upstream gets a short JWT about who calls.

It is for this upstream alone and names no key that the client proved, since the upstream could not check that proof.
Spec: RFC 9068 §2.2, RFC 8725 §3.9.
"""

from __future__ import annotations

from typing import Any, Final

from ..core.credential import new_id
from ..core.instant import MINUTE, SECOND, Instant
from ..core.principal import Principal
from ..core.records import CredentialRecord
from ..core.remembered import end_of
from ..core.routes import Route
from ..core.tokens import TokenRecord
from ..ports import NotReady
from ..services.authority import Authority

TYP: Final = "at+jwt"
LIFETIME_IN: Final = MINUTE
FRESH_IN: Final = 20 * SECOND
"""A token may be used for requests that come so much later: signing is the dearest part of a small one."""
MAX_KNOWN: Final = 10_000


class PhantomTokens:
    """Signs with the authority's keys; anybody can check the tokens against its JWKS."""

    def __init__(self, authority: Authority) -> None:
        self._authority = authority
        self._known: dict[tuple[str, int, str], tuple[CredentialRecord, Instant, str]] = {}

    async def token(self, route: Route, principal: Principal) -> str:
        """Return a token about a principal for the upstream of a route."""
        now = self._authority.clock.now()
        place = (principal.record.id, principal.version, audience_of(route))
        known = self._known.get(place)
        if known is not None and known[0] is principal.record and 0 <= now - known[1] < FRESH_IN:
            return known[2]
        signing = self._authority.signing_keys
        claims = self._claims(route, principal, now)
        try:
            text = signing.sign_now(claims, typ=TYP)
        except NotReady:
            text = await signing.sign(claims, typ=TYP)
        if len(self._known) >= MAX_KNOWN:
            self._known.clear()
        self._known[place] = (principal.record, now, text)
        return text

    def _claims(self, route: Route, principal: Principal, now: Instant) -> dict[str, Any]:
        record = principal.record
        claims: dict[str, Any] = {
            "iss": self._authority.settings.issuer_url,
            "aud": audience_of(route),
            "iat": now // SECOND,
            # Never longer than what it stands for.
            "exp": min(now + LIFETIME_IN, end_of(record, principal.version) or now + LIFETIME_IN) // SECOND,
            "jti": new_id(now),
            "scope": " ".join(sorted(record.permissions)),
            "project_id": record.project.id,
        }
        if not isinstance(record, TokenRecord):
            return {**claims, "sub": record.id, "client_id": record.id}
        token = record.token
        claims |= {"sub": token.subject, "client_id": record.client.client_id}
        for name, value in (("sid", token.session_id), ("acr", token.acr), ("act", token.actor)):
            if value:
                claims[name] = value
        return claims


def audience_of(route: Route) -> str:
    """Return what a route's upstream is called in tokens: its origin."""
    return f"{route.target.scheme}://{route.target.netloc}"

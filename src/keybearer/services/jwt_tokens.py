"""JWT access tokens of this authority: written for APIs that chose them, and read back strictly. Spec: RFC 9068.

What the authority itself needs and no API does stands in one claim of our own, ``kb``: the ids that the token depends
on. A client with pairwise subjects gets opaque tokens only, since those ids would tell its users apart for everybody.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from ..core import scopes
from ..core.errors import Code, Rejected
from ..core.instant import SECOND, Instant
from ..core.records import Api
from ..core.tokens import TOKEN_ID, AccessToken
from ..formats.jws import InvalidJws
from ..formats.jwt import UnverifiedJwt
from .authority import Authority

TYP: Final = "at+jwt"
_IDS: Final = {
    "c": "client_id",
    "p": "project_id",
    "u": "user_id",
    "g": "grant_id",
    "f": "family_id",
    "k": "key_id",
}
_BAD: Final = "This access token is not one of this authority's."


async def write(authority: Authority, token: AccessToken, api: Api, client_id: str) -> str:
    """Return a token as a signed JWT for its API; ``client_id`` is as the client knows itself."""
    return await authority.signing_keys.sign(_claims(authority, token, api, client_id), typ=TYP)


def write_now(authority: Authority, token: AccessToken, api: Api, client_id: str) -> str:
    """Like ``write``, at once; raises ``NotReady``."""
    return authority.signing_keys.sign_now(_claims(authority, token, api, client_id), typ=TYP)


def _claims(authority: Authority, token: AccessToken, api: Api, client_id: str) -> dict[str, Any]:
    claims: dict[str, Any] = {
        "iss": authority.settings.issuer_url,
        "sub": token.subject,
        "aud": api.identifier,
        "client_id": client_id,
        "jti": token.id.removeprefix(TOKEN_ID),
        "iat": token.issued_at // SECOND,
        "exp": token.expires_at // SECOND,
        "scope": scopes.text_of(token.scopes),
        "kb": {short: getattr(token, name) for short, name in _IDS.items() if getattr(token, name) is not None},
    }
    if token.key_version:
        claims["kb"]["v"] = token.key_version
    if token.session_id is not None:
        claims["sid"] = token.session_id
    if token.authenticated_at is not None:
        claims["auth_time"] = token.authenticated_at // SECOND
    if token.amr:
        claims["amr"] = list(token.amr)
    if token.acr:
        claims["acr"] = token.acr
    if token.actor is not None:
        claims["act"] = token.actor
    if token.authorization_details:
        claims["authorization_details"] = list(token.authorization_details)
    confirmation = confirmation_of(token)
    if confirmation:
        claims["cnf"] = confirmation
    return claims


def confirmation_of(token: AccessToken) -> dict[str, str]:
    """Return the ``cnf`` claim: what binds the token to its sender. Spec: RFC 9449 §6.1, RFC 8705 §3.1."""
    found = {"jkt": token.key_thumbprint, "x5t#S256": token.certificate_thumbprint}
    return {name: value for name, value in found.items() if value}


class JwtReader:
    """Reads JWT access tokens back: the signature, the issuer, and every claim that the decision will need."""

    def __init__(self, authority: Authority) -> None:
        self._authority = authority

    def read_now(self, unverified: UnverifiedJwt) -> AccessToken:
        """Return what a JWT says, once its signature is seen to be ours.

        Raises ``Rejected`` (``NOT_FOUND``: nothing can be said of it), or ``NotReady``. Whether it is over, revoked or
        for this door is for ``decide_token``.
        """
        try:
            claims = self._authority.signing_keys.verify_now(unverified.jws)
        except InvalidJws as error:
            raise Rejected(Code.NOT_FOUND, _BAD, detail=error.detail) from None
        return self._token(claims, str(unverified.jws.unverified_header["kid"]))

    def _token(self, claims: Mapping[str, Any], signing_key_id: str) -> AccessToken:
        ours = claims.get("kb")
        audience = claims.get("aud")
        if claims.get("iss") != self._authority.settings.issuer_url or not isinstance(ours, dict):
            raise Rejected(Code.NOT_FOUND, _BAD, detail="another issuer")
        texts = (audience, *(claims.get(name) for name in ("sub", "jti", "scope")), ours.get("p"), ours.get("c"))
        if not all(isinstance(text, str) for text in texts):
            raise Rejected(Code.NOT_FOUND, _BAD, detail="a claim is missing or of the wrong type")
        confirmation = claims.get("cnf", {})
        api = self._authority.records.api(str(audience))
        return AccessToken(
            id=TOKEN_ID + claims["jti"],
            client_id=ours["c"],
            issued_at=_instant(claims, "iat"),
            expires_at=_instant(claims, "exp"),
            subject=claims["sub"],
            scopes=tuple(claims["scope"].split()),
            api_id=api.id if api is not None else "(gone)",
            session_id=claims.get("sid"),
            authenticated_at=_instant(claims, "auth_time") if "auth_time" in claims else None,
            amr=tuple(claims.get("amr", ())),
            acr=claims.get("acr", ""),
            actor=claims.get("act"),
            authorization_details=tuple(claims.get("authorization_details", ())),
            key_thumbprint=confirmation.get("jkt", ""),
            certificate_thumbprint=confirmation.get("x5t#S256", ""),
            signing_key_id=signing_key_id,
            project_id=ours["p"],
            user_id=ours.get("u"),
            grant_id=ours.get("g"),
            family_id=ours.get("f"),
            key_id=ours.get("k"),
            key_version=ours.get("v", 0),
        )


def _instant(claims: Mapping[str, Any], name: str) -> Instant:
    value = claims.get(name)
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= 1 << 40:
        raise Rejected(Code.NOT_FOUND, _BAD, detail=f"{name} is missing or no number of seconds")
    return Instant(value * SECOND)

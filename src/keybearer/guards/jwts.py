"""JWT access tokens read where they are used: the signature, every claim, and that nothing happened since it was made.

A token that was never seen before is accepted here only if all that it came from is known from one answer of the
authority, and no event has touched any of it since a minute before the token was issued. Else the authority is asked.
Spec: RFC 9068 §4, RFC 8725 §3.
"""

from __future__ import annotations

import re
from base64 import urlsafe_b64decode
from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from functools import lru_cache
from typing import Annotated, Any, Final, NamedTuple

import msgspec
from msgspec import Meta

from ..core.errors import Code, Rejected
from ..core.instant import SECOND, Instant
from ..core.records import Api, CredentialKind
from ..core.remembered import Remembered
from ..core.tokens import IDENTITY_SCOPES, TOKEN_ID
from ..formats import jws, signatures
from ..formats.jws import InvalidJws
from ..formats.jwt import TYPES
from .caller import Caller
from .heard import Heard
from .memory import Entry, Memory

SKEW: Final = 60 * SECOND
MAX_HEADERS: Final = 256
Text = Annotated[str, Meta(max_length=2048)]
Seconds = Annotated[int, Meta(ge=0, le=1 << 40)]


class Claims(msgspec.Struct):
    """The claims that a decision needs. Spec: RFC 9068 §2.2."""

    iss: Text
    sub: Text
    aud: Text
    client_id: Text
    jti: Text
    iat: Seconds
    exp: Seconds
    scope: str
    kb: dict[str, str | int]
    sid: Text | None = None
    auth_time: Seconds | None = None
    acr: Text | None = None
    amr: tuple[Text, ...] = ()
    act: dict[str, Any] | None = None
    authorization_details: tuple[dict[str, Any], ...] = ()
    cnf: dict[str, Any] | None = None


class Jwk(NamedTuple):
    """A public key of the authority: what it is for, and how it checks."""

    algorithm: str
    check: signatures.Check


class FirstSeen(NamedTuple):
    """A JWT whose signature and claims are good. ``source`` is all that it came from, but for itself."""

    claims: Claims
    signing_key_id: str
    source: object


_ES256_LENGTH: Final = 86
_ES256_SIGNATURE: Final = re.compile(r"[A-Za-z0-9_-]{85}[AQgw]", re.ASCII)
_CLAIMS: Final = msgspec.json.Decoder(Claims)


class JwtReader:
    """Reads the tokens of one API. ``sources`` remembers what tokens come from, each known from one online answer."""

    def __init__(self, entries: int) -> None:
        self.sources = Memory(entries, is_timed=True)
        self._keys: dict[str, Jwk] = {}
        self._headers: dict[str, tuple[str, Jwk] | None] = {}
        self._issuer = ""

    @property
    def is_ready(self) -> bool:
        """Whether there are keys to check with."""
        return bool(self._keys)

    def use(self, issuer: str, jwks: Iterable[Mapping[str, Any]]) -> None:
        """Take the keys of the authority; keys of a kind that is not known here are left out."""
        keys = {}
        for jwk in jwks:
            try:
                algorithm, check = signatures.check_for(jwk)
            except InvalidJws:
                continue
            keys[str(jwk.get("kid", ""))] = Jwk(algorithm, check)
        self._issuer = issuer
        self._keys, self._headers = keys, {}

    def forget_keys(self) -> None:
        """Check nothing more with the keys at hand."""
        self._keys, self._headers = {}, {}

    def read(self, text: str, api: Api, now: Instant) -> FirstSeen | None:
        """Return what a JWT says once its signature is seen to be good, ``None`` to ask the authority about it.

        Raises ``Rejected`` for what no answer could make good.
        """
        if len(text) > jws.MAX_LENGTH:
            raise Rejected(Code.MALFORMED, "This is not a well-formed JWT.")
        head, _, rest = text.partition(".")
        known = self._headers.get(head, ...)
        if known is ...:
            known = self._header(text, head)
        if known is None:
            return None  # a key that came in meanwhile, or none at all: the authority knows
        kid, (_, check) = known
        payload, _, signature = rest.partition(".")
        try:
            check(_decode_signature(signature), text[: len(head) + 1 + len(payload)].encode("ascii"))
            # The authority wrote these very characters, so nothing in them needs to be looked at twice.
            claims = _CLAIMS.decode(urlsafe_b64decode(payload + "=="))
        except (InvalidJws, msgspec.DecodeError, ValueError):
            raise Rejected(Code.NOT_FOUND) from None
        if claims.iss != self._issuer or claims.cnf is not None:
            return None
        if claims.aud != api.identifier:
            raise Rejected(Code.API_NOT_ALLOWED, "This token is meant for another API.")
        if now >= claims.exp * SECOND or claims.iat * SECOND > now + SKEW:
            raise Rejected(Code.EXPIRED, "This token has expired.")
        return FirstSeen(claims, kid, (tuple(claims.kb.items()), claims.client_id, claims.sid))

    def entry(self, seen: FirstSeen, understood: frozenset[str], heard: Heard, now: Instant) -> Entry | None:
        """Return the token as it may be remembered, ``None`` to ask the authority about it.

        ``understood`` are the permissions of the API.
        """
        claims = seen.claims
        source = self.sources.find(seen.source)
        if source is None or source.ask or now * 1000 >= source.until:
            return None
        token_id = TOKEN_ID + claims.jti
        own = (token_id, seen.signing_key_id)
        since = (claims.iat * SECOND - SKEW) * 1000
        # Since the source was learnt, an event about it would have dropped it.
        if source.touched_at >= since or not heard.is_untouched_since(own, since):
            return None
        scopes, permissions = _scopes(claims.scope, understood)
        expires_at, remembered = Instant(claims.exp * SECOND), source.remembered
        depends_on = source.depends_on.union(own)
        fresh = Remembered(
            kind=CredentialKind.ACCESS_TOKEN,
            depends_on=depends_on,
            api_ids=remembered.api_ids,
            permissions=permissions,
            restrictions=remembered.restrictions,
            networks=remembered.networks,
            is_restricted=remembered.is_restricted,
            until=expires_at if remembered.until is None else min(expires_at, remembered.until),
            acr=claims.acr or "",
            authenticated_at=None if claims.auth_time is None else Instant(claims.auth_time * SECOND),
        )
        caller = _caller(source.caller, claims, token_id, permissions, scopes)
        return Entry(caller, fresh, depends_on, source.takes, False)

    def learn(self, seen: FirstSeen, entry: Entry, heard: Heard, seq: int) -> None:
        """Remember what a token came from, which the authority has just said is good."""
        own = {TOKEN_ID + seen.claims.jti, seen.signing_key_id}
        depends_on = entry.depends_on - own
        remembered = replace(entry.remembered, depends_on=depends_on, until=entry.remembered.source_until)
        source = Entry(entry.caller, remembered, depends_on, entry.takes, entry.ask)
        self.sources.keep(seen.source, source, heard, seq)

    def _header(self, text: str, head: str) -> tuple[str, Jwk] | None:
        """Return the key that a header names; raises ``Rejected`` for a header that none may have."""
        try:
            header = jws.parse(text).unverified_header
        except InvalidJws as error:
            raise Rejected(Code.MALFORMED, "This is not a well-formed JWT.", detail=error.detail) from None
        if str(header.get("typ", "")).lower() not in TYPES:
            raise Rejected(Code.MALFORMED, "This JWT is not an access token: its typ is not at+jwt.")
        kid = str(header.get("kid", ""))
        key = self._keys.get(kid)
        if key is None:
            return None
        if header["alg"] != key.algorithm:
            raise Rejected(Code.NOT_FOUND)
        if len(self._headers) >= MAX_HEADERS:
            self._headers.clear()
        self._headers[head] = (kid, key)
        return kid, key


@lru_cache(maxsize=1024)
def _scopes(text: str, understood: frozenset[str]) -> tuple[frozenset[str], frozenset[str]]:
    """Return the scopes of a token, and those that are permissions of the API."""
    scopes = frozenset(text.split())
    return scopes, (scopes - IDENTITY_SCOPES) & understood


def _decode_signature(text: str) -> bytes:
    """Return a signature, of which there is one spelling; raises ``InvalidJws``. Spec: RFC 7515 §2."""
    if len(text) != _ES256_LENGTH:
        return jws.decode_part(text)
    # Of 86 characters the last has four bits that must be 0: one of these.
    if _ES256_SIGNATURE.fullmatch(text) is None:
        raise InvalidJws("a part is not canonical base64url")
    return urlsafe_b64decode(text + "==")


def _caller(
    source: Caller, claims: Claims, token_id: str, permissions: frozenset[str], scopes: frozenset[str]
) -> Caller:
    return Caller(
        kind=CredentialKind.ACCESS_TOKEN,
        credential_id=token_id,
        project_id=source.project_id,
        permissions=permissions,
        environment=source.environment,
        key_id=source.key_id,
        owner=source.owner,
        identity=source.identity,
        subject=claims.sub,
        user_id=source.user_id,
        client_id=source.client_id,
        session_id=claims.sid,
        scopes=scopes,
        authorization_details=claims.authorization_details,
        act=claims.act,
        acr=claims.acr,
        amr=claims.amr,
        authenticated_at=None if claims.auth_time is None else datetime.fromtimestamp(claims.auth_time, UTC),
        expires_at=datetime.fromtimestamp(claims.exp, UTC),
        metadata=source.metadata,
        claims=msgspec.structs.asdict(claims),
    )

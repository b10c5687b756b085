"""Sessions of a BFF: the tokens lie sealed in the store, and the browser holds a name for them that says nothing.

A session lies among the artefacts, under the id of the sign-in that it came from, so that a logout ends it; the sweeper
removes it when it is over. Spec: draft-ietf-oauth-browser-based-apps §6.1.2, ASVS 7.2, SECURITY-BAR 22.
"""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import secrets
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

import msgspec

from ..core.artefacts import Artefact, ArtefactKind
from ..core.credential import new_id
from ..core.errors import Conflict, NotFound, Unavailable
from ..core.instant import SECOND, Instant
from ..core.oauth_error import InvalidGrant, OAuthError
from ..core.routes import Bff, Route
from ..ports import UnitOfWork
from ..services.authority import Authority
from ..services.sealing import CannotOpen, open_sealed, seal
from .message import Request
from .party import Address, Party

PURPOSE: Final = "bff-session"
PREFIX: Final = "__Host-kb_bff_"
REFRESH_AHEAD_IN: Final = 30 * SECOND
"""A token that ends so soon is renewed first: what it was asked for should not end on its way."""
KEPT_IN: Final = SECOND
"""How long a process uses what it read of a session. The tokens in it are verified each time all the same."""
MAX_KEPT: Final = 10_000


class Tokens(msgspec.Struct, frozen=True):
    """What a session holds. ``expires_at`` is the access token's, ``ends_at`` the session's own."""

    route: str
    client_id: str
    access_token: str
    refresh_token: str
    expires_at: int
    ends_at: int
    claims: dict[str, Any]

    def is_for(self, route: Route, bff: Bff) -> bool:
        """Tell whether a sign-in at this very BFF gave them."""
        return self.route == route.name and self.client_id == bff.client_id


class Session(msgspec.Struct, frozen=True):
    """A session that a browser's cookie was for."""

    id: str
    tokens: Tokens
    used_until: int
    read_at: int


class Sessions:
    """Makes, finds, renews and ends sessions, on all nodes alike."""

    def __init__(self, authority: Authority, party: Party) -> None:
        self._authority = authority
        self._party = party
        self._kept: dict[str, Session] = {}
        self._renewing: dict[str, asyncio.Task[Session | None]] = {}

    def cookie_name(self, route: Route) -> str:
        """Return the name of the cookie of a route's BFF."""
        return PREFIX + route.name

    async def open(self, route: Route, bff: Bff, answer: Mapping[str, Any], claims: Mapping[str, Any]) -> str:
        """Keep the tokens of a sign-in, and return what the cookie is to hold: always a new one (ASVS 7.2.4)."""
        authority = self._authority
        now = authority.clock.now()
        session_id = new_id(now)
        cookie = f"{session_id}.{secrets.token_urlsafe(32)}"
        pepper_id = authority.keyring.active_pepper_id
        tokens = Tokens(
            route=route.name,
            client_id=bff.client_id,
            access_token=str(answer["access_token"]),
            refresh_token=str(answer.get("refresh_token", "")),
            expires_at=now + int(answer.get("expires_in", 0)) * SECOND,
            ends_at=now + bff.session_in,
            claims={name: value for name, value in claims.items() if name not in _NOT_TOLD},
        )
        artefact = Artefact(
            kind=ArtefactKind.BFF_SESSION,
            id=session_id,
            created_at=now,
            expires_at=Instant(min(tokens.ends_at, now + bff.idle_in)),
            digest=authority.keyring.digest(pepper_id, cookie),
            pepper_id=pepper_id,
            subject=str(claims.get("sid", "")),
            body=self._sealed(session_id, tokens),
        )

        async def work(uow: UnitOfWork) -> None:
            await uow.add_artefact(artefact)

        await authority.store.transact(work)
        return cookie

    async def find(self, route: Route, bff: Bff, cookie: str) -> Session | None:
        """Return the session that a cookie is for, with an access token that is not over; ``None`` when it has ended.

        Raises ``Unavailable`` when that cannot be told.
        """
        session = await self._read(route, bff, cookie)
        if session is None:
            return None
        now = self._authority.clock.now()
        if session.tokens.refresh_token and now >= session.tokens.expires_at - REFRESH_AHEAD_IN:
            return await self._renewed(session, bff, cookie)
        if session.used_until - now < bff.idle_in - bff.idle_in // 8 and session.used_until < session.tokens.ends_at:
            await self._write(session.id, bff, session.tokens)
            self._kept.pop(cookie, None)
        return session

    async def end(self, session: Session, bff: Bff, cookie: str, source: Address | None) -> None:
        """End a session: here at once, and with its tokens everywhere."""
        self._kept.pop(cookie, None)
        tokens = session.tokens
        with contextlib.suppress(OAuthError):  # it may have been over already
            await self._party.revoke(bff, tokens.refresh_token or tokens.access_token, source)
        await self._forget(session.id)

    async def end_all(self, sign_in: str, token_id: str) -> int:
        """End the sessions that came from one sign-in; a logout token is good once. Raises ``Conflict``."""
        now = self._authority.clock.now()
        seen = Artefact(
            kind=ArtefactKind.ASSERTION_ID,
            id=f"logout.{token_id}"[:200],
            created_at=now,
            expires_at=Instant(now + 600 * SECOND),
        )

        async def work(uow: UnitOfWork) -> int:
            await uow.add_artefact(seen)
            return await uow.remove_artefacts(ArtefactKind.BFF_SESSION, sign_in)

        self._kept.clear()
        return await self._authority.store.transact(work)

    # Reading and writing.

    async def _read(self, route: Route, bff: Bff, cookie: str) -> Session | None:
        authority = self._authority
        now = authority.clock.now()
        kept = self._kept.get(cookie)
        if kept is not None and 0 <= now - kept.read_at < KEPT_IN and now < kept.used_until:
            return kept if kept.tokens.is_for(route, bff) else None
        session_id, _, secret = cookie.partition(".")
        if not session_id.isalnum() or len(session_id) > 32 or not secret or len(cookie) > 128 or not cookie.isascii():
            return None
        try:
            artefact = await authority.store.get_artefact(ArtefactKind.BFF_SESSION, session_id)
        except NotFound:
            return None
        presented = authority.keyring.digest(artefact.pepper_id, cookie)
        if not hmac.compare_digest(presented, artefact.digest) or now >= artefact.expires_at:
            return None
        tokens = self._opened(session_id, artefact.body)
        if tokens is None or not tokens.is_for(route, bff):
            return None
        session = Session(session_id, tokens, artefact.expires_at, now)
        if len(self._kept) >= MAX_KEPT:
            self._kept.clear()
        self._kept[cookie] = session
        return session

    async def _renewed(self, session: Session, bff: Bff, cookie: str) -> Session | None:
        """Renew the access token, once however many requests want it; other nodes get the same successor."""
        running = self._renewing.get(session.id)
        if running is None:
            running = asyncio.create_task(self._renew(session, bff))
            self._renewing[session.id] = running
            running.add_done_callback(lambda _: self._renewing.pop(session.id, None))
        renewed = await asyncio.shield(running)
        if renewed is None:
            self._kept.pop(cookie, None)
        else:
            self._kept[cookie] = renewed
        return renewed

    async def _renew(self, session: Session, bff: Bff) -> Session | None:
        tokens = session.tokens
        parameters = {"grant_type": "refresh_token", "refresh_token": tokens.refresh_token}
        try:
            answer = await self._party.redeem(bff, parameters, None)
        except InvalidGrant:
            # The sign-in is over: revoked, expired, or narrowed to nothing.
            await self._forget(session.id)
            return None
        except OAuthError as error:
            # A client secret that is being replaced, say, ends nobody's session.
            raise Unavailable("The session cannot be renewed now.", detail=error.detail or error.description) from None
        now = self._authority.clock.now()
        renewed = msgspec.structs.replace(
            tokens,
            access_token=str(answer["access_token"]),
            refresh_token=str(answer.get("refresh_token", tokens.refresh_token)),
            expires_at=now + int(answer.get("expires_in", 0)) * SECOND,
        )
        written = await self._write(session.id, bff, renewed)
        return None if written is None else Session(session.id, renewed, written, now)

    async def _write(self, session_id: str, bff: Bff, tokens: Tokens) -> int | None:
        """Store what a session holds now and that it is used; ``None`` when it ended meanwhile."""
        now = self._authority.clock.now()
        until = Instant(min(tokens.ends_at, now + bff.idle_in))

        async def work(uow: UnitOfWork) -> int:
            artefact = await uow.get_artefact(ArtefactKind.BFF_SESSION, session_id)
            if now >= artefact.expires_at:
                raise Conflict("This session is over.")
            await uow.update_artefact(replace(artefact, body=self._sealed(session_id, tokens), expires_at=until))
            return until

        try:
            return await self._authority.store.transact(work)
        except (NotFound, Conflict):
            return None

    async def _forget(self, session_id: str) -> None:
        now = self._authority.clock.now()

        async def work(uow: UnitOfWork) -> None:
            artefact = await uow.get_artefact(ArtefactKind.BFF_SESSION, session_id)
            await uow.update_artefact(replace(artefact, body=b"{}", digest=b"", expires_at=now))

        try:
            await self._authority.store.transact(work)
        except NotFound:
            return

    def _sealed(self, session_id: str, tokens: Tokens) -> bytes:
        return seal(self._authority.keyring, PURPOSE, msgspec.json.encode(tokens), session_id.encode())

    def _opened(self, session_id: str, body: bytes) -> Tokens | None:
        try:
            plain = open_sealed(self._authority.keyring, PURPOSE, body, session_id.encode())
        except CannotOpen:
            return None
        return msgspec.json.decode(plain, type=Tokens)


_NOT_TOLD: Final = frozenset({"nonce", "at_hash", "c_hash", "aud", "iss", "iat", "exp"})


def cookie_of(request: Request, name: str) -> str:
    """Return a cookie, empty where it is not, or stands there twice: which of the two is ours cannot be told."""
    pairs = [
        pair.strip(" \t").partition("=")
        for line in request.all_of(b"cookie")
        for pair in line.decode("latin-1").split(";")
    ]
    found = [value for known, _, value in pairs if known == name]
    return found[0] if len(found) == 1 else ""

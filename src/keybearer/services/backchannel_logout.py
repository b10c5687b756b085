"""Back-channel logout: when a session ends, the clients that were signed in with it are told, server to server.

A background task follows the event log. Each notice is claimed by an artefact, so that one node sends it; what a node
that died had claimed is sent by the next that starts, if the session ended within the last minutes.
Spec: OIDC Back-Channel Logout 1.0 §2.4-§2.8.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
from dataclasses import replace
from typing import Any, Final

from ..core.artefacts import Artefact, ArtefactKind
from ..core.clients import Client
from ..core.errors import Conflict, KeybearerError, NotFound, Unreachable
from ..core.instant import MINUTE, SECOND, Instant
from ..core.lifecycle import use_up
from ..core.records import State
from ..core.sessions import Session
from ..core.users import User
from ..ports import Event, UnitOfWork
from .authority import Authority
from .subjects import subject_for

log = logging.getLogger(__name__)

TYP: Final = "logout+jwt"
EVENT: Final = "http://schemas.openid.net/event/backchannel-logout"
LIFETIME_IN: Final = 2 * MINUTE
"""How long a logout token is good. Spec: §2.4 (no more than two minutes)."""
POLL_IN: Final = 0.5
"""Seconds between two looks at the event log."""
BATCH: Final = 500
LOOK_BACK_IN: Final = 10 * MINUTE
LOOK_BACK_EVENTS: Final = 10_000
"""How far back a node looks when it starts: for so long, and so many events at most."""
CLAIM_IN: Final = 2 * MINUTE
"""How long a notice is left to who claimed it; a node that died meanwhile has not sent it."""
MAX_AT_ONCE: Final = 8
MAX_WAITING: Final = 500
"""Notices on their way; beyond that the event log is read on when some have left: it keeps them."""
RETRY_AFTER: Final = (1.0, 5.0)
"""Seconds before the second and the third attempt."""
RECOVERS_IN: Final = 60 * SECOND
"""How long a receiver that failed throughout gets a single attempt for each notice, so that others need not wait."""
_RETRIED: Final = frozenset({408, 425, 429, 500, 502, 503, 504})


class BackchannelLogout:
    """Follows the event log and sends the notices. One object serves a node."""

    def __init__(self, authority: Authority) -> None:
        self._authority = authority
        self._follower: asyncio.Task[None] | None = None
        self._sending: set[asyncio.Task[None]] = set()
        self._few = asyncio.Semaphore(MAX_AT_ONCE)
        self._failing: dict[str, Instant] = {}
        self._after: int | None = None

    # Life.

    def start(self) -> None:
        """Begin in the background."""
        self._follower = asyncio.create_task(self._run(), name="keybearer-backchannel-logout")

    async def stop(self) -> None:
        """Stop. What is on its way is given up; a node that starts within minutes sends it."""
        for task in (self._follower, *self._sending):
            if task is not None:
                task.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await task

    async def _run(self) -> None:
        while True:
            try:
                await self.follow()
            except KeybearerError as error:
                log.warning("the event log cannot be read", extra={"error": error.detail or error.public})
            except Exception:
                # The loop must outlive a defect of one notice.
                log.exception("notices of logout failed")
            await asyncio.sleep(POLL_IN)

    # The event log.

    async def follow(self) -> None:
        """Begin to send the notices of all events that have come since the last time."""
        store = self._authority.store
        if self._after is None:
            self._after = max(0, await store.head() - LOOK_BACK_EVENTS)
        while events := await store.events(self._after, BATCH):
            for event in events:
                if event.type == "session.end":
                    await self._tell_clients(event)
                self._after = event.seq

    async def _tell_clients(self, event: Event) -> None:
        authority = self._authority
        if authority.clock.now() >= event.at + LOOK_BACK_IN:
            return
        try:
            session = await authority.store.get(Session, event.subject)
        except NotFound:
            return
        for client_id in session.client_ids:
            try:
                client = await authority.store.get(Client, client_id)
            except NotFound:
                continue
            if client.state is not State.ENABLED or not client.backchannel_logout_uri:
                continue
            while len(self._sending) >= MAX_WAITING:
                await asyncio.wait(set(self._sending), return_when=asyncio.FIRST_COMPLETED)
            task = asyncio.create_task(self._send(session, client), name="keybearer-logout-notice")
            self._sending.add(task)
            task.add_done_callback(self._sending.discard)

    async def settled(self) -> None:
        """Return when nothing is on its way any more."""
        while self._sending:
            await asyncio.wait(set(self._sending))

    # One notice.

    async def _send(self, session: Session, client: Client) -> None:
        try:
            if await self._claim(session, client):
                await self._deliver(session, client)
                await self._finish(session, client)
        except KeybearerError as error:
            log.warning(
                "a notice of logout could not be sent",
                extra={"client_id": client.id, "error": error.detail or error.public},
            )
        except Exception:
            log.exception("a notice of logout failed", extra={"client_id": client.id})

    async def _claim(self, session: Session, client: Client) -> bool:
        """Tell whether this node is to send a notice: nobody has sent it, and nobody is about to."""
        name = _name_of(session, client)

        async def work(uow: UnitOfWork) -> bool:
            now = self._authority.clock.now()
            expires_at = Instant(now + 2 * LOOK_BACK_IN)
            try:
                held = await uow.get_artefact(ArtefactKind.LOGOUT_NOTICE, name)
            except NotFound:
                claim = Artefact(ArtefactKind.LOGOUT_NOTICE, name, now, expires_at, subject=session.id)
                await uow.add_artefact(claim)
                return True
            if held.used_at is not None or now < held.created_at + CLAIM_IN:
                return False
            await uow.update_artefact(replace(held, created_at=now, expires_at=expires_at, attempts=held.attempts + 1))
            return True

        try:
            return await self._authority.store.transact(work)
        except Conflict:
            return False

    async def _finish(self, session: Session, client: Client) -> None:
        async def work(uow: UnitOfWork) -> None:
            held = await uow.get_artefact(ArtefactKind.LOGOUT_NOTICE, _name_of(session, client))
            await uow.update_artefact(use_up(held, self._authority.clock.now()))

        # Somebody else may have taken it over meanwhile, when this took very long.
        with contextlib.suppress(Conflict, NotFound):
            await self._authority.store.transact(work)

    async def _deliver(self, session: Session, client: Client) -> None:
        """Post the logout token until it is answered, a few times at most. Spec: §2.8."""
        clock = self._authority.clock
        failed_at = self._failing.get(client.id)
        pauses = RETRY_AFTER if failed_at is None or clock.now() >= failed_at + RECOVERS_IN else ()
        why = ""
        for pause in (0.0, *pauses):
            if pause:
                await asyncio.sleep(pause)
            is_over, why = await self._attempt(session, client)
            if is_over:
                self._failing.pop(client.id, None)
                if why:
                    log.warning("a client refused a notice of logout", extra={"client_id": client.id, "why": why})
                return
        if len(self._failing) >= MAX_WAITING:
            self._failing.clear()
        self._failing[client.id] = clock.now()
        log.warning("a notice of logout was given up", extra={"client_id": client.id, "why": why})

    async def _attempt(self, session: Session, client: Client) -> tuple[bool, str]:
        """Return whether there is nothing more to try, and what went wrong, empty when nothing did."""
        fetcher = self._authority.fetcher
        if fetcher is None:
            return True, "this authority reaches nobody"
        async with self._few:
            # Signed for each attempt: the token lives shortly, and a receiver may remember its jti.
            token = await logout_token(self._authority, session, client)
            try:
                answer = await fetcher.post_form(client.backchannel_logout_uri, {"logout_token": token})
            except Unreachable as error:
                return False, error.detail or error.public
        return answer.status not in _RETRIED, "" if answer.status in (200, 204) else f"status {answer.status}"


async def logout_token(authority: Authority, session: Session, client: Client) -> str:
    """Return a signed logout token of an ended session for one client. Spec: §2.4."""
    now = authority.clock.now()
    claims: dict[str, Any] = {
        "iss": authority.settings.issuer_url,
        "aud": client.client_id,
        "iat": now // SECOND,
        "exp": (now + LIFETIME_IN) // SECOND,
        "jti": secrets.token_urlsafe(16),
        "events": {EVENT: {}},
        "sid": session.id,
    }
    with contextlib.suppress(NotFound):  # the user may be gone; the session is known all the same
        user = await authority.store.get(User, session.user_id)
        claims["sub"] = subject_for(authority.keyring, user, client)
    return await authority.signing_keys.sign(claims, typ=TYP, algorithm=client.id_token_signed_response_alg)


def _name_of(session: Session, client: Client) -> str:
    return f"{session.id}.{client.id}"

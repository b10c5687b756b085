"""Pushed authorization requests: kept for an authenticated client until the user has answered, and good once.

The reference is announced for a short time; a browser that has begun with it may take longer, and may reload.
Spec: RFC 9126, FAPI 2.0 Security Profile §5.3.2.2.
"""

from __future__ import annotations

import hmac
from dataclasses import dataclass
from typing import Final

import msgspec

from ..core import credential, lifecycle
from ..core.artefacts import Artefact, ArtefactKind
from ..core.authorization_request import Parameters, parameters_of
from ..core.clients import Client
from ..core.errors import Conflict, NotFound
from ..core.form import Form
from ..core.instant import HOUR, MINUTE, SECOND, Instant
from ..core.oauth_error import InvalidRequest, InvalidRequestUri, TooManyRequests
from ..core.records import RateLimit, Take, bind_limits
from ..core.sources import counted_as
from ..ports import Limiter, UnitOfWork
from .authority import Authority

URN: Final = "urn:ietf:params:oauth:request_uri:"
PREFIX: Final = "kb_pr"
EXPIRES_IN: Final = 90 * SECOND
"""How long the reference may be brought to the authorization endpoint for the first time."""
FLOW_IN: Final = HOUR
"""How long a user may take to answer."""

PUSHES: Final = RateLimit("pushed-requests", limit=600, period_in=MINUTE, burst=120)
"""How many requests one client may push from one address."""
PUBLIC_PUSHES: Final = RateLimit("pushed-requests", limit=60, period_in=MINUTE, burst=60)
"""The same for public clients, whose pushes anybody can send."""
MAX_PUSHED: Final = 20_000
"""The most characters of a pushed request: it is kept for an hour."""
_NOT_KEPT: Final = frozenset({"client_secret", "client_assertion", "client_assertion_type"})

_BAD: Final = "The request_uri is unknown, of another client, used, or over."


@dataclass(frozen=True, slots=True)
class Pushed:
    """A pushed request and its id."""

    id: str
    parameters: Parameters
    key_thumbprint: str = ""


class _Body(msgspec.Struct):
    pairs: list[tuple[str, str]]
    key_thumbprint: str = ""


async def push(authority: Authority, client: Client, parameters: Parameters, key_thumbprint: str = "") -> str:
    """Keep a request that was found to be good, and return its ``request_uri``."""
    now = authority.clock.now()
    pushed_id = credential.new_id(now)
    secret = credential.mint(PREFIX, pushed_id).reveal()
    pepper_id = authority.keyring.active_pepper_id
    artefact = Artefact(
        kind=ArtefactKind.PUSHED_REQUEST,
        id=pushed_id,
        created_at=now,
        expires_at=Instant(now + FLOW_IN),
        digest=authority.keyring.digest(pepper_id, secret),
        pepper_id=pepper_id,
        subject=client.id,
        body=msgspec.json.encode(_Body(parameters.pairs(), key_thumbprint)),
    )

    async def work(uow: UnitOfWork) -> None:
        await uow.add_artefact(artefact)

    await authority.store.transact(work)
    return URN + secret


async def find(authority: Authority, client_id: str, request_uri: str, *, begun: bool) -> Pushed:
    """Return a pushed request of this client; ``begun`` says that the browser had it in time.

    Raises ``InvalidRequestUri``, which belongs on a page: without the request there is nowhere to send it.
    """
    parts = credential.split(request_uri.removeprefix(URN)) if request_uri.startswith(URN) else None
    if parts is None or parts[0] != PREFIX:
        raise InvalidRequestUri(_BAD)
    try:
        artefact = await authority.store.get_artefact(ArtefactKind.PUSHED_REQUEST, parts[1])
    except NotFound:
        raise InvalidRequestUri(_BAD) from None
    presented = authority.keyring.digest(artefact.pepper_id, request_uri.removeprefix(URN))
    now = authority.clock.now()
    in_time = now < (artefact.expires_at if begun else artefact.created_at + EXPIRES_IN)
    if (
        not hmac.compare_digest(presented, artefact.digest)
        or artefact.subject != client_id
        or artefact.used_at is not None
        or not in_time
    ):
        raise InvalidRequestUri(_BAD)
    body = msgspec.json.decode(artefact.body, type=_Body)
    return Pushed(artefact.id, parameters_of(body.pairs), body.key_thumbprint)


async def use_up(uow: UnitOfWork, pushed_id: str, now: Instant) -> None:
    """Use a pushed request up in the transaction that answers it; raises ``InvalidRequestUri`` the second time."""
    try:
        artefact = await uow.get_artefact(ArtefactKind.PUSHED_REQUEST, pushed_id)
        await uow.update_artefact(lifecycle.use_up(artefact, now))
    except (NotFound, Conflict):
        raise InvalidRequestUri(_BAD) from None


async def slow_down(limiter: Limiter, client: Client, source: str | None) -> None:
    """Raise ``TooManyRequests`` for a client that pushes too many requests."""
    limit = PUBLIC_PUSHES if client.is_public else PUSHES
    taken = await limiter.take(
        [Take(bound, 1) for bound in bind_limits(f"push/{client.id}/{counted_as(source)}", (limit,))]
    )
    if not taken.admitted:
        raise TooManyRequests("This client pushes too many requests; wait a little.", taken.retry_in)


def parameters_in(form: Form) -> Parameters:
    """Return the request in a pushed form, without what proved the client."""
    pairs = [(name, value) for name, value in form.one.items() if name not in _NOT_KEPT]
    return parameters_of([*pairs, *(("resource", value) for value in form.all("resource"))])


def check_pushable(parameters: Parameters) -> None:
    """Raise ``InvalidRequest`` for a request that refers to another one, or is too large. Spec: RFC 9126 §2.1, §2.3."""
    if sum(len(name) + len(value) for name, value in parameters.pairs()) > MAX_PUSHED:
        raise InvalidRequest(f"A pushed request may have {MAX_PUSHED:,} characters at most.")
    if parameters.get("request_uri") or "request_uri" in parameters.repeated:
        raise InvalidRequest("request_uri must not be pushed.")

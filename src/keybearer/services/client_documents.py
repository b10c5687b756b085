"""Client ID Metadata Documents: a client whose id is the https URL of its own description.

The document is fetched through the guarded fetcher, kept as long as it says (between minutes and a day), and stored
as a client whose record id is made of the URL. Nobody registers, and nothing is stored for a URL that does not hold.
Spec: draft-ietf-oauth-client-id-metadata-document §3 to §6.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field, replace
from typing import Final
from urllib.parse import urlsplit

import msgspec

from ..core.clients import Client, ClientAuthMethod, ClientOrigin, is_document_id, record_id
from ..core.errors import Conflict, NotFound, Unreachable
from ..core.instant import DAY, MINUTE, SECOND, Instant
from ..core.lifecycle import touch
from ..core.oauth_error import InvalidClient, InvalidClientMetadata, InvalidRedirectUri
from ..core.records import State
from ..ports import UnitOfWork
from ..wire.registration import ClientMetadata
from .authority import SYSTEM, Authority, Deed
from .client_registration import PROJECT, check, check_sector, client_from, ground_of, take_share

MAX_DOCUMENT: Final = 16_384
MIN_KEPT_IN: Final = 5 * MINUTE
MAX_KEPT_IN: Final = DAY
KEPT_IN: Final = 60 * MINUTE
"""How long a document is kept that does not say."""
NOT_AGAIN_IN: Final = 30 * SECOND
"""How long a document that could not be read is left alone: each request would make this authority fetch."""
MAX_LOOKED_AT: Final = 5_000


@dataclass(slots=True)
class Look:
    """One document as this process looks at it: once at a time, and not again soon after it failed."""

    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    failed_at: Instant | None = None


_UNREACHED: Final = (
    f"It must be answered over https, to the public Internet, within seconds, with {MAX_DOCUMENT:,} bytes at most."
)
_METHODS: Final = (ClientAuthMethod.NONE, ClientAuthMethod.PRIVATE_KEY_JWT)
"""A document is public, so it cannot agree on a secret. Spec: §6.2."""

_DECODER: Final = msgspec.json.Decoder(ClientMetadata)


async def resolve(authority: Authority, client_id: str, source: str) -> None:
    """See that the client behind a URL is stored and fresh; does nothing for ids that are no URL.

    Raises ``InvalidClient`` with what is wrong with the document. ``source`` is who asks: strangers may make this
    authority fetch so many new documents a day, and no more.
    """
    if not is_document_id(client_id):
        return
    if not authority.settings.client_metadata_documents:
        raise InvalidClient("Clients are not described by URLs here; register this client.")
    if not _needs_a_look(await _stored(authority, client_id), authority.clock.now()):
        return
    problem = problem_of(client_id)
    if problem is not None:
        raise InvalidClient(f"client_id {problem}.")
    looks = authority.document_looks
    if len(looks) >= MAX_LOOKED_AT:
        looks.clear()
    look = looks.setdefault(client_id, Look())
    async with look.lock:
        stored, now = await _stored(authority, client_id), authority.clock.now()
        if not _needs_a_look(stored, now):
            return
        if look.failed_at is not None and now < look.failed_at + NOT_AGAIN_IN:
            raise InvalidClient("The client's document could not be read a moment ago; try again in a minute.")
        try:
            await _look(authority, client_id, source, stored, now)
        except InvalidClient:
            look.failed_at = now
            raise
        look.failed_at = None


async def _stored(authority: Authority, client_id: str) -> Client | None:
    try:
        return await authority.store.get(Client, record_id(client_id))
    except NotFound:
        return None


def _needs_a_look(stored: Client | None, now: Instant) -> bool:
    """Tell whether a document must be read. What an operator took out of service is not looked at any more."""
    if stored is None:
        return True
    is_fresh = stored.document_expires_at is not None and now < stored.document_expires_at
    return not is_fresh and stored.state not in (State.REVOKED, State.DELETED)


async def _look(authority: Authority, client_id: str, source: str, stored: Client | None, now: Instant) -> None:
    try:
        if stored is None:
            await take_share(authority, source)
        wanted, kept_in = await _fetched(authority, client_id)
    except Unreachable as error:
        raise InvalidClient(f"The client's document cannot be read: {error.public}", detail=error.detail) from None
    except (InvalidClientMetadata, InvalidRedirectUri) as error:
        raise InvalidClient(f"The client's document is not valid: {error.description}") from None
    await _keep(authority, replace(wanted, document_expires_at=Instant(now + kept_in)), now)


def problem_of(url: str) -> str | None:
    """Return what is wrong with a client id that is a URL, or ``None``. Spec: §3."""
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        return "is not a URL"
    if parts.scheme != "https" or not parts.hostname or "@" in parts.netloc:
        return "must be an https URL with a host and no user name"
    if not parts.path or "#" in url:
        return "must have a path and no fragment"
    if any(segment in (".", "..") for segment in parts.path.lower().replace("%2e", ".").split("/")):
        return "must not have '.' or '..' in its path"
    return None


async def _fetched(authority: Authority, url: str) -> tuple[Client, int]:
    """Return the client that a document describes, and how long that holds."""
    if authority.fetcher is None:
        raise Unreachable("This authority fetches nothing.")
    try:
        fetched = await authority.fetcher.get(url, accept="application/json", limit=MAX_DOCUMENT)
    except Unreachable as error:
        # A stranger asks: which names there are in private networks, and what they lead to, is for the operator alone.
        raise Unreachable(_UNREACHED, detail=f"{error.public} {error.detail or ''}".strip()) from None
    if fetched.status != 200:
        raise Unreachable(f"It is answered {fetched.status}.")
    try:
        document = _DECODER.decode(fetched.body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidClientMetadata(f"it cannot be read: {error}") from None
    if document.client_id != url:
        raise InvalidClientMetadata("its client_id must be its own URL, byte for byte")
    if document.client_secret is not None:
        raise InvalidClientMetadata("a public document must not hold a client_secret")
    if document.token_endpoint_auth_method is None:
        document.token_endpoint_auth_method = ClientAuthMethod.NONE.value
    ground = await ground_of(authority, PROJECT)
    client = client_from(authority, document, ground)
    if client.token_endpoint_auth_method not in _METHODS:
        raise InvalidClientMetadata("token_endpoint_auth_method must be none or private_key_jwt")
    client = replace(client, id=record_id(url), document_uri=url, origin=ClientOrigin.METADATA_DOCUMENT)
    check(client, ground)
    await check_sector(authority, client)
    kept_in = KEPT_IN if fetched.max_age is None else fetched.max_age * SECOND
    return client, min(max(kept_in, MIN_KEPT_IN), MAX_KEPT_IN)


async def _keep(authority: Authority, wanted: Client, now: Instant) -> None:
    """Store what the document says now. An operator's own decisions about the client stay."""

    async def work(uow: UnitOfWork) -> None:
        try:
            stored = await uow.get(Client, wanted.id)
        except NotFound:
            await uow.insert(replace(wanted, created_at=now, updated_at=now))
            Deed(uow, SYSTEM, now).note("client.create", wanted.id, project_id=wanted.project_id)
            return
        if stored.state in (State.REVOKED, State.DELETED):
            return
        changed = replace(
            wanted,
            created_at=stored.created_at,
            updated_at=stored.updated_at,
            state=stored.state,
            revision=stored.revision,
            limits=stored.limits,
            quotas=stored.quotas,
            is_first_party=stored.is_first_party,
        )
        is_same = replace(changed, document_expires_at=stored.document_expires_at) == stored
        await uow.update(touch(changed, now))
        # Only another document can alter a decision; that it is still the same is worth no entry.
        if not is_same:
            Deed(uow, SYSTEM, now).note("client.update", wanted.id, project_id=wanted.project_id)

    try:
        await authority.store.transact(work)
    except Conflict:
        return  # another request was faster

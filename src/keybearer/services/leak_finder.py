"""From a text that was found somewhere to the credential that it is: by its full digest, in whatever state.

An id without the right secret is nobody's, so that nothing is done about a credential on the word of who never had it.
"""

from __future__ import annotations

import asyncio
import hmac
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from ..client_auth.client_secret import living
from ..core import credential
from ..core.clients import CLIENT_ID, SECRET_PREFIX, Client, ClientSecret
from ..core.decide import match
from ..core.errors import NotFound, Rejected
from ..core.instant import Instant
from ..core.leaks import LeakKind, LeakState
from ..core.lifecycle import VersionState, version_state
from ..core.records import NATIVE, Environment, KeyRecord, Project, Record, SecretVersion, State
from ..core.secret import Secret
from ..core.tokens import TokenFamily
from ..formats import UnverifiedKey, UnverifiedToken, api_key, foreign, opaque, refresh_token
from ..ports import NotReady
from .authority import Authority
from .issue import TAG_PURPOSE
from .own_tokens import find_access_token, find_family

AT_ONCE: Final = 32
"""Credentials that are looked up side by side."""
_FAST: Final = frozenset({"hmac-sha256", "sha256", "sha512", "import-hmac", "seam"})


@dataclass(frozen=True, slots=True)
class Leaked:
    """A credential of this authority that somebody truly had. ``record_id`` is of the key, token, family or client."""

    kind: LeakKind
    state: LeakState
    record_id: str
    version: int
    credential_id: str
    project_id: str
    project_name: str
    environment: Environment
    name: str
    counted_as: str
    key_id: str | None = None
    client_id: str | None = None
    owner: str | None = None
    expires_at: Instant | None = None


async def find_all(authority: Authority, found: Sequence[Secret], *, with_slow_hashes: bool) -> list[Leaked | None]:
    """Return what each text is, ``None`` for what is unknown; a text that comes often is looked up once.

    ``with_slow_hashes`` says whether imported keys are tried whose hash is slow on purpose.
    """
    texts = list(dict.fromkeys(secret.reveal() for secret in found))
    few = asyncio.Semaphore(AT_ONCE)

    async def look_up(text: str) -> Leaked | None:
        async with few:
            return await find(authority, text, with_slow_hashes=with_slow_hashes)

    known = dict(zip(texts, await asyncio.gather(*map(look_up, texts)), strict=True))
    return [known[secret.reveal()] for secret in found]


async def find(authority: Authority, text: str, *, with_slow_hashes: bool) -> Leaked | None:
    """Return what a text is, ``None`` when it is no credential of this authority."""
    parts = credential.split(text)
    if parts is not None and parts[0] == SECRET_PREFIX:
        return await _client_secret(authority, text, CLIENT_ID + parts[1])
    if parts is not None and parts[0] == refresh_token.PREFIX:
        return await _refresh_token(authority, text)
    try:
        key = api_key.FORMAT.parse(text)
    except Rejected:
        return None
    if isinstance(key, UnverifiedKey):
        record = await authority.records.find(key.key_id)
        version = None if record is None else match(record.key.versions, text, authority.keyring.digest)
        return None if record is None or version is None else _key(authority, record, version)
    if isinstance(opaque.FORMAT.parse(text), UnverifiedToken) or text.count(".") == 2:
        token = await _access_token(authority, text)
        if token is not None or text.startswith("kb_at_"):
            return token
    return await _foreign_key(authority, text, with_slow_hashes)


# The kinds.


def _key(authority: Authority, record: KeyRecord, version: SecretVersion) -> Leaked:
    key, now = record.key, authority.clock.now()
    return Leaked(
        kind=LeakKind(key.kind.value),
        state=_first(
            _gone(key),
            LeakState.REVOKED if version.revoked_at is not None else None,
            LeakState.EXPIRED if version_state(version, now) is VersionState.RETIRED else None,
            _over(key.expires_at, now),
            _off(key, record.project, record.identity),
        ),
        record_id=key.id,
        version=version.number,
        credential_id=key.credential_id,
        project_id=record.project.id,
        project_name=record.project.name,
        environment=key.environment,
        name=key.name,
        counted_as=key.id,
        key_id=key.id,
        owner=key.owner,
    )


async def _foreign_key(authority: Authority, text: str, with_slow_hashes: bool) -> Leaked | None:
    schemes = await _foreign_schemes(authority)
    lookups = foreign.lookups(text, schemes, authority.keyring) if schemes else ()
    for lookup in lookups:
        record = await authority.records.find_foreign((lookup,))
        if record is None:
            continue
        version = match(record.key.versions, text, authority.keyring.digest)
        for other in record.key.versions:
            if version is not None or other.scheme == NATIVE:
                continue
            if other.scheme in _FAST:
                version = other if foreign.matches(other, text, authority.keyring) else None
            elif with_slow_hashes and await asyncio.to_thread(foreign.matches, other, text, authority.keyring):
                version = other
        if version is not None:
            return _key(authority, record, version)
    return None


async def _foreign_schemes(authority: Authority) -> frozenset[str]:
    while True:
        try:
            return authority.records.foreign_schemes
        except NotReady:
            await authority.records.refresh()


async def _access_token(authority: Authority, text: str) -> Leaked | None:
    record = await find_access_token(authority, text)
    if record is None:
        return None
    token = record.token
    key = None if record.key is None else record.key.key
    return Leaked(
        kind=LeakKind.ACCESS_TOKEN,
        state=_first(
            LeakState.REVOKED if record.is_revoked else None,
            _over(record.ends_at, authority.clock.now()),
            *(_gone(one) for one in (record.client, record.session, record.grant, key)),
            _off(record.client, record.project, record.user, record.api, key),
        ),
        record_id=token.id,
        version=0,
        credential_id=token.id,
        project_id=record.project.id,
        project_name=record.project.name,
        environment=record.environment,
        name=record.client.name,
        counted_as=record.counted_as,
        key_id=token.key_id,
        client_id=record.client.id,
        owner=None if record.user is None else record.user.email,
        expires_at=token.expires_at,
    )


async def _refresh_token(authority: Authority, text: str) -> Leaked | None:
    found = await find_family(authority, text, authority.keyring.derived(TAG_PURPOSE))
    if found is None:
        return None
    family, is_newest = found
    try:
        client = await authority.store.get(Client, family.client_id)
        project = await authority.store.get(Project, family.project_id)
    except NotFound:
        return None
    now = authority.clock.now()
    return Leaked(
        kind=LeakKind.REFRESH_TOKEN,
        state=_first(
            LeakState.REVOKED if family.revoked_at is not None else None,
            LeakState.EXPIRED if family.is_over(now) else None,
            # Whoever presents an older one ends the family (RFC 9700 §4.14.2), and gets nothing for it.
            None if is_newest or _is_previous(authority, family, text) else LeakState.EXPIRED,
            _gone(client),
            _off(client, project),
        ),
        record_id=family.id,
        version=0,
        credential_id=family.id,
        project_id=project.id,
        project_name=project.name,
        environment=Environment.LIVE,
        name=client.name,
        counted_as=client.id,
        key_id=family.key_id,
        client_id=client.id,
        expires_at=family.expires_at,
    )


def _is_previous(authority: Authority, family: TokenFamily, text: str) -> bool:
    digest = authority.keyring.digest(family.pepper_id, text)
    return bool(family.previous_digest) and hmac.compare_digest(digest, family.previous_digest)


async def _client_secret(authority: Authority, text: str, client_id: str) -> Leaked | None:
    try:
        client = await authority.store.get(Client, client_id)
    except NotFound:
        return None
    found: ClientSecret | None = None
    for secret in client.secrets:
        if hmac.compare_digest(authority.keyring.digest(secret.pepper_id, text), secret.digest):
            found = secret
    if found is None:
        return None
    project, now = await authority.store.get(Project, client.project_id), authority.clock.now()
    return Leaked(
        kind=LeakKind.CLIENT_SECRET,
        state=_first(
            _gone(client),
            LeakState.REVOKED if found.revoked_at is not None else None,
            None if found in living(client, now) else LeakState.EXPIRED,
            _off(client, project),
        ),
        record_id=client.id,
        version=found.number,
        credential_id=client.id,
        project_id=project.id,
        project_name=project.name,
        environment=Environment.LIVE,
        name=client.name,
        counted_as=client.id,
        client_id=client.id,
    )


# States.


def _first(*states: LeakState | None) -> LeakState:
    """Return the first of the states that holds, else that the credential is live."""
    return next((state for state in states if state is not None), LeakState.LIVE)


def _gone(record: Record | None) -> LeakState | None:
    if record is None:
        return None
    return {State.REVOKED: LeakState.REVOKED, State.DELETED: LeakState.DELETED}.get(record.state)


def _off(*records: Record | None) -> LeakState | None:
    is_off = any(record is not None and record.state is not State.ENABLED for record in records)
    return LeakState.DISABLED if is_off else None


def _over(end: Instant | None, now: Instant) -> LeakState | None:
    return LeakState.EXPIRED if end is not None and now >= end else None

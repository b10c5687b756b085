"""Consent: what a user is asked to allow a client, in the API's own words, and the one grant that remembers the answer.

Spec: DESIGN §7, ASVS 10.7, RFC 8252 §8.6.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Final

import msgspec

from ..core.authorization_details import TYPES_MEMBER, Details
from ..core.clients import Client, GrantType
from ..core.credential import new_id
from ..core.grants import GRANT_ID, Grant
from ..core.instant import DAY, HOUR, MINUTE, Instant
from ..core.lifecycle import touch
from ..core.records import Api, State
from ..core.redirect_uri import host_of
from ..core.tokens import IDENTITY_SCOPES
from ..ports import Query, UnitOfWork
from .about_client import AboutClient
from .asked import Asked
from .authority import Authority, Caller, Deed
from .claims import BY_SCOPE, SUPPORTED

MAX_DETAILS: Final = 200
"""Details that one grant remembers; the oldest make room."""

DetailLines = tuple[str, tuple[tuple[str, str], ...]]

IDENTITY_WORDS: Final[Mapping[str, str]] = {
    "openid": "Know which account you use here",
    "profile": "See your name and profile",
    "email": "See your e-mail address",
    "address": "See your postal address",
    "phone": "See your phone number",
    "offline_access": "Stay connected while you are away",
}


@dataclass(frozen=True, slots=True)
class ScopeLine:
    """One thing that a client may do: the scope, what it means, whether the user may leave it out."""

    scope: str
    words: str
    optional: bool = False


@dataclass(frozen=True, slots=True)
class ScopeGroup:
    """What a client may do at one place; ``title`` names the API, and is empty for the user's own data."""

    title: str
    lines: tuple[ScopeLine, ...]


@dataclass(frozen=True, slots=True)
class ConsentView:
    """All that the user must see to decide. ``lasts`` says for how long; ``details`` are of RFC 9396, in words."""

    client: Client
    redirect_uri: str
    groups: tuple[ScopeGroup, ...]
    details: tuple[DetailLines, ...]
    claims: tuple[str, ...]
    lasts: str

    @property
    def fingerprint(self) -> str:
        """What is shown, in short: an answer counts for what its page showed, and for nothing else."""
        client = (self.client.id, self.client.name, self.client.document_uri, self.redirect_uri)
        seen = (client, self.groups, self.details, self.claims, self.lasts)
        return sha256(msgspec.json.encode(seen)).hexdigest()

    @property
    def redirect_host(self) -> str:
        """What a user can recognise of where the answer goes."""
        return host_of(self.redirect_uri) if self.redirect_uri else ""

    @property
    def about(self) -> AboutClient:
        """What the client says about itself."""
        return AboutClient(self.client)

    @property
    def is_web(self) -> bool:
        """Whether the answer goes to a web site, rather than to an app or to this machine."""
        return self.redirect_uri.startswith("https://")

    @property
    def has_optional(self) -> bool:
        """Whether there is anything to deselect."""
        return any(line.optional for group in self.groups for line in group.lines)


def view(
    client: Client,
    apis: Sequence[Api],
    scopes: Sequence[str],
    details: Details,
    *,
    redirect_uri: str = "",
    claims: tuple[str, ...] = (),
    offline: bool = False,
) -> ConsentView:
    """Return what to show for these scopes and details, which the user is entitled to grant.

    ``offline`` says that what is granted outlives the session whatever the scopes are, as with devices.
    """
    return ConsentView(
        client=client,
        redirect_uri=redirect_uri,
        groups=groups_of(client, apis, scopes),
        details=tuple(detail_lines(apis, one) for one in details),
        claims=claims,
        lasts=lasts(client, offline=offline or "offline_access" in scopes),
    )


def groups_of(client: Client, apis: Sequence[Api], scopes: Sequence[str]) -> tuple[ScopeGroup, ...]:
    """Return scopes by place, each in the words of its API; a scope that several APIs know stands at each of them."""
    optional = frozenset(client.optional_scopes)
    groups = [
        ScopeGroup(
            "", tuple(ScopeLine(one, IDENTITY_WORDS[one], one in optional) for one in scopes if one in IDENTITY_SCOPES)
        )
    ]
    for api in apis:
        words = {permission.name: permission.description or permission.name for permission in api.permissions}
        lines = tuple(ScopeLine(one, words[one], one in optional) for one in scopes if one in words)
        groups.append(ScopeGroup(api.name, lines))
    placed = {line.scope for group in groups for line in group.lines}
    rest = tuple(ScopeLine(one, one, one in optional) for one in scopes if one not in placed)
    return tuple(group for group in (*groups, ScopeGroup("", rest)) if group.lines)


def detail_lines(apis: Sequence[Api], detail: Mapping[str, object]) -> DetailLines:
    """Return the title and the members of one authorization detail, as words. Spec: RFC 9396 §2."""
    kind = str(detail["type"])
    title = kind
    for api in apis:
        declared = api.metadata.get(TYPES_MEMBER)
        if isinstance(declared, dict) and isinstance(declared.get(kind), str):
            title = declared[kind]
    return title, tuple((name, _in_words(value)) for name, value in detail.items() if name != "type")


def _in_words(value: object) -> str:
    if isinstance(value, list | tuple):
        return ", ".join(_in_words(one) for one in value)
    if isinstance(value, dict):
        return "; ".join(f"{name}: {_in_words(one)}" for name, one in value.items())
    if isinstance(value, bool):
        return "yes" if value else "no"
    return str(value)


def further_claims(asked: Asked, scopes: Sequence[str]) -> tuple[str, ...]:
    """Return the claims that are asked for one by one and that no scope covers. Spec: OIDC Core §5.5."""
    asked_for = {name for members in (asked.request.claims or {}).values() for name in members}
    covered = {name for scope in scopes for name in BY_SCOPE.get(scope, ())}
    return tuple(name for name in SUPPORTED if name in asked_for - covered - {"sub"})


def lasts(client: Client, *, offline: bool) -> str:
    """Say how long what is granted holds, in words."""
    if GrantType.REFRESH_TOKEN not in client.grant_types:
        return f"for {duration(client.access_token_in)} at a time, each time you sign in with it"
    if offline:
        return (
            f"until you withdraw it, for {duration(client.refresh_token_in)} at most, "
            f"or until it is not used for {duration(client.refresh_idle_in)}"
        )
    return f"while you are signed in here, for {duration(client.refresh_token_in)} at most"


def duration(microseconds: int) -> str:
    """Return a duration in words, in its largest whole unit."""
    for unit, word in ((DAY, "day"), (HOUR, "hour"), (MINUTE, "minute")):
        if microseconds >= unit:
            count = microseconds // unit
            return f"{count} {word}" if count == 1 else f"{count} {word}s"
    return "less than a minute"


# The ledger


async def standing(authority: Authority, user_id: str, client_id: str) -> Grant | None:
    """Return the grant in force of a user to a client."""
    where = {"user_id": user_id, "client_id": client_id, "state": State.ENABLED}
    now = authority.clock.now()
    found = await authority.store.page(Grant, Query(where))
    return next((grant for grant in found if not is_over(grant, now)), None)


def covers(grant: Grant | None, asked: Asked, scopes: Sequence[str]) -> bool:
    """Tell whether the user has agreed to all of this before, so that need not be asked again.

    A public client that is known only by a redirect to an app or to this machine could be anybody: it is always asked
    for. Spec: RFC 8252 §8.6, RFC 9700 §2.1.
    """
    if grant is None or (asked.client.is_public and not asked.target.redirect_uri.startswith("https://")):
        return False
    return (
        frozenset(scopes) <= frozenset(grant.scopes)
        and {api.id for api in asked.apis} <= set(grant.resources)
        and all(one in grant.authorization_details for one in asked.details)
        and not further_claims(asked, scopes)
    )


async def write(
    uow: UnitOfWork,
    caller: Caller,
    now: Instant,
    user_id: str,
    client: Client,
    apis: Sequence[Api],
    scopes: Sequence[str],
    details: Details,
    refused: frozenset[str] = frozenset(),
) -> Grant:
    """Add to the one grant of a user to a client, or make it; ``refused`` scopes leave it. The user's row is locked."""
    resources = tuple(api.id for api in apis)
    where = {"user_id": user_id, "client_id": client.id, "state": State.ENABLED}
    current = next((one for one in await uow.page(Grant, Query(where)) if not is_over(one, now)), None)
    deed = Deed(uow, caller, now)
    if current is None:
        grant = Grant(
            id=GRANT_ID + new_id(now),
            created_at=now,
            updated_at=now,
            user_id=user_id,
            client_id=client.id,
            project_id=client.project_id,
            scopes=tuple(scopes),
            resources=resources,
            authorization_details=details,
        )
        await uow.insert(grant)
        deed.note("grant.create", grant.id, project_id=grant.project_id, details={"scopes": list(scopes)})
        return grant
    current = await uow.get(Grant, current.id)
    wider = touch(
        current,
        now,
        scopes=tuple(one for one in dict.fromkeys((*current.scopes, *scopes)) if one not in refused),
        resources=tuple(dict.fromkeys((*current.resources, *resources))),
        authorization_details=_merged(current.authorization_details, details),
    )
    if _same(wider, current):
        return current
    await uow.update(wider)
    deed.note("grant.update", wider.id, project_id=wider.project_id, details={"scopes": list(wider.scopes)})
    return wider


def _merged(before: Details, added: Details) -> Details:
    return (*before, *(one for one in added if one not in before))[-MAX_DETAILS:]


def _same(one: Grant, other: Grant) -> bool:
    return (one.scopes, one.resources, one.authorization_details) == (
        other.scopes,
        other.resources,
        other.authorization_details,
    )


def is_over(grant: Grant, now: Instant) -> bool:
    """Tell whether a grant has ended by itself."""
    return grant.expires_at is not None and now >= grant.expires_at

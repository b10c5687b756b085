"""A credential as a guard elsewhere may remember it: what every later decision about it needs, and nothing secret."""

from __future__ import annotations

from dataclasses import dataclass

from .instant import Instant
from .records import CredentialKind, CredentialRecord, KeyRecord, Network, Restrictions
from .tokens import TokenRecord


@dataclass(frozen=True, slots=True, kw_only=True)
class Remembered:
    """A credential that was good when this was made, and stays so until an event touches ``depends_on`` or ``until``.

    ``source_until`` is when what a token comes from (session, consent, key) ends, its own expiry left aside.
    ``api_ids`` are the APIs that it may open; ``acr`` and ``authenticated_at`` are of a token's user.
    """

    kind: CredentialKind
    depends_on: frozenset[str]
    api_ids: frozenset[str]
    permissions: frozenset[str]
    restrictions: Restrictions
    networks: tuple[Network, ...]
    is_restricted: bool
    until: Instant | None = None
    source_until: Instant | None = None
    acr: str = ""
    authenticated_at: Instant | None = None


def remember(record: CredentialRecord, version: int) -> Remembered | None:
    """Return what may be remembered of a credential that was accepted, ``None`` for what must be looked at each time.

    ``version`` is the number of a key's secret.
    """
    if not may_be_remembered(record):
        return None
    api_ids = frozenset(record.project.enabled_apis)
    acr, authenticated_at, source_until = "", None, None
    if isinstance(record, TokenRecord):
        api_ids &= {record.token.api_id or ""}
        acr, authenticated_at, source_until = record.token.acr, record.token.authenticated_at, record.source_ends_at
    return Remembered(
        kind=record.kind,
        depends_on=record.depends_on,
        api_ids=api_ids,
        permissions=record.permissions,
        restrictions=record.restrictions,
        networks=record.networks,
        is_restricted=record.is_restricted,
        until=end_of(record, version),
        source_until=source_until,
        acr=acr,
        authenticated_at=authenticated_at,
    )


def may_be_remembered(record: CredentialRecord) -> bool:
    """Tell whether a credential of this record needs no proof and no comparison each time.

    Secrets of imported keys may be guessable, so nothing is derived from them that is kept.
    """
    if isinstance(record, TokenRecord):
        return not (record.token.key_thumbprint or record.token.certificate_thumbprint)
    return isinstance(record, KeyRecord) and record.key.foreign_lookup is None


def end_of(record: CredentialRecord, number: int) -> Instant | None:
    """Return when a credential ends by itself, at the earliest of all that it hangs on."""
    if isinstance(record, TokenRecord):
        return record.ends_at
    if isinstance(record, KeyRecord):
        ends = [version.expires_at for version in record.key.versions if version.number == number]
        return min((end for end in (record.key.expires_at, *ends) if end is not None), default=None)
    return Instant(0)

"""Usage: how often which key met which outcome."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from ..core.audit_chain import AuditDraft
from ..core.instant import Instant

IN_URL: Final = "in_url"
"""The facet of usage that counts credentials that came in URLs; its values are addresses."""

ISSUED: Final = "ISSUED"
"""The ``code`` of usage that counts tokens issued to a client, which is no code of verify."""


@dataclass(frozen=True, slots=True)
class KeyUse:
    """When a secret version of a key was last accepted."""

    key_id: str
    version: int
    last_used_at: Instant


@dataclass(frozen=True, slots=True)
class UsageRow:
    """How often a key met an outcome at an API in one minute. ``minute`` counts minutes since the epoch.

    ``key_id`` and ``project_id`` are empty for credentials that matched nothing, ``api_id`` where none was named.
    """

    minute: int
    project_id: str
    key_id: str
    api_id: str
    code: str
    count: int


@dataclass(frozen=True, slots=True)
class FacetRow:
    """How often a key was used in one hour from a ``source`` address, or with a ``tag``; ``facet`` says which.

    ``hour`` counts hours since the epoch; ``value`` is the address or the tag.
    """

    hour: int
    project_id: str
    key_id: str
    facet: str
    value: str
    code: str
    count: int


@dataclass(frozen=True, slots=True)
class UsageBatch:
    """What a flush adds: counts are summed, last uses only move forward. Flushing never touches a key's own row."""

    usage: tuple[UsageRow, ...] = ()
    facets: tuple[FacetRow, ...] = ()
    uses: tuple[KeyUse, ...] = ()
    audit: tuple[AuditDraft, ...] = ()


@dataclass(frozen=True, slots=True)
class UsageQuery:
    """Sum usage from ``start`` (inclusive) to ``end`` (exclusive) by ``group_by``.

    ``group_by`` is any of ``minute``, ``hour``, ``day`` (one of these), ``project_id``, ``key_id``, ``api_id``,
    ``code``, ``source``, ``tag`` or ``in_url`` (hourly data, one of the three, not with ``minute`` or ``api_id``).
    Filters are equalities on the same names.
    """

    start: Instant
    end: Instant
    group_by: tuple[str, ...]
    filters: Mapping[str, str] = field(default_factory=dict)
    limit: int = 1000

"""Grants: what a user allowed a client, live for as long as it is neither narrowed nor revoked.

One user has at most one grant in force per client. Tokens point at it, so that changing it reaches those already out.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from .instant import Instant
from .records import Quota, RateLimit, Record

GRANT_ID: Final = "grant_"


@dataclass(frozen=True, slots=True, kw_only=True)
class Grant(Record):
    """What was consented to: scopes, the APIs they are for (``resources``, ids), and details (RFC 9396)."""

    user_id: str
    client_id: str
    project_id: str
    scopes: tuple[str, ...] = ()
    resources: tuple[str, ...] = ()
    authorization_details: tuple[Mapping[str, object], ...] = ()
    expires_at: Instant | None = None
    revoked_at: Instant | None = None
    limits: tuple[RateLimit, ...] = ()
    quotas: tuple[Quota, ...] = ()

"""Upstream providers: other OpenID providers whose users may sign in here."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from .records import Record

UPSTREAM_ID: Final = "idp_"


@dataclass(frozen=True, slots=True, kw_only=True)
class Upstream(Record):
    """One provider: its issuer, and the client that this authority is there (its secret sealed).

    ``creates_users`` says whether an unknown person becomes a user; ``links_by_email`` whether a verified address of
    theirs may find one who exists, which trusts the provider for that address.
    """

    name: str
    issuer: str
    client_id: str
    sealed: bytes = b""
    scopes: tuple[str, ...] = ("openid", "email", "profile")
    creates_users: bool = False
    links_by_email: bool = False

"""Upstream providers as they travel: create, update, what is answered; never the secret that they gave."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import UNSET, Meta, UnsetType

from .base import Name, Request
from .records import RecordView

Issuer = Annotated[str, Meta(min_length=1, max_length=255)]
ClientId = Annotated[str, Meta(min_length=1, max_length=255)]
ClientSecret = Annotated[str, Meta(min_length=1, max_length=1024)]
Scope = Annotated[str, Meta(min_length=1, max_length=128)]
Scopes = Annotated[list[Scope], Meta(min_length=1, max_length=20)]

DEFAULT_SCOPES = ("openid", "email", "profile")


class CreateUpstream(Request):
    """Let users of another OpenID provider sign in. Register ``redirect_uri`` of the answer there.

    ``creates_users`` makes a user of whoever is unknown and has a verified address there; ``links_by_email`` lets such
    an address find a user who exists, which trusts the provider for it.
    """

    name: Name
    issuer: Issuer
    client_id: ClientId
    client_secret: ClientSecret | None = None
    scopes: Scopes = msgspec.field(default_factory=lambda: list(DEFAULT_SCOPES))
    creates_users: bool = False
    links_by_email: bool = False


class UpdateUpstream(Request):
    """Change a provider. Its issuer stays: it is who its users are."""

    name: Name | UnsetType = UNSET
    client_id: ClientId | UnsetType = UNSET
    client_secret: ClientSecret | UnsetType | None = UNSET
    scopes: Scopes | UnsetType = UNSET
    creates_users: bool | UnsetType = UNSET
    links_by_email: bool | UnsetType = UNSET


class UpstreamView(RecordView):
    """A provider; ``redirect_uri`` is what it must know of this authority."""

    name: str
    issuer: str
    client_id: str
    has_secret: bool
    scopes: list[str]
    creates_users: bool
    links_by_email: bool
    redirect_uri: str

"""Upstream OpenID providers: whose users may sign in."""

# ruff: noqa: A002 (parameters have the names of the wire: id)

from __future__ import annotations

from collections.abc import Sequence

from msgspec import UNSET, UnsetType

from ..core.secret import Secret
from ..wire.upstreams import DEFAULT_SCOPES, CreateUpstream, UpdateUpstream, UpstreamView
from .call import Call, Pages, listed, revealed
from .operation import D, operation, series
from .records import Records, StateName, given_list


class Upstreams(Records[D, UpstreamView]):
    """Other OpenID providers whose users may sign in here."""

    _path = "/v1/upstreams"
    _view = UpstreamView

    @operation
    def create(
        self,
        *,
        name: str,
        issuer: str,
        client_id: str,
        client_secret: str | Secret | None = None,
        scopes: Sequence[str] = DEFAULT_SCOPES,
        creates_users: bool = False,
        links_by_email: bool = False,
        idempotency_key: str | None = None,
    ) -> Call[UpstreamView]:
        """Register a provider; let it know the ``redirect_uri`` of the answer.

        ``creates_users`` makes a user of whoever is unknown and has a verified address there; ``links_by_email`` lets
        such an address find a user who exists, which trusts the provider for it.
        """
        body = CreateUpstream(
            name=name,
            issuer=issuer,
            client_id=client_id,
            client_secret=None if client_secret is None else revealed(client_secret),
            scopes=listed(scopes),
            creates_users=creates_users,
            links_by_email=links_by_email,
        )
        return self._create(body, idempotency_key)

    @operation
    def update(
        self,
        id: str,
        *,
        name: str | UnsetType = UNSET,
        client_id: str | UnsetType = UNSET,
        client_secret: str | Secret | UnsetType | None = UNSET,
        scopes: Sequence[str] | UnsetType = UNSET,
        creates_users: bool | UnsetType = UNSET,
        links_by_email: bool | UnsetType = UNSET,
    ) -> Call[UpstreamView]:
        """Change what is given; a ``client_secret`` of ``None`` is taken away. The issuer stays."""
        body = UpdateUpstream(
            name=name,
            client_id=client_id,
            client_secret=revealed(client_secret) if isinstance(client_secret, str | Secret) else client_secret,
            scopes=given_list(scopes),
            creates_users=creates_users,
            links_by_email=links_by_email,
        )
        return self._update(id, body)

    @series
    def list(
        self,
        *,
        issuer: str | None = None,
        state: StateName | None = None,
        page_size: int | None = None,
        cursor: str | None = None,
    ) -> Pages[UpstreamView]:
        """Iterate over providers, oldest first, through all pages. Deleted ones only with ``state="deleted"``."""
        return self._pages(issuer=issuer, state=state, limit=page_size, cursor=cursor)

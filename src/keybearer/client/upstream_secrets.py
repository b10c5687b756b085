"""The secrets that the gateway shows to upstreams: set and replaced, never read."""

# ruff: noqa: A002 (parameters have the names of the wire: id)

from __future__ import annotations

from msgspec import UNSET, UnsetType

from ..core.secret import Secret
from ..wire.upstream_secrets import CreateUpstreamSecret, UpdateUpstreamSecret, UpstreamSecretView
from .call import Call, Pages, revealed
from .operation import D, operation, series
from .records import Records, StateName


class UpstreamSecrets(Records[D, UpstreamSecretView]):
    """What upstreams want to see and clients of the gateway never do."""

    _path = "/v1/secrets"
    _view = UpstreamSecretView

    @operation
    def create(
        self, *, name: str, value: str | Secret, description: str = "", idempotency_key: str | None = None
    ) -> Call[UpstreamSecretView]:
        """Keep a secret under a name that routes call it by."""
        body = CreateUpstreamSecret(name=name, value=revealed(value), description=description)
        return self._create(body, idempotency_key)

    @operation
    def update(
        self, id: str, *, value: str | Secret | UnsetType = UNSET, description: str | UnsetType = UNSET
    ) -> Call[UpstreamSecretView]:
        """Replace a secret, or what is said of it."""
        given = revealed(value) if isinstance(value, str | Secret) else value
        return self._update(id, UpdateUpstreamSecret(value=given, description=description))

    @series
    def list(
        self,
        *,
        name: str | None = None,
        state: StateName | None = None,
        page_size: int | None = None,
        cursor: str | None = None,
    ) -> Pages[UpstreamSecretView]:
        """Iterate over secrets, oldest first, through all pages. Deleted ones only with ``state="deleted"``."""
        return self._pages(name=name, state=state, limit=page_size, cursor=cursor)

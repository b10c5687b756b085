"""OAuth clients, grants and signing keys."""

# ruff: noqa: A002 (parameters have the names of the wire: id)

from __future__ import annotations

from ..core.secret import Secret
from ..wire.base import Response
from ..wire.clients import ClientView, CreateClient, RotateClientSecret, UpdateClient
from ..wire.grants import GrantView, RevokeGrant, UpdateGrant
from ..wire.listing import Listing
from ..wire.signing_keys import RotateSigningKey, SigningKeyView
from .call import Call, Duration, Pages, once, query, seconds, segment
from .operation import D, Resource, operation, series
from .records import Records, StateName


class IssuedClient(Response):
    """A client and, this once, its secret: ``client_secret.reveal()``; ``None`` for clients that have none."""

    client: ClientView
    client_secret: Secret | None


class Clients(Records[D, ClientView]):
    """OAuth clients. Their many settings travel as ``CreateClient`` and ``UpdateClient``."""

    _path = "/v1/clients"
    _view = ClientView

    @operation
    def create(self, client: CreateClient, *, idempotency_key: str | None = None) -> Call[IssuedClient]:
        """Register a client and return it with its secret, which cannot be shown again."""
        return Call("POST", self._path, IssuedClient, body=client, idempotency_key=once(idempotency_key))

    @operation
    def update(self, id: str, changes: UpdateClient) -> Call[ClientView]:
        """Change what is given. Tokens already out feel it at once."""
        return self._update(id, changes)

    @operation
    def rotate(self, id: str, *, grace_in: Duration = 86_400, idempotency_key: str | None = None) -> Call[IssuedClient]:
        """Give a client a new secret. The old one works ``grace_in`` longer."""
        body = RotateClientSecret(grace_in=seconds(grace_in) or 0)
        return Call("POST", f"{self._at(id)}/rotate", IssuedClient, body=body, idempotency_key=once(idempotency_key))

    @operation
    def revoke(self, id: str) -> Call[ClientView]:
        """Refuse a client for good, with all its tokens."""
        return Call("POST", f"{self._at(id)}/revoke", ClientView, idempotent=True)

    @series
    def list(
        self,
        *,
        project_id: str | None = None,
        name: str | None = None,
        origin: str | None = None,
        state: StateName | None = None,
        page_size: int | None = None,
        cursor: str | None = None,
    ) -> Pages[ClientView]:
        """Iterate over clients, oldest first, through all pages. Deleted ones only with ``state="deleted"``."""
        return self._pages(project_id=project_id, name=name, origin=origin, state=state, limit=page_size, cursor=cursor)


class Grants(Resource[D]):
    """What users allowed clients."""

    @operation
    def get(self, id: str) -> Call[GrantView]:
        """Return a grant."""
        return Call("GET", f"/v1/grants/{segment(id)}", GrantView, idempotent=True)

    @operation
    def update(self, id: str, changes: UpdateGrant) -> Call[GrantView]:
        """Narrow a grant, or limit what its tokens may spend."""
        return Call("PATCH", f"/v1/grants/{segment(id)}", GrantView, body=changes, idempotency_key=once(None))

    @operation
    def revoke(self, id: str, *, wait: bool = False) -> Call[GrantView]:
        """Revoke a grant with every token that it gave. With ``wait`` the answer comes when every node refuses them."""
        body = RevokeGrant(wait=wait)
        return Call("POST", f"/v1/grants/{segment(id)}/revoke", GrantView, body=body, idempotent=True)

    @series
    def list(
        self,
        *,
        user_id: str | None = None,
        client_id: str | None = None,
        project_id: str | None = None,
        state: StateName | None = None,
        page_size: int | None = None,
        cursor: str | None = None,
    ) -> Pages[GrantView]:
        """Iterate over grants, oldest first, through all pages."""
        asked = query(
            user_id=user_id, client_id=client_id, project_id=project_id, state=state, limit=page_size, cursor=cursor
        )
        return Pages(Call("GET", "/v1/grants", Listing[GrantView], query=asked, idempotent=True))


class SigningKeys(Resource[D]):
    """What the authority signs with."""

    @operation
    def get(self, id: str) -> Call[SigningKeyView]:
        """Return a signing key."""
        return Call("GET", f"/v1/signing-keys/{segment(id)}", SigningKeyView, idempotent=True)

    @operation
    def rotate(self, *, algorithm: str = "ES256", at_once: bool = False) -> Call[SigningKeyView]:
        """Make the next key. It is published now and signs in a day, or immediately with ``at_once``."""
        body = RotateSigningKey(algorithm=algorithm, at_once=at_once)
        return Call("POST", "/v1/signing-keys/rotate", SigningKeyView, body=body, idempotency_key=once(None))

    @operation
    def revoke(self, id: str) -> Call[SigningKeyView]:
        """Refuse a key, and every JWT that it signed, for good."""
        return Call("POST", f"/v1/signing-keys/{segment(id)}/revoke", SigningKeyView, idempotent=True)

    @series
    def list(
        self, *, state: StateName | None = None, page_size: int | None = None, cursor: str | None = None
    ) -> Pages[SigningKeyView]:
        """Iterate over signing keys, oldest first, those that are gone too."""
        asked = query(state=state, limit=page_size, cursor=cursor)
        return Pages(Call("GET", "/v1/signing-keys", Listing[SigningKeyView], query=asked, idempotent=True))

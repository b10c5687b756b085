"""Users and their sessions."""

# ruff: noqa: A002 (parameters have the names of the wire: id)

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from msgspec import UNSET, UnsetType

from ..core.secret import Secret
from ..wire.keys import ImportProgress, ImportReport
from ..wire.listing import Listing
from ..wire.users import (
    CreateUser,
    EndedSessions,
    FactorsView,
    ImportUser,
    LinkKind,
    LinkSpec,
    LinkView,
    SendLink,
    SentLink,
    SessionView,
    SetPassword,
    UpdateUser,
    UserView,
)
from .call import Call, Pages, Stream, once, query, revealed, segment
from .keys import import_line
from .operation import D, Resource, operation, series
from .records import Records, StateName, given_dict, given_list


class Users(Records[D, UserView]):
    """The people that tokens act for."""

    _path = "/v1/users"
    _view = UserView

    @operation
    def create(
        self,
        *,
        email: str,
        name: str = "",
        password: str | Secret | None = None,
        email_verified: bool = False,
        invite: bool = False,
        claims: Mapping[str, Any] | None = None,
        permissions: Sequence[str] = (),
        links: Sequence[LinkSpec] = (),
        metadata: Mapping[str, Any] | None = None,
        idempotency_key: str | None = None,
    ) -> Call[UserView]:
        """Make a user; ``invite`` sends them a link to choose their password.

        ``permissions`` are the restricted ones that this user holds, ``links`` say who they are elsewhere.
        """
        body = CreateUser(
            email=email,
            name=name,
            password=None if password is None else revealed(password),
            email_verified=email_verified,
            invite=invite,
            claims=dict(claims or {}),
            permissions=[*permissions],
            links=[*links],
            metadata=dict(metadata or {}),
        )
        return self._create(body, idempotency_key)

    @operation
    def update(
        self,
        id: str,
        *,
        email: str | UnsetType = UNSET,
        name: str | UnsetType = UNSET,
        email_verified: bool | UnsetType = UNSET,
        claims: Mapping[str, Any] | UnsetType = UNSET,
        permissions: Sequence[str] | UnsetType = UNSET,
        metadata: Mapping[str, Any] | UnsetType = UNSET,
    ) -> Call[UserView]:
        """Change what is given; it holds at once for tokens that are out."""
        body = UpdateUser(
            email=email,
            name=name,
            email_verified=email_verified,
            claims=given_dict(claims),
            permissions=given_list(permissions),
            metadata=given_dict(metadata),
        )
        return self._update(id, body)

    @series
    def list(
        self,
        *,
        email: str | None = None,
        state: StateName | None = None,
        page_size: int | None = None,
        cursor: str | None = None,
    ) -> Pages[UserView]:
        """Iterate over users, oldest first, through all pages. Deleted ones only with ``state="deleted"``."""
        return self._pages(email=email, state=state, limit=page_size, cursor=cursor)

    @series
    def import_users(
        self, lines: Iterable[ImportUser | Mapping[str, Any] | bytes], *, dry_run: bool = False
    ) -> Stream[ImportProgress | ImportReport]:
        """Import users that exist elsewhere: all of them, or (any refused, or a dry run) none.

        ``lines`` are ``ImportUser`` values, mappings with the same fields, or JSON lines as bytes. Yields
        ``ImportProgress`` now and then, and at the end one ``ImportReport``. Never repeated by itself: after
        ``Unreachable``, look before importing again.
        """
        return Stream(
            f"{self._path}/import",
            ImportProgress | ImportReport,
            (import_line(line) for line in lines),
            lambda item: isinstance(item, ImportReport),
            query(dry_run=dry_run),
        )

    @operation
    def factors(self, id: str) -> Call[FactorsView]:
        """Return what a user can sign in with, without any secret."""
        return Call("GET", f"{self._at(id)}/factors", FactorsView, idempotent=True)

    @operation
    def set_password(self, id: str, password: str | Secret) -> Call[FactorsView]:
        """Set a user's password; all their sessions end."""
        body = SetPassword(revealed(password))
        return Call("PUT", f"{self._at(id)}/password", FactorsView, body=body, idempotency_key=once(None))

    @operation
    def reset_second_factor(self, id: str) -> Call[FactorsView]:
        """Take away every second factor and passkey of a user who lost them."""
        return Call("POST", f"{self._at(id)}/reset-second-factor", FactorsView, idempotency_key=once(None))

    @operation
    def send_link(self, id: str, kind: LinkKind = "invitation") -> Call[SentLink]:
        """Send a user a link by mail: an invitation, for a new password, or to verify the address."""
        return Call("POST", f"{self._at(id)}/send-link", SentLink, body=SendLink(kind), idempotency_key=once(None))

    @series
    def links(
        self, id: str, *, issuer: str | None = None, page_size: int | None = None, cursor: str | None = None
    ) -> Pages[LinkView]:
        """Iterate over who a user is elsewhere."""
        parameters = query(issuer=issuer, limit=page_size, cursor=cursor)
        return Pages(Call("GET", f"{self._at(id)}/links", Listing[LinkView], query=parameters, idempotent=True))

    @operation
    def add_link(self, id: str, *, issuer: str, subject: str) -> Call[LinkView]:
        """Say who a user is elsewhere; nobody else can then be that."""
        body = LinkSpec(issuer=issuer, subject=subject)
        return Call("POST", f"{self._at(id)}/links", LinkView, body=body, idempotency_key=once(None))

    @operation
    def remove_link(self, id: str, link_id: str) -> Call[LinkView]:
        """Forget who a user is elsewhere."""
        return Call("DELETE", f"{self._at(id)}/links/{segment(link_id)}", LinkView, idempotency_key=once(None))

    @operation
    def end_sessions(self, id: str) -> Call[EndedSessions]:
        """End every session of a user, with the refresh tokens that live no longer than those."""
        return Call("POST", f"{self._at(id)}/end-sessions", EndedSessions, idempotency_key=once(None))


class Sessions(Resource[D]):
    """Browser sign-ins of users."""

    @operation
    def get(self, id: str) -> Call[SessionView]:
        """Return one session, also for 30 days after its end."""
        return Call("GET", f"/v1/sessions/{segment(id)}", SessionView, idempotent=True)

    @operation
    def end(self, id: str) -> Call[SessionView]:
        """End a session for good."""
        return Call("POST", f"/v1/sessions/{segment(id)}/end", SessionView, idempotency_key=once(None))

    @series
    def list(
        self,
        *,
        user_id: str | None = None,
        state: StateName | None = None,
        page_size: int | None = None,
        cursor: str | None = None,
    ) -> Pages[SessionView]:
        """Iterate over sessions, oldest first; look at ``is_live``, since one may also have ended by itself."""
        parameters = query(user_id=user_id, state=state, limit=page_size, cursor=cursor)
        return Pages(Call("GET", "/v1/sessions", Listing[SessionView], query=parameters, idempotent=True))

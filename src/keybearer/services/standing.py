"""The change of a record's state, the same for every kind: check, change by the table, write, log."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Final, TypeVar

from ..core.clients import Client
from ..core.errors import Conflict
from ..core.grants import Grant
from ..core.instant import Instant
from ..core.lifecycle import Change, change
from ..core.records import Api, ApiKey, Identity, Plan, Project, R, Record, State
from ..core.routes import Route
from ..core.sessions import Session
from ..core.signing_keys import SigningKey
from ..core.upstream_secrets import UpstreamSecret
from ..core.upstreams import Upstream
from ..core.users import User
from ..core.webhooks import Webhook
from ..ports import UnitOfWork
from .authority import Authority, Caller, Deed

V = TypeVar("V")

WORDS: Final[dict[type[Any], str]] = {
    Api: "api",
    Project: "project",
    Plan: "plan",
    Identity: "identity",
    ApiKey: "key",
    User: "user",
    Session: "session",
    Client: "client",
    Grant: "grant",
    SigningKey: "signing_key",
    Upstream: "upstream",
    Webhook: "webhook",
    Route: "route",
    UpstreamSecret: "upstream_secret",
}
"""What each kind of record is called in events, in the audit log and in messages."""


def project_of(record: Record) -> str | None:
    """Return the project that a record belongs to, for the audit log."""
    if isinstance(record, Project):
        return record.id
    return record.project_id if isinstance(record, Identity | ApiKey | Client | Grant | Webhook) else None


def require_live(record: Record) -> None:
    """Raise ``Conflict`` when a record was deleted or revoked, so that it cannot be changed any more."""
    if record.state is State.DELETED:
        raise Conflict("This record was deleted; undelete it before changing it.")
    if record.state is State.REVOKED:
        what = "key" if isinstance(record, ApiKey) else "record"
        raise Conflict(f"This {what} was revoked for good; create another one.")


async def change_state(
    authority: Authority,
    caller: Caller,
    kind: type[R],
    record_id: str,
    wanted: Change,
    view: Callable[[R], V],
    *,
    check: Callable[[UnitOfWork, R, Instant], Awaitable[None]] | None = None,
    details: dict[str, object] | None = None,
) -> V:
    """Change a record's state and return its view. What already is so stays untouched and is not logged again.

    ``check`` may refuse inside the transaction. Raises ``NotFound``, and ``Conflict`` for a change that is not legal.
    """

    async def work(uow: UnitOfWork) -> V:
        record = await uow.get(kind, record_id)
        now = authority.clock.now()
        changed = change(record, wanted, now)
        if changed is not record:
            if check is not None:
                await check(uow, record, now)
            await uow.update(changed)
            Deed(uow, caller, now).note(
                f"{WORDS[kind]}.{wanted.value}", record.id, project_id=project_of(record), details=details
            )
        return view(changed)

    return await authority.change(caller, work)

"""What every use case works with: the authority's engines, who calls, and the one way to change something."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

from ..core import own_api
from ..core.audit_chain import AuditDraft
from ..core.errors import NotFound, NotPermitted
from ..core.instant import Instant
from ..core.secret import Secret
from ..core.sources import Address
from ..ports import Clock, Fetcher, Keyring, Records, RememberedResponse, Store, Throttle, UnitOfWork
from ..settings import Settings
from .outbox import ConsoleDelivery, Outbox, Postage
from .passwords import Passwords

if TYPE_CHECKING:
    from .signing_keys import SigningKeys

T = TypeVar("T")


SeenInUrl = Callable[[Sequence[Secret], Address | None, str, str], None]
"""Hears of credentials that came in a URL: from where, at which door, and what was answered."""


@dataclass(frozen=True, slots=True)
class IdempotencySlot:
    """A request's ``Idempotency-Key``: ``seal`` turns the result into the sealed bytes to remember for a repetition."""

    key: str
    request_digest: bytes
    seal: Callable[[object], bytes]


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks for a use case. ``project_id`` is ``None`` for keys of the authority's own project, which see all."""

    actor: str
    permissions: frozenset[str]
    project_id: str | None = None
    source: str | None = None
    request_id: str | None = None
    idempotency: IdempotencySlot | None = None

    def need(self, permission: str) -> None:
        """Raise ``NotPermitted`` unless the caller holds this permission of Keybearer's own API."""
        if not own_api.may(self.permissions, permission):
            raise NotPermitted(f"This needs the permission {permission!r}.", missing=(permission,))

    def need_everything(self, permission: str) -> None:
        """Like ``need``, for what only keys of the authority's own project may do (APIs, plans, projects)."""
        self.need(permission)
        if self.project_id is not None:
            raise NotPermitted("Only a key of the authority's own project may do this.", missing=(permission,))

    def need_project(self, permission: str, project_id: str, kind: str, record_id: str) -> None:
        """Like ``need``, for a record of one project; another project's record does not exist for this caller."""
        self.need(permission)
        if self.project_id is not None and self.project_id != project_id:
            raise NotFound(kind, record_id)


SYSTEM = Caller(actor="system", permissions=frozenset({own_api.ADMIN}))
"""The authority itself: bootstrap and the sweeper."""


@dataclass(frozen=True, slots=True)
class Authority:
    """The engines that use cases work with, joined in ``app.py``."""

    settings: Settings
    store: Store
    records: Records
    keyring: Keyring
    clock: Clock
    own_project_id: str = ""
    own_api_id: str = ""
    passwords: Passwords = field(default_factory=Passwords)
    outbox: Outbox = field(default_factory=lambda: Outbox(ConsoleDelivery()))
    throttle: Throttle | None = None
    letters_by_address: Postage = field(default_factory=lambda: Postage(5, 720))
    letters_by_source: Postage = field(default_factory=lambda: Postage(20, 60))
    fetcher: Fetcher | None = None
    seen_in_url: SeenInUrl = lambda secrets, source, where, code: None
    on_leak: Callable[[str, str, str], None] = lambda kind, state, action: None
    opened_keys: dict[str, Any] = field(default_factory=dict, repr=False, compare=False)
    document_looks: dict[str, Any] = field(default_factory=dict, repr=False, compare=False)

    @property
    def signing_keys(self) -> SigningKeys:
        """What signs and recognises this authority's own tokens."""
        from .signing_keys import SigningKeys  # JOSE is loaded when it is first needed: start-up is short

        return SigningKeys(self)

    async def change(self, caller: Caller, work: Callable[[UnitOfWork], Awaitable[T]]) -> T:
        """Run ``work`` in one transaction, which also remembers its result for a repeated ``Idempotency-Key``."""
        slot = caller.idempotency
        if slot is None:
            return await self.store.transact(work)

        async def remembered(uow: UnitOfWork) -> T:
            result = await work(uow)
            await uow.remember(
                RememberedResponse(caller.actor, slot.key, slot.request_digest, slot.seal(result), self.clock.now())
            )
            return result

        return await self.store.transact(remembered)


@dataclass(frozen=True, slots=True)
class Deed:
    """One change as the logs see it: ``note`` writes the event that caches need, and the audit entry."""

    uow: UnitOfWork
    caller: Caller
    now: Instant
    extra: Mapping[str, object] = field(default_factory=dict)

    def note(
        self,
        action: str,
        target: str,
        *,
        project_id: str | None = None,
        details: Mapping[str, object] | None = None,
        event: bool = True,
    ) -> None:
        """Log ``action`` (such as ``key.revoke``) on ``target``; without ``event`` no decision can change by it."""
        if event:
            self.uow.emit(action, target)
        self.uow.audit(
            AuditDraft(
                at=self.now,
                actor=self.caller.actor,
                action=action,
                target=target,
                project_id=project_id,
                source=self.caller.source,
                request_id=self.caller.request_id,
                details={**self.extra, **(details or {})},
            )
        )

"""Upstream secrets: set, replaced, switched off, deleted; sealed at rest, and opened for the gateway alone."""

from __future__ import annotations

import re
from typing import Any, Final

from msgspec import UNSET

from ..core.credential import new_id
from ..core.errors import Conflict
from ..core.instant import Instant
from ..core.lifecycle import Change, touch
from ..core.secret import Secret
from ..core.upstream_secrets import UPSTREAM_SECRET_ID, UpstreamSecret
from ..ports import Keyring, Query, UnitOfWork
from ..wire.upstream_secrets import CreateUpstreamSecret, UpdateUpstreamSecret, UpstreamSecretView
from .authority import Authority, Caller, Deed
from .paging import Page, PageQuery, read_page
from .problems import Problems
from .sealing import open_sealed, seal
from .standing import change_state, require_live
from .text import check_text
from .views import record_fields

READ: Final = "keybearer:secrets.read"
WRITE: Final = "keybearer:secrets.write"
PURPOSE: Final = "gateway-secret"
_VALUE: Final = re.compile(r"[\x21-\x7e](?:[\x20-\x7e]*[\x21-\x7e])?")
"""What every place can carry: a line break would end a header field (CWE-93)."""


async def create(authority: Authority, caller: Caller, body: CreateUpstreamSecret) -> UpstreamSecretView:
    """Keep a secret; raises ``Conflict`` when the name is taken."""
    caller.need_everything(WRITE)
    problems = Problems()
    _check_value(problems, body.value)
    check_text(problems, body.description, "description", of_several_lines=True)
    problems.settle()
    now = authority.clock.now()
    secret_id = UPSTREAM_SECRET_ID + new_id(now)
    secret = UpstreamSecret(
        id=secret_id,
        created_at=now,
        updated_at=now,
        name=body.name,
        description=body.description,
        sealed=_sealed(authority.keyring, secret_id, body.value),
    )

    async def work(uow: UnitOfWork) -> UpstreamSecretView:
        await _require_free_name(uow, secret)
        await uow.insert(secret)
        Deed(uow, caller, now).note("upstream_secret.create", secret.id, details={"name": secret.name})
        return view(secret)

    return await authority.change(caller, work)


async def get(authority: Authority, caller: Caller, secret_id: str) -> UpstreamSecretView:
    """Return what may be known of a secret."""
    caller.need_everything(READ)
    return view(await authority.store.get(UpstreamSecret, secret_id))


async def page(authority: Authority, caller: Caller, query: PageQuery) -> Page[UpstreamSecretView]:
    """Return one page of secrets."""
    caller.need_everything(READ)
    found = await read_page(authority.store, UpstreamSecret, query)
    return Page([view(secret) for secret in found.items], found.after)


async def update(
    authority: Authority, caller: Caller, secret_id: str, body: UpdateUpstreamSecret
) -> UpstreamSecretView:
    """Replace a secret; the gateway shows the new one within the promise of DESIGN §5."""
    caller.need_everything(WRITE)
    problems = Problems()
    changes: dict[str, Any] = {}
    if body.value is not UNSET:
        _check_value(problems, body.value)
    if body.description is not UNSET:
        check_text(problems, body.description, "description", of_several_lines=True)
        changes["description"] = body.description
    problems.settle()
    if body.value is not UNSET:
        changes["sealed"] = _sealed(authority.keyring, secret_id, body.value)

    async def work(uow: UnitOfWork) -> UpstreamSecretView:
        secret = await uow.get(UpstreamSecret, secret_id)
        require_live(secret)
        now = authority.clock.now()
        replaced = {"version": secret.version + 1} if "sealed" in changes else {}
        changed = touch(secret, now, **changes, **replaced)
        await uow.update(changed)
        details = {"fields": ["value" if name == "sealed" else name for name in sorted(changes)]}
        Deed(uow, caller, now).note("upstream_secret.update", secret.id, details=details)
        return view(changed)

    return await authority.change(caller, work)


async def set_state(authority: Authority, caller: Caller, secret_id: str, wanted: Change) -> UpstreamSecretView:
    """Enable, disable, delete or undelete a secret. Routes that need it answer 503 while it is not there."""
    caller.need_everything(WRITE)

    async def check(uow: UnitOfWork, secret: UpstreamSecret, _now: Instant) -> None:
        if wanted is Change.UNDELETE:
            await _require_free_name(uow, secret)

    return await change_state(authority, caller, UpstreamSecret, secret_id, wanted, view, check=check)


def reveal(keyring: Keyring, secret: UpstreamSecret) -> Secret:
    """Return the secret itself; raises ``CannotOpen``."""
    return Secret(open_sealed(keyring, PURPOSE, secret.sealed, secret.id.encode()).decode())


def view(secret: UpstreamSecret) -> UpstreamSecretView:
    """Return what may be known of a secret."""
    return UpstreamSecretView(
        **record_fields(secret), name=secret.name, version=secret.version, description=secret.description
    )


def _sealed(keyring: Keyring, secret_id: str, value: str) -> bytes:
    return seal(keyring, PURPOSE, value.encode(), secret_id.encode())


def _check_value(problems: Problems, value: str) -> None:
    if _VALUE.fullmatch(value) is None:
        problems.add("value", "must be printable ASCII, without spaces at its ends")


async def _require_free_name(uow: UnitOfWork, secret: UpstreamSecret) -> None:
    found = await uow.page(UpstreamSecret, Query({"name": secret.name}, limit=2))
    if any(one.id != secret.id for one in found):
        raise Conflict(f"There is an upstream secret called {secret.name!r} already.")

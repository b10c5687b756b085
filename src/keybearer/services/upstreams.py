"""Upstream providers: registered, shown, changed, switched off, deleted and brought back."""

from __future__ import annotations

from functools import partial
from typing import Any, Final
from urllib.parse import urlsplit

from msgspec import UNSET

from ..core.credential import new_id
from ..core.errors import Conflict
from ..core.instant import Instant
from ..core.lifecycle import Change, touch
from ..core.oauth_error import InvalidScope
from ..core.scopes import parse
from ..core.secret import Secret
from ..core.upstreams import UPSTREAM_ID, Upstream
from ..ports import Keyring, Query, UnitOfWork
from ..settings import Settings
from ..wire.upstreams import CreateUpstream, UpdateUpstream, UpstreamView
from .authority import Authority, Caller, Deed
from .client_rules import is_web
from .metadata import endpoint
from .paging import Page, PageQuery, read_page
from .problems import Problems
from .sealing import open_sealed, seal
from .standing import change_state, require_live
from .text import check_text, shown
from .views import record_fields

READ: Final = "keybearer:upstreams.read"
WRITE: Final = "keybearer:upstreams.write"
CALLBACK: Final = "/sign-in/callback"
"""Where every provider sends browsers back to, under the issuer."""
PURPOSE: Final = "upstream-secret"


async def create(authority: Authority, caller: Caller, body: CreateUpstream) -> UpstreamView:
    """Register a provider; raises ``Conflict`` when there is one with this issuer."""
    caller.need_everything(WRITE)
    problems = Problems()
    check_text(problems, body)
    _check_issuer(problems, body.issuer)
    scopes = _checked_scopes(problems, body.scopes)
    problems.settle()
    now = authority.clock.now()
    upstream_id = UPSTREAM_ID + new_id(now)
    upstream = Upstream(
        id=upstream_id,
        created_at=now,
        updated_at=now,
        name=body.name,
        issuer=body.issuer,
        client_id=body.client_id,
        sealed=_sealed(authority.keyring, upstream_id, body.client_secret),
        scopes=scopes,
        creates_users=body.creates_users,
        links_by_email=body.links_by_email,
    )

    async def work(uow: UnitOfWork) -> UpstreamView:
        await _require_only_one(uow, upstream)
        await uow.insert(upstream)
        details = {"issuer": upstream.issuer, **_powers(upstream)}
        Deed(uow, caller, now).note("upstream.create", upstream.id, details=details)
        return view(authority.settings, upstream)

    return await authority.change(caller, work)


async def get(authority: Authority, caller: Caller, upstream_id: str) -> UpstreamView:
    """Return a provider."""
    caller.need_everything(READ)
    return view(authority.settings, await authority.store.get(Upstream, upstream_id))


async def page(authority: Authority, caller: Caller, query: PageQuery) -> Page[UpstreamView]:
    """Return one page of providers."""
    caller.need_everything(READ)
    found = await read_page(authority.store, Upstream, query)
    return Page([view(authority.settings, upstream) for upstream in found.items], found.after)


async def update(authority: Authority, caller: Caller, upstream_id: str, body: UpdateUpstream) -> UpstreamView:
    """Change a provider; it holds for sign-ins that have begun, too."""
    caller.need_everything(WRITE)
    problems = Problems()
    check_text(problems, body)
    changes: dict[str, Any] = {
        name: getattr(body, name)
        for name in ("name", "client_id", "creates_users", "links_by_email")
        if getattr(body, name) is not UNSET
    }
    if body.scopes is not UNSET:
        changes["scopes"] = _checked_scopes(problems, body.scopes)
    problems.settle()
    if body.client_secret is not UNSET:
        changes["sealed"] = _sealed(authority.keyring, upstream_id, body.client_secret)

    async def work(uow: UnitOfWork) -> UpstreamView:
        upstream = await uow.get(Upstream, upstream_id)
        require_live(upstream)
        now = authority.clock.now()
        changed = touch(upstream, now, **changes)
        await uow.update(changed)
        details = {"fields": sorted(changes), **_powers(changed)}
        Deed(uow, caller, now).note("upstream.update", upstream.id, details=details)
        return view(authority.settings, changed)

    return await authority.change(caller, work)


async def set_state(authority: Authority, caller: Caller, upstream_id: str, wanted: Change) -> UpstreamView:
    """Enable, disable, delete or undelete a provider. Sessions that began with it go on."""
    caller.need_everything(WRITE)

    async def check(uow: UnitOfWork, upstream: Upstream, _now: Instant) -> None:
        if wanted is Change.UNDELETE:
            await _require_only_one(uow, upstream)

    show = partial(view, authority.settings)
    return await change_state(authority, caller, Upstream, upstream_id, wanted, show, check=check)


def secret_of(keyring: Keyring, upstream: Upstream) -> Secret | None:
    """Return the secret that this authority has at a provider, ``None`` when it has none; raises ``CannotOpen``."""
    if not upstream.sealed:
        return None
    return Secret(open_sealed(keyring, PURPOSE, upstream.sealed, upstream.id.encode()).decode())


def redirect_uri(settings: Settings) -> str:
    """Return the redirect URI of this authority as a client of providers."""
    return endpoint(settings, CALLBACK)


def view(settings: Settings, upstream: Upstream) -> UpstreamView:
    """Return a provider as it travels; its secret is not in it."""
    return UpstreamView(
        **record_fields(upstream),
        name=upstream.name,
        issuer=upstream.issuer,
        client_id=upstream.client_id,
        has_secret=bool(upstream.sealed),
        scopes=list(upstream.scopes),
        creates_users=upstream.creates_users,
        links_by_email=upstream.links_by_email,
        redirect_uri=redirect_uri(settings),
    )


def _sealed(keyring: Keyring, upstream_id: str, secret: str | None) -> bytes:
    return b"" if secret is None else seal(keyring, PURPOSE, secret.encode(), upstream_id.encode())


def _powers(upstream: Upstream) -> dict[str, bool]:
    return {"creates_users": upstream.creates_users, "links_by_email": upstream.links_by_email}


async def _require_only_one(uow: UnitOfWork, upstream: Upstream) -> None:
    """Raise ``Conflict`` when another provider has this issuer: who its users are must be one answer."""
    found = await uow.page(Upstream, Query({"issuer": upstream.issuer}, limit=2))
    if any(one.id != upstream.id for one in found):
        raise Conflict(f"There is a provider with the issuer {upstream.issuer!r} already.")


def _check_issuer(problems: Problems, issuer: str) -> None:
    # OIDC Discovery §2: an issuer has neither query nor fragment; it is compared byte for byte.
    if not issuer.isascii() or " " in issuer or not is_web(issuer) or urlsplit(issuer).query or "?" in issuer:
        problems.add("issuer", f"{shown(issuer)} is no https URL without query and fragment")


def _checked_scopes(problems: Problems, scopes: list[str]) -> tuple[str, ...]:
    for index, scope in enumerate(scopes):
        try:
            is_one = parse(scope) == (scope,)
        except InvalidScope:
            is_one = False
        if not is_one:
            problems.add(f"scopes[{index}]", f"{shown(scope)} is no scope")
    if "openid" not in scopes:
        problems.add("scopes", "must have 'openid'")
    return tuple(dict.fromkeys(scopes))

"""Upstream providers: what may be registered, and that their secrets are sealed."""

from __future__ import annotations

import dataclasses

import msgspec
import pytest

from keybearer.core.errors import Conflict, InvalidInput, NotPermitted
from keybearer.core.lifecycle import Change
from keybearer.core.upstreams import Upstream
from keybearer.services import upstreams
from keybearer.services.authority import Caller
from keybearer.services.paging import PageQuery
from keybearer.services.sealing import CannotOpen
from keybearer.wire.upstreams import CreateUpstream, UpdateUpstream
from tests.support.embedded import Embedded

pytestmark = pytest.mark.anyio

ISSUER = "https://accounts.example.com"


async def test_a_secret_is_sealed_for_its_provider_and_nowhere_shown(world: Embedded) -> None:
    authority, root = world.authority, world.root
    made = await upstreams.create(authority, root, CreateUpstream("Example", ISSUER, "kb", client_secret="hush-hush"))
    stored = await world.store.get(Upstream, made.id)
    secret = upstreams.secret_of(authority.keyring, stored)
    assert secret is not None
    assert secret.reveal() == "hush-hush"
    assert b"hush" not in stored.sealed
    assert made.has_secret
    assert b"hush" not in msgspec.json.encode(made)
    assert "hush" not in str(await world.audit())
    assert made.redirect_uri == authority.settings.issuer_url + "/sign-in/callback"
    other = await upstreams.create(authority, root, CreateUpstream("Other", ISSUER + "/other", "kb"))
    assert not other.has_secret
    with pytest.raises(CannotOpen):
        upstreams.secret_of(authority.keyring, dataclasses.replace(stored, id=other.id))
    await upstreams.update(authority, root, made.id, UpdateUpstream(client_secret=None))
    assert upstreams.secret_of(authority.keyring, await world.store.get(Upstream, made.id)) is None


@pytest.mark.parametrize(
    "issuer",
    [
        "http://accounts.example.com",
        "https://accounts.example.com?tenant=1",
        "https://accounts.example.com?",
        "https://accounts.example.com#x",
        "https://user@accounts.example.com",
        "https://",
        "accounts.example.com",
        "javascript:alert(1)",
        "https://accounts.example.com/a b",
        "https://bücher.example",
    ],
)
async def test_an_issuer_is_an_https_url_alone(world: Embedded, issuer: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        await upstreams.create(world.authority, world.root, CreateUpstream("Example", issuer, "kb"))
    assert [problem.field for problem in refused.value.problems] == ["issuer"]


@pytest.mark.parametrize(
    ("scopes", "field"),
    [(["email"], "scopes"), (["openid email"], "scopes[0]"), (["openid", 'a"b'], "scopes[1]")],
)
async def test_scopes(world: Embedded, scopes: list[str], field: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        await upstreams.create(world.authority, world.root, CreateUpstream("Example", ISSUER, "kb", scopes=scopes))
    assert field in [problem.field for problem in refused.value.problems]


async def test_there_is_one_provider_of_an_issuer(world: Embedded) -> None:
    authority, root = world.authority, world.root
    body = CreateUpstream("Example", ISSUER, "kb")
    first = await upstreams.create(authority, root, body)
    with pytest.raises(Conflict):
        await upstreams.create(authority, root, body)
    await upstreams.set_state(authority, root, first.id, Change.DELETE)
    second = await upstreams.create(authority, root, body)
    with pytest.raises(Conflict):
        await upstreams.set_state(authority, root, first.id, Change.UNDELETE)
    page = await upstreams.page(authority, root, PageQuery({"issuer": ISSUER}))
    assert [one.id for one in page.items] == [second.id]


async def test_what_decides_who_gets_in_is_in_the_audit_log(world: Embedded) -> None:
    authority, root = world.authority, world.root
    made = await upstreams.create(authority, root, CreateUpstream("Example", ISSUER, "kb"))
    await upstreams.update(authority, root, made.id, UpdateUpstream(links_by_email=True, scopes=["openid"]))
    entry = (await world.audit())[-1].draft
    assert entry.action == "upstream.update"
    assert entry.details == {
        "fields": ["links_by_email", "scopes"],
        "links_by_email": True,
        "creates_users": False,
    }


async def test_a_project_has_no_providers(world: Embedded) -> None:
    caller = Caller("key_x", frozenset({"keybearer:admin"}), project_id="proj_x")
    with pytest.raises(NotPermitted):
        await upstreams.create(world.authority, caller, CreateUpstream("Example", ISSUER, "kb"))
    with pytest.raises(NotPermitted):
        await upstreams.page(world.authority, caller, PageQuery({}))

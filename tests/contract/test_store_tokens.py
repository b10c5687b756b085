"""Access tokens: stored compactly, read with all they came from, refused when any of it is gone."""

from collections.abc import Callable
from typing import Any

import pytest

from keybearer.core.errors import Conflict, InvalidInput
from keybearer.core.grants import Grant
from keybearer.core.lifecycle import Change, change, touch
from keybearer.core.records import Api, ApiKey, CreditPolicy, Plan, Project, Quota, RateLimit, Record
from keybearer.core.sessions import Session
from keybearer.core.tokens import AccessToken
from keybearer.core.users import User
from keybearer.ports import UnitOfWork
from tests.contract.making import NOW, Engine, api, days, insert, key, plan, project
from tests.contract.making_tokens import (
    client,
    consent,
    family,
    furnish,
    machine_token,
    session,
    token,
    user,
)

pytestmark = pytest.mark.anyio


async def alter(store: Any, kind: type[Any], record_id: str, make: Callable[[Any], Record]) -> None:
    """Replace a record."""

    async def work(unit: UnitOfWork) -> None:
        await unit.update(make(await unit.get(kind, record_id)))

    await store.transact(work)


async def test_a_token_comes_back_with_all_it_depends_on(store: Any) -> None:
    await furnish(store)
    record = await store.find_token("at_0001")
    assert record is not None
    assert record.token == token()
    assert (record.client, record.user, record.grant, record.session) == (client(), user(), consent(), session())
    assert record.project == project(plan_id="plan_0001")
    assert record.plan == plan()
    assert record.api is not None
    assert record.key is None
    assert record.scopes == {"openid", "orders:read"}
    assert record.permissions == {"orders:read"}
    assert not record.is_revoked
    assert record.seq == await store.head()
    assert record.depends_on == {
        *("at_0001", "client_0001", "proj_0001", "plan_0001", "api_0001", "user_0001", "grant_0001", "sess_0001"),
        "rt_0001",
    }


async def test_every_field_of_a_token_is_kept(store: Any) -> None:
    await furnish(store)
    full = token(
        9,
        subject="pairwise",
        scopes=("openid", "ü✓"),
        key_thumbprint="thumb",
        certificate_thumbprint="print",
        actor={"sub": "x", "act": {"sub": "y", "n": [1, None, 2.5]}},
        authorization_details=({"type": "payment", "amount": 12},),
        authenticated_at=NOW,
        amr=("pwd", "otp"),
        acr="2",
        requested_claims={"name": {"essential": True}, "email": None},
    )
    plain = AccessToken(
        id="at_0010", client_id="client_0001", project_id="proj_0001", issued_at=NOW, expires_at=days(1), subject=""
    )

    async def add(unit: UnitOfWork) -> None:
        await unit.add_token(full)
        await unit.add_token(plain)

    await store.transact(add)
    assert (await store.find_token("at_0009")).token == full
    assert (await store.find_token("at_0010")).token == plain


async def test_a_token_that_is_not_there_is_none(store: Any) -> None:
    await furnish(store)
    assert await store.find_token("at_nothing") is None
    await store.transact(lambda unit: unit.add_token(machine_token(3, client_id="client_none")))
    assert await store.find_token("at_0003") is None, "a token whose client is missing is no token"


async def test_an_id_is_given_once(store: Any) -> None:
    await furnish(store)
    with pytest.raises(Conflict):
        await store.transact(lambda unit: unit.add_token(token()))


@pytest.mark.parametrize("bad", ["nul\0", "lone\ud800"])
async def test_text_that_cannot_be_stored_is_refused(store: Any, bad: str) -> None:
    await furnish(store)
    with pytest.raises(InvalidInput):
        await store.transact(lambda unit: unit.add_token(token(9, client_id=bad)))
    with pytest.raises(InvalidInput):
        await store.find_token(bad)
    if "\0" not in bad:
        with pytest.raises(InvalidInput):
            await store.transact(lambda unit: unit.add_token(token(9, acr=bad)))
    assert await store.find_token("at_0009") is None


@pytest.mark.parametrize("column", ["user_id", "grant_id", "session_id", "family_id", "api_id", "key_id"])
async def test_what_a_token_points_at_and_is_missing_counts_as_revoked(store: Any, column: str) -> None:
    await furnish(store)
    await store.transact(lambda unit: unit.add_token(token(9, **{column: "nothing"})))
    record = await store.find_token("at_0009")
    assert record.is_revoked
    assert "nothing" in record.depends_on
    claimed = await store.find_token("at_0009", token(9, **{column: "nothing"}))
    assert claimed.is_revoked


async def test_a_change_of_anything_behind_a_token_is_seen(store: Any) -> None:
    await furnish(store)

    async def seen() -> Any:
        return await store.find_token("at_0001")

    await alter(store, Grant, "grant_0001", lambda grant: touch(grant, NOW, scopes=("openid",)))
    assert (await seen()).scopes == {"openid"}
    await alter(store, User, "user_0001", lambda one: change(one, Change.DISABLE, NOW))
    assert (await seen()).user.state == "disabled"
    await alter(store, Session, "sess_0001", lambda one: change(one, Change.REVOKE, days(1)))
    assert (await seen()).session.revoked_at == days(1)
    await alter(store, Project, "proj_0001", lambda one: touch(one, NOW, plan_id=None))
    assert (await seen()).plan is None
    await alter(store, Api, "api_0001", lambda one: touch(one, NOW, permissions=()))
    assert (await seen()).permissions == frozenset()
    await alter(store, type(client()), "client_0001", lambda one: change(one, Change.DELETE, NOW))
    assert (await seen()).client.state == "deleted"
    assert not (await seen()).is_revoked


async def test_a_revoked_token_is_revoked_once_and_alone(store: Any) -> None:
    await furnish(store)
    assert await store.transact(lambda unit: unit.revoke_token("at_0001", days(1)))
    assert not await store.transact(lambda unit: unit.revoke_token("at_0001", days(1)))
    assert (await store.find_token("at_0001")).is_revoked
    assert not (await store.find_token("at_0002")).is_revoked
    assert (await store.find_token("at_0001", token())).is_revoked, "a JWT's id is looked up as well"


async def test_a_token_goes_with_its_family(store: Any) -> None:
    await furnish(store)
    assert await store.transact(lambda unit: unit.revoke_families("client_id", "client_0001", NOW)) == ("rt_0001",)
    assert (await store.find_token("at_0001")).is_revoked
    assert not (await store.find_token("at_0002")).is_revoked


async def test_claims_stand_in_for_the_row(store: Any) -> None:
    await furnish(store)
    claimed = token(77, digest=b"", pepper_id="")
    record = await store.find_token("at_0077", claimed)
    assert record.token is claimed
    assert record.user == user()
    assert record.plan == plan()
    assert record.scopes == {"openid", "orders:read"}
    assert not record.is_revoked
    assert record.seq == await store.head()
    machine = await store.find_token("at_0078", machine_token(78, digest=b"", api_id=None))
    assert (machine.user, machine.api, machine.grant, machine.session) == (None, None, None, None)
    assert not machine.is_revoked
    assert await store.find_token("at_0079", machine_token(79, client_id="client_none")) is None


async def test_a_token_of_a_key_has_the_keys_limits_and_credits(store: Any) -> None:
    await furnish(store)
    limited = key(
        limits=(RateLimit("k", 10, 1000, 5),),
        quotas=(Quota("q", 5, "day"),),
        credits=CreditPolicy(),  # type: ignore[arg-type]
        permissions=("orders:read",),
        plan_id="plan_0002",
    )
    await insert(store, plan(2), limited)
    await store.transact(lambda unit: unit.add_token(machine_token(5, key_id="key_0001", scopes=("orders:read", "x"))))
    record = await store.find_token("at_0005")
    assert record.key is not None
    assert record.key.key == limited
    assert record.plan == plan(2)
    assert [one.name for one in record.limits] == ["k"]
    assert record.credit_owners == (("key:key_0001", CreditPolicy()),)
    assert record.scopes == {"orders:read"}
    assert {"key_0001", "plan_0002"} <= record.depends_on
    assert record.counted_as == "key_0001"
    await alter(store, ApiKey, "key_0001", lambda one: change(one, Change.REVOKE, NOW))
    assert (await store.find_token("at_0005")).key.key.state == "revoked"
    claimed = await store.find_token("at_0006", machine_token(6, key_id="key_0001", digest=b""))
    assert claimed.key.key.state == "revoked"


async def test_hot_reads_answer_the_same_at_once(engine: Engine) -> None:
    store = await engine.open()
    if not hasattr(store, "find_token_now"):
        pytest.skip("this engine reads over the network")
    await furnish(store)
    assert store.find_token_now("at_0001") == await store.find_token("at_0001")
    assert store.find_token_now("at_0007", token(7)) == await store.find_token("at_0007", token(7))
    assert store.find_token_now("at_nothing") is None
    assert store.get_now(User, "user_0001") == user()
    assert store.get_now(Plan, "plan_0001") == plan()


async def test_tokens_outlive_a_restart(engine: Engine) -> None:
    if engine.name == "memory":
        pytest.skip("memory forgets")
    store = await engine.open()
    await furnish(store)
    await store.transact(lambda unit: unit.revoke_token("at_0002", days(1)))
    await store.close()
    again = await engine.open()
    assert (await again.find_token("at_0001")).token == token()
    assert (await again.find_token("at_0002")).is_revoked
    assert await again.get_family("rt_0001") == family()


async def test_nothing_is_kept_of_a_work_that_failed(store: Any) -> None:
    await furnish(store)

    async def work(unit: UnitOfWork) -> None:
        await unit.add_token(machine_token(9))
        await unit.revoke_token("at_0001", days(1))
        await unit.add_family(family(9))
        await unit.revoke_families("user_id", "user_0001", NOW)
        raise Conflict("no")

    with pytest.raises(Conflict, match="no"):
        await store.transact(work)
    assert await store.find_token("at_0009") is None
    assert not (await store.find_token("at_0001")).is_revoked
    assert (await store.get_family("rt_0001")).revoked_at is None


async def test_an_api_of_another_kind_changes_nothing(store: Any) -> None:
    await furnish(store)
    await insert(store, api(2))
    await store.transact(lambda unit: unit.add_token(machine_token(8, api_id="api_0002")))
    assert (await store.find_token("at_0008")).permissions == frozenset()

"""What a text turns out to be: keys that came from elsewhere, JWTs, clients, and what became of what they hang on."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator
from typing import Any

import bcrypt
import msgspec
import pytest

from keybearer.core.errors import Conflict, NotFound, Unavailable
from keybearer.core.incidents import SourceKind
from keybearer.core.leaks import LeakKind, Measure
from keybearer.core.lifecycle import Change
from keybearer.core.records import TokenFormat
from keybearer.core.secret import Secret
from keybearer.services import clients, imports, leak_policies, leaks
from keybearer.services.leak_finder import find_all
from keybearer.wire.leaks import CheckLeaks, LeakFinding, LeakSource, SetLeakPolicy
from tests.support.embedded import Embedded
from tests.support.oauth import OAuth, oauth_world

pytestmark = pytest.mark.anyio
ORDERS = "https://jwt.orders.example"


@pytest.fixture
async def oauth(anyio_backend: str) -> AsyncIterator[OAuth]:
    async with oauth_world() as running:
        yield running


async def check(world: Embedded, *credentials: str, line: int = 1) -> list[Any]:
    where = LeakSource(SourceKind.LOG, "access.log", line)
    body = CheckLeaks([LeakFinding(one, where) for one in credentials], act=True)
    return (await leaks.check(world.authority, world.root, body)).findings


async def import_keys(world: Embedded, *secrets: dict[str, str]) -> None:
    async def lines() -> AsyncIterator[bytes]:
        for secret in secrets:
            body = {"project_id": world.authority.own_project_id, "name": "old", "secret": secret}
            yield msgspec.json.encode(body)

    report = [item async for item in imports.run(world.authority, world.root, lines(), dry_run=False)][-1]
    assert report.imported == len(secrets)
    await world.authority.records.refresh()


async def test_keys_that_came_from_elsewhere_are_found_by_what_they_are(world: Embedded) -> None:
    slow = bcrypt.hashpw(b"legacy-slow-000001", bcrypt.gensalt(4)).decode()
    await import_keys(
        world,
        {"scheme": "raw", "value": "legacy-key-000001"},
        {"scheme": "sha256", "value": hashlib.sha256(b"legacy-key-000002").hexdigest()},
        {"scheme": "bcrypt", "value": slow, "start": "legacy-slow"},
    )
    texts = ["legacy-key-000001", "legacy-key-000002", "legacy-slow-000001", "legacy-slow-000002", "legacy-key-000003"]
    secrets = [Secret(text) for text in texts]
    trusted = await find_all(world.authority, secrets, with_slow_hashes=True)
    assert [one is not None for one in trusted] == [True, True, True, False, False]
    public = await find_all(world.authority, secrets, with_slow_hashes=False)
    assert [one is not None for one in public] == [True, True, False, False, False]
    found = await check(world, *texts[:3])
    assert [one.action for one in found] == ["revoked"] * 3
    assert [(await world.verify(text))["code"] for text in texts[:3]] == ["REVOKED"] * 3


async def test_a_jwt_is_known_by_its_signature_and_revoked(oauth: OAuth) -> None:
    await oauth.another_api(ORDERS, "parcels:read", token_format=TokenFormat.JWT)
    application = await oauth.client(scopes=("parcels:read",))
    token = (await application.tokens(resource=ORDERS, scope="parcels:read"))["access_token"]
    assert token.count(".") == 2
    head, body, signature = token.split(".")
    forged = f"{head}.{body}.{signature[:-4]}AAAA"
    assert [one.state for one in await check(oauth.world, forged, "a.b.c")] == ["unknown", "unknown"]
    (found,) = await check(oauth.world, token)
    assert (found.kind, found.state, found.action) == (LeakKind.ACCESS_TOKEN, "live", "revoked")
    assert not await oauth.is_active(token)


async def test_a_token_that_is_over_is_no_incident(oauth: OAuth) -> None:
    application = await oauth.client()
    token = (await application.tokens())["access_token"]
    oauth.move(3601)
    (found,) = await check(oauth.world, token)
    assert (found.state, found.action, found.incident_id) == ("expired", "none", None)


@pytest.mark.parametrize(
    ("measure", "done", "status", "later"),
    [
        (Measure.REVOKE, "revoked", 401, 401),
        (Measure.DISABLE, "disabled", 401, 401),
        (Measure.ROTATE, "rotated", 200, 401),
        (Measure.ALERT, "alerted", 200, 200),
    ],
)
async def test_client_secrets(oauth: OAuth, measure: Measure, done: str, status: int, later: int) -> None:
    world = oauth.world
    policy = SetLeakPolicy(measures={"live.client_secret": measure}, grace_in=60)
    await leak_policies.set_policy(world.authority, world.root, world.authority.own_project_id, policy)
    application = await oauth.client()
    (found,) = await check(world, application.secret)
    assert (found.kind, found.action, found.client_id) == (LeakKind.CLIENT_SECRET, done, application.client.id)
    assert (await application.token()).status_code == status
    oauth.move(61)
    assert (await application.token()).status_code == later
    assert [one.action for one in await check(world, application.secret[:-1] + "x", line=2)] == ["none"]


async def test_what_was_deleted_is_told_so_and_left_alone(oauth: OAuth) -> None:
    world = oauth.world
    application = await oauth.client()
    token = (await application.tokens())["access_token"]
    await clients.set_state(world.authority, world.root, application.client.id, Change.DELETE)
    found = await check(world, token, application.secret)
    assert [(one.state, one.action) for one in found] == [("deleted", "none"), ("deleted", "none")]


async def test_what_is_swept_away_meanwhile_stops_nobody(oauth: OAuth, monkeypatch: pytest.MonkeyPatch) -> None:
    application = await oauth.client()
    tokens = await (await oauth.consent(application)).tokens()

    async def gone(*_: Any) -> Any:
        raise NotFound("family", "rt_1")

    monkeypatch.setattr("keybearer.services.leaks.contain", gone)
    found = await check(oauth.world, tokens["refresh_token"])
    assert [(one.state, one.action) for one in found] == [("live", "none")]


async def test_incidents_that_change_all_the_time_are_given_up(world: Embedded) -> None:
    await import_keys(world, {"scheme": "raw", "value": "legacy-key-000001"})
    tried = 0

    async def clash(_work: Any) -> Any:
        nonlocal tried
        tried += 1
        raise Conflict("Somebody else was faster.")

    world.store.transact = clash
    with pytest.raises(Unavailable):
        await check(world, "legacy-key-000001")
    assert tried == leaks.TRIES

"""Client credentials at once: the same answers as the application's, repeated only while the client may have them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import urlencode

import pytest

from keybearer.core.clients import ClientAuthMethod, GrantType
from keybearer.core.errors import Unavailable
from keybearer.core.instant import SECOND, Instant
from keybearer.core.records import Project, State
from keybearer.http.client_address import TrustedProxies
from keybearer.ports import UsageQuery
from keybearer.web.client_credentials import PATH, ClientCredentialsEdge
from tests.support.door import Connection, Door, is_known, known
from tests.support.oauth import API, JWT, Application, OAuth, basic, header_in, oauth_world

pytestmark = pytest.mark.anyio
GRANT = {"grant_type": "client_credentials"}


@dataclass
class Both:
    """The edge in front of the application."""

    oauth: OAuth
    edge: ClientCredentialsEdge
    counted: list[int]

    def connect(self, peer: str = "192.0.2.1") -> Connection:
        return Door(self.oauth.world, {PATH: self.edge}).connect(peer)

    async def ask_both(self, data: dict[str, str], headers: dict[str, str]) -> tuple[bool, int, dict[str, Any]]:
        """Whether the edge answered, and what was said; the application says the same but for what is new each time."""
        connection = self.connect()
        await self.oauth.world.authority.records.refresh()  # the catalogue, which is read in a thread
        before = len(self.counted)
        status, fast = await connection.ask(request(data, headers))
        quick = len(self.counted) > before
        connection.door.routes._others.clear()
        slow_status, slow = await connection.ask(request(data, headers))
        assert status == slow_status
        assert heading(fast) == heading(slow)
        one, other = said(fast), said(slow)
        text, another = one.pop("access_token", None), other.pop("access_token", None)
        assert one == other
        if status == 200:
            assert text != another
            first, second = await self.oauth.introspect(text), await self.oauth.introspect(another)
            assert first.pop("jti") != second.pop("jti")
            assert first == second
            assert first["active"]
        return quick, status, one


def request(data: dict[str, str], headers: dict[str, str]) -> bytes:
    body = urlencode(data).encode()
    more = {"content-type": "application/x-www-form-urlencoded", "content-length": str(len(body)), **headers}
    lines = "".join(f"{name}: {value}\r\n" for name, value in more.items())
    return f"POST /oauth/token HTTP/1.1\r\nHost: a.test\r\n{lines}\r\n".encode() + body


def heading(answer: bytes) -> set[bytes]:
    lines = answer.partition(b"\r\n\r\n")[0].split(b"\r\n")
    return {line for line in lines if not line.startswith((b"x-request-id:", b"date:"))}


def said(answer: bytes) -> dict[str, Any]:
    return dict(json.loads(answer.partition(b"\r\n\r\n")[2]))


def by(application: Application) -> dict[str, str]:
    return {"authorization": basic(application.client.id, application.secret)}


@pytest.fixture(params=["memory", "sqlite"])
async def both(anyio_backend: str, request: pytest.FixtureRequest, tmp_path: Any) -> AsyncIterator[Both]:
    async with oauth_world(request.param, tmp_path, failures_per_minute=3, token_requests_per_minute=40) as oauth:
        world, counted = oauth.world, []
        edge = ClientCredentialsEdge(world.authority, world.verifier, TrustedProxies(()), counted.append)
        await world.authority.signing_keys.active("ES256")
        yield Both(oauth, edge, counted)


@pytest.mark.parametrize("written", ["opaque", "jwt"])
async def test_both_ways_issue_the_same(both: Both, written: str) -> None:
    oauth = both.oauth
    if written == "jwt":
        await oauth.change(oauth.api, token_format=JWT)
    application, posting = await oauth.client(), await oauth.client(token_endpoint_auth_method=ClientAuthMethod.POST)
    secret = {"client_id": posting.client.id, "client_secret": posting.secret}
    for data in ({}, {"scope": "orders:read"}, {"resource": API}, {"scope": "orders:write orders:read"}):
        for headers, more in ((by(application), {}), ({}, secret)):
            quick, status, _ = await both.ask_both({**GRANT, **data, **more}, headers)
            assert (quick, status) == (True, 200), data


async def test_what_is_unusual_is_answered_by_the_application(both: Both) -> None:
    oauth = both.oauth
    application, public = await oauth.client(), await oauth.public_client()
    bound, other = await oauth.client(dpop_bound_access_tokens=True), await oauth.client(grant_types=())
    mine = by(application)
    for data, headers, code in (
        ({**GRANT, "scope": "nothing"}, mine, "invalid_scope"),
        ({**GRANT, "scope": "openid"}, mine, "invalid_scope"),
        ({**GRANT, "resource": "https://other.example"}, mine, "invalid_target"),
        ({**GRANT, "client_secret": "twice"}, mine, "invalid_request"),
        ({"grant_type": "refresh_token"}, mine, "invalid_request"),
        ({"grant_type": "x"}, mine, "unsupported_grant_type"),
        ({}, mine, "invalid_request"),
        (GRANT, {**mine, "dpop": "x"}, "invalid_dpop_proof"),
        (GRANT, by(bound), "invalid_request"),
        (GRANT, by(other), "unauthorized_client"),
        ({**GRANT, "client_id": public.client.id}, {}, "unauthorized_client"),
        (GRANT, {"authorization": f"Bearer {oauth.world.root_key}"}, "invalid_request"),
    ):
        quick, status, answer = await both.ask_both(data, headers)
        assert (quick, answer.get("error")) == (False, code), (data, status)


async def test_a_wrong_secret_counts_once_and_slows_the_address_down(both: Both) -> None:
    application = await both.oauth.client()
    connection, good = both.connect(), request(GRANT, by(application))
    await known(connection, good)
    wrong = request(GRANT, {"authorization": basic(application.client.id, "kb_cs_wrong")})
    assert [(await connection.ask(wrong))[0] for _ in range(4)] == [401, 401, 401, 429]
    assert (await connection.ask(good))[0] == 429
    assert (await both.connect("192.0.2.9").ask(good))[0] == 200


async def test_the_same_request_gets_another_token_each_time_and_each_is_counted(both: Both) -> None:
    oauth = both.oauth
    application = await oauth.client()
    connection, asked = both.connect(), request(GRANT, by(application))
    await known(connection, asked)
    before = len(both.counted)
    answers = [(await connection.ask(asked))[1] for _ in range(5)]
    texts = {said(answer)["access_token"] for answer in answers}
    ids = {line for answer in answers for line in answer.split(b"\r\n") if line.startswith(b"x-request-id: ")}
    assert (len(texts), len(ids)) == (5, 5)
    assert len(both.counted) == before + 5
    assert {heading(answer) == heading(answers[0]) for answer in answers} == {True}
    for text in texts:
        assert await oauth.is_active(text)
    await oauth.world.recorder.flush()
    query = UsageQuery(Instant(0), Instant(oauth.now + 60 * SECOND), ("code",), {"key_id": application.client.id})
    rows = await oauth.world.store.usage(query)
    assert [(row["code"], row["count"]) for row in rows] == [("ISSUED", 9)]


async def test_what_differs_in_nothing_that_counts_is_not_read_again(
    both: Both, monkeypatch: pytest.MonkeyPatch
) -> None:
    application, other = await both.oauth.client(), await both.oauth.client()
    await both.oauth.world.authority.records.refresh()
    connection = both.connect()
    reads: list[Any] = []
    read = both.edge._forms.read

    def counted(asked: Any) -> Any:
        reads.append(asked)
        return read(asked)

    monkeypatch.setattr(both.edge._forms, "read", counted)
    mine, form = by(application), {**GRANT, "scope": "orders:read"}
    for number, (data, headers, code, fresh) in enumerate(
        (
            (form, mine, 200, True),
            (form, mine, 200, False),
            (form, {**mine, "accept": "application/json"}, 200, False),
            ({**form, "scope": "orders:write"}, mine, 200, True),
            (form, by(other), 200, True),
            (form, {**mine, "content-type": "application/x-www-form-urlencoded; charset=UTF-8"}, 200, True),
            (form, {**mine, "content-type": "text/plain"}, 400, True),
            (form, {**mine, "authorization": mine["authorization"].replace("Basic", "basic")}, 200, True),
            (form, {**mine, "dpop": "x"}, 400, False),
            (form, mine, 200, False),
        )
    ):
        before = len(reads)
        status, _ = await connection.ask(request(data, {**headers, "traceparent": f"00-{number}"}))
        assert (status, len(reads) > before) == (code, fresh), (data, headers)


async def test_a_client_that_asks_too_often_is_told_when_to_come_back(both: Both) -> None:
    application = await both.oauth.client()
    connection, asked = both.connect(), request(GRANT, by(application))
    statuses = [(await connection.ask(asked))[0] for _ in range(42)]
    assert statuses == [200] * 40 + [429] * 2
    assert b"\r\nretry-after: " in (await connection.ask(asked))[1]
    another = request(GRANT, by(await both.oauth.client()))
    assert (await connection.ask(another))[0] == 200


@pytest.mark.parametrize("differing", [False, True])
@pytest.mark.parametrize("ending", ["disabled", "secret", "late secret", "scope", "grant type", "project", "api"])
async def test_what_a_client_may_no_longer_have_it_does_not_get_again(both: Both, ending: str, differing: bool) -> None:
    oauth = both.oauth
    application = await oauth.client()
    connection, form = both.connect(), {**GRANT, "scope": "orders:read"}
    asked = request(form, by(application))
    await known(connection, asked)
    if differing:
        asked = request(form, {**by(application), "traceparent": "00-1-1-01"})
    (secret,) = application.client.secrets
    expected = b"invalid_client"
    if ending == "disabled":
        await oauth.change(application.client, state=State.DISABLED)
    elif ending == "secret":
        await oauth.change(application.client, secrets=(replace(secret, revoked_at=oauth.now),))
    elif ending == "late secret":
        ends = Instant(oauth.now + 30 * SECOND)
        await oauth.change(application.client, secrets=(replace(secret, expires_at=ends),))
        await known(connection, request(form, by(application)))
        oauth.move(30)
    elif ending == "scope":
        await oauth.change(application.client, scopes=("orders:write",))
        expected = b"invalid_scope"
    elif ending == "grant type":
        await oauth.change(application.client, grant_types=(GrantType.DEVICE_CODE,))
        expected = b"unauthorized_client"
    elif ending == "project":
        await oauth.change(await oauth.world.store.get(Project, oauth.project.id), state=State.DISABLED)
    else:
        await oauth.change(oauth.api, state=State.DISABLED)
        expected = b"invalid_scope"
    status, answer = await connection.ask(asked)
    assert expected in answer, (status, answer)
    assert not await is_known(connection, asked)


async def test_a_jwt_is_signed_with_the_key_that_signs_now(both: Both) -> None:
    oauth = both.oauth
    await oauth.change(oauth.api, token_format=JWT)
    keys = oauth.world.authority.signing_keys
    connection, asked = both.connect(), request(GRANT, by(await oauth.client()))
    await known(connection, asked)
    first = header_in(said((await connection.ask(asked))[1])["access_token"])
    assert (first["kid"], first["typ"]) == ((await keys.active("ES256")).id, "at+jwt")
    fresh = await keys.create(oauth.world.root, "ES256", oauth.now)
    second = header_in(said((await connection.ask(asked))[1])["access_token"])
    assert second["kid"] == fresh.id != first["kid"]


async def test_what_is_pipelined_behind_a_token_waits_for_its_turn(both: Both) -> None:
    application = await both.oauth.client()
    asked = request({**GRANT, "scope": "orders:read"}, by(application))
    healthz = b"GET /healthz HTTP/1.1\r\nHost: a.test\r\n\r\n"
    other = request({**GRANT, "scope": "orders:write"}, by(application))
    for pieces in ([asked + healthz + other], [asked, healthz, other], [asked, healthz + other]):
        connection = both.connect()
        connection.transport.written = b""
        for piece in pieces:
            connection.protocol.data_received(piece)
        while connection.transport.written.count(b"HTTP/1.1 200 OK") < 3:
            await asyncio.sleep(0.001)
        written = connection.transport.written
        places = [written.index(text) for text in (b'"scope":"orders:read"', b'"alive"', b'"scope":"orders:write"')]
        assert places == sorted(places)
        assert (await connection.ask(asked))[0] == 200


async def test_a_connection_that_ends_meanwhile_is_left_alone(both: Both) -> None:
    application = await both.oauth.client()
    connection = both.connect()
    connection.transport.written = b""
    connection.protocol.data_received(request(GRANT, by(application)))
    assert connection.protocol._is_busy() or connection.transport.written
    connection.transport.close()
    connection.protocol.connection_lost(None)
    before = connection.transport.written
    for _ in range(50):
        await asyncio.sleep(0.001)
    assert connection.transport.written == before
    assert not connection.protocol.tasks


async def test_a_connection_that_shall_close_is_closed_behind_the_answer(both: Both) -> None:
    application = await both.oauth.client()
    connection = both.connect()
    status, answer = await connection.ask(request(GRANT, {**by(application), "connection": "close"}))
    assert (status, b"\r\nconnection: close\r\n" in answer, connection.transport.closed) == (200, True, True)
    connection = both.connect()
    connection.transport.written = b""
    connection.protocol.data_received(request(GRANT, by(application)))
    connection.protocol.shutdown()
    while not connection.transport.closed:
        await asyncio.sleep(0.001)
    assert b'"access_token"' in connection.transport.written


async def test_a_token_that_is_not_durable_is_not_handed_out(both: Both, monkeypatch: pytest.MonkeyPatch) -> None:
    application = await both.oauth.client()
    connection, asked = both.connect(), request(GRANT, by(application))
    await known(connection, asked)

    async def fail(work: Any) -> Any:
        raise Unavailable("The disk is full.")

    monkeypatch.setattr(both.oauth.world.store, "transact", fail)
    status, answer = await connection.ask(asked)
    assert (status, said(answer)["error"], b"retry-after" in answer) == (503, "temporarily_unavailable", True)
    monkeypatch.undo()
    assert (await connection.ask(asked))[0] == 200

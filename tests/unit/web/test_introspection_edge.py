"""Introspection at once: the same answers as the application's, known again only for as long as they are right."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import urlencode

import pytest

from keybearer.core.clients import ClientAuthMethod
from keybearer.core.instant import SECOND, Instant
from keybearer.core.records import Project, RateLimit, State
from keybearer.http.client_address import TrustedProxies
from keybearer.services import keys
from keybearer.services.bootstrap import OWN_PROJECT_ID
from keybearer.web.introspection import PATH, IntrospectionEdge
from keybearer.wire.keys import CreateKey, RevokeKey
from tests.support.door import Connection, Door, is_known, known
from tests.support.oauth import JWT, Application, OAuth, basic, oauth_world

pytestmark = pytest.mark.anyio
READ = ("orders:read",)


@dataclass
class Both:
    """The edge in front of the application, and the application alone."""

    oauth: OAuth
    edge: IntrospectionEdge
    counted: list[int]

    def connect(self) -> Connection:
        return Door(self.oauth.world, {PATH: self.edge}).connect()

    async def ask_both(self, data: dict[str, str], headers: dict[str, str]) -> tuple[bool, int, bytes]:
        """Whether the edge answered, and what both say, which must be the same but for the id and the time."""
        connection = self.connect()
        before = len(self.counted)
        status, fast = await connection.ask(request(data, headers))
        connection.door.routes._others.clear()
        slow_status, slow = await connection.ask(request(data, headers))
        assert (status, plain(fast)) == (slow_status, plain(slow))
        return len(self.counted) > before, status, fast.partition(b"\r\n\r\n")[2]


def request(data: dict[str, str], headers: dict[str, str]) -> bytes:
    body = urlencode(data).encode()
    more = {"content-type": "application/x-www-form-urlencoded", "content-length": str(len(body)), **headers}
    lines = "".join(f"{name}: {value}\r\n" for name, value in more.items())
    return f"POST /oauth/introspect HTTP/1.1\r\nHost: a.test\r\n{lines}\r\n".encode() + body


def plain(answer: bytes) -> tuple[set[bytes], bytes]:
    head, _, body = answer.partition(b"\r\n\r\n")
    return {line for line in head.split(b"\r\n") if not line.startswith((b"x-request-id:", b"date:"))}, body


@pytest.fixture(params=["memory", "sqlite"])
async def both(anyio_backend: str, request: pytest.FixtureRequest, tmp_path: Any) -> AsyncIterator[Both]:
    async with oauth_world(request.param, tmp_path, failures_per_minute=3) as oauth:
        world, counted = oauth.world, []
        edge = IntrospectionEdge(world.authority, world.verifier, TrustedProxies(()), counted.append)
        yield Both(oauth, edge, counted)


def by(application: Application) -> dict[str, str]:
    return {"authorization": basic(application.client.id, application.secret)}


async def guard_of(oauth: OAuth, permission: str = "keybearer:verify", **settings: Any) -> tuple[str, str]:
    wanted = CreateKey(project_id=OWN_PROJECT_ID, name="guard", permissions=[permission], **settings)
    issued = await keys.create(oauth.world.authority, oauth.world.root, wanted)
    return issued.key.id, issued.credential


async def test_both_ways_say_the_same_of_every_token(both: Both) -> None:
    oauth = both.oauth
    application, posting = await oauth.client(), await oauth.client(token_endpoint_auth_method=ClientAuthMethod.POST)
    _, guard = await guard_of(oauth)
    consent = await oauth.consent(application)
    rich = await consent.tokens(scopes=("openid", "orders:read"))
    bare = await application.tokens(scope="orders:read")
    await oauth.change(oauth.api, token_format=JWT)
    written = await application.tokens(scope="orders:write")
    at = {"created_at": oauth.now, "updated_at": oauth.now}
    elsewhere = Project(id="proj_elsewhere0000000", **at, name="Other", enabled_apis=(oauth.api.id,))
    await oauth.insert(elsewhere)
    stranger = await oauth.client(elsewhere)
    texts = [said["access_token"] for said in (rich, bare, written)]
    for text in (*texts, texts[0][:-1] + "~", "x", "eyJhbGciOiJub25lIn0.e30."):
        for headers, data in (
            (by(application), {}),
            ({}, {"client_id": posting.client.id, "client_secret": posting.secret}),
            ({"authorization": f"Bearer {guard}"}, {}),
            (by(stranger), {}),
        ):
            quick, status, body = await both.ask_both({"token": text, **data}, headers)
            assert quick
            assert status == 200
            assert (b'"active":true' in body) == (text in texts and headers != by(stranger))


async def test_what_is_unusual_is_answered_by_the_application(both: Both) -> None:
    oauth = both.oauth
    application, public = await oauth.client(), await oauth.public_client()
    consent = await oauth.consent(application)
    said = await consent.tokens(scopes=READ)
    token, mine = {"token": said["access_token"]}, by(application)
    for data, headers, expected in (
        ({"token": said["refresh_token"]}, mine, 200),
        ({}, mine, 400),
        ({**token, "client_id": "other"}, mine, 400),
        ({**token, "client_secret": "twice"}, mine, 400),
        (token, {**mine, "content-type": "text/plain"}, 400),
        ({**token, "client_id": public.client.id}, {}, 401),
        (token, {"authorization": "Basic x"}, 401),
        (token, {"authorization": "Digest x"}, 400),
        (token, {}, 401),
    ):
        quick, status, _ = await both.ask_both(data, headers)
        assert (quick, status) == (False, expected), (data, headers)
    quick, status, _ = await both.ask_both(token, {**mine, "accept": "text/html"})
    assert (quick, status) == (True, 200)
    reader = await oauth.client(introspection_signed_response_alg="ES256")
    await oauth.world.authority.signing_keys.active("ES256")
    signed = request(token, {**by(reader), "accept": "application/token-introspection+jwt"})
    _, answer = await both.connect().ask(signed)
    assert b"content-type: application/token-introspection+jwt" in answer


async def test_a_refused_key_is_told_so_and_counted_once(both: Both) -> None:
    oauth = both.oauth
    token = (await (await oauth.client()).tokens(scope="orders:read"))["access_token"]
    _, weak = await guard_of(oauth, "keybearer:usage.read")
    quick, status, body = await both.ask_both({"token": token}, {"authorization": f"Bearer {weak}"})
    assert (quick, status, b"insufficient_scope" in body) == (True, 403, True)
    connection = both.connect()
    bad = request({"token": token}, {"authorization": "Bearer kb_sk_live_x"})
    good = request({"token": token}, by(await oauth.client()))
    for _ in range(3):
        assert (await connection.ask(good))[0] == 200
        status, answer = await connection.ask(bad)
        assert (status, b'www-authenticate: Bearer error="invalid_token"' in answer) == (401, True)
    assert not await is_known(connection, bad)
    # The fourth failure would be one too many: now the address waits, also for what was known.
    status, answer = await connection.ask(good)
    assert (status, b"retry-after" in answer) == (429, True)


async def test_a_wrong_secret_counts_once_and_slows_the_address_down(both: Both) -> None:
    oauth = both.oauth
    application = await oauth.client()
    token = {"token": (await application.tokens(scope="orders:read"))["access_token"]}
    connection = both.connect()
    wrong = request(token, {"authorization": basic(application.client.id, "kb_cs_wrong")})
    statuses = [(await connection.ask(wrong))[0] for _ in range(4)]
    assert statuses == [401, 401, 401, 429]
    assert (await connection.ask(request(token, by(application))))[0] == 429


async def test_a_known_question_is_answered_like_the_first(both: Both) -> None:
    oauth = both.oauth
    application = await oauth.client(limits=(RateLimit("requests", 2, 86_400_000_000, 2),))
    _, guard = await guard_of(oauth)
    token = (await application.tokens(scope="orders:read"))["access_token"]
    for headers in (by(application), {"authorization": f"Bearer {guard}"}):
        connection, asked = both.connect(), request({"token": token}, headers)
        _, first = await connection.ask(asked)
        await known(connection, asked)
        before, ids = len(both.counted), set()
        for _ in range(5):
            _, again = await connection.ask(asked)
            assert plain(again) == plain(first)
            assert again.split(b"\r\n\r\n")[0].split(b"\r\n")[-1] == b"content-length: %d" % len(plain(again)[1])
            ids.add(next(line for line in again.split(b"\r\n") if line.startswith(b"x-request-id: ")))
        assert len(ids) == 5
        assert len(both.counted) == before + 5
    codes = [(await oauth.world.verify(token))["code"] for _ in range(3)]
    assert codes == ["VALID", "VALID", "RATE_LIMITED"]  # asking took nothing


@pytest.mark.parametrize("ending", ["token", "asker", "secret", "late secret", "scopes", "project"])
async def test_what_alters_the_answer_ends_it_at_the_next_request(both: Both, ending: str) -> None:
    oauth = both.oauth
    application, asker = await oauth.client(), await oauth.client()
    consent = await oauth.consent(application)
    token = (await consent.tokens(scopes=("orders:read", "orders:write")))["access_token"]
    connection, asked = both.connect(), request({"token": token}, by(asker))
    await known(connection, asked)
    expected, body = 401, b"invalid_client"
    (secret,) = asker.client.secrets
    if ending == "token":
        assert (await application.post("/oauth/revoke", {"token": token})).status_code == 200
        expected, body = 200, b'{"active":false}'
    elif ending == "scopes":
        await oauth.change(consent.grant, scopes=("orders:write",))
        expected, body = 200, b'"scope":"orders:write"'
    elif ending == "asker":
        await oauth.change(asker.client, state=State.DISABLED)
    elif ending == "secret":
        await oauth.change(asker.client, secrets=(replace(secret, revoked_at=oauth.now),))
    elif ending == "late secret":
        await oauth.change(asker.client, secrets=(replace(secret, expires_at=Instant(oauth.now + 30 * SECOND)),))
        await known(connection, asked)
        oauth.move(30)
    else:
        await oauth.change(oauth.project, state=State.DISABLED)
    status, answer = await connection.ask(asked)
    assert (status, body in answer) == (expected, True)


@pytest.mark.parametrize("written", ["opaque", "jwt"])
async def test_another_question_about_the_same_token_is_answered_as_it_stands(both: Both, written: str) -> None:
    oauth = both.oauth
    if written == "jwt":
        await oauth.change(oauth.api, token_format=JWT)
    application = await oauth.client()
    consent = await oauth.consent(application)
    text = (await consent.tokens(scopes=("orders:read", "orders:write")))["access_token"]
    connection, number = both.connect(), 0

    async def ask() -> bytes:
        nonlocal number
        number += 1
        return (await connection.ask(request({"token": text, "n": str(number)}, by(application))))[1]

    assert all([b'"active":true' in await ask() for _ in range(3)])
    await oauth.change(consent.grant, scopes=("orders:write",))
    assert b'"scope":"orders:write"' in await ask()
    await oauth.change(consent.session, state=State.REVOKED)
    assert b'{"active":false}' in await ask()


async def test_it_ends_with_the_token_and_with_the_key_that_asks(both: Both) -> None:
    oauth = both.oauth
    application = await oauth.client()
    key_id, guard = await guard_of(oauth)
    token = (await application.tokens(scope="orders:read"))["access_token"]
    connection = both.connect()
    asked = request({"token": token}, {"authorization": f"Bearer {guard}"})
    await known(connection, asked)
    await keys.revoke(oauth.world.authority, oauth.world.root, key_id, RevokeKey())
    assert (await connection.ask(asked))[0] == 401
    mine = request({"token": token}, by(application))
    await known(connection, mine)
    oauth.move(599)
    assert b'"active":true' in (await connection.ask(mine))[1]
    oauth.move(1)
    assert b'{"active":false}' in (await connection.ask(mine))[1]
    assert not await is_known(connection, mine)

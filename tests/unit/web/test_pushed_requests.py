"""Pushed authorization requests (RFC 9126): checked when pushed, good once, and only for their client."""

from __future__ import annotations

from urllib.parse import parse_qsl, urlencode

import pytest

from keybearer.core.clients import Client
from keybearer.core.form import parse
from keybearer.core.users import User
from keybearer.limiters import MemoryLimiter
from keybearer.services.pushed_requests import URN, parameters_in
from tests.support.authorizing import (
    REDIRECT_URI,
    asking,
    at_back_channel,
    browsing,
    code_of,
    give_secret,
    make_api,
    make_client,
    sign_in_at,
    signed_in,
)
from tests.support.embedded import Embedded, embedded
from tests.support.people import make_user

pytestmark = pytest.mark.anyio


@pytest.fixture
async def client(world: Embedded) -> Client:
    return await make_client(world, await make_api(world), require_pushed_authorization_requests=True)


@pytest.fixture
async def ada(world: Embedded) -> User:
    return await make_user(world)


async def _push(world: Embedded, client: Client, secret: str, **changes: str | None) -> dict[str, object]:
    fields = dict(parse_qsl(asking(client, **changes).partition("?")[2]))
    answer = await at_back_channel(world, client, secret, "/oauth/par", fields)
    return {"status": answer.status_code, **answer.json()}


def _using(client: Client, pushed: dict[str, object], **more: str) -> str:
    parameters = {"client_id": client.id, "request_uri": str(pushed["request_uri"]), **more}
    return "/oauth/authorize?" + urlencode(parameters)


@pytest.mark.spec("RFC 9126", "2.2", "MUST")
@pytest.mark.spec("RFC 9126", "4", "SHOULD")
async def test_a_pushed_request_is_answered_once(world: Embedded, client: Client, ada: User) -> None:
    secret = await give_secret(world, client)
    pushed = await _push(world, client, secret, nonce="n" * 5000)
    assert pushed["status"] == 201
    assert pushed["expires_in"] == 90
    assert str(pushed["request_uri"]).startswith(URN)
    async with browsing(world) as browser:
        # What stands beside the reference does not count.
        page = await browser.get(_using(client, pushed, scope="admin", redirect_uri="https://evil.example.com/"))
        page = await browser.get(_using(client, pushed))  # a reload, before the answer
        world.clock.move(300)  # the user takes a while
        page = await sign_in_at(browser, page, ada)
        page = await browser.send(page, button="allow")
        assert page.location.startswith(REDIRECT_URI)
        assert (await code_of(world, client, page)).nonce == "n" * 5000
        page = await browser.get(_using(client, pushed))
        assert page.status == 400
        assert '<code id="error-code">invalid_request_uri</code>' in page.text


async def test_two_tabs_with_one_pushed_request_get_one_answer(world: Embedded, client: Client, ada: User) -> None:
    pushed = await _push(world, client, await give_secret(world, client))
    async with browsing(world) as browser:
        await signed_in(browser, ada)
        one = await browser.get(_using(client, pushed))
        two = await browser.get(_using(client, pushed))
        assert (await browser.send(one, button="allow")).answer["code"]
        page = await browser.send(two, button="allow")
        assert page.status == 400
        assert "location" not in page.headers


@pytest.mark.spec("RFC 9126", "2.2", "MUST")
@pytest.mark.spec("RFC 9126", "4", "MUST")
async def test_a_reference_is_over_soon_and_belongs_to_its_client(world: Embedded, client: Client) -> None:
    pushed = await _push(world, client, await give_secret(world, client))
    other = await make_client(world)
    async with browsing(world) as browser:
        page = await browser.get(_using(other, pushed))
        assert page.status == 400
        text = str(pushed["request_uri"])
        flipped = {"request_uri": text[:-1] + ("y" if text.endswith("x") else "x")}
        assert (await browser.get(_using(client, flipped))).status == 400
        world.clock.move(90)
        assert (await browser.get(_using(client, pushed))).status == 400


@pytest.mark.spec("RFC 9101", "5", "MUST")
async def test_a_signed_request_beside_the_reference_takes_nothing_away(
    world: Embedded, client: Client, ada: User
) -> None:
    """What was pushed stays bound to its key and good once, whatever somebody adds to the address."""
    client = await make_client(world, await make_api(world, "https://other.example.com"), is_first_party=True)
    secret = await give_secret(world, client)
    pushed = await _push(world, client, secret, dpop_jkt="k" * 43)
    async with browsing(world) as browser:
        await signed_in(browser, ada)
        page = await browser.get(_using(client, pushed, request="x"))
        assert page.status == 400
        assert "location" not in page.headers
        page = await browser.get(_using(client, pushed))
        assert (await code_of(world, client, page)).key_thumbprint == "k" * 43
        assert (await browser.get(_using(client, pushed))).status == 400


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"redirect_uri": "https://evil.example.com/"}, "invalid_request"),
        ({"scope": "admin"}, "invalid_scope"),
        ({"request_uri": URN + "kb_pr_x"}, "invalid_request"),
        ({"client_id": "client_0000000000000000"}, "invalid_request"),
        ({"code_challenge": None, "code_challenge_method": None}, "invalid_request"),
    ],
)
@pytest.mark.spec("RFC 9126", "2.1", "MUST")
@pytest.mark.spec("RFC 9126", "2.3", "MUST")
async def test_a_request_that_would_be_refused_is_refused_when_pushed(
    world: Embedded, client: Client, changes: dict[str, str | None], error: str
) -> None:
    pushed = await _push(world, client, await give_secret(world, client), **changes)
    assert pushed["status"] == 400
    assert pushed["error"] == error


@pytest.mark.spec("RFC 9126", "2.1", "MUST")
async def test_a_client_must_prove_itself(world: Embedded, client: Client) -> None:
    secret = await give_secret(world, client)
    wrong = await _push(world, client, secret[:-1] + "x")
    assert (wrong["status"], wrong["error"]) == (401, "invalid_client")


def test_what_proved_the_client_is_not_kept() -> None:
    form = parse(
        b"client_id=c&client_secret=s&client_assertion=a&client_assertion_type=t&scope=x&resource=u:a&resource=u:b"
    )
    assert parameters_in(form).pairs() == [
        ("client_id", "c"),
        ("scope", "x"),
        ("resource", "u:a"),
        ("resource", "u:b"),
    ]


async def test_pushes_are_bounded() -> None:
    async with embedded(limiter=MemoryLimiter(lambda: 0)) as still:  # nothing leaks out of the bucket meanwhile
        client = await make_client(still, await make_api(still), require_pushed_authorization_requests=True)
        secret = await give_secret(still, client)
        answers = [(await _push(still, client, secret))["status"] for _ in range(125)]
    assert answers == [201] * 120 + [429] * 5

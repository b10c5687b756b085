"""Clients that are the URL of their own description: what is believed, kept, and refused."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from keybearer.core.clients import Client, ClientOrigin, GrantType, record_id
from keybearer.core.errors import NotFound, Unreachable
from keybearer.core.lifecycle import Change, change
from keybearer.core.oauth_error import InvalidClient, TooManyRequests
from keybearer.fetch import GuardedFetcher
from keybearer.ports import Fetched
from keybearer.services.client_documents import problem_of, resolve
from tests.support.embedded import Embedded, embedded
from tests.support.oauth import new_key, public_of

URL = "https://app.example.com/oauth/client.json"
DOCUMENT = {"client_id": URL, "client_name": "Shop", "redirect_uris": ["https://app.example.com/callback"]}


class Web:
    """Answers what it was given, and counts."""

    def __init__(self, **changes: Any) -> None:
        self.fetched = Fetched(200, "application/json", json.dumps({**DOCUMENT, **changes}).encode())
        self.asked: list[str] = []

    async def get(self, url: str, *, accept: str = "", limit: int = 0) -> Fetched:
        self.asked.append(url)
        if len(self.fetched.body) > limit:
            raise Unreachable("The answer is larger than it may be.")
        return self.fetched


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
async def world(anyio_backend: str) -> AsyncIterator[Embedded]:
    async with embedded(client_metadata_documents=True) as running:
        yield running


async def resolved(world: Embedded, web: Web, url: str = URL) -> Client:
    object.__setattr__(world.authority, "fetcher", web)
    await resolve(world.authority, url, "192.0.2.1")
    client: Client = await world.store.get(Client, record_id(url))
    return client


@pytest.mark.spec("CIMD", "4", "MUST")
async def test_the_document_becomes_the_client(world: Embedded) -> None:
    client = await resolved(world, Web())
    assert client.client_id == URL
    assert client.id != URL
    assert client.origin is ClientOrigin.METADATA_DOCUMENT
    assert client.is_public
    assert client.require_pkce
    assert not client.is_first_party
    assert client.redirect_uris == ("https://app.example.com/callback",)


async def test_a_document_is_kept_for_a_while_and_then_read_again(world: Embedded) -> None:
    web = Web()
    await resolved(world, web)
    await resolved(world, web)
    assert len(web.asked) == 1
    world.clock.move(3601)
    web.fetched = Web(client_name="Renamed").fetched
    assert (await resolved(world, web)).name == "Renamed"
    assert len(web.asked) == 2


@pytest.mark.parametrize(("says", "kept"), [(0, 300), (900, 900), (10_000_000, 86_400)])
async def test_how_long_a_document_says_it_holds_is_bounded(world: Embedded, says: int, kept: int) -> None:
    web = Web()
    web.fetched = Fetched(200, "application/json", web.fetched.body, says)
    await resolved(world, web)
    world.clock.move(kept - 1)
    await resolved(world, web)
    assert len(web.asked) == 1
    world.clock.move(1)
    await resolved(world, web)
    assert len(web.asked) == 2


@pytest.mark.spec("CIMD", "4.1", "MUST")
@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"client_id": URL + "?"}, "own URL"),
        ({"client_id": "https://other.example/client.json"}, "own URL"),
        ({"client_id": None}, "own URL"),
        ({"client_secret": "s"}, "client_secret"),
        ({"token_endpoint_auth_method": "client_secret_basic"}, "none or private_key_jwt"),
        ({"token_endpoint_auth_method": "private_key_jwt"}, "jwks"),
        ({"redirect_uris": ["javascript:alert(1)"]}, "redirect_uris"),
        ({"grant_types": ["password"]}, "password"),
        ({"client_name": "x" * 20_000}, "16,384 bytes"),
        ({"redirect_uris": "x"}, "redirect_uris"),
    ],
    ids=str,
)
async def test_documents_that_are_not_believed_and_leave_nothing(
    world: Embedded, changes: dict[str, Any], says: str
) -> None:
    with pytest.raises(InvalidClient, match=says):
        await resolved(world, Web(**changes))
    with pytest.raises(NotFound):
        await world.store.get(Client, record_id(URL))


@pytest.mark.spec("CIMD", "3", "MUST")
@pytest.mark.parametrize(
    "url",
    [
        "https://app.example.com",
        "https://app.example.com/a#b",
        "https://user@app.example.com/a",
        "https://app.example.com/a/../b",
        "https://app.example.com/a/%2e%2e/b",
        "https:///a",
        "https://app.example.com:99999/a",
    ],
)
async def test_urls_that_are_no_client_ids_are_never_fetched(world: Embedded, url: str) -> None:
    web = Web()
    assert problem_of(url)
    with pytest.raises(InvalidClient):
        await resolved(world, web, url)
    assert not web.asked


async def test_what_does_not_answer(world: Embedded) -> None:
    web = Web()
    for status in (404, 302, 500):
        web.fetched = Fetched(status, "application/json", b"{}")
        with pytest.raises(InvalidClient, match=str(status)):
            await resolved(world, web)
        world.clock.move(31)


async def test_an_operator_who_revoked_a_client_is_not_overruled_by_its_document(world: Embedded) -> None:
    web = Web()
    client = await resolved(world, web)

    async def work(uow: Any) -> None:
        await uow.update(change(await uow.get(Client, client.id), Change.REVOKE, world.clock.now()))

    await world.store.transact(work)
    world.clock.move(3601)
    assert (await resolved(world, web)).revoked_at is not None


async def test_strangers_cannot_make_it_fetch_without_end(anyio_backend: str) -> None:
    async with embedded(client_metadata_documents=True, client_registrations_per_day=20) as world:
        web = Web()
        for number in range(2):
            with pytest.raises(InvalidClient):
                await resolved(world, web, f"{URL}{number}")
        with pytest.raises(TooManyRequests):
            await resolved(world, web, f"{URL}x")
        assert len(web.asked) == 2
        # Who has had their share keeps the document from nobody else.
        web.fetched = Fetched(200, "", json.dumps({**DOCUMENT, "client_id": f"{URL}x"}).encode())
        await resolve(world.authority, f"{URL}x", "192.0.2.9")
        assert await world.store.get(Client, record_id(f"{URL}x"))


async def test_switched_off_unless_the_operator_wants_it(anyio_backend: str) -> None:
    async with embedded() as world:
        web = Web()
        with pytest.raises(InvalidClient, match="register"):
            await resolved(world, web)
        assert not web.asked


async def test_ids_that_are_no_urls_are_left_alone(world: Embedded) -> None:
    web = Web()
    object.__setattr__(world.authority, "fetcher", web)
    await resolve(world.authority, "client_0000000000000000", "192.0.2.1")
    assert not web.asked
    assert record_id("client_0000000000000000") == "client_0000000000000000"


@pytest.mark.spec("OIDC Registration", "5", "MUST")
async def test_a_document_does_not_join_the_sector_of_others(world: Embedded) -> None:
    """Else a client could see the users of others by the names that they have there."""
    sector = "https://victim.example.com/sector.json"
    web = Web(subject_type="pairwise", sector_identifier_uri=sector)
    with pytest.raises(InvalidClient, match="sector_identifier_uri"):
        await resolved(world, web)
    assert web.asked == [URL, sector]
    with pytest.raises(NotFound):
        await world.store.get(Client, record_id(URL))


@pytest.mark.parametrize(
    "grant", ["client_credentials", GrantType.TOKEN_EXCHANGE.value, GrantType.JWT_BEARER.value], ids=str
)
async def test_a_document_has_no_grant_without_a_user(world: Embedded, grant: str) -> None:
    keys = {"keys": [public_of(new_key())]}
    web = Web(token_endpoint_auth_method="private_key_jwt", jwks=keys, grant_types=["authorization_code", grant])
    with pytest.raises(InvalidClient, match="operator"):
        await resolved(world, web)


async def test_a_document_that_fails_is_not_fetched_at_every_request(world: Embedded) -> None:
    """A known document that has gone would let strangers make this authority knock there as often as they like."""
    web = Web()
    await resolved(world, web)
    world.clock.move(3601)
    good, web.fetched = web.fetched, Fetched(500, "", b"")
    for _ in range(5):
        with pytest.raises(InvalidClient):
            await resolved(world, web)
    assert len(web.asked) == 2
    world.clock.move(31)
    web.fetched = good
    await asyncio.gather(*(resolved(world, web) for _ in range(5)))
    assert len(web.asked) == 3


async def test_a_document_of_a_revoked_client_is_not_fetched(world: Embedded) -> None:
    web = Web()
    client = await resolved(world, web)

    async def work(uow: Any) -> None:
        await uow.update(change(await uow.get(Client, client.id), Change.REVOKE, world.clock.now()))

    await world.store.transact(work)
    world.clock.move(86_401)
    await resolved(world, web)
    assert len(web.asked) == 1


async def test_a_stranger_does_not_learn_what_there_is_in_private_networks(world: Embedded) -> None:
    said = set()
    for host in ("127.0.0.1:9", "10.0.0.1", "[fd00::1]", "nobody.invalid"):
        object.__setattr__(world.authority, "fetcher", GuardedFetcher())
        with pytest.raises(InvalidClient) as refused:
            await resolve(world.authority, f"https://{host}/client.json", "192.0.2.1")
        said.add(refused.value.description)
    assert len(said) == 1

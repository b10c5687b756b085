"""Clients that register, read, change and remove themselves."""

from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from keybearer.core.clients import Client, GrantType
from keybearer.core.records import Project, State
from keybearer.ports import Fetched
from keybearer.services import apis, client_registration, keys, projects
from keybearer.wire.keys import CreateKey
from keybearer.wire.records import CreateApi, CreateProject, PermissionSpec, UpdateProject
from tests.support.embedded import Embedded, embedded

REDIRECT = "https://app.example.com/callback"


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
async def world(anyio_backend: str) -> AsyncIterator[Embedded]:
    async with embedded(client_registration="open", issuer="https://keys.example.com") as running:
        yield running


async def register(world: Embedded, key: str = "", **metadata: Any) -> httpx.Response:
    async with world.http(key) as http:
        return await http.post("/oauth/register", json={"redirect_uris": [REDIRECT], **metadata})


async def manage(world: Embedded, method: str, said: dict[str, Any], token: str | None = None, **rest: Any) -> Any:
    bearer = said["registration_access_token"] if token is None else token
    path = said["registration_client_uri"].removeprefix("https://keys.example.com")
    async with world.http(bearer or "") as http:
        return await http.request(method, path, **rest)


@pytest.mark.spec("RFC 7591", "3.2.1", "MUST")
async def test_a_stranger_registers_and_is_told_everything(world: Embedded) -> None:
    answer = await register(world, client_name="Shop", unknown_member={"x": 1})
    assert answer.status_code == 201
    assert answer.headers["cache-control"] == "no-store"
    said = answer.json()
    assert said["client_name"] == "Shop"
    assert said["client_id"].startswith("client_")
    assert said["client_secret"].startswith("kb_cs_")
    assert said["client_secret_expires_at"] == 0
    assert said["redirect_uris"] == [REDIRECT]
    assert said["grant_types"] == ["authorization_code"]
    assert said["token_endpoint_auth_method"] == "client_secret_basic"
    assert said["registration_client_uri"] == f"https://keys.example.com/oauth/register/{said['client_id']}"
    assert said["id_token_signed_response_alg"] == "RS256"
    assert "unknown_member" not in said
    stored = await world.store.get(Client, said["client_id"])
    assert stored.project_id == client_registration.PROJECT
    assert not stored.is_first_party
    assert stored.require_pkce
    # Neither the secret nor the registration token is kept.
    assert said["client_secret"].encode() not in repr(stored).encode()
    assert said["registration_access_token"] not in repr(stored)


@pytest.mark.spec("RFC 7591", "3.2.2", "MUST")
@pytest.mark.parametrize(
    ("metadata", "error", "says"),
    [
        ({"redirect_uris": ["http://app.example.com/"]}, "invalid_redirect_uri", "https"),
        ({"redirect_uris": ["https://app.example.com/#x"]}, "invalid_redirect_uri", "fragment"),
        ({"redirect_uris": ["javascript:alert(1)"]}, "invalid_redirect_uri", "redirect_uris[0]"),
        ({"redirect_uris": []}, "invalid_redirect_uri", "at least one"),
        ({"redirect_uris": "https://app.example.com/"}, "invalid_client_metadata", "redirect_uris"),
        ({"grant_types": ["password"]}, "invalid_client_metadata", "password"),
        ({"grant_types": ["implicit"]}, "invalid_client_metadata", "implicit"),
        ({"response_types": ["token"]}, "invalid_client_metadata", "code"),
        ({"token_endpoint_auth_method": "magic"}, "invalid_client_metadata", "magic"),
        ({"token_endpoint_auth_method": "private_key_jwt"}, "invalid_client_metadata", "jwks"),
        ({"jwks": {"keys": [{"kty": "EC", "d": "x"}]}}, "invalid_client_metadata", "private"),
        ({"jwks_uri": "http://app.example.com/keys"}, "invalid_client_metadata", "https"),
        ({"subject_type": "secret"}, "invalid_client_metadata", "subject_type"),
        ({"id_token_signed_response_alg": "none"}, "invalid_client_metadata", "alg"),
        ({"software_statement": "eyJ"}, "invalid_client_metadata", "software_statement"),
        ({"client_name": "x" * 201}, "invalid_client_metadata", "client_name"),
        ({"client_name": "\u202e\x00"}, "invalid_client_metadata", "control"),
        (
            {"token_endpoint_auth_method": "none", "grant_types": ["client_credentials"]},
            "invalid_client_metadata",
            "cannot keep a secret",
        ),
    ],
    ids=str,
)
async def test_what_cannot_be_registered(world: Embedded, metadata: dict[str, Any], error: str, says: str) -> None:
    answer = await register(world, **metadata)
    assert answer.status_code == 400, answer.text
    said = answer.json()
    assert said["error"] == error
    assert says in said["error_description"]


async def test_bodies_that_are_no_metadata(world: Embedded) -> None:
    async with world.http("") as http:
        for body, kind in ((b"{", "application/json"), (b"[]", "application/json"), (b"{}", "text/plain")):
            answer = await http.post("/oauth/register", content=body, headers={"content-type": kind})
            assert answer.status_code == 400
            assert answer.json()["error"] == "invalid_client_metadata"
        huge = await http.post("/oauth/register", content=b" " * 40_000, headers={"content-type": "application/json"})
        assert huge.status_code == 413


async def test_the_operator_decides_what_strangers_may_ask_for(world: Embedded) -> None:
    """authentik CVE-2024-52287: no scope comes by asking for it."""
    await register(world)
    root, authority = world.root, world.authority
    specs = [PermissionSpec("orders:read"), PermissionSpec("orders:refund", restricted=True)]
    api = await apis.create(authority, root, CreateApi("https://orders.example", "Orders", specs))
    asked = "openid orders:read orders:refund keybearer:admin made:up"
    assert (await register(world, scope=asked)).json()["scope"] == "openid"
    await projects.update(authority, root, client_registration.PROJECT, UpdateProject(enabled_apis=[api.id]))
    assert (await register(world, scope=asked)).json()["scope"] == "openid orders:read"


async def test_mass_assignment(world: Embedded) -> None:
    """Better Auth CVE-2025-61928: what the authority decides cannot be sent."""
    answer = await register(
        world,
        project_id="proj_0000000000000000",
        is_first_party=True,
        require_pkce=False,
        origin="managed",
        limits=[],
        state="enabled",
        client_id="client_chosen",
        client_secret="chosen",
    )
    stored = await world.store.get(Client, answer.json()["client_id"])
    assert stored.project_id == client_registration.PROJECT
    assert stored.id != "client_chosen"
    assert (stored.is_first_party, stored.require_pkce, stored.origin.value) == (False, True, "registered")


@pytest.mark.spec("RFC 7592", "2.1", "MUST")
async def test_a_client_reads_its_own_registration_and_nobody_elses(world: Embedded) -> None:
    mine, other = (await register(world)).json(), (await register(world)).json()
    read = await manage(world, "GET", mine)
    assert read.status_code == 200
    assert read.json()["client_id"] == mine["client_id"]
    assert "client_secret" not in read.json()
    flipped = mine["registration_access_token"][:-7] + "A" + mine["registration_access_token"][-6:]
    for token in (other["registration_access_token"], mine["client_secret"], world.root_key, flipped, ""):
        refused = await manage(world, "GET", mine, token)
        assert refused.status_code == 401, token
        assert "invalid_token" in refused.headers["www-authenticate"]


@pytest.mark.spec("RFC 7592", "2.2", "MUST")
async def test_a_client_replaces_its_registration(world: Embedded) -> None:
    mine = (await register(world, client_name="Old", client_uri="https://app.example.com/")).json()
    again = {"client_id": mine["client_id"], "redirect_uris": [REDIRECT + "2"], "client_name": "New"}
    changed = await manage(world, "PUT", mine, json=again)
    assert changed.status_code == 200, changed.text
    assert changed.json()["redirect_uris"] == [REDIRECT + "2"]
    assert "client_uri" not in changed.json()
    wrong = await manage(world, "PUT", mine, json={**again, "client_id": "client_0000000000000000"})
    assert wrong.json()["error"] == "invalid_client_metadata"
    needs = await manage(world, "PUT", mine, json={**again, "token_endpoint_auth_method": "client_secret_jwt"})
    assert needs.json()["error"] == "invalid_client_metadata"


@pytest.mark.spec("RFC 7592", "2.3", "MUST")
async def test_a_client_removes_itself(world: Embedded) -> None:
    mine = (await register(world)).json()
    assert (await manage(world, "DELETE", mine)).status_code == 204
    assert (await world.store.get(Client, mine["client_id"])).state is State.DELETED
    assert (await manage(world, "GET", mine)).status_code == 401


async def test_strangers_cannot_fill_the_disk(anyio_backend: str) -> None:
    async with embedded(client_registration="open", client_registrations_per_day=20) as world:
        statuses = [(await register(world)).status_code for _ in range(3)]
        assert statuses == [201, 201, 429]
        refused = await register(world)
        assert int(refused.headers["retry-after"]) > 0
        world.clock.move(86_400)
        assert (await register(world)).status_code == 201


@pytest.mark.parametrize("setting", ["off", "token"])
async def test_registration_is_closed_to_strangers_unless_opened(anyio_backend: str, setting: str) -> None:
    async with embedded(client_registration=setting) as world:
        answer = await register(world)
        assert answer.status_code == 403
        assert answer.json()["error"] == "access_denied"


@pytest.mark.spec("RFC 7591", "3", "MUST")
async def test_a_key_that_may_registers_for_its_project(anyio_backend: str) -> None:
    async with embedded(client_registration="token") as world:
        authority, root = world.authority, world.root
        own = authority.own_api_id
        project = (await projects.create(authority, root, CreateProject("Shop", enabled_apis=[own]))).id
        may = await keys.create(authority, root, CreateKey(project, "k", permissions=["keybearer:clients.register"]))
        may_not = await keys.create(authority, root, CreateKey(project, "k", permissions=["keybearer:verify"]))
        answer = await register(world, may.credential)
        assert answer.status_code == 201, answer.text
        stored = await world.store.get(Client, answer.json()["client_id"])
        assert stored.project_id == project
        # Power over Keybearer is not handed on, although the project may call its API.
        assert not [scope for scope in stored.scopes if scope.startswith("keybearer:")]
        assert (await register(world, may_not.credential)).status_code == 403
        assert (await world.store.get(Project, project)).state is State.ENABLED


async def test_pkce_may_be_relaxed_by_the_operator_for_clients_with_a_secret_only(anyio_backend: str) -> None:
    async with embedded(client_registration="open", registered_clients_need_pkce=False) as world:
        for method, needed in (("client_secret_basic", False), ("none", True)):
            said = (await register(world, token_endpoint_auth_method=method)).json()
            assert (await world.store.get(Client, said["client_id"])).require_pkce is needed


class Sector:
    """Answers the document of a sector."""

    def __init__(self, body: bytes, status: int = 200) -> None:
        self.fetched = Fetched(status, "application/json", body)

    async def get(self, url: str, **_: Any) -> Fetched:
        return self.fetched


@pytest.mark.spec("OIDC Registration", "5", "MUST")
@pytest.mark.parametrize(
    ("body", "status", "registered"),
    [
        (b'["https://app.example.com/callback", "https://other.example.com/"]', 200, True),
        (b'["https://other.example.com/"]', 200, False),
        (b"[]", 200, False),
        (b'{"redirect_uris": []}', 200, False),
        (b"[1]", 200, False),
        (b"\xff", 200, False),
        (b'["https://app.example.com/callback"]', 404, False),
    ],
)
async def test_a_sector_vouches_for_its_redirect_uris(
    world: Embedded, body: bytes, status: int, registered: bool
) -> None:
    object.__setattr__(world.authority, "fetcher", Sector(body, status))
    uri = "https://sector.example.com/uris.json"
    answer = await register(world, subject_type="pairwise", sector_identifier_uri=uri)
    assert answer.status_code == (201 if registered else 400), answer.text
    if not registered:
        assert answer.json()["error"] == "invalid_client_metadata"


@pytest.mark.parametrize(
    "grant", ["client_credentials", GrantType.TOKEN_EXCHANGE.value, GrantType.JWT_BEARER.value], ids=str
)
async def test_a_stranger_has_no_grant_without_a_user(world: Embedded, grant: str) -> None:
    """What a user may agree to is not what a stranger may do by themselves."""
    answer = await register(world, grant_types=["authorization_code", grant])
    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_client_metadata")
    said = (await register(world, grant_types=["authorization_code", "refresh_token"])).json()
    body = {"client_id": said["client_id"], "redirect_uris": [REDIRECT], "grant_types": [grant]}
    assert (await manage(world, "PUT", said, json=body)).status_code == 400


async def test_a_registration_does_not_change_without_end(world: Embedded, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each change is an entry in the logs: one registration would do to fill the disk."""
    monkeypatch.setattr(client_registration, "UPDATES_PER_DAY", 3)
    said = (await register(world)).json()
    body = {"client_id": said["client_id"], "redirect_uris": [REDIRECT]}
    statuses = [(await manage(world, "PUT", said, json=body)).status_code for _ in range(5)]
    assert statuses == [200, 200, 200, 429, 429]
    world.clock.move(86_400)
    assert (await manage(world, "PUT", said, json=body)).status_code == 200

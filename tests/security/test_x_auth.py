"""The X-Auth-Token service against bad input, wrong owners, and tokens that should have ended."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import httpx
import pytest

from keybearer.core.clients import SECRET_PREFIX, Client, x_auth_id
from keybearer.core.credential import mint, new_id
from keybearer.core.instant import Instant
from keybearer.core.records import Api, TokenFormat
from keybearer.core.tokens import scopes_in_force
from tests.support.embedded import Embedded, embedded
from tests.support.oauth import new_key, oauth_world, proof

pytestmark = pytest.mark.anyio

URL = "https://storage.example/v1/AUTH_{project_id}"
CATALOG = [{"type": "object-store", "name": "files", "url": URL}]
TOKENS = "/v3/auth/tokens"


@dataclass
class Cloud:
    """An authority, an API with a catalogue, a project that may call it, and a key of that."""

    world: Embedded
    http: httpx.AsyncClient
    api: dict[str, Any]
    project: dict[str, Any]
    key_id: str = ""
    secret: str = ""

    async def call(self, method: str, path: str, body: Any = None) -> Any:
        async with self.world.http() as http:
            answer = await http.request(method, path, json=body or None)
        assert answer.is_success, answer.text
        return answer.json()

    async def key(self, *permissions: str, **more: Any) -> tuple[str, str]:
        body = {"project_id": self.project["id"], "name": "web", "permissions": list(permissions), **more}
        issued = await self.call("POST", "/v1/keys", body)
        return issued["key"]["id"], issued["credential"]

    async def client(self, **more: Any) -> tuple[str, str]:
        body = {"project_id": self.project["id"], "name": "robot", "scopes": ["objects:read"], **more}
        issued = await self.call("POST", "/v1/clients", {"grant_types": ["client_credentials"], **body})
        return issued["client"]["id"], issued["client_secret"]

    async def v1(self, user: str, secret: str, **more: str) -> httpx.Response:
        return await self.http.get("/auth/v1.0", headers={"X-Auth-User": user, "X-Auth-Key": secret, **more})

    async def v3(self, secret: str, name: str = "web", scope: Any = None) -> httpx.Response:
        auth: dict[str, Any] = {"identity": password(name, secret)}
        if scope is not None:
            auth["scope"] = scope
        return await self.http.post(TOKENS, json={"auth": auth})

    async def token(self, secret: str = "", name: str = "web") -> str:
        answer = await self.v3(secret or self.secret, name)
        assert answer.status_code == 201, answer.text
        return answer.headers["x-subject-token"]

    async def ask(self, method: str, caller: str, subject: str) -> httpx.Response:
        return await self.http.request(method, TOKENS, headers={"X-Auth-Token": caller, "X-Subject-Token": subject})


def password(name: str, secret: str) -> dict[str, Any]:
    return {"methods": ["password"], "password": {"user": {"name": name, "password": secret}}}


@pytest.fixture
async def cloud() -> AsyncIterator[Cloud]:
    async with embedded(x_auth=True, failures_per_minute=0) as world, world.http("") as http:
        yield await _cloud(world, http)


async def _cloud(world: Embedded, http: httpx.AsyncClient) -> Cloud:
    cloud = Cloud(world, http, {}, {})
    permissions = [{"name": "objects:read"}, {"name": "objects:write"}]
    body = {"identifier": "https://storage.example", "name": "Storage", "permissions": permissions}
    cloud.api = await cloud.call("POST", "/v1/apis", {**body, "metadata": {"catalog": CATALOG}})
    cloud.project = await cloud.call("POST", "/v1/projects", {"name": "Shop", "enabled_apis": [cloud.api["id"]]})
    cloud.key_id, cloud.secret = await cloud.key("objects:read")
    return cloud


async def test_it_is_off_unless_the_settings_say_so() -> None:
    async with embedded() as world, world.http("") as http:
        for path in ("/auth/v1.0", "/v3", "/identity", TOKENS):
            assert (await http.get(path)).status_code == 404


async def test_a_key_becomes_a_token_that_reaches_no_further(cloud: Cloud) -> None:
    answer = await cloud.v1("Shop:web", cloud.secret)
    assert answer.status_code == 200
    token = answer.headers["x-auth-token"]
    assert answer.headers["x-storage-token"] == token
    assert answer.headers["x-storage-url"] == URL.format(project_id=cloud.project["id"])
    assert answer.headers["x-auth-token-expires"] == "3600"
    assert answer.headers["cache-control"] == "no-store"
    assert answer.content == b""
    said = await cloud.world.verify(token, api="https://storage.example")
    assert (said["valid"], said["permissions"], said["principal"]["key_id"]) == (True, ["objects:read"], cloud.key_id)
    assert said["principal"]["project_id"] == cloud.project["id"]
    refused = await cloud.world.verify(token, permissions=["objects:write"])
    assert refused["code"] == "INSUFFICIENT_PERMISSIONS"
    drafts = [entry.draft for entry in await cloud.world.audit()]
    issued = next(draft for draft in drafts if draft.action == "token.issue")
    assert (issued.actor, issued.details["key_id"]) == (cloud.key_id, cloud.key_id)
    assert cloud.secret not in str(await cloud.world.audit())


async def test_a_token_ends_with_its_key_its_client_and_its_project(cloud: Cloud) -> None:
    service = x_auth_id(cloud.project["id"])
    ends = [
        ("POST", f"/v1/keys/{cloud.key_id}/disable", f"/v1/keys/{cloud.key_id}/enable"),
        ("POST", f"/v1/clients/{service}/disable", f"/v1/clients/{service}/enable"),
        ("POST", f"/v1/projects/{cloud.project['id']}/disable", f"/v1/projects/{cloud.project['id']}/enable"),
    ]
    token = await cloud.token()
    for method, path, back in ends:
        await cloud.call(method, path, {})
        assert not (await cloud.world.verify(token))["valid"], path
        assert (await cloud.v1("Shop:web", cloud.secret)).status_code == 401, path
        await cloud.call(method, back, {})
        assert (await cloud.world.verify(token))["valid"], path
    cloud.world.clock.move(3600)
    assert (await cloud.world.verify(token))["code"] == "EXPIRED"


async def test_a_token_lives_no_longer_than_its_key(cloud: Cloud) -> None:
    await cloud.call("PATCH", f"/v1/keys/{cloud.key_id}", {"expires_at": "2027-01-15T08:05:00Z"})
    assert (await cloud.v1("Shop", cloud.secret)).headers["x-auth-token-expires"] == "300"
    key_id, secret = await cloud.key("objects:read")
    await cloud.call("POST", f"/v1/keys/{key_id}/rotate", {"grace_in": 600})
    assert (await cloud.v1("Shop", secret)).headers["x-auth-token-expires"] == "600"


async def test_a_token_dies_with_the_secret_that_it_was_fetched_with(cloud: Cloud) -> None:
    old = await cloud.token()
    fresh = await cloud.call("POST", f"/v1/keys/{cloud.key_id}/rotate", {"grace_in": 600})
    new = await cloud.token(fresh["credential"])
    await cloud.call("POST", f"/v1/keys/{cloud.key_id}/versions/1/revoke")
    assert (await cloud.world.verify(old))["code"] == "REVOKED"
    assert (await cloud.world.verify(new))["valid"]


async def test_restrictions_of_the_key_hold_for_its_token(cloud: Cloud) -> None:
    _, elsewhere = await cloud.key("objects:read", restrictions={"ip_networks": ["10.0.0.0/8"]})
    assert (await cloud.v1("Shop", elsewhere)).status_code == 401
    _, here = await cloud.key("objects:read", restrictions={"ip_networks": ["192.0.2.0/24"], "paths": ["/v1/*"]})
    token = await cloud.token(here)
    assert (await cloud.world.verify(token, client_ip="192.0.2.9", method="GET", url="https://x/v1/a"))["valid"]
    assert not (await cloud.world.verify(token, client_ip="192.0.2.9", method="GET", url="https://x/v2"))["valid"]
    assert not (await cloud.world.verify(token, client_ip="10.1.1.1", method="GET", url="https://x/v1/a"))["valid"]


async def test_only_secret_keys_and_clients_that_act_for_themselves_sign_in(cloud: Cloud) -> None:
    client_id, good = await cloud.client()
    assert (await cloud.v1(client_id, good)).status_code == 200
    _, publishable = await cloud.key(
        "objects:read", kind="publishable_key", restrictions={"origins": ["https://a.example"]}
    )
    other, code = await cloud.client(grant_types=["authorization_code"], redirect_uris=["https://a.example/cb"])
    bound, proven = await cloud.client(dpop_bound_access_tokens=True)
    for user, secret in (
        ("Shop:web", publishable),
        (other, code),
        (bound, proven),
        ("ada@example.com", "her password"),
    ):
        assert (await cloud.v1(user, secret)).status_code == 401, user
    await cloud.call("POST", f"/v1/clients/{client_id}/disable", {})
    assert (await cloud.v1(client_id, good)).status_code == 401


async def test_who_is_named_must_own_the_secret(cloud: Cloud) -> None:
    project, key_id = cloud.project["id"], cloud.key_id
    for user in ("Shop:web", f"Shop:{key_id}", f"{project}:web", f"{project}:{key_id}", "Shop", project, key_id, "web"):
        assert (await cloud.v1(user, cloud.secret)).status_code == 200, user
    await cloud.call("POST", "/v1/projects", {"name": "Other", "enabled_apis": [cloud.api["id"]]})
    for user in ("Other:web", "Other", "Shop:other", "web:Shop", ":web", "Shop:", "shop:web", "", "Shop:web:", "*"):
        assert (await cloud.v1(user, cloud.secret)).status_code == 401, user


async def test_every_refusal_is_the_same(cloud: Cloud) -> None:
    client_id, secret = await cloud.client()
    disabled, off = await cloud.key()
    await cloud.call("POST", f"/v1/keys/{disabled}/disable", {})
    wrong = cloud.secret[:-12] + ("B" if cloud.secret[-12] == "A" else "A") + cloud.secret[-11:]
    nobodys = mint(SECRET_PREFIX, new_id(Instant(cloud.world.clock.at))).reveal()
    pairs = [
        ("Shop", nobodys),
        ("Shop", wrong),
        ("Other", cloud.secret),
        ("Shop", off),
        (client_id, secret[:-1]),
        ("Shop", ""),
        ("", ""),
    ]
    v1 = {(answer.status_code, answer.content) for answer in [await cloud.v1(*pair) for pair in pairs]}
    assert len(v1) == 1
    assert {status for status, _ in v1} == {401}
    v3 = [await cloud.v3(secret, name) for name, secret in pairs if name and secret]
    assert len({answer.content for answer in v3}) == 1
    error = v3[0].json()["error"]
    assert (error["code"], error["title"]) == (401, "Unauthorized")
    assert v3[0].headers["www-authenticate"].startswith('Keystone uri="')
    assert v3[0].headers["vary"] == "X-Auth-Token"
    assert v3[0].headers["cache-control"] == "no-store"


async def test_guessing_is_slowed_down() -> None:
    async with embedded(x_auth=True, failures_per_minute=5) as world, world.http("") as http:
        cloud = await _cloud(world, http)
        client_id, secret = await cloud.client()
        guesses = [
            lambda: cloud.v1("Shop", "nonsense"),
            lambda: cloud.v1("Other", cloud.secret),
            lambda: cloud.v1("Shop", secret),
            lambda: cloud.ask("GET", "nonsense", "nonsense"),
            lambda: cloud.v1(client_id, secret.replace(secret[30], "x")),
        ]
        seen = [(await guess()).status_code for guess in guesses * 2]
        assert 429 in seen, seen
        for answer in (
            await cloud.v3(cloud.secret),
            await cloud.v1(client_id, secret),
            await cloud.ask("GET", "a", "a"),
        ):
            assert answer.status_code == 429
            assert int(answer.headers["retry-after"]) > 0


async def test_what_strangers_send_a_service_does_not_lock_the_service_out() -> None:
    async with embedded(x_auth=True, failures_per_minute=3) as world, world.http("") as http:
        cloud = await _cloud(world, http)
        service, good = await _service(cloud), await cloud.token()
        for junk in ("nonsense", "", good[:-1], "kb_at_1_2") * 3:
            assert (await cloud.ask("GET", service, junk)).status_code in (400, 404)
        assert (await cloud.ask("GET", service, good)).status_code == 200


async def test_a_token_is_traded_for_itself_and_for_nothing_else(cloud: Cloud) -> None:
    token = await cloud.token()

    async def traded(scope: Any) -> httpx.Response:
        identity = {"methods": ["token"], "token": {"id": token}}
        return await cloud.http.post(TOKENS, json={"auth": {"identity": identity, **scope}})

    own: list[dict[str, Any]] = [{"name": "Shop"}, {"id": cloud.project["id"]}]
    own += [{"name": "Shop", "domain": {"id": domain}} for domain in ("default", cloud.api["id"])]
    for scope in ({}, *({"scope": {"project": project}} for project in own)):
        answer = await traded(scope)
        assert (answer.status_code, answer.headers["x-subject-token"]) == (201, token)
    other = await cloud.call("POST", "/v1/projects", {"name": "Other", "enabled_apis": [cloud.api["id"]]})
    for project in ({"id": other["id"]}, {"name": "Other"}, {"name": "Shop", "domain": {"id": "urn:another"}}):
        assert (await traded({"scope": {"project": project}})).status_code == 401
    await cloud.ask("DELETE", token, token)
    assert (await traded({})).status_code == 401


BAD_BODIES: dict[str, tuple[int, Any]] = {
    "empty": (400, b""),
    "no JSON": (400, b"{"),
    "a list": (400, []),
    "no auth": (400, {}),
    "no identity": (400, {"auth": {}}),
    "methods that are a text": (400, {"auth": {"identity": {"methods": "password"}}}),
    "no methods": (400, {"auth": {"identity": {"methods": []}}}),
    "a method without its member": (400, {"auth": {"identity": {"methods": ["password"]}}}),
    "the member of another": (
        400,
        {"auth": {"identity": {"methods": ["token"], "password": {"user": {"id": "a", "password": "b"}}}}},
    ),
    "several methods": (
        400,
        {"auth": {"identity": {**password("web", "SECRET"), "methods": ["password", "token"], "token": {"id": "a"}}}},
    ),
    "two members": (400, {"auth": {"identity": {**password("web", "SECRET"), "token": {"id": "a"}}}}),
    "a password that is a number": (
        400,
        {"auth": {"identity": {"methods": ["password"], "password": {"user": {"id": "a", "password": 7}}}}},
    ),
    "id and name": (
        400,
        {
            "auth": {
                "identity": {"methods": ["password"], "password": {"user": {"id": "a", "name": "b", "password": "c"}}}
            }
        },
    ),
    "nobody": (400, {"auth": {"identity": {"methods": ["password"], "password": {"user": {"password": "c"}}}}}),
    "an unknown member": (400, {"auth": {"identity": password("web", "SECRET"), "admin": True}}),
    "a domain as scope": (
        400,
        {"auth": {"identity": password("web", "SECRET"), "scope": {"domain": {"id": "default"}}}},
    ),
    "the system as scope": (400, {"auth": {"identity": password("web", "SECRET"), "scope": {"system": {"all": True}}}}),
    "a trust": (400, {"auth": {"identity": password("web", "SECRET"), "scope": {"OS-TRUST:trust": {"id": "a"}}}}),
    "project and domain": (
        400,
        {"auth": {"identity": password("web", "SECRET"), "scope": {"project": {"id": "a"}, "domain": {"id": "a"}}}},
    ),
    "no scope at all": (400, {"auth": {"identity": password("web", "SECRET"), "scope": "unscoped"}}),
    "another text as scope": (400, {"auth": {"identity": password("web", "SECRET"), "scope": "all"}}),
    "an empty scope": (400, {"auth": {"identity": password("web", "SECRET"), "scope": {}}}),
    "oauth1": (401, {"auth": {"identity": {"methods": ["oauth1"], "oauth1": {}}}}),
    "totp": (401, {"auth": {"identity": {"methods": ["totp"], "totp": {"user": {"id": "a", "passcode": "1"}}}}}),
    "a key twice": (400, b'{"auth": {"identity": {"methods": ["token"], "token": {"id": "a", "id": "b"}}}}'),
    "half a character in a secret": (
        400,
        b'{"auth": {"identity": {"methods": ["password"], "password": {"user": {"id": "a", "password": "\\ud800"}}}}}',
    ),
    "half a character in a name": (
        400,
        b'{"auth": {"identity": {"methods": ["password"], "password": {"user": {"id": "\\udfff", "password": "S"}}}}}',
    ),
    "half a character in a token": (
        400,
        b'{"auth": {"identity": {"methods": ["token"], "token": {"id": "\\ud800"}}}}',
    ),
    "deep": (400, b'{"auth":' * 5000),
    "large": (413, b'{"auth": "' + b"a" * 70_000 + b'"}'),
    "another project": (
        401,
        {"auth": {"identity": password("web", "SECRET"), "scope": {"project": {"name": "Other"}}}},
    ),
    "another API": (
        403,
        {
            "auth": {
                "identity": password("web", "SECRET"),
                "scope": {"project": {"name": "Shop", "domain": {"id": "x"}}},
            }
        },
    ),
}


@pytest.mark.parametrize("name", BAD_BODIES)
async def test_bad_bodies_are_refused_in_form(cloud: Cloud, name: str) -> None:
    status, body = BAD_BODIES[name]
    text = (body if isinstance(body, bytes) else json.dumps(body).encode()).replace(b"SECRET", cloud.secret.encode())
    answer = await cloud.http.post(TOKENS, content=text, headers={"content-type": "application/json"})
    assert answer.status_code == status, answer.text
    error = answer.json()["error"]
    assert (error["code"], sorted(error)) == (status, ["code", "message", "title"])
    assert cloud.secret not in answer.text
    assert "x-subject-token" not in answer.headers


async def test_another_media_type_is_refused(cloud: Cloud) -> None:
    answer = await cloud.http.post(TOKENS, content=b"{}", headers={"content-type": "text/plain"})
    assert (answer.status_code, answer.json()["error"]["code"]) == (415, 415)


async def test_fields_of_the_head_count_once_and_in_one_spelling(cloud: Cloud) -> None:
    both = {"X-Storage-User": "Shop", "X-Storage-Pass": cloud.secret}
    assert (await cloud.http.get("/auth/v1", headers=both)).status_code == 200
    assert (await cloud.http.get("/auth/v1.0", headers=both | {"X-Auth-User": "Shop"})).status_code == 400
    twice = [("X-Auth-User", "Shop"), ("X-Auth-User", "Shop"), ("X-Auth-Key", cloud.secret)]
    assert (await cloud.http.get("/auth/v1.0", headers=twice)).status_code == 400
    for spelling in ("X_Auth_Key", "X.Auth.Key", "X-Auth_Key", "HTTP_X_AUTH_KEY"):
        assert (
            await cloud.http.get("/auth/v1.0", headers={"X-Auth-User": "Shop", spelling: cloud.secret})
        ).status_code == 401
    assert (await cloud.http.get(f"/auth/v1.0?X-Auth-User=Shop&X-Auth-Key={cloud.secret}")).status_code == 401
    odd = [(b"X-Auth-User", b"\xff"), (b"X-Auth-Key", cloud.secret.encode())]
    assert (await cloud.http.get("/auth/v1.0", headers=odd)).status_code == 400
    token = await cloud.token()
    two = [("X-Auth-Token", token), ("X-Auth-Token", token), ("X-Subject-Token", token)]
    assert (await cloud.http.get(TOKENS, headers=two)).status_code == 400
    assert (await cloud.http.get(TOKENS, headers={"X-Auth-Token": token})).status_code == 400
    assert (await cloud.http.get(TOKENS, headers={"X-Subject-Token": token})).status_code == 401


async def test_names_beyond_ascii(cloud: Cloud) -> None:
    await cloud.call("PATCH", f"/v1/projects/{cloud.project['id']}", {"name": "Café: größer"})
    user = "Café: größer:web".encode()
    head = [(b"X-Auth-User", user), (b"X-Auth-Key", cloud.secret.encode())]
    assert (await cloud.http.get("/auth/v1.0", headers=head)).status_code == 200


async def test_a_token_is_shown_to_those_who_may_know(cloud: Cloud) -> None:
    token = await cloud.token()
    shown = await cloud.ask("GET", token, token)
    assert shown.status_code == 200
    said = shown.json()["token"]
    assert said["user"]["id"] == cloud.key_id
    assert said["project"]["id"] == cloud.project["id"]
    assert said["roles"] == [{"id": "objects:read", "name": "objects:read"}]
    assert said["catalog"][0]["endpoints"][0]["url"] == URL.format(project_id=cloud.project["id"])
    head = {"X-Auth-Token": token, "X-Subject-Token": token}
    assert "catalog" not in (await cloud.http.get(TOKENS + "?nocatalog", headers=head)).json()["token"]
    assert (await cloud.ask("HEAD", token, token)).status_code == 200

    _, second = await cloud.key()
    assert (await cloud.ask("GET", await cloud.token(second), token)).status_code == 200
    stranger = await _stranger(cloud)
    assert (await cloud.ask("GET", stranger, token)).status_code == 404
    assert (await cloud.ask("DELETE", stranger, token)).status_code == 404
    service = await _service(cloud)
    assert (await cloud.ask("GET", service, token)).status_code == 200
    assert (await cloud.ask("DELETE", service, token)).status_code == 403
    assert (await cloud.ask("DELETE", await cloud.token(second), token)).status_code == 403
    assert (await cloud.world.verify(token))["valid"]
    assert (await cloud.ask("DELETE", await cloud.token(), token)).status_code == 204
    assert (await cloud.world.verify(token))["code"] == "REVOKED"
    assert (await cloud.ask("GET", service, token)).status_code == 404
    assert (await cloud.ask("GET", token, token)).status_code == 401
    assert (await cloud.ask("GET", service, "nonsense")).status_code == 404


async def _stranger(cloud: Cloud) -> str:
    """A token of another project."""
    body = {"name": "Other", "enabled_apis": [cloud.api["id"]]}
    other = await cloud.call("POST", "/v1/projects", body)
    _, secret = await cloud.key("objects:read", project_id=other["id"])
    return await cloud.token(secret)


async def _service(cloud: Cloud) -> str:
    """A token of a service key of the authority's own project, which may verify, and nothing else."""
    own = cloud.world.authority.own_project_id
    granted = ("keybearer:verify", "keybearer:keys.read")
    _, secret = await cloud.key(*granted, project_id=own, name="storage")
    token = await cloud.token(secret, "storage")
    assert (await cloud.world.verify(token))["permissions"] == ["keybearer:verify"]
    return token


async def test_no_secret_of_a_person_or_token_signs_in_with_a_password(cloud: Cloud) -> None:
    token = await cloud.token()
    assert (await cloud.v3(token)).status_code == 401
    assert (await cloud.v1("Shop", token)).status_code == 401
    identity = {"methods": ["token"], "token": {"id": cloud.secret}}
    assert (await cloud.http.post(TOKENS, json={"auth": {"identity": identity}})).status_code == 401


async def test_an_api_is_chosen_by_its_catalogue_or_its_domain(cloud: Cloud) -> None:
    body = {"identifier": "https://backup.example", "name": "Backup", "permissions": [{"name": "objects:read"}]}
    second = await cloud.call("POST", "/v1/apis", {**body, "metadata": {"catalog": CATALOG}})
    apis = [cloud.api["id"], second["id"]]
    await cloud.call("PATCH", f"/v1/projects/{cloud.project['id']}", {"enabled_apis": apis})
    assert (await cloud.v1("Shop", cloud.secret)).status_code == 403
    for domain in ({"id": second["id"]}, {"name": "Backup"}, {"name": "https://backup.example"}):
        answer = await cloud.v3(cloud.secret, scope={"project": {"name": "Shop", "domain": domain}})
        assert answer.status_code == 201
        said = await cloud.world.verify(answer.headers["x-subject-token"], api="https://backup.example")
        assert said["valid"]
    _, narrow = await cloud.key("objects:read", restrictions={"apis": [cloud.api["id"]]})
    assert (await cloud.v1("Shop", narrow)).status_code == 200
    await cloud.call("PATCH", f"/v1/apis/{second['id']}", {"metadata": {}})
    assert (await cloud.v1("Shop", cloud.secret)).status_code == 200


BAD_CATALOGS: dict[str, tuple[Any, str]] = {
    "a text": ("object-store", "metadata.catalog"),
    "an entry without a url": ([{"type": "object-store", "name": "files"}], "metadata.catalog[0].url"),
    "an unknown field": ([{**CATALOG[0], "adminurl": "https://a.example"}], "metadata.catalog[0].adminurl"),
    "a type with spaces": ([{**CATALOG[0], "type": "object store"}], "metadata.catalog[0].type"),
    "another scheme": ([{**CATALOG[0], "url": "ftp://a.example"}], "metadata.catalog[0].url"),
    "a password": ([{**CATALOG[0], "url": "https://a:b@c.example"}], "metadata.catalog[0].url"),
    "an address that is none": ([{**CATALOG[0], "url": "https://[::1/"}], "metadata.catalog[0].url"),
    "a query": ([{**CATALOG[0], "url": "https://a.example/?x"}], "metadata.catalog[0].url"),
    "another placeholder": ([{**CATALOG[0], "url": "https://a.example/{user_id}"}], "metadata.catalog[0].url"),
    "a placeholder in the host": ([{**CATALOG[0], "url": "https://{project_id}.example/"}], "metadata.catalog[0].url"),
    "a line break": ([{**CATALOG[0], "url": "https://a.example/\r\nX-A: b"}], "metadata.catalog[0].url"),
    "a control character": ([{**CATALOG[0], "name": "a\nb"}], "metadata.catalog[0].name"),
    "the same twice": (CATALOG * 2, "metadata.catalog[1]"),
    "too many": ([{**CATALOG[0], "region": f"r{number}"} for number in range(21)], "metadata.catalog"),
}


@pytest.mark.parametrize("name", BAD_CATALOGS)
async def test_a_catalogue_is_checked_when_it_is_set(cloud: Cloud, name: str) -> None:
    catalog, field = BAD_CATALOGS[name]
    create = {"identifier": "urn:b", "name": "B", "metadata": {"catalog": catalog}}
    async with cloud.world.http() as http:
        for method, path, body in (
            ("POST", "/v1/apis", create),
            ("PATCH", f"/v1/apis/{cloud.api['id']}", {"metadata": {"catalog": catalog}}),
        ):
            answer = await http.request(method, path, json=body)
            assert answer.status_code == 400
            assert field in [problem["field"] for problem in answer.json()["errors"]]


async def test_a_client_of_the_service_can_do_nothing_else(cloud: Cloud) -> None:
    token = await cloud.token()
    service = x_auth_id(cloud.project["id"])
    client = await cloud.world.store.get(Client, service)
    api = await cloud.world.store.get(Api, cloud.api["id"])
    assert scopes_in_force(["objects:read"], client, api, None, None, None) == frozenset()
    stored = await cloud.call("GET", f"/v1/clients/{service}")
    assert (stored["origin"], stored["scopes"]) == ("x_auth", [])
    for form in (
        {"grant_type": "client_credentials", "client_id": service},
        {"grant_type": "urn:ietf:params:oauth:grant-type:token-exchange", "client_id": service, "subject_token": token},
    ):
        assert (await cloud.http.post("/oauth/token", data=form)).status_code in (400, 401)
    await cloud.call("PATCH", f"/v1/clients/{service}", {"access_token_in": 120})
    assert (await cloud.v1("Shop", cloud.secret)).headers["x-auth-token-expires"] == "120"


async def test_many_first_tokens_at_once_make_one_client(cloud: Cloud) -> None:
    answers = await asyncio.gather(*(cloud.v1("Shop", cloud.secret) for _ in range(20)))
    assert {answer.status_code for answer in answers} == {200}
    made = [entry.draft for entry in await cloud.world.audit() if entry.draft.action == "client.create"]
    assert [draft.target for draft in made if draft.project_id == cloud.project["id"]] == [
        x_auth_id(cloud.project["id"])
    ]


async def test_a_client_that_asks_too_often_is_told_when_to_come_back() -> None:
    async with (
        embedded(x_auth=True, failures_per_minute=0, token_requests_per_minute=3) as world,
        world.http("") as http,
    ):
        cloud = await _cloud(world, http)
        answers = [await cloud.v1("Shop", cloud.secret) for _ in range(4)]
        assert [answer.status_code for answer in answers] == [200, 200, 200, 429]
        assert int(answers[3].headers["retry-after"]) >= 1


async def test_tokens_that_are_jwts_keep_the_same_rules(cloud: Cloud) -> None:
    await cloud.call("PATCH", f"/v1/apis/{cloud.api['id']}", {"token_format": TokenFormat.JWT.value})
    token = await cloud.token()
    assert token.count(".") == 2
    said = await cloud.world.verify(token, api="https://storage.example")
    assert (said["valid"], said["permissions"], said["principal"]["key_id"]) == (True, ["objects:read"], cloud.key_id)
    assert (await cloud.ask("GET", token, token)).status_code == 200
    assert (await cloud.ask("DELETE", token, token)).status_code == 204
    assert (await cloud.world.verify(token))["code"] == "REVOKED"


async def test_a_token_of_a_person_is_taken_and_one_that_is_bound_is_not_without_its_proof() -> None:
    async with oauth_world(x_auth=True) as oauth, oauth.world.http("") as http:
        application = await oauth.client()
        person = (await (await oauth.consent(application)).tokens())["access_token"]
        bound = (await application.tokens(headers={"dpop": proof(oauth, new_key())}))["access_token"]
        for token, status in ((person, 201), (bound, 401)):
            identity = {"methods": ["token"], "token": {"id": token}}
            answer = await http.post(TOKENS, json={"auth": {"identity": identity}})
            assert answer.status_code == status, answer.text
            head = {"X-Auth-Token": token, "X-Subject-Token": token}
            assert (await http.get(TOKENS, headers=head)).status_code == (200 if status == 201 else 401)
            assert (await http.get("/v3/auth/projects", headers=head)).status_code == (200 if status == 201 else 401)
        robot = (await application.tokens())["access_token"]
        shown = {"X-Auth-Token": robot, "X-Subject-Token": person}
        said = (await http.get(TOKENS, headers=shown)).json()["token"]
        assert (said["methods"], said["user"]["id"], said["user"]["name"]) == (["token"], *[said["user"]["id"]] * 2)
        assert "@" not in json.dumps(said)
        # A person's application learns nothing of other tokens of the project.
        assert (await http.get(TOKENS, headers={"X-Auth-Token": person, "X-Subject-Token": robot})).status_code == 404

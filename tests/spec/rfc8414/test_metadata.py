"""Server metadata, the JWK Set, and the metadata of APIs."""

import json
from typing import Any

import pytest
from joserfc import jwk, jws

from keybearer.core.signing_keys import Phase, SigningKey
from keybearer.formats.jws import InvalidJws
from keybearer.services import apis
from keybearer.services.metadata import ENDPOINTS
from keybearer.wire.records import CreateApi, PermissionSpec
from tests.support.embedded import Embedded, embedded

ISSUER = "https://keys.example.com"
DAY = 86_400


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


async def read(world: Embedded, path: str) -> Any:
    async with world.http("") as http:
        answer = await http.get(path)
    assert answer.status_code == 200, f"{path}: {answer.text}"
    assert answer.headers["access-control-allow-origin"] == "*"
    return answer.json()


@pytest.mark.spec("RFC 8414", "3", "MUST")
@pytest.mark.spec("RFC 8414", "3.3", "MUST")
@pytest.mark.spec("OIDC Discovery", "4", "MUST")
async def test_both_documents_say_the_same_and_the_issuer_byte_for_byte(anyio_backend: str) -> None:
    async with embedded(issuer=ISSUER) as world:
        openid = await read(world, "/.well-known/openid-configuration")
        oauth = await read(world, "/.well-known/oauth-authorization-server")
    assert openid == oauth
    assert openid["issuer"] == ISSUER
    assert {name: openid[name] for name in ENDPOINTS} == {name: ISSUER + path for name, path in ENDPOINTS.items()}
    assert openid["response_types_supported"] == ["code"]
    assert openid["code_challenge_methods_supported"] == ["S256"]
    assert "RS256" in openid["id_token_signing_alg_values_supported"]
    assert "none" not in json.dumps(openid["token_endpoint_auth_signing_alg_values_supported"])
    assert "registration_endpoint" not in openid


async def test_registration_is_named_where_it_is_open(anyio_backend: str) -> None:
    async with embedded(issuer=ISSUER, client_registration="open") as world:
        assert (await read(world, "/.well-known/openid-configuration"))["registration_endpoint"]


@pytest.mark.spec("RFC 8414", "3.1", "MUST")
async def test_an_issuer_with_a_path(anyio_backend: str) -> None:
    async with embedded(issuer=f"{ISSUER}/tenant") as world:
        for path in (
            "/.well-known/oauth-authorization-server/tenant",
            "/tenant/.well-known/openid-configuration",
        ):
            assert (await read(world, path))["issuer"] == f"{ISSUER}/tenant"


async def test_the_issuer_never_comes_from_the_request(anyio_backend: str) -> None:
    """ZITADEL CVE-2025-64101, LiteLLM CVE-2026-49468: spoofed Host and Forwarded."""
    async with embedded(issuer=ISSUER) as world, world.http("") as http:
        for headers in (
            {"host": "attacker.example"},
            {"x-forwarded-host": "a.example"},
            {"forwarded": "host=a.example"},
        ):
            answer = await http.get("/.well-known/openid-configuration", headers=headers)
            assert answer.json()["issuer"] == ISSUER


@pytest.mark.spec("RFC 7517", "5", "MUST")
async def test_the_jwk_set_has_public_keys_that_verify_what_was_signed(anyio_backend: str) -> None:
    async with embedded(issuer=ISSUER) as world:
        found = await read(world, "/oauth/jwks")
        assert {key["alg"] for key in found["keys"]} == {"ES256", "RS256"}
        for key in found["keys"]:
            assert {"kid", "use", "alg", "kty"} <= key.keys()
            assert not {"d", "p", "q", "k"} & key.keys()
            text = await world.authority.signing_keys.sign({"a": 1}, typ="JWT", algorithm=key["alg"])
            signed = jws.deserialize_compact(text, jwk.import_key(key), algorithms=[key["alg"]])
            assert signed.payload == b'{"a":1}'


async def test_a_key_is_published_before_it_signs_and_after_it_signed(anyio_backend: str) -> None:
    async with embedded(issuer=ISSUER) as world:
        signing, clock = world.authority.signing_keys, world.clock
        first = await signing.active("ES256")
        text = await signing.sign({"a": 1}, typ="JWT")
        clock.move(29 * DAY)
        await signing.advance()
        second = next(key for key in await signing.all() if key.id != first.id and key.algorithm == "ES256")
        assert second.phase(clock.now()) is Phase.NEXT
        assert second.id in json.dumps(await signing.jwks())
        assert (await signing.active("ES256")).id == first.id
        await signing.advance()
        assert len([key for key in await signing.all() if key.algorithm == "ES256"]) == 2, "advancing twice is fine"
        clock.move(1 * DAY + 1)
        assert (await signing.active("ES256")).id == second.id
        assert await signing.verify(text, "JWT") == {"a": 1}, "what the first one signed is still good"
        clock.move(2 * DAY)
        assert first.id not in json.dumps(await signing.jwks())
        with pytest.raises(InvalidJws):
            await signing.verify(text, "JWT")


async def test_a_revoked_key_signs_nothing_and_what_it_signed_is_refused_at_once(anyio_backend: str) -> None:
    async with embedded(issuer=ISSUER) as world:
        signing = world.authority.signing_keys
        text = await signing.sign({"a": 1}, typ="JWT")
        first = await signing.active("ES256")
        async with world.http() as http:
            answer = await http.post(f"/v1/signing-keys/{first.id}/revoke")
        assert answer.status_code == 200, answer.text
        with pytest.raises(InvalidJws):
            await signing.verify(text, "JWT")
        assert (await signing.active("ES256")).id != first.id
        stored = await world.store.get(SigningKey, first.id)
        assert b'"d"' not in stored.sealed, "the private half is sealed"


async def test_rotating_at_once_and_ahead(anyio_backend: str) -> None:
    async with embedded(issuer=ISSUER) as world, world.http() as http:
        first = await world.authority.signing_keys.active("ES256")
        ahead = (await http.post("/v1/signing-keys/rotate", json={})).json()
        assert ahead["phase"] == "next"
        assert (await http.post("/v1/signing-keys/rotate", json={})).status_code == 409
        assert (await world.authority.signing_keys.active("ES256")).id == first.id
        world.clock.move(1)  # the newest key signs, and keys of one instant have no order
        at_once = (await http.post("/v1/signing-keys/rotate", json={"at_once": True})).json()
        assert at_once["phase"] == "active"
        assert (await world.authority.signing_keys.active("ES256")).id == at_once["id"]
        assert (await http.post("/v1/signing-keys/rotate", json={"algorithm": "HS256"})).status_code == 400


@pytest.mark.spec("RFC 9728", "2", "MUST")
async def test_the_metadata_of_an_api(anyio_backend: str) -> None:
    async with embedded(issuer=ISSUER) as world:
        body = CreateApi("https://orders.example/v1", "Orders", [PermissionSpec("orders:read")])
        api = await apis.create(world.authority, world.root, body)
        for name in (api.id, "https://orders.example/v1"):
            found = await read(world, f"/oauth/resources/{name}")
            assert found["resource"] == "https://orders.example/v1"
            assert found["authorization_servers"] == [ISSUER]
            assert found["scopes_supported"] == ["orders:read"]
        async with world.http("") as http:
            assert (await http.get("/oauth/resources/api_nothing")).status_code == 404

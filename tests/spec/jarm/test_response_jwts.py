"""Authorization responses as JWTs."""

import pytest
from joserfc import jwk, jws

from keybearer.core.clients import Client
from keybearer.services.response_jwts import response_jwt
from tests.support.embedded import embedded


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.mark.spec("JARM", "2.1", "MUST")
@pytest.mark.spec("JARM", "2.3", "MUST")
async def test_a_response_says_who_it_is_from_and_for_whom_and_until_when(anyio_backend: str) -> None:
    async with embedded(issuer="https://keys.example.com") as world:
        now = world.clock.now()
        client = Client(id="client_1", created_at=now, updated_at=now, project_id="proj_1", name="Shop")
        text = await response_jwt(world.authority, client, {"code": "kb_ac_x", "state": "s"})
        keys = await world.authority.signing_keys.jwks()
        key = next(key for key in keys["keys"] if key["alg"] == "ES256")
        read = jws.deserialize_compact(text, jwk.import_key(dict(key)), algorithms=["ES256"])  # type: ignore[arg-type]
        claims = await world.authority.signing_keys.verify(text, "JWT")
    assert read.headers()["kid"] == key["kid"]
    assert claims == {
        "code": "kb_ac_x",
        "state": "s",
        "iss": "https://keys.example.com",
        "aud": "client_1",
        "exp": now // 1_000_000 + 600,
    }

"""Client assertions: private_key_jwt and client_secret_jwt."""

from __future__ import annotations

import hmac
import json
from base64 import urlsafe_b64encode
from collections.abc import Mapping
from typing import Any

import pytest

from keybearer.core.clients import ClientAuthMethod
from keybearer.core.errors import Unreachable
from keybearer.ports import Fetched
from tests.support.oauth import (
    ASSERTION_TYPE,
    ISSUER,
    Application,
    OAuth,
    assertion,
    error_of,
    new_key,
    public_of,
)

pytestmark = pytest.mark.anyio
REFUSED = (401, "invalid_client")
KEY = new_key()


async def with_key(oauth: OAuth, key: Any = KEY, **changes: Any) -> Application:
    return await oauth.client(
        token_endpoint_auth_method=ClientAuthMethod.PRIVATE_KEY_JWT,
        **{"jwks": {"keys": [public_of(key, kid="one")]}, **changes},
    )


async def present(oauth: OAuth, text: str, **more: Any) -> Any:
    form = {"grant_type": "client_credentials", "client_assertion": text, "client_assertion_type": ASSERTION_TYPE}
    return await oauth.post("/oauth/token", {**form, **more})


@pytest.mark.spec("RFC 7523", "3", "MUST")
@pytest.mark.spec("OIDC Core", "9", "MUST")
async def test_an_assertion_under_the_clients_key_proves_it(oauth: OAuth) -> None:
    application = await with_key(oauth)
    assert (await present(oauth, assertion(oauth, application, KEY))).status_code == 200
    with_kid = assertion(oauth, application, KEY, header={"kid": "one"})
    assert (await present(oauth, with_kid, client_id=application.client.id)).status_code == 200


@pytest.mark.parametrize(("kty", "alg"), [("RSA", "RS256"), ("RSA", "PS256"), ("OKP", "EdDSA"), ("OKP", "Ed25519")])
async def test_the_common_algorithms_are_taken(oauth: OAuth, kty: str, alg: str) -> None:
    key = new_key(kty)
    application = await with_key(oauth, key)
    answer = await present(oauth, assertion(oauth, application, key, alg))
    assert answer.status_code == 200, answer.text


@pytest.mark.spec("RFC 7523", "3", "MUST")
@pytest.mark.parametrize(
    "changes",
    [
        {"iss": None},
        {"sub": None},
        {"aud": None},
        {"exp": None},
        {"jti": None},
        {"iss": "client_other"},
        {"sub": "client_other"},
        {"aud": "https://other.example"},
        {"aud": ISSUER + "/"},
        {"aud": ISSUER[:-1]},
        {"aud": ISSUER + "/oauth/token"},
        {"aud": [ISSUER, "https://other.example"]},
        {"aud": []},
        {"exp": "soon"},
        {"exp": True},
        {"jti": 7},
        {"jti": ""},
        {"jti": "x" * 256},
        {"header": {"typ": "at+jwt"}},
        {"header": {"typ": "dpop+jwt"}},
        {"header": {"kid": "two"}},
    ],
    ids=str,
)
async def test_each_claim_is_checked(oauth: OAuth, changes: Mapping[str, Any]) -> None:
    """ZITADEL CVE-2026-56665 (a missing exp), PyJWT GHSA-75c5-xw7c-p5pm (a partial issuer)."""
    application = await with_key(oauth)
    assert error_of(await present(oauth, assertion(oauth, application, KEY, **changes))) == REFUSED
    assert (await present(oauth, assertion(oauth, application, KEY, aud=[ISSUER]))).status_code == 200


@pytest.mark.spec("RFC 7523", "3", "MUST")
async def test_an_assertion_counts_only_in_its_time(oauth: OAuth) -> None:
    application = await with_key(oauth)
    now = oauth.now // 1_000_000
    for changes in ({"exp": now - 31}, {"exp": now + 2 * 3600}, {"nbf": now + 60}, {"iat": now + 60}):
        assert error_of(await present(oauth, assertion(oauth, application, KEY, **changes))) == REFUSED


@pytest.mark.spec("RFC 7523", "3", "MAY")
async def test_an_assertion_counts_once(oauth: OAuth) -> None:
    """fosite CVE-2020-15222: the jti of an assertion was not remembered."""
    application = await with_key(oauth)
    text = assertion(oauth, application, KEY)
    assert (await present(oauth, text)).status_code == 200
    assert error_of(await present(oauth, text)) == REFUSED
    # Another client may choose the same jti.
    other = await with_key(oauth)
    assert (await present(oauth, assertion(oauth, other, KEY, jti="same"))).status_code == 200
    assert (await present(oauth, assertion(oauth, application, KEY, jti="same"))).status_code == 200


async def test_another_key_proves_nothing(oauth: OAuth) -> None:
    application = await with_key(oauth)
    stranger = new_key()
    for text in (
        assertion(oauth, application, stranger),
        assertion(oauth, application, stranger, header={"kid": "one"}),
        assertion(oauth, application, stranger, header={"jwk": public_of(stranger)}),
        assertion(oauth, application, KEY)[:-2],
        assertion(oauth, application, KEY) + "A",
        "x.y.z",
        "",
    ):
        assert error_of(await present(oauth, text))[0] in (400, 401)


@pytest.mark.spec("RFC 8725", "3.1", "MUST")
async def test_algorithms_cannot_be_confused(oauth: OAuth) -> None:
    """Authlib CVE-2024-37568: the public key taken as an HMAC secret."""
    key = new_key("RSA")
    application = await with_key(oauth, key)
    now = oauth.now // 1_000_000
    claims = {"iss": application.client.id, "sub": application.client.id, "aud": ISSUER, "jti": "1", "exp": now + 60}
    body = b".".join(
        urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=") for part in ({"alg": "HS256", "typ": "JWT"}, claims)
    )
    for shared in (key.as_pem(private=False), key.as_der(private=False), json.dumps(public_of(key)).encode()):
        tag = urlsafe_b64encode(hmac.digest(shared, body, "sha256")).rstrip(b"=")
        assert error_of(await present(oauth, (body + b"." + tag).decode())) == REFUSED


async def test_a_client_may_name_its_one_algorithm(oauth: OAuth) -> None:
    key = new_key("RSA")
    application = await with_key(oauth, key, token_endpoint_auth_signing_alg="PS256")
    assert (await present(oauth, assertion(oauth, application, key, "PS256"))).status_code == 200
    assert error_of(await present(oauth, assertion(oauth, application, key, "RS256"))) == REFUSED


@pytest.mark.spec("RFC 7521", "4.2", "MUST")
async def test_the_type_of_an_assertion_is_said(oauth: OAuth) -> None:
    application = await with_key(oauth)
    form = {"grant_type": "client_credentials", "client_assertion": assertion(oauth, application, KEY)}
    assert error_of(await oauth.post("/oauth/token", form)) == (400, "invalid_request")
    form["client_assertion_type"] = "urn:ietf:params:oauth:client-assertion-type:saml2-bearer"
    assert error_of(await oauth.post("/oauth/token", form)) == REFUSED


# client_secret_jwt


async def test_a_secret_can_sign_too(oauth: OAuth) -> None:
    from joserfc.jwk import OctKey

    application = await oauth.client(token_endpoint_auth_method=ClientAuthMethod.SECRET_JWT)
    secret = OctKey.import_key(application.secret.encode())
    for alg in ("HS256", "HS384"):
        text = assertion(oauth, application, secret, alg)
        assert (await present(oauth, text)).status_code == 200
        assert error_of(await present(oauth, text)) == REFUSED
    wrong = OctKey.import_key(application.secret.encode() + b"x")
    assert error_of(await present(oauth, assertion(oauth, application, wrong, "HS256"))) == REFUSED
    by_header = await oauth.client()
    hidden = OctKey.import_key(by_header.secret.encode())
    assert error_of(await present(oauth, assertion(oauth, by_header, hidden, "HS256"))) == REFUSED


# jwks_uri


class Web:
    """A fetcher that answers what the test put there, and counts."""

    def __init__(self) -> None:
        self.pages: dict[str, Any] = {}
        self.asked: list[str] = []

    async def get(self, url: str, *, accept: str = "", limit: int = 65_536) -> Fetched:
        self.asked.append(url)
        if url not in self.pages:
            raise Unreachable("The URL does not answer.")
        return Fetched(200, "application/json", json.dumps(self.pages[url]).encode())


async def test_keys_are_fetched_kept_and_fetched_again_after_a_rotation(oauth: OAuth) -> None:
    web, uri = Web(), "https://client.example/jwks"
    object.__setattr__(oauth.world.authority, "fetcher", web)
    first, second = new_key(), new_key()
    web.pages[uri] = {"keys": [public_of(first, kid="1")]}
    application = await with_key(oauth, jwks=None, jwks_uri=uri)
    for _ in range(3):
        assert (await present(oauth, assertion(oauth, application, first, header={"kid": "1"}))).status_code == 200
    assert web.asked == [uri]
    web.pages[uri] = {"keys": [public_of(second, kid="2")]}
    oauth.move(31)
    assert (await present(oauth, assertion(oauth, application, second, header={"kid": "2"}))).status_code == 200
    assert error_of(await present(oauth, assertion(oauth, application, first, header={"kid": "1"}))) == REFUSED
    assert web.asked == [uri, uri]  # bad assertions do not make this authority ask again and again
    del web.pages[uri]
    oauth.move(300)
    assert (await present(oauth, assertion(oauth, application, second, header={"kid": "2"}))).status_code == 200
    oauth.move(301)
    assert error_of(await present(oauth, assertion(oauth, application, second, header={"kid": "2"}))) == REFUSED

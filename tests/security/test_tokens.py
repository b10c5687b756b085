"""Tokens against what peers were caught by: each test names the defect that it would have found."""

from __future__ import annotations

import base64
import json
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from keybearer.core import base62, credential
from keybearer.core.clients import GrantType
from tests.support.oauth import (
    API,
    ASSERTION_TYPE,
    ISSUER,
    JWT,
    REDIRECT,
    VERIFIER,
    Consent,
    OAuth,
    basic,
    claims_in,
    error_of,
    new_key,
    oauth_world,
    public_of,
    signed,
)

pytestmark = pytest.mark.anyio
READ = ("orders:read",)
EXCHANGE = GrantType.TOKEN_EXCHANGE.value
DEVICE = GrantType.DEVICE_CODE.value
BEARER = GrantType.JWT_BEARER.value
ACCESS = "urn:ietf:params:oauth:token-type:access_token"


@pytest.fixture
async def oauth(anyio_backend: str) -> AsyncIterator[OAuth]:
    async with oauth_world() as world:
        yield world


@pytest.fixture
async def consent(oauth: OAuth) -> Consent:
    return await oauth.consent(await oauth.client())


def damaged(text: str) -> Iterator[str]:
    """Every beginning of a text, and the text with each character exchanged."""
    for length in range(1, len(text)):
        yield text[:length]
    for index, character in enumerate(text):
        yield text[:index] + ("A" if character != "A" else "B") + text[index + 1 :]
    yield from (text + "A", text + "=", " " + text, text + "\n", text * 2)


async def test_three_rotations_in_a_second_and_a_replay_of_the_first(consent: Consent) -> None:
    """Keycloak #50999: rotations within one second were told apart by a clock of seconds."""
    tokens = [(await consent.tokens(scopes=READ))["refresh_token"]]
    for _ in range(3):
        tokens.append((await consent.application.refresh(tokens[-1])).json()["refresh_token"])
    assert len(set(tokens)) == 4
    assert error_of(await consent.application.refresh(tokens[0])) == (400, "invalid_grant")
    assert error_of(await consent.application.refresh(tokens[-1])) == (400, "invalid_grant")


async def test_an_altered_code_is_no_code(consent: Consent) -> None:
    """Keycloak CVE-2026-16089: a code could be changed to point elsewhere."""
    code = await consent.code(scopes=READ)
    for text in damaged(code):
        assert error_of(await consent.application.redeem(text))[1] == "invalid_grant", text
    prefix, id_, secret = code.rsplit("_", 2)
    other = (await consent.code(scopes=READ)).rsplit("_", 2)
    for body in (f"{prefix}_{other[1]}_{secret[:32]}", f"{prefix}_{id_}_{other[2][:32]}"):
        forged = body + credential.checksum(body)
        assert error_of(await consent.application.redeem(forged)) == (400, "invalid_grant")
    assert (await consent.application.redeem(code)).status_code == 200


async def test_truncated_and_altered_tokens_are_worth_nothing(oauth: OAuth, consent: Consent) -> None:
    """ZITADEL CVE-2026-27840: truncated tokens were valid."""
    said = await consent.tokens(scopes=READ)
    assert await oauth.is_active(said["access_token"])
    for text in damaged(said["access_token"]):
        assert not await oauth.is_active(text), text
    for text in damaged(said["refresh_token"]):
        assert error_of(await consent.application.refresh(text)) == (400, "invalid_grant"), text
    assert await oauth.is_active(said["access_token"])
    assert (await consent.application.refresh(said["refresh_token"])).status_code == 200


async def test_a_jwt_that_was_tampered_with_is_worth_nothing(oauth: OAuth) -> None:
    """Authlib CVE-2026-27962 (an attacker's jwk), CVE-2024-37568 (HS for RS), PyJWT CVE-2026-32597 (crit), alg none."""
    api = await oauth.change(oauth.api, token_format=JWT)
    token = (await (await oauth.client()).tokens(scope="orders:read"))["access_token"]
    assert await oauth.is_active(token)
    head, body, tail = token.split(".")
    claims, key = claims_in(token), new_key()
    header = json.loads(base64.urlsafe_b64decode(head + "=" * (-len(head) % 4)))

    def part(value: dict[str, Any]) -> str:
        return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()

    forged = [
        f"{part({**header, 'alg': 'none'})}.{body}.",
        f"{part({**header, 'alg': 'none'})}.{body}.{tail}",
        f"{part({**header, 'crit': ['exp']})}.{body}.{tail}",
        f"{head}.{part({**claims, 'scope': 'orders:write'})}.{tail}",
        f"{head}.{body}.{tail[:-3]}AAA",
        f"{head}.{body}.",
        f"{head}.{body}",
        signed(claims, key, typ="at+jwt"),
        signed(claims, key, typ="at+jwt", kid=header["kid"]),
        signed(claims, key, typ="at+jwt", jwk=public_of(key)),
        signed(claims, key, typ="at+jwt", kid=header["kid"], jwk=public_of(key)),
    ]
    for text in forged:
        assert not await oauth.is_active(text), text
        assert not (await oauth.world.verify(text, api=api.id))["valid"], text


@pytest.mark.parametrize("name", ["iss", "aud", "sub", "jti", "iat", "exp", "scope", "kb"])
async def test_a_jwt_of_ours_without_a_claim_is_worth_nothing(oauth: OAuth, name: str) -> None:
    """ZITADEL CVE-2026-56665: a missing exp was accepted. Signed by our own key, and still not an access token."""
    await oauth.change(oauth.api, token_format=JWT)
    claims = claims_in((await (await oauth.client()).tokens(scope="orders:read"))["access_token"])
    signing_keys = oauth.world.authority.signing_keys
    assert await oauth.is_active(await signing_keys.sign(claims, typ="at+jwt"))
    del claims[name]
    assert not await oauth.is_active(await signing_keys.sign(claims, typ="at+jwt"))


async def test_no_jwt_of_ours_passes_for_another(oauth: OAuth, consent: Consent) -> None:
    """RFC 8725 §3.11: an ID token is no access token, and neither is an answer of introspection."""
    said = await consent.tokens(scopes=("openid", "orders:read"))
    answer = await consent.application.post(
        "/oauth/introspect",
        {"token": said["access_token"]},
        {"accept": "application/token-introspection+jwt"},
    )
    await oauth.change(oauth.api, token_format=JWT)
    access = (await consent.application.tokens(scope="orders:read"))["access_token"]
    for text in (said["id_token"], answer.text):
        assert not await oauth.is_active(text)
        assert not (await oauth.world.verify(text))["valid"]
    for text in (access, answer.text):
        form = {"subject_token": text, "subject_token_type": "urn:ietf:params:oauth:token-type:id_token"}
        assert error_of(await consent.application.token(EXCHANGE, **form)) == (400, "invalid_grant")


async def test_every_artefact_is_good_for_one_thing_only(oauth: OAuth, consent: Consent) -> None:
    """Keycloak CVE-2026-4282: single-use artefacts shared one store, and one passed for another."""
    application = consent.application
    said = await consent.tokens(scopes=("openid", "orders:read"))
    device = (await application.post("/oauth/device_authorization", {"scope": "orders:read"})).json()
    artefacts = {
        "access_token": said["access_token"],
        "refresh_token": said["refresh_token"],
        "id_token": said["id_token"],
        "code": await consent.code(scopes=READ),
        "device_code": device["device_code"],
        "user_code": device["user_code"],
        "client_secret": application.secret,
        "key": oauth.world.root_key,
    }
    places: dict[str, tuple[str, dict[str, str], set[str]]] = {
        "code": ("authorization_code", {"redirect_uri": REDIRECT, "code_verifier": VERIFIER}, {"code"}),
        "refresh_token": ("refresh_token", {}, {"refresh_token"}),
        "device_code": (DEVICE, {}, {"device_code"}),
        "assertion": (BEARER, {}, set()),
        "subject_token": (
            EXCHANGE,
            {"subject_token_type": ACCESS},
            {"access_token"},
        ),
    }
    for parameter, (grant_type, more, own) in places.items():
        for name, text in artefacts.items():
            if name in own:
                continue
            answer = await application.token(grant_type, **{parameter: text, **more})
            assert error_of(answer) == (400, "invalid_grant"), (parameter, name)
    for name, text in artefacts.items():
        if name not in ("access_token", "key"):
            assert not (await oauth.world.verify(text))["valid"], name
        if name not in ("access_token", "refresh_token"):
            assert not await oauth.is_active(text), name
        form = {"client_assertion": text, "client_assertion_type": ASSERTION_TYPE, "grant_type": "client_credentials"}
        assert error_of(await oauth.post("/oauth/token", form))[0] == 401
    # Nothing was used up by all that.
    assert (await application.redeem(artefacts["code"])).status_code == 200
    assert (await application.refresh(artefacts["refresh_token"])).status_code == 200
    assert error_of(await application.token(DEVICE, device_code=artefacts["device_code"]))[1] in (
        "authorization_pending",
        "slow_down",
    )


async def test_nobody_is_given_a_scope_that_was_not_approved(oauth: OAuth) -> None:
    """authentik CVE-2024-52287: client credentials and devices were given whatever they asked for."""
    application = await oauth.client(scopes=READ)
    consent = await oauth.consent(application)
    said = await consent.tokens(scopes=READ)
    for more in ("orders:write", "orders:read orders:write", "orders:*", "*", "keybearer:admin", "openid"):
        asked: list[tuple[str, dict[str, str]]] = [
            ("client_credentials", {}),
            ("refresh_token", {"refresh_token": said["refresh_token"]}),
            (
                EXCHANGE,
                {
                    "subject_token": said["access_token"],
                    "subject_token_type": ACCESS,
                },
            ),
        ]
        for grant_type, form in asked:
            assert error_of(await application.token(grant_type, scope=more, **form)) == (400, "invalid_scope"), more
    # A code gives what was agreed to, whatever the token request says.
    answer = await application.redeem(await consent.code(scopes=READ), scope="orders:write")
    assert answer.json()["scope"] == "orders:read"
    # Even a code that says more is held to the client's scopes and the user's restricted permissions.
    answer = await application.redeem(await consent.code(scopes=("orders:read", "orders:write", "orders:refund")))
    assert answer.json()["scope"] == "orders:read"


async def test_empty_and_partial_forms_never_succeed(oauth: OAuth, consent: Consent) -> None:
    """authentik CVE-2026-49443: an empty POST skipped a step."""
    application = consent.application
    whole = {
        "grant_type": "authorization_code",
        "code": await consent.code(scopes=READ),
        "redirect_uri": REDIRECT,
        "code_verifier": VERIFIER,
    }
    header = {"authorization": basic(application.client.id, application.secret)}
    for path in ("/oauth/token", "/oauth/revoke", "/oauth/introspect"):
        for body in (b"", b"&", b"=", b"&&=&", b"grant_type", b"grant_type="):
            assert (await oauth.post(path, body, header)).status_code == 400, (path, body)
            assert (await oauth.post(path, body)).status_code == 401, (path, body)
    for missing in whole:
        for value in ("", None):
            answer = await oauth.post("/oauth/token", {**whole, missing: value}, header)
            assert error_of(answer) == (400, "invalid_request"), missing
    assert (await oauth.post("/oauth/token", whole, header)).status_code == 200


SQL = ["'", "' OR '1'='1", "1; DROP TABLE clients", "\\", "%", "_", "client_%", "\u0000", "\ud800", "😀", "x" * 5000]


@pytest.mark.parametrize("text", SQL, ids=range(len(SQL)))
async def test_what_is_no_identifier_is_answered_like_an_unknown_one(oauth: OAuth, consent: Consent, text: str) -> None:
    """LiteLLM CVE-2026-42208: SQL through a bearer token; #39757: the answer told the hash."""
    from urllib.parse import quote

    encoded = quote(text.encode("utf-8", "surrogatepass"))
    forms = [
        (f"grant_type=client_credentials&client_id={encoded}&client_secret=x", {}),
        (f"grant_type=authorization_code&code={encoded}&redirect_uri=x&code_verifier=x", None),
        (f"grant_type=refresh_token&refresh_token={encoded}", None),
        (f"grant_type={quote(DEVICE)}&device_code={encoded}", None),
        (
            f"grant_type={quote(EXCHANGE)}&subject_token_type={quote(ACCESS)}&subject_token={encoded}",
            None,
        ),
    ]
    application = consent.application
    good = {"authorization": basic(application.client.id, application.secret)}
    for form, headers in forms:
        answer = await oauth.post("/oauth/token", form.encode(), good if headers is None else headers)
        status, code = error_of(answer)
        assert (status, code) in {(401, "invalid_client"), (400, "invalid_grant"), (400, "invalid_request")}, form
        assert text not in answer.text or text in ("'", "_", "%", "\\")


async def test_an_unknown_client_costs_the_same_work_as_a_wrong_secret(oauth: OAuth) -> None:
    """SECURITY-BAR 21, CWE-203: counted, not timed."""
    application = await oauth.client()
    keyring = oauth.world.authority.keyring
    counted: Counter[str] = Counter()
    digest = keyring.digest

    def counting(pepper_id: str, text: str) -> bytes:
        counted["digests"] += 1
        return digest(pepper_id, text)

    costs = []
    object.__setattr__(keyring, "digest", counting)
    try:
        for client_id in (application.client.id, "client_0000000000000000"):
            counted.clear()
            answer = await oauth.post(
                "/oauth/token",
                {"grant_type": "client_credentials"},
                {"authorization": basic(client_id, "kb_cs_wrong")},
            )
            assert error_of(answer) == (401, "invalid_client")
            costs.append(counted["digests"])
    finally:
        object.__delattr__(keyring, "digest")
    assert costs == [1, 1]


async def test_a_huge_header_of_an_assertion_is_not_decoded(oauth: OAuth) -> None:
    """Authlib CVE-2025-61920: a JOSE header of 500 MB was decoded. Here the body and the token are bounded first."""
    application = await oauth.client()
    huge = base64.urlsafe_b64encode(b'{"alg":"ES256","x":"' + b"y" * 45_000 + b'"}').decode().rstrip("=")
    deep = base64.urlsafe_b64encode(b"[" * 10_000).decode().rstrip("=")
    for text in (f"{huge}.e30.x", f"e30.{huge}.x", f"{deep}.e30.x", "." * 60_000, "e" * 60_000):
        form = {"grant_type": "client_credentials", "client_assertion": text, "client_assertion_type": ASSERTION_TYPE}
        assert error_of(await oauth.post("/oauth/token", form)) == (401, "invalid_client")
        answer = await application.token(headers={"dpop": text[:8000]})
        assert error_of(answer) == (400, "invalid_dpop_proof")
    answer = await oauth.post("/oauth/token", b"client_assertion=" + b"a" * 500_000)
    assert error_of(answer) == (413, "invalid_request")


async def test_nothing_secret_is_in_an_answer_a_log_or_an_audit_entry(
    oauth: OAuth, consent: Consent, caplog: pytest.LogCaptureFixture
) -> None:
    """CWE-532, CWE-598."""
    code = await consent.code(scopes=READ)
    said = (await consent.application.redeem(code)).json()
    renewed = (await consent.application.refresh(said["refresh_token"])).json()
    await consent.application.redeem(code)  # takes everything back, and says so in the log
    entries = await oauth.world.authority.store.audit_page(0, 1000)
    written = caplog.text + "".join(repr(entry.draft) for entry in entries)
    for text in (code, consent.application.secret, *said.values(), *renewed.values()):
        if isinstance(text, str) and text.startswith("kb_"):
            assert text not in written
            assert text.rpartition("_")[2][:20] not in written
    issued = await oauth.audit("token.issue")
    assert [draft.details["grant_type"] for draft in issued] == ["authorization_code"]
    assert issued[0].details["user_id"] == consent.user.id


async def test_a_guessed_secret_is_one_of_more_than_2_to_the_128(consent: Consent) -> None:
    """SECURITY-BAR 9."""
    import math

    said = await consent.tokens(scopes=READ)
    for text in (said["access_token"], await consent.code(), consent.application.secret):
        secret = text.rpartition("_")[2][: credential.SECRET_LENGTH]
        assert math.log2(62) * len(secret) > 160
    from keybearer.formats.refresh_token import RANDOM_LENGTH

    assert math.log2(62) * RANDOM_LENGTH > 128
    assert set(base62.ALPHABET) >= set(said["refresh_token"].rpartition("_")[2])


async def test_a_token_of_one_issuer_is_nothing_at_another(oauth: OAuth) -> None:
    """LiteLLM CVE-2026-35030, PyJWT GHSA-75c5-xw7c-p5pm: two issuers taken for one, also by a part of the name."""
    await oauth.change(oauth.api, token_format=JWT)
    claims = claims_in((await (await oauth.client()).tokens(scope="orders:read"))["access_token"])
    for issuer in (ISSUER + "/", ISSUER[:-1], ISSUER + ".evil.example", ISSUER.upper(), [ISSUER], ""):
        text = await oauth.world.authority.signing_keys.sign({**claims, "iss": issuer}, typ="at+jwt")
        assert not await oauth.is_active(text)
    for audience in (API + "/", API[:-1], [API], [API, "https://x.example"], ""):
        text = await oauth.world.authority.signing_keys.sign({**claims, "aud": audience}, typ="at+jwt")
        assert not (await oauth.world.verify(text, api=API))["valid"]


async def test_the_holder_of_a_token_may_ask_what_it_is_until_it_ends(oauth: OAuth) -> None:
    client = await oauth.client(scopes=("orders:read",))
    token = (await client.tokens(scope="orders:read"))["access_token"]
    async with oauth.world.http(token) as http:
        me = (await http.get("/v1/whoami")).json()
        assert (me["kind"], me["client_id"], me["permissions"]) == ("access_token", client.client.id, ["orders:read"])
        await client.post("/oauth/revoke", {"token": token})
        assert (await http.get("/v1/whoami")).status_code == 401

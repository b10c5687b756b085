"""How clients prove themselves with a secret, or do not."""

from __future__ import annotations

import pytest

from keybearer.core.clients import ClientAuthMethod
from keybearer.core.instant import Instant
from keybearer.core.records import State
from tests.support.oauth import Application, OAuth, basic, error_of, oauth_world

pytestmark = pytest.mark.anyio
FORM = {"grant_type": "client_credentials", "scope": "orders:read"}


@pytest.mark.spec("RFC 6749", "2.3.1", "MUST")
async def test_basic(oauth: OAuth) -> None:
    application = await oauth.client()
    assert (await application.token()).status_code == 200
    for id_, secret in (
        (application.client.id, application.secret[:-1]),
        (application.client.id, ""),
        (application.client.id + "x", application.secret),
        ("", application.secret),
    ):
        answer = await oauth.post("/oauth/token", FORM, {"authorization": basic(id_, secret)})
        assert error_of(answer) == (401, "invalid_client")


@pytest.mark.spec("RFC 6749", "2.3.1", "MUST")
async def test_basic_credentials_are_form_encoded(oauth: OAuth) -> None:
    application = await oauth.client()
    encoded = application.client.id.replace("_", "%5F"), application.secret.replace("_", "%5f")
    assert (await oauth.post("/oauth/token", FORM, {"authorization": basic(*encoded)})).status_code == 200
    assert (
        await oauth.post("/oauth/token", FORM, {"authorization": basic(*encoded).replace("Basic", "bAsIc")})
    ).is_success


@pytest.mark.spec("RFC 6749", "5.2", "MUST")
async def test_a_failed_header_is_answered_with_its_challenge(oauth: OAuth) -> None:
    answer = await oauth.post("/oauth/token", FORM, {"authorization": basic("nobody", "x")})
    assert error_of(answer) == (401, "invalid_client")
    assert answer.headers["www-authenticate"].startswith("Basic realm=")


@pytest.mark.spec("RFC 6749", "2.3.1", "MAY")
async def test_post(oauth: OAuth) -> None:
    application = await oauth.client(token_endpoint_auth_method=ClientAuthMethod.POST)
    assert (await application.token()).status_code == 200
    for wrong in (application.secret[:-1], application.secret + "A", "x"):
        answer = await oauth.post("/oauth/token", {**FORM, "client_id": application.client.id, "client_secret": wrong})
        assert error_of(answer) == (401, "invalid_client")


@pytest.mark.spec("RFC 7591", "2", "MUST")
async def test_a_client_has_one_method(oauth: OAuth) -> None:
    by_header = await oauth.client()
    by_form = await oauth.client(token_endpoint_auth_method=ClientAuthMethod.POST)
    answer = await oauth.post(
        "/oauth/token", {**FORM, "client_id": by_header.client.id, "client_secret": by_header.secret}
    )
    assert error_of(answer) == (401, "invalid_client")
    answer = await oauth.post("/oauth/token", FORM, {"authorization": basic(by_form.client.id, by_form.secret)})
    assert error_of(answer) == (401, "invalid_client")
    public = await oauth.public_client()
    answer = await oauth.post("/oauth/token", FORM, {"authorization": basic(public.client.id, "x")})
    assert error_of(answer) == (401, "invalid_client")


@pytest.mark.spec("RFC 6749", "2.3", "MUST NOT")
async def test_a_request_uses_one_method(oauth: OAuth) -> None:
    application = await oauth.client()
    for more in (
        {"client_secret": application.secret, "client_id": application.client.id},
        {"client_assertion": "x", "client_assertion_type": "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"},
        {"client_id": "client_other"},
        {"client_assertion": "x"},
    ):
        assert error_of(await application.post("/oauth/token", {**FORM, **more})) == (400, "invalid_request")
    assert (await application.post("/oauth/token", {**FORM, "client_id": application.client.id})).status_code == 200


@pytest.mark.spec("RFC 6749", "3.2.1", "MUST")
async def test_a_client_that_says_nothing_is_refused(oauth: OAuth) -> None:
    assert error_of(await oauth.post("/oauth/token", FORM)) == (401, "invalid_client")
    confidential = await oauth.client()
    answer = await oauth.post("/oauth/token", {**FORM, "client_id": confidential.client.id})
    assert error_of(answer) == (401, "invalid_client")


async def test_headers_that_are_no_basic_are_refused(oauth: OAuth) -> None:
    application = await oauth.client()
    good = basic(application.client.id, application.secret)
    for header in ("Basic !!!", "Basic", "Basic " + "A" * 9, "Basic bm9jb2xvbg==", "Basic gIA6eA=="):
        assert error_of(await oauth.post("/oauth/token", FORM, {"authorization": header}))[1] == "invalid_client", (
            header
        )
    for header in ("Bearer x", f"Bearer {application.secret}", "Digest x"):
        assert error_of(await oauth.post("/oauth/token", FORM, {"authorization": header})) == (400, "invalid_request")
    async with oauth.world.http("") as http:
        twice = [
            ("authorization", good),
            ("authorization", good),
            ("content-type", "application/x-www-form-urlencoded"),
        ]
        assert error_of(await http.post("/oauth/token", content=b"grant_type=client_credentials", headers=twice)) == (
            400,
            "invalid_request",
        )


async def test_secrets_overlap_while_they_are_rotated(oauth: OAuth) -> None:
    from dataclasses import replace

    from keybearer.services.clients import new_secret

    application = await oauth.client()
    text, kept = new_secret(oauth.world.authority, application.client, 2, oauth.now)
    old = replace(application.client.secrets[0], expires_at=Instant(oauth.now + 60_000_000))
    changed = await oauth.change(application.client, secrets=(old, kept))
    newer = Application(oauth, changed, text.reveal())
    assert (await application.token()).status_code == 200
    assert (await newer.token()).status_code == 200
    oauth.move(60)
    assert error_of(await application.token()) == (401, "invalid_client")
    assert (await newer.token()).status_code == 200
    await oauth.change(changed, secrets=(old, replace(kept, revoked_at=oauth.now)))
    assert error_of(await newer.token()) == (401, "invalid_client")


async def test_every_refusal_of_a_client_reads_the_same(oauth: OAuth) -> None:
    """SECURITY-BAR 21: whether there is such a client, and what is wrong with it, cannot be read off."""
    known = await oauth.client()
    disabled = await oauth.client(state=State.DISABLED)
    revoked = await oauth.client(state=State.REVOKED)
    by_form = await oauth.client(token_endpoint_auth_method=ClientAuthMethod.POST)
    answers = [
        await oauth.post("/oauth/token", FORM, {"authorization": header})
        for header in (
            basic(known.client.id, "wrong"),
            basic("client_0000000000000000", "wrong"),
            basic("x" * 300, "wrong"),
            basic(disabled.client.id, disabled.secret),
            basic(revoked.client.id, revoked.secret),
            basic(by_form.client.id, by_form.secret),
        )
    ]
    assert {answer.status_code for answer in answers} == {401}
    assert len({answer.content for answer in answers}) == 1
    headers = [{k: v for k, v in answer.headers.items() if k != "x-request-id"} for answer in answers]
    assert all(one == headers[0] for one in headers)


async def test_an_address_that_fails_too_often_is_slowed_down() -> None:
    async with oauth_world(failures_per_minute=5) as oauth:
        application = await oauth.client()
        for _ in range(5):
            answer = await oauth.post("/oauth/token", FORM, {"authorization": basic("nobody", "x")})
            assert error_of(answer) == (401, "invalid_client")
        answer = await application.token()
        assert error_of(answer) == (429, "temporarily_unavailable")
        assert 1 <= int(answer.headers["retry-after"]) <= 60
        good = {"authorization": basic(application.client.id, application.secret)}
        elsewhere = await oauth.post("/oauth/token", FORM, good, client=("198.51.100.7", 1))
        assert elsewhere.status_code == 200


async def test_a_client_that_asks_too_often_is_slowed_down_where_the_operator_says_so() -> None:
    async with oauth_world(token_requests_per_minute=3) as oauth:
        application, other = await oauth.client(), await oauth.client()
        assert [(await application.token()).status_code for _ in range(4)] == [200, 200, 200, 429]
        assert (await other.token()).status_code == 200

"""The device grant: starting, asking, answering."""

from __future__ import annotations

from typing import Any

import pytest

from keybearer.core.device_request import USER_CODE_ALPHABET, normalised_user_code
from keybearer.core.errors import Conflict
from keybearer.core.oauth_error import TooManyRequests
from keybearer.core.records import State
from keybearer.limiters.memory import MemoryLimiter
from keybearer.ports import UnitOfWork
from keybearer.services import device, device_consent
from keybearer.services.device import FoundDevice
from tests.support.oauth import API, ISSUER, Application, Consent, OAuth, error_of, new_key, proof

pytestmark = pytest.mark.anyio
DEVICE = "urn:ietf:params:oauth:grant-type:device_code"


async def started(application: Application, **data: Any) -> dict[str, Any]:
    answer = await application.post("/oauth/device_authorization", {"scope": "orders:read orders:write", **data})
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


async def find(oauth: OAuth, typed: str, limiter: Any = None, **more: Any) -> FoundDevice | None:
    usual = {"source": "192.0.2.9", "user_id": None}
    return await device.find_by_user_code(
        oauth.world.authority, MemoryLimiter() if limiter is None else limiter, typed, **{**usual, **more}
    )


async def approve(
    consent: Consent, typed: str, granted: tuple[str, ...] = ("orders:read", "orders:write"), *, by_grant: bool = True
) -> None:
    oauth = consent.oauth
    found = await find(oauth, typed)
    assert found is not None

    async def work(uow: UnitOfWork) -> None:
        await device.approve(
            uow,
            oauth.world.authority,
            oauth.world.root,
            found,
            user=consent.user,
            grant=consent.grant if by_grant else None,
            session=consent.session,
            granted=granted,
        )

    await oauth.world.authority.store.transact(work)


async def deny(consent: Consent, typed: str) -> None:
    found = await find(consent.oauth, typed)
    assert found is not None
    authority = consent.oauth.world.authority

    async def work(uow: UnitOfWork) -> None:
        await device.deny(uow, authority, consent.oauth.world.root, found, user=consent.user)

    await authority.store.transact(work)


@pytest.mark.spec("RFC 8628", "3.2", "MUST")
async def test_a_device_is_told_what_to_show(oauth: OAuth) -> None:
    answer = await (await oauth.public_client()).post("/oauth/device_authorization", {"scope": "orders:read"})
    assert answer.headers["cache-control"] == "no-store"
    said = answer.json()
    assert said["verification_uri"] == f"{ISSUER}/device"
    assert said["verification_uri_complete"] == f"{ISSUER}/device?user_code={said['user_code']}"
    assert (said["expires_in"], said["interval"]) == (600, 5)
    assert len(said["user_code"]) == 9
    assert set(said["user_code"]) <= {*USER_CODE_ALPHABET, "-"}


@pytest.mark.spec("RFC 8628", "3.5", "MUST")
async def test_until_the_user_answers_the_device_asks_again(oauth: OAuth) -> None:
    consent = await oauth.consent(await oauth.public_client())
    said = await started(consent.application)
    for _ in range(3):
        answer = await consent.application.token(DEVICE, device_code=said["device_code"])
        assert error_of(answer) == (400, "authorization_pending")
        oauth.move(5)
    await approve(consent, said["user_code"])
    tokens = await consent.application.tokens(DEVICE, device_code=said["device_code"])
    assert tokens["scope"] == "orders:read orders:write"
    assert (await oauth.introspect(tokens["access_token"]))["sub"] == consent.user.id
    assert (await consent.application.refresh(tokens["refresh_token"])).status_code == 200
    again = await consent.application.token(DEVICE, device_code=said["device_code"])
    assert error_of(again) == (400, "invalid_grant")


@pytest.mark.spec("RFC 8628", "3.5", "MUST")
async def test_a_device_that_asks_too_often_is_told_to_slow_down(oauth: OAuth) -> None:
    consent = await oauth.consent(await oauth.public_client())
    code = (await started(consent.application))["device_code"]

    async def ask() -> str:
        return error_of(await consent.application.token(DEVICE, device_code=code))[1]

    assert await ask() == "authorization_pending"
    oauth.move(1)
    assert await ask() == "slow_down"  # ten seconds from now on
    oauth.move(6)
    assert await ask() == "slow_down"  # fifteen
    oauth.move(15)
    assert await ask() == "authorization_pending"


@pytest.mark.spec("RFC 8628", "3.5", "MUST")
async def test_a_refusal_is_said_once(oauth: OAuth) -> None:
    consent = await oauth.consent(await oauth.public_client())
    said = await started(consent.application)
    await deny(consent, said["user_code"])
    answer = await consent.application.token(DEVICE, device_code=said["device_code"])
    assert error_of(answer) == (400, "access_denied")
    answer = await consent.application.token(DEVICE, device_code=said["device_code"])
    assert error_of(answer) == (400, "invalid_grant")


@pytest.mark.spec("RFC 8628", "3.5", "MUST")
async def test_a_device_code_expires(oauth: OAuth) -> None:
    consent = await oauth.consent(await oauth.public_client())
    said = await started(consent.application)
    await approve(consent, said["user_code"])
    oauth.move(600)
    answer = await consent.application.token(DEVICE, device_code=said["device_code"])
    assert error_of(answer) == (400, "expired_token")
    assert await find(oauth, said["user_code"]) is None


@pytest.mark.spec("RFC 8628", "3.4", "MUST")
async def test_a_device_code_is_its_own_clients(oauth: OAuth) -> None:
    """ZITADEL CVE-2026-55672: the client binding was missing."""
    consent = await oauth.consent(await oauth.public_client())
    for by_grant in (True, False):  # a first-party client has no grant that would tell
        said = await started(consent.application)
        await approve(consent, said["user_code"], by_grant=by_grant)
        for other in (await oauth.public_client(), await oauth.client()):
            assert error_of(await other.token(DEVICE, device_code=said["device_code"])) == (400, "invalid_grant")
        assert (await consent.application.token(DEVICE, device_code=said["device_code"])).status_code == 200


@pytest.mark.spec("RFC 8628", "3.1", "MUST")
async def test_a_device_cannot_ask_for_more_than_its_client_may_have(oauth: OAuth) -> None:
    """authentik CVE-2024-52287: the device grant gave scopes that nobody approved."""
    application = await oauth.public_client(scopes=("orders:read",))
    for scope in ("orders:write", "orders:read orders:write", "nobody:knows"):
        answer = await application.post("/oauth/device_authorization", {"scope": scope})
        assert error_of(answer) == (400, "invalid_scope")
    consent = await oauth.consent(application)
    said = await started(application, scope="orders:read")
    answer = await application.token(DEVICE, device_code=said["device_code"], scope="orders:read orders:write")
    assert error_of(answer) == (400, "authorization_pending")
    await approve(consent, said["user_code"], ("orders:read", "orders:write"))
    oauth.move(5)
    tokens = await application.tokens(DEVICE, device_code=said["device_code"], scope="orders:read orders:write")
    assert tokens["scope"] == "orders:read"


async def test_the_user_may_agree_to_less(oauth: OAuth) -> None:
    consent = await oauth.consent(await oauth.public_client())
    said = await started(consent.application)
    await approve(consent, said["user_code"], ("orders:read",))
    assert (await consent.application.tokens(DEVICE, device_code=said["device_code"]))["scope"] == "orders:read"


@pytest.mark.spec("RFC 6749", "3.3", "MUST")
async def test_a_device_that_names_no_scope_asks_for_all_that_its_client_may_have(oauth: OAuth) -> None:
    consent = await oauth.consent(await oauth.public_client())
    said = await started(consent.application, scope="")
    found = await find(oauth, said["user_code"])
    assert found is not None
    assert set(found.request.scopes) == set(found.client.scopes) > {"orders:read", "orders:write"}
    offer = await device_consent.offered(oauth.world.authority, found, consent.user)
    assert set(offer.scopes) > {"orders:read", "orders:write"}


async def test_a_client_without_the_grant_cannot_start(oauth: OAuth) -> None:
    application = await oauth.public_client(grant_types=())
    answer = await application.post("/oauth/device_authorization", {"scope": "orders:read"})
    assert error_of(answer) == (400, "unauthorized_client")
    answer = await oauth.post("/oauth/device_authorization", {"client_id": "client_nobody"})
    assert error_of(answer) == (401, "invalid_client")
    answer = await (await oauth.public_client()).post("/oauth/device_authorization", {"resource": "https://no.example"})
    assert error_of(answer) == (400, "invalid_target")


@pytest.mark.spec("RFC 8628", "6.1", "SHOULD")
async def test_people_type_user_codes_as_they_like(oauth: OAuth) -> None:
    consent = await oauth.consent(await oauth.public_client())
    shown = (await started(consent.application))["user_code"]
    for typed in (shown, shown.lower(), shown.replace("-", ""), f" {shown[:4]} {shown[5:]} "):
        assert await find(oauth, typed) is not None
    for typed in ("", shown[:-1], shown + "B", "AAAA-AAAA", "x" * 100, "ÄÄÄÄ-ÄÄÄÄ"):
        assert await find(oauth, typed) is None
        assert normalised_user_code(typed) is None


@pytest.mark.spec("RFC 8628", "5.1", "SHOULD")
async def test_guesses_are_budgeted(oauth: OAuth) -> None:
    limiter = MemoryLimiter()
    for _ in range(10):
        assert await find(oauth, "BBBB-BBBB", limiter) is None
    with pytest.raises(TooManyRequests):
        await find(oauth, "BBBB-BBBC", limiter)
    assert await find(oauth, "BBBB-BBBB", limiter, source="192.0.2.10") is None
    for _ in range(9):
        await find(oauth, "BBBB-BBBB", limiter, source=None, user_id="user_1")
    await find(oauth, "BBBB-BBBB", limiter, source=None, user_id="user_1")
    with pytest.raises(TooManyRequests):
        await find(oauth, "BBBB-BBBB", limiter, source="192.0.2.11", user_id="user_1")


async def test_a_device_is_answered_once(oauth: OAuth) -> None:
    consent = await oauth.consent(await oauth.public_client())
    said = await started(consent.application)
    found = await find(oauth, said["user_code"])
    assert found is not None
    await approve(consent, said["user_code"])
    assert await find(oauth, said["user_code"]) is None
    authority = oauth.world.authority

    async def again(uow: UnitOfWork) -> None:
        await device.deny(uow, authority, oauth.world.root, found, user=consent.user)

    with pytest.raises(Conflict):
        await authority.store.transact(again)
    assert (await consent.application.token(DEVICE, device_code=said["device_code"])).status_code == 200


async def test_what_the_user_agreed_to_must_still_stand(oauth: OAuth) -> None:
    consent = await oauth.consent(await oauth.public_client())
    said = await started(consent.application)
    await approve(consent, said["user_code"])
    await oauth.change(consent.grant, state=State.REVOKED)
    answer = await consent.application.token(DEVICE, device_code=said["device_code"])
    assert error_of(answer) == (400, "invalid_grant")


async def test_a_device_outlives_the_session_of_the_browser(oauth: OAuth) -> None:
    consent = await oauth.consent(await oauth.public_client())
    said = await started(consent.application, resource=API)
    await approve(consent, said["user_code"])
    key = new_key()
    headers = {"dpop": proof(oauth, key)}
    tokens = await consent.application.tokens(DEVICE, device_code=said["device_code"], headers=headers)
    await oauth.change(consent.session, state=State.REVOKED)
    assert await oauth.is_active(tokens["access_token"])
    refused = await consent.application.refresh(tokens["refresh_token"])
    assert error_of(refused) == (400, "invalid_grant")
    headers = {"dpop": proof(oauth, key)}
    assert (await consent.application.refresh(tokens["refresh_token"], headers=headers)).status_code == 200


async def test_only_digests_are_stored(oauth: OAuth) -> None:
    consent = await oauth.consent(await oauth.public_client())
    said = await started(consent.application)
    found = await find(oauth, said["user_code"])
    assert found is not None
    letters = said["user_code"].replace("-", "")
    assert letters not in repr(found)
    assert said["device_code"].rpartition("_")[2] not in repr(found)

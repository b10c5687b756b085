"""The device page: found by its code, shown, and connected only when its user says so (RFC 8628)."""

from __future__ import annotations

from typing import Any

import pytest

from keybearer.core.clients import Client, ClientOrigin, GrantType
from keybearer.core.grants import Grant
from keybearer.core.records import Api
from keybearer.core.users import User
from keybearer.ports import Query
from tests.support.authorizing import (
    at_back_channel,
    browsing,
    changed,
    give_secret,
    make_api,
    make_client,
    sign_in_at,
    signed_in,
)
from tests.support.embedded import Embedded
from tests.support.people import make_user

pytestmark = pytest.mark.anyio


class Device:
    """A television that wants to see orders."""

    def __init__(self, world: Embedded, client: Client, secret: str) -> None:
        self.world, self.client, self.secret = world, client, secret

    async def start(self, scope: str = "orders:read orders:write") -> dict[str, Any]:
        answer = await at_back_channel(
            self.world, self.client, self.secret, "/oauth/device_authorization", {"scope": scope}
        )
        assert answer.status_code == 200, answer.text
        return dict(answer.json())

    async def poll(self, started: dict[str, Any]) -> dict[str, Any]:
        self.world.clock.move(10)
        fields = {"grant_type": str(GrantType.DEVICE_CODE), "device_code": started["device_code"]}
        return dict((await at_back_channel(self.world, self.client, self.secret, "/oauth/token", fields)).json())


@pytest.fixture
async def api(world: Embedded) -> Api:
    return await make_api(world)


@pytest.fixture
async def device(world: Embedded, api: Api) -> Device:
    grants = (GrantType.DEVICE_CODE, GrantType.REFRESH_TOKEN)
    client = await make_client(world, api, name="Television", grant_types=grants, optional_scopes=("orders:write",))
    return Device(world, client, await give_secret(world, client))


@pytest.fixture
async def ada(world: Embedded) -> User:
    return await make_user(world)


async def test_what_a_device_may_have_outlives_the_session_and_the_page_says_so(
    world: Embedded, device: Device, ada: User
) -> None:
    started = await device.start()
    async with browsing(world) as browser:
        await signed_in(browser, ada)
        page = await browser.send(await browser.get(f"/device?user_code={started['user_code']}"))
        assert "until you withdraw it, for 30 days at most" in page.text
        assert "Nobody here vouches" not in page.text


async def test_a_device_of_a_client_that_named_itself_is_shown_as_such(
    world: Embedded, device: Device, ada: User
) -> None:
    """RFC 8628 §5.4: a stranger's code in a friendly message is how people are fooled."""
    await changed(world, device.client, origin=ClientOrigin.REGISTERED)
    started = await device.start()
    async with browsing(world) as browser:
        await signed_in(browser, ada)
        page = await browser.send(await browser.get(f"/device?user_code={started['user_code']}"))
        assert "This application registered itself. Nobody here vouches for its name" in page.text


async def test_an_answer_to_a_device_counts_for_what_the_page_showed(
    world: Embedded, device: Device, ada: User
) -> None:
    started = await device.start()
    async with browsing(world) as browser:
        await signed_in(browser, ada)
        page = await browser.send(await browser.get(f"/device?user_code={started['user_code']}"))
        await changed(world, device.client, name="Keybearer Security")
        page = await browser.send(page, button="submit")
        assert "Keybearer Security" in page.text
        assert (await device.poll(started))["error"] == "authorization_pending"
        await browser.send(page, button="submit")
        assert "access_token" in await device.poll(started)


@pytest.mark.spec("RFC 8628", "3.3", "MUST")
@pytest.mark.spec("RFC 8628", "3.3.1", "SHOULD")
async def test_a_device_is_connected_when_its_user_says_so(
    world: Embedded, device: Device, ada: User, api: Api
) -> None:
    started = await device.start()
    async with browsing(world) as browser:
        page = await browser.get(f"/device?user_code={started['user_code']}")
        page = await sign_in_at(browser, page, ada)
        # The code is filled in; nothing has happened yet.
        assert page.form("/device").fields["user_code"] == started["user_code"]
        assert (await device.poll(started))["error"] == "authorization_pending"
        page = await browser.send(page)
        assert "Television" in page.text
        assert started["user_code"] in page.text
        assert "See your orders" in page.text
        assert (await device.poll(started))["error"] == "authorization_pending"
        page = await browser.send(page, {"allow.orders:write": None}, button="allow")
        assert "The device is connected" in page.text
        tokens = await device.poll(started)
        assert tokens["scope"] == "orders:read"
        assert (await world.verify(tokens["access_token"], api=api.identifier))["permissions"] == ["orders:read"]
        [grant] = await world.store.page(Grant, Query({"user_id": ada.id}))
        assert grant.scopes == ("orders:read",)
        # The grant is in the ledger, and ends what the device has.
        page = await browser.get(f"/account/applications/{grant.id}")
        await browser.send(page, button="disconnect")
        assert (await world.verify(tokens["access_token"], api=api.identifier))["code"] == "REVOKED"


async def test_saying_no_and_answering_twice(world: Embedded, device: Device, ada: User) -> None:
    started = await device.start()
    async with browsing(world) as browser:
        await signed_in(browser, ada)
        page = await browser.send(await browser.get("/device"), {"user_code": started["user_code"].lower()})
        page_again = page
        page = await browser.send(page, button="deny")
        assert "not connected" in page.text
        assert (await device.poll(started))["error"] == "access_denied"
        page = await browser.send(page_again, button="allow")
        assert "No device waits with this code" in page.text
        assert (await device.poll(started))["error"] in ("access_denied", "invalid_grant")


@pytest.mark.parametrize("fields", [{"step": "decide"}, {"decision": ""}, {"decision": "maybe"}])
async def test_a_form_that_says_neither_yes_nor_no_is_neither(
    world: Embedded, device: Device, ada: User, fields: dict[str, str]
) -> None:
    started = await device.start()
    async with browsing(world) as browser:
        await signed_in(browser, ada)
        page = await browser.get("/device")
        token = page.form("/device").fields["form_token"]
        page = await browser.post("/device", {"form_token": token, "user_code": started["user_code"], **fields})
        assert page.status == 400
        assert (await device.poll(started))["error"] == "authorization_pending"


async def test_everything_deselected_connects_nothing(world: Embedded, device: Device, ada: User) -> None:
    started = await device.start("orders:write")
    async with browsing(world) as browser:
        await signed_in(browser, ada)
        page = await browser.send(await browser.get("/device"), {"user_code": started["user_code"]})
        page = await browser.send(page, {"allow.orders:write": None}, button="allow")
        assert page.status == 400
        assert "deselected everything" in page.text
        assert (await device.poll(started))["error"] == "authorization_pending"


async def test_a_restricted_permission_is_not_given_by_who_does_not_hold_it(
    world: Embedded, device: Device, ada: User
) -> None:
    started = await device.start("orders:read refunds:write")
    async with browsing(world) as browser:
        await signed_in(browser, ada)
        page = await browser.send(await browser.get("/device"), {"user_code": started["user_code"]})
        assert "Refund orders" not in page.text
        await browser.send(page, {"allow.refunds:write": "on"}, button="allow")
        assert (await device.poll(started))["scope"] == "orders:read"


@pytest.mark.spec("RFC 8628", "5.1", "SHOULD")
async def test_guesses_are_bounded(world: Embedded, ada: User) -> None:
    async with browsing(world) as browser:
        await signed_in(browser, ada)
        page = await browser.get("/device")
        answers = [(await browser.send(page, {"user_code": "BBBB-BBBB"})).status for _ in range(12)]
        assert answers[0] == 400
        assert answers[-1] == 429

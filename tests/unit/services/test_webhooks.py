"""Webhooks: what they are told, signed and tried for hours; and letters to owners."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from pathlib import Path
from typing import Any

import pytest

from keybearer.core.errors import Conflict, InvalidInput
from keybearer.core.incidents import SourceKind
from keybearer.core.lifecycle import Change, IncidentChange
from keybearer.core.webhooks import RETRY_IN, WebhookEvent
from keybearer.keyring import FileKeyring, new_document
from keybearer.services import incidents, keys, leaks, projects, webhooks
from keybearer.services.paging import PageQuery
from keybearer.services.webhook_deliveries import WebhookDeliveries
from keybearer.wire.keys import CreateKey
from keybearer.wire.leaks import CheckLeaks, IncidentNote, LeakFinding, LeakSource
from keybearer.wire.records import CreateProject
from keybearer.wire.webhooks import CreateWebhook, RotateWebhookSecret, UpdateWebhook
from tests.support.embedded import Embedded
from tests.support.https import Received, Reply, give_fetcher, https_server
from tests.support.people import give_mailbox

pytestmark = pytest.mark.anyio


async def make(world: Embedded, url: str, project: str = "", **more: Any) -> Any:
    body = CreateWebhook(project or world.authority.own_project_id, "pager", url, **more)
    return await webhooks.create(world.authority, world.root, body)


async def leak(world: Embedded, project: str = "", **settings: Any) -> tuple[str, Any]:
    """Have a key found somewhere: its credential, and what the check said."""
    body = CreateKey(project or world.authority.own_project_id, "shop", **settings)
    credential = (await keys.create(world.authority, world.root, body)).credential
    finding = LeakFinding(credential, LeakSource(SourceKind.LOG, f"{credential}.log", 1))
    found = await leaks.check(world.authority, world.root, CheckLeaks([finding], act=True))
    return credential, found.findings[0]


async def send(world: Embedded, outcomes: list[str] | None = None) -> None:
    worker = WebhookDeliveries(world.authority, (outcomes if outcomes is not None else []).append)
    await worker.begin_due()
    await worker.settled()


async def messages(world: Embedded, webhook_id: str, **where: str) -> list[Any]:
    found = await webhooks.deliveries(world.authority, world.root, webhook_id, PageQuery(where))
    return found.items


def is_signed(received: Received, secret: str) -> bool:
    """What a receiver does, by the letter of Standard Webhooks."""
    key = base64.b64decode(secret.removeprefix("whsec_"))
    content = f"{received.headers['webhook-id']}.{received.headers['webhook-timestamp']}.".encode() + received.body
    wanted = base64.b64encode(hmac.new(key, content, hashlib.sha256).digest()).decode()
    return f"v1,{wanted}" in received.headers["webhook-signature"].split(" ")


async def test_an_incident_is_told_signed_and_without_the_secret(world: Embedded, tmp_path: Path) -> None:
    async with https_server(tmp_path) as server:
        give_fetcher(world.authority, server.fetcher())
        issued = await make(world, f"{server.url}/in")
        credential, found = await leak(world)
        await send(world)
        (received,) = server.received
        assert (received.method, received.target) == ("POST", "/in")
        assert received.headers["content-type"] == "application/json"
        assert is_signed(received, issued.secret)
        told = json.loads(received.body)
        assert told["type"] == "incident.opened"
        assert (told["data"]["id"], told["data"]["action"]) == (found.incident_id, "revoked")
        assert credential not in received.body.decode()
        (message,) = await messages(world, issued.webhook.id)
        assert (message.status, message.attempts, message.answered) == ("delivered", 1, 200)
        assert message.id == received.headers["webhook-id"]
        assert int(received.headers["webhook-timestamp"]) == world.clock.at // 1_000_000


async def test_what_failed_is_tried_again_as_the_same_message(world: Embedded, tmp_path: Path) -> None:
    answers = [503, 500, 200]

    async def flaky(_request: Received) -> Reply:
        return Reply(answers.pop(0))

    async with https_server(tmp_path, flaky) as server:
        give_fetcher(world.authority, server.fetcher())
        issued = await make(world, server.url)
        await leak(world)
        outcomes: list[str] = []
        for wait in (0, 1, 5.1, 30, 7):
            world.clock.move(wait)
            await send(world, outcomes)
        assert outcomes == ["failed", "failed", "delivered"]
        assert len({one.headers["webhook-id"] for one in server.received}) == 1
        assert len({one.body for one in server.received}) == 1
        assert all(is_signed(one, issued.secret) for one in server.received)


async def test_a_message_that_nobody_takes_is_kept_and_can_be_sent_again(world: Embedded, tmp_path: Path) -> None:
    taken = False

    async def answer(_request: Received) -> Reply:
        return Reply(200 if taken else 302, headers={"location": "https://elsewhere.example"})

    async with https_server(tmp_path, answer) as server:
        give_fetcher(world.authority, server.fetcher())
        issued = await make(world, server.url)
        await leak(world)
        began = world.clock.at
        await send(world)
        for wait in RETRY_IN:
            world.clock.move(wait / 1_000_000 * 1.3)
            await send(world)
        assert world.clock.at - began > 15 * 3_600_000_000
        (dead,) = await messages(world, issued.webhook.id, status="dead")
        assert (dead.attempts, dead.answered, dead.why) == (1 + len(RETRY_IN), 302, "it answered 302")
        world.clock.move(86_400)
        await send(world)
        assert len(server.received) == 1 + len(RETRY_IN), "no redirect is followed, and nothing is sent any more"
        taken = True
        await webhooks.redeliver(world.authority, world.root, issued.webhook.id, dead.id)
        await send(world)
        (message,) = await messages(world, issued.webhook.id)
        assert (message.id, message.status, message.attempts) == (dead.id, "delivered", 1)


async def test_several_nodes_send_a_message_once(world: Embedded, tmp_path: Path) -> None:
    async with https_server(tmp_path) as server:
        give_fetcher(world.authority, server.fetcher())
        await make(world, server.url)
        for _ in range(5):
            await leak(world)
        nodes = [WebhookDeliveries(world.authority) for _ in range(4)]
        for _ in range(4):
            for node in nodes:
                await node.begin_due()
            for node in nodes:
                await node.settled()
        assert sorted(one.headers["webhook-id"] for one in server.received) == sorted(
            {one.headers["webhook-id"] for one in server.received}
        )
        assert len(server.received) == 5


async def test_a_new_secret_signs_beside_the_old_one_for_the_grace(world: Embedded, tmp_path: Path) -> None:
    async with https_server(tmp_path) as server:
        give_fetcher(world.authority, server.fetcher())
        old = await make(world, server.url)
        new = await webhooks.rotate(world.authority, world.root, old.webhook.id, RotateWebhookSecret(grace_in=60))
        assert new.secret != old.secret
        for wait in (0, 60):
            world.clock.move(wait)
            await webhooks.ping(world.authority, world.root, old.webhook.id)
            await send(world)
        first, second = server.received
        assert [is_signed(first, one.secret) for one in (old, new)] == [True, True]
        assert [is_signed(second, one.secret) for one in (old, new)] == [False, True]
        assert json.loads(first.body)["type"] == "ping"


async def test_only_what_was_asked_for_is_told_and_only_to_who_may_know(world: Embedded) -> None:
    mine, other = [
        (await projects.create(world.authority, world.root, CreateProject(name))).id for name in ("Shop", "Other")
    ]
    all_of_it = await make(world, "https://all.example/")
    shops = await make(world, "https://shop.example/", mine)
    others = await make(world, "https://other.example/", other)
    resolved = await make(world, "https://shop.example/", mine, events=[WebhookEvent.INCIDENT_RESOLVED])
    off = await make(world, "https://shop.example/", mine)
    await webhooks.set_state(world.authority, world.root, off.webhook.id, Change.DISABLE)
    _, found = await leak(world, mine)
    resolve = (world.authority, world.root, found.incident_id, IncidentChange.RESOLVE, IncidentNote())
    world.clock.move(1)
    await incidents.set_status(*resolve)
    await incidents.set_status(*resolve)  # which it is already
    told = {}
    for one in (all_of_it, shops, others, resolved, off):
        told[one.webhook.id] = [message.event.value for message in await messages(world, one.webhook.id)]
    both = ["incident.opened", "incident.resolved"]
    assert list(told.values()) == [both, both, [], ["incident.resolved"], []]


async def test_messages_to_a_webhook_that_is_off_are_given_up_in_time(world: Embedded, tmp_path: Path) -> None:
    async with https_server(tmp_path) as server:
        give_fetcher(world.authority, server.fetcher())
        issued = await make(world, server.url)
        await leak(world)
        await webhooks.set_state(world.authority, world.root, issued.webhook.id, Change.DISABLE)
        await send(world)
        (message,) = await messages(world, issued.webhook.id)
        assert (message.status, message.why) == ("waiting", "the webhook is disabled")
        await webhooks.set_state(world.authority, world.root, issued.webhook.id, Change.ENABLE)
        world.clock.move(7)
        await send(world)
        assert len(server.received) == 1


async def test_a_secret_that_cannot_be_opened_signs_nothing(world: Embedded, tmp_path: Path) -> None:
    async with https_server(tmp_path) as server:
        give_fetcher(world.authority, server.fetcher())
        issued = await make(world, server.url)
        await webhooks.ping(world.authority, world.root, issued.webhook.id)
        object.__setattr__(world.authority, "keyring", FileKeyring(new_document(), "other"))
        await send(world)
        assert not server.received
        (message,) = await messages(world, issued.webhook.id)
        assert message.why == "its signing secret cannot be opened with this keyring"


async def test_a_private_network_is_not_reached(world: Embedded, tmp_path: Path) -> None:
    async with https_server(tmp_path) as server:
        from keybearer.fetch import GuardedFetcher

        give_fetcher(world.authority, GuardedFetcher((), ca=str(server.ca)))
        issued = await make(world, server.url)
        await webhooks.ping(world.authority, world.root, issued.webhook.id)
        await send(world)
        assert not server.received
        (message,) = await messages(world, issued.webhook.id)
        assert message.why == "The URL points into a network that may not be reached."


@pytest.mark.parametrize(
    "url",
    [
        "http://pager.example/",
        "https://ada:pw@pager.example/",
        "https://",
        "https://pager.example/#x",
        "https://pager.example/a b",
        "https://pager.example\\@inside/",
        "file:///etc/passwd",
    ],
)
async def test_urls_that_no_webhook_may_have(world: Embedded, url: str) -> None:
    with pytest.raises(InvalidInput):
        await make(world, url)
    issued = await make(world, "https://pager.example/")
    with pytest.raises(InvalidInput):
        await webhooks.update(world.authority, world.root, issued.webhook.id, UpdateWebhook(url=url))


async def test_a_project_has_so_many_webhooks(world: Embedded) -> None:
    for _ in range(20):
        await make(world, "https://pager.example/")
    with pytest.raises(Conflict):
        await make(world, "https://pager.example/")


@pytest.mark.parametrize(
    ("owner", "metadata", "to"),
    [
        ("ada@example.com", {}, "ada@example.com"),
        ("team 7", {"contact": "shop@example.com"}, "shop@example.com"),
        (None, {"security_contact": "sec@example.com", "contact": "shop@example.com"}, "sec@example.com"),
        (None, {"contact": ["x"]}, None),
        (None, {}, None),
    ],
    ids=["owner", "contact", "security-contact", "no-address", "nobody"],
)
async def test_the_owner_is_written_to(
    world: Embedded, owner: str | None, metadata: dict[str, Any], to: str | None
) -> None:
    mailbox = give_mailbox(world.authority)
    project = (await projects.create(world.authority, world.root, CreateProject("Shop", metadata=metadata))).id
    credential, found = await leak(world, project, owner=owner)
    await world.authority.outbox.settled()
    assert [one["To"] for one in mailbox.messages] == ([] if to is None else [to])
    for message in mailbox.messages:
        text = message.get_content()
        assert found.incident_id in text
        assert "It was revoked" in text
        assert credential.rpartition("_")[2] not in message.as_string()


async def test_who_is_written_to_often_is_written_to_less(world: Embedded) -> None:
    mailbox = give_mailbox(world.authority)
    for _ in range(9):
        await leak(world, owner="ada@example.com")
    await world.authority.outbox.settled()
    assert len(mailbox.messages) == 5

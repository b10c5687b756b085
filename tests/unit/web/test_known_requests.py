"""Requests known by their bytes: the same bytes get the same answer, and only for as long as it is the right one."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from keybearer.core.lifecycle import Change
from keybearer.limiters.failures import FailureThrottle
from keybearer.services import apis, keys, plans, projects, rotation, usage
from keybearer.services.bootstrap import OWN_PROJECT_ID
from keybearer.web.known_requests import KnownRequests
from keybearer.wire.keys import CreateKey, RestrictionsSpec, RevokeKey, RotateKey, UpdateKey
from keybearer.wire.limits import RateLimitSpec
from keybearer.wire.records import CreateApi, CreatePlan, CreateProject, PermissionSpec, UpdatePlan, UpdateProject
from tests.support.door import Door, is_known, known
from tests.support.embedded import Embedded

pytestmark = pytest.mark.anyio


def verify_request(caller: str, credential: str, **asked: Any) -> bytes:
    body = json.dumps({"credential": credential, **asked}).encode()
    return (
        f"POST /v1/verify HTTP/1.1\r\nHost: a.test\r\nAuthorization: Bearer {caller}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    ).encode() + body


def forward_request(
    credential: str, query: str = "", client: str = "203.0.113.7", uri: str = "/orders?page=2", more: str = ""
) -> bytes:
    return (
        f"GET /forward-auth{query} HTTP/1.1\r\nHost: a.test\r\nAuthorization: Bearer {credential}\r\n"
        f"X-Forwarded-For: {client}\r\nX-Forwarded-Method: GET\r\nX-Forwarded-Uri: {uri}\r\n{more}\r\n"
    ).encode("latin-1")


def said(answer: bytes) -> dict[str, Any]:
    return dict(json.loads(answer.partition(b"\r\n\r\n")[2]))


async def guard_of(world: Embedded, **settings: Any) -> tuple[str, str]:
    wanted = CreateKey(project_id=OWN_PROJECT_ID, name="guard", permissions=["keybearer:verify"], **settings)
    issued = await keys.create(world.authority, world.root, wanted)
    return issued.key.id, issued.credential


async def key_of(world: Embedded, **settings: Any) -> tuple[str, str, str]:
    project = await projects.create(world.authority, world.root, CreateProject(name="P"))
    issued = await keys.create(world.authority, world.root, CreateKey(project_id=project.id, name="K", **settings))
    return project.id, issued.key.id, issued.credential


async def test_a_known_request_is_answered_like_the_first_with_the_limit_counted_on(world: Embedded) -> None:
    _, guard = await guard_of(world)
    _, _, text = await key_of(world, limits=[RateLimitSpec("r", 10, 36_000)], metadata={"share": "5 %d"})
    connection, request = Door(world).connect(), verify_request(guard, text)
    _, first = await connection.ask(request)
    answers = [said(first)] + [said((await connection.ask(request))[1]) for _ in range(11)]
    assert [answer["code"] for answer in answers] == ["VALID"] * 10 + ["RATE_LIMITED"] * 2
    limits = [answer["limits"][0] for answer in answers]
    assert [limit["remaining"] for limit in limits[:10]] == list(range(9, -1, -1))
    assert limits[5]["reset_in"] == 6 * 3600
    for answer in answers[1:10]:
        assert {**answer, "limits": []} == {**answers[0], "limits": []}
    assert (await connection.ask(request))[1].split(b"\r\n\r\n")[0].split(b"\r\n")[0] == b"HTTP/1.1 200 OK"


async def test_the_lengths_of_known_answers_are_right(world: Embedded) -> None:
    _, guard = await guard_of(world)
    _, _, text = await key_of(world, limits=[RateLimitSpec("r", 101, 36_000), RateLimitSpec("s", 1000, 60)])
    connection, request = Door(world).connect(), verify_request(guard, text)
    for _ in range(5):
        _, answer = await connection.ask(request)
        head, _, body = answer.partition(b"\r\n\r\n")
        assert b"content-length: %d" % len(body) in head.split(b"\r\n")
        assert [limit["name"] for limit in said(answer)["limits"]] == ["r", "s"]


async def test_every_use_is_counted_for_the_key_and_for_the_guard(world: Embedded) -> None:
    guard_id, guard = await guard_of(world)
    _, key_id, text = await key_of(world)
    connection, request = Door(world).connect(), verify_request(guard, text, tags=["blue"])
    for _ in range(3):
        await connection.ask(request)
    await world.recorder.flush()
    world.clock.move(60)
    for _ in range(4):
        await connection.ask(request)
    await world.recorder.flush()
    world.clock.move(60)  # a report ends before the running minute
    for used in (guard_id, key_id):
        report = await usage.report(world.authority, world.root, group_by=("minute",), filters={"key_id": used})
        assert sorted(group.count for group in report.groups) == [3, 4]
    report = await usage.report(world.authority, world.root, group_by=("hour", "tag"), filters={"key_id": key_id})
    assert report.total == 7
    assert (await keys.get(world.authority, world.root, key_id)).last_used_at is not None


async def test_counts_belong_to_the_minute_of_the_use(world: Embedded) -> None:
    _, guard = await guard_of(world)
    _, key_id, text = await key_of(world)
    connection, request = Door(world).connect(), verify_request(guard, text)
    for _ in range(3):
        for _ in range(3):
            await connection.ask(request)
        world.clock.move(60)
    await world.recorder.flush()
    report = await usage.report(world.authority, world.root, group_by=("minute",), filters={"key_id": key_id})
    assert [group.count for group in report.groups] == [3, 3, 3]


Act = Callable[[Embedded, str, str], Awaitable[Any]]
ENDS: dict[str, tuple[Act, str]] = {
    "revoked": (lambda w, _, key: keys.revoke(w.authority, w.root, key, RevokeKey()), "REVOKED"),
    "disabled": (lambda w, _, key: keys.set_state(w.authority, w.root, key, Change.DISABLE), "DISABLED"),
    "deleted": (lambda w, _, key: keys.set_state(w.authority, w.root, key, Change.DELETE), "NOT_FOUND"),
    "project disabled": (
        lambda w, project, _: projects.set_state(w.authority, w.root, project, Change.DISABLE),
        "OWNER_DISABLED",
    ),
    "permission taken": (
        lambda w, _, key: keys.update(w.authority, w.root, key, UpdateKey(permissions=[])),
        "INSUFFICIENT_PERMISSIONS",
    ),
    "restricted": (
        lambda w, _, key: keys.update(
            w.authority, w.root, key, UpdateKey(restrictions=RestrictionsSpec(ip_networks=["192.0.2.0/24"]))
        ),
        "IP_NOT_ALLOWED",
    ),
    "API not enabled": (
        lambda w, project, _: projects.update(w.authority, w.root, project, UpdateProject(enabled_apis=[])),
        "API_NOT_ALLOWED",
    ),
}


@pytest.mark.parametrize("end", ENDS)
async def test_whatever_ends_a_key_holds_at_the_next_request(world: Embedded, end: str) -> None:
    act, code = ENDS[end]
    _, guard = await guard_of(world)
    described = CreateApi("urn:orders", "Orders", [PermissionSpec("orders:read")])
    api = await apis.create(world.authority, world.root, described)
    project, key_id, text = await key_of(world)
    await projects.update(world.authority, world.root, project, UpdateProject(enabled_apis=[api.id]))
    await keys.update(world.authority, world.root, key_id, UpdateKey(permissions=["orders:read"]))
    connection = Door(world).connect()
    request = verify_request(guard, text, api="urn:orders", permissions="orders:read")
    forward = forward_request(text, "?api=urn:orders&permissions=orders:read")
    await known(connection, request)
    await known(connection, forward)
    await act(world, project, key_id)
    _, answer = await connection.ask(request)
    assert said(answer)["code"] == code
    status, _ = await connection.ask(forward)
    assert status in (401, 403)


async def test_a_guard_that_is_revoked_ends_at_its_next_request(world: Embedded) -> None:
    guard_id, guard = await guard_of(world)
    _, _, text = await key_of(world)
    connection, request = Door(world).connect(), verify_request(guard, text)
    await known(connection, request)
    await keys.revoke(world.authority, world.root, guard_id, RevokeKey())
    assert (await connection.ask(request))[0] == 401


async def test_expiry_ends_a_known_request(world: Embedded) -> None:
    _, guard = await guard_of(world)
    _, key_id, old = await key_of(world)
    connection = Door(world).connect()
    new = (await rotation.rotate(world.authority, world.root, key_id, RotateKey(grace_in=60))).credential
    for text in (old, new):
        await known(connection, verify_request(guard, text))
    world.clock.move(61)
    codes = [said((await connection.ask(verify_request(guard, text)))[1])["code"] for text in (old, new)]
    assert codes == ["EXPIRED", "VALID"]
    _, expiring = await guard_of(world, expires_in=60)
    request = verify_request(expiring, new)
    await known(connection, request)
    world.clock.move(61)
    assert (await connection.ask(request))[0] == 401


async def test_a_changed_default_plan_limits_a_known_request(world: Embedded) -> None:
    _, guard = await guard_of(world)
    plan = await plans.create(world.authority, world.root, CreatePlan("Basic"))
    api = await apis.create(world.authority, world.root, CreateApi("urn:o", "O", default_plan_id=plan.id))
    project, _, text = await key_of(world)
    await projects.update(world.authority, world.root, project, UpdateProject(enabled_apis=[api.id]))
    connection, request = Door(world).connect(), verify_request(guard, text, api="urn:o")
    await known(connection, request)
    change = UpdatePlan(limits=[RateLimitSpec("r", 1, 36_000)])
    await plans.update(world.authority, world.root, plan.id, change)
    codes = []
    for _ in range(3):
        status, answer = await connection.ask(request)
        codes.append(said(answer)["code"] if status == 200 else status)
    assert codes[-2:] in (["RATE_LIMITED"] * 2, ["VALID", "RATE_LIMITED"])


async def test_the_same_bytes_from_another_address_are_another_request(world: Embedded) -> None:
    _, _, text = await key_of(world, restrictions=RestrictionsSpec(ip_networks=["203.0.113.0/24"]))
    door, request = Door(world), forward_request(text)
    await known(door.connect(), request)
    assert (await door.connect("198.51.100.9").ask(request))[0] == 403


async def test_a_refusal_is_never_remembered(world: Embedded) -> None:
    _, guard = await guard_of(world)
    _, key_id, text = await key_of(world)
    door = Door(world)
    connection = door.connect()
    await keys.set_state(world.authority, world.root, key_id, Change.DISABLE)
    for _ in range(4):
        assert said((await connection.ask(verify_request(guard, text)))[1])["code"] == "DISABLED"
        assert (await connection.ask(forward_request("kb_sk_live_x")))[0] == 401
    assert not door.routes.known
    await keys.set_state(world.authority, world.root, key_id, Change.ENABLE)
    assert said((await connection.ask(verify_request(guard, text)))[1])["code"] == "VALID"


async def test_only_whole_requests_that_come_alone_are_known(world: Embedded) -> None:
    _, guard = await guard_of(world)
    _, _, text = await key_of(world)
    door = Door(world)
    connection, request = door.connect(), verify_request(guard, text)
    for _ in range(4):
        assert (await connection.ask(request + request))[1].count(b"HTTP/1.1 200 OK") == 2
        assert (await connection.ask(request[:40], request[40:]))[0] == 200
        assert (await connection.ask(request[:1], request[1:]))[0] == 200
    closing = request.replace(b"Host:", b"Connection: close\r\nHost:")
    for _ in range(4):
        assert (await door.connect().ask(closing))[0] == 200
    assert not door.routes.known


async def test_known_bytes_inside_another_request_are_its_body(world: Embedded) -> None:
    """What counts as a request depends on where it stands: bytes in the middle of a message are never one."""
    _, guard = await guard_of(world)
    _, _, text = await key_of(world)
    door = Door(world)
    connection, request = door.connect(), verify_request(guard, text)
    await known(connection, request)
    head = b"POST /elsewhere HTTP/1.1\r\nHost: a.test\r\nContent-Length: %d\r\n\r\n" % len(request)
    status, answer = await connection.ask(head, request)
    assert (status, answer.count(b"HTTP/1.1")) == (404, 1)
    status, answer = await door.connect().ask(b"P", request)
    assert status == 400
    upgrade = b"GET /x HTTP/1.1\r\nHost: a.test\r\nConnection: Upgrade\r\nUpgrade: other\r\n\r\n"
    upgraded = door.connect()
    await upgraded.ask(upgrade)
    assert not upgraded.protocol._between


async def test_answers_keep_the_order_of_the_requests(world: Embedded) -> None:
    _, guard = await guard_of(world)
    _, _, text = await key_of(world)
    connection, request = Door(world).connect(), verify_request(guard, text)
    await known(connection, request)
    other = b"GET /elsewhere HTTP/1.1\r\nHost: a.test\r\n\r\n"
    _, answer = await connection.ask(request, other, request)
    statuses = [int(part[:3]) for part in answer.split(b"HTTP/1.1 ")[1:]]
    assert statuses[:2] == [200, 404]
    assert len(statuses) == 3
    connection = Door(world).connect()
    _, answer = await connection.ask(request, b"nonsense\r\n\r\n")
    assert [int(part[:3]) for part in answer.split(b"HTTP/1.1 ")[1:]] == [200, 400]


async def test_a_shutdown_sends_what_was_answered(world: Embedded) -> None:
    _, guard = await guard_of(world)
    _, _, text = await key_of(world)
    connection = Door(world).connect()
    connection.protocol.data_received(verify_request(guard, text))
    connection.protocol.shutdown()
    assert connection.transport.written.startswith(b"HTTP/1.1 200 OK")
    assert connection.transport.closed


async def test_a_client_that_does_not_read_is_not_read_from(world: Embedded) -> None:
    connection = Door(world).connect()
    connection.protocol.pause_writing()
    assert connection.protocol.flow.read_paused
    connection.protocol.resume_writing()
    assert not connection.protocol.flow.read_paused


async def test_an_address_that_keeps_guessing_is_slowed_down_though_its_request_is_known(world: Embedded) -> None:
    _, _, text = await key_of(world)
    world.verifier._engines = world.verifier._engines._replace(throttle=FailureThrottle(2))
    connection, request = Door(world).connect(), forward_request(text)
    await known(connection, request)
    for _ in range(2):
        assert (await connection.ask(forward_request(text[:-1])))[0] == 401
    assert (await connection.ask(request))[0] == 429
    assert (await connection.ask(forward_request(text, client="203.0.113.8")))[0] == 200


async def test_a_log_of_answers_has_the_known_ones_too(world: Embedded, caplog: pytest.LogCaptureFixture) -> None:
    _, _, text = await key_of(world)
    connection, request = Door(world, access_log=True).connect(), forward_request(text, "?cost=2")
    with caplog.at_level("INFO", logger="keybearer.access"):
        await known(connection, request)
    told = [(line.__dict__["route"], line.__dict__["status"]) for line in caplog.records]
    assert told == [("/forward-auth", 200)] * 4
    assert len({line.__dict__["request_id"] for line in caplog.records}) == 4


async def test_a_key_for_every_url_is_known_whatever_url_is_asked_for(world: Embedded) -> None:
    _, _, text = await key_of(world, limits=[RateLimitSpec("r", 100, 36_000)])
    connection = Door(world).connect()
    await known(connection, forward_request(text))
    for uri in ("/", "", "/other", "/other?page=3&sort=key", "/" + "a" * 2000):
        assert await is_known(connection, forward_request(text, uri=uri)), uri
    assert b'"r";r=90;' in (await connection.ask(forward_request(text, uri="/last")))[1]


@pytest.mark.parametrize(
    ("uri", "status"),
    [
        ("/x?key=1", 401),
        ("/x?a=b&Access_Token=1", 401),
        ("/x?%6bey=1", 401),
        ("/x?" + "&".join("a" * 1001), 401),
        ("/x?a=%41", 200),
        ("/\xe9", 200),
    ],
)
async def test_a_url_that_may_say_more_is_read(world: Embedded, uri: str, status: int) -> None:
    _, _, text = await key_of(world)
    connection = Door(world).connect()
    await known(connection, forward_request(text))
    for _ in range(3):
        assert (await connection.ask(forward_request(text, uri=uri)))[0] == status
    assert await is_known(connection, forward_request(text, uri=uri)) == (status == 200)


async def test_a_key_for_some_paths_is_never_known_without_its_path(world: Embedded) -> None:
    _, _, text = await key_of(world, restrictions=RestrictionsSpec(paths=["/a"]))
    connection = Door(world).connect()
    for uri, status in (("/a", 200), ("/b", 401)) * 4:
        assert (await connection.ask(forward_request(text, uri=uri)))[0] == status
    assert not await is_known(connection, forward_request(text, uri="/a"))


async def test_a_second_field_for_the_url_is_read(world: Embedded) -> None:
    _, _, text = await key_of(world)
    connection = Door(world).connect()
    for _ in range(4):
        assert (await connection.ask(forward_request(text, uri="/a", more="X-Original-Uri: /a\r\n")))[0] == 200
        assert (await connection.ask(forward_request(text, uri="/b", more="X-Original-Uri: /a\r\n")))[0] == 401


async def test_nothing_is_cut_out_of_a_body(world: Embedded) -> None:
    """Or its length could be made to lie, and the end of one request be read as the beginning of another."""
    _, _, text = await key_of(world)
    connection = Door(world).connect()

    def request(cut: str, length: int) -> bytes:
        head = f"GET /forward-auth HTTP/1.1\r\nHost: a.test\r\nX-Api-Key: {text}\r\nContent-Length: {length}\r\n\r\n"
        return f"{head}\r\nX-Forwarded-Uri: {cut}\r\n".encode()

    length = len("\r\nX-Forwarded-Uri: /a\r\n")
    for _ in range(4):
        assert (await connection.ask(request("/a", length)))[0] == 200
    _, answer = await connection.ask(request("/aGET", length))
    assert not answer.endswith(b"content-length: 0\r\n\r\n") or not connection.protocol._between
    cut = KnownRequests().without_uri
    for line in (b"a\r\nHost: b", b"a\nb", b"a b"):
        assert cut(forward_request(text).replace(b"/orders?page=2", line))[0] != cut(forward_request(text))[0]


async def test_each_proxy_writes_the_field_of_the_url_its_own_way(world: Embedded) -> None:
    _, _, text = await key_of(world)
    connection = Door(world).connect()
    for name in (b"X-Forwarded-Uri", b"x-original-uri", b"X-Original-URI", b"x-forwarded-uri"):
        await known(connection, forward_request(text).replace(b"X-Forwarded-Uri", name))
        assert await is_known(connection, forward_request(text, uri="/other").replace(b"X-Forwarded-Uri", name))


async def test_no_fingerprint_is_made_of_other_requests_nor_without_the_key_of_the_process(world: Embedded) -> None:
    door = Door(world)
    login = b"POST /login HTTP/1.1\r\nHost: a.test\r\nContent-Length: 8\r\n\r\npassword"
    await door.connect().ask(login)
    assert not door.routes.known._seen
    assert door.routes.known.sender("192.0.2.1") != Door(world).routes.known.sender("192.0.2.1")

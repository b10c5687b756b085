"""Reports of leaks from outside: forged, replayed, by id alone, by the flood; and what their answers give away.

Spec: SECURITY-BAR 21, 27-29; warehouse (a report matched by id without the secret); GitHub secret scanning partner
program; GitLab Token Revocation API.
"""

from __future__ import annotations

import base64
import hashlib
import json
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_der_public_key

from keybearer.core.credential import checksum
from keybearer.core.errors import ConfigurationError, NotFound, Unreachable
from keybearer.core.leaks import Measure
from keybearer.core.records import CredentialKind
from keybearer.ports import Fetched
from keybearer.services import apis, incidents, keys, leak_policies, projects, url_report
from keybearer.services.authority import Caller
from keybearer.services.paging import PageQuery
from keybearer.settings import Settings, load
from keybearer.web.leak_reports import LeakReportEndpoints
from keybearer.wire.keys import CreateKey, RestrictionsSpec
from keybearer.wire.leaks import SetLeakPolicy
from keybearer.wire.records import CreateApi, CreateProject
from tests.support.embedded import Embedded, embedded
from tests.support.spelling import percent

pytestmark = pytest.mark.anyio

VECTOR = json.loads((Path(__file__).parents[1] / "vectors" / "github_secret_scanning.json").read_text())
SHARED = "shared-with-gitlab-0123456789abcdef"
URL = "/v1/leaks/reports/github"


class Github:
    """Answers with keys, and counts how often it was asked."""

    def __init__(self, **keys: ec.EllipticCurvePublicKey) -> None:
        self.keys = keys
        self.asked = 0
        self.is_down = False

    async def get(self, url: str, **_: Any) -> Fetched:
        assert url == Settings().github_keys_url
        self.asked += 1
        if self.is_down:
            raise Unreachable("The URL does not answer.")
        found = [
            {
                "key_identifier": name,
                "key": key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode(),
                "is_current": True,
            }
            for name, key in self.keys.items()
        ]
        return Fetched(200, "application/json", json.dumps({"public_keys": found}).encode())


@pytest.fixture
async def world(anyio_backend: str, tmp_path: Path) -> AsyncIterator[Embedded]:
    shared = tmp_path / "gitlab"
    shared.write_text(SHARED + "\n")
    settings = {
        "trusted_proxies": ("127.0.0.0/8",),
        "leak_reports": ("possession", "github", "gitlab"),
        "leak_report_token_file": str(shared),
        "failures_per_minute": 0,
    }
    async with embedded(**settings) as running:
        yield running


PRIVATE = ec.generate_private_key(ec.SECP256R1())


def give_github(world: Embedded, **keys: Any) -> Github:
    github = Github(**(keys or {"kid1": PRIVATE.public_key()}))
    object.__setattr__(world.authority, "fetcher", github)
    return github


def signed(body: bytes, key: ec.EllipticCurvePrivateKey = PRIVATE, kid: str = "kid1") -> dict[str, str]:
    signature = base64.b64encode(key.sign(body, ec.ECDSA(SHA256()))).decode()
    return {
        "content-type": "application/json",
        "Github-Public-Key-Identifier": kid,
        "Github-Public-Key-Signature": signature,
    }


async def issue(world: Embedded, **settings: Any) -> Any:
    return await keys.create(world.authority, world.root, CreateKey(world.authority.own_project_id, "shop", **settings))


async def post(world: Embedded, path: str, **request: Any) -> Any:
    async with world.http("") as http:
        answer = await http.post(path, **request)
    await world.authority.outbox.settled()
    return answer


async def code(world: Embedded, credential: str, **asked: Any) -> str:
    return str((await world.verify(credential, **asked))["code"])


async def count(world: Embedded) -> int:
    return len((await incidents.page(world.authority, world.root, PageQuery({}))).items)


def message(*tokens: str) -> bytes:
    url = "https://github.com/octocat/shop/blob/main/.env"
    return json.dumps(
        [{"token": token, "type": "keybearer", "url": url, "source": "content"} for token in tokens]
    ).encode()


# GitHub.


async def test_githubs_own_sample_is_believed(world: Embedded) -> None:
    key = load_der_public_key(base64.b64decode(VECTOR["public_key_der_base64"]))
    give_github(world, **{VECTOR["key_identifier"]: key})
    headers = {
        "content-type": "application/json",
        "GITHUB-PUBLIC-KEY-IDENTIFIER": VECTOR["key_identifier"],
        "GITHUB-PUBLIC-KEY-SIGNATURE": VECTOR["signature_base64"],
    }
    answer = await post(world, URL, content=VECTOR["body"], headers=headers)
    assert answer.status_code == 200, answer.text
    assert [one["label"] for one in answer.json()] == ["false_positive"]
    for number in range(len(VECTOR["body"])):
        changed = bytearray(VECTOR["body"].encode())
        changed[number] ^= 1
        assert (await post(world, URL, content=bytes(changed), headers=headers)).status_code == 401, number


async def test_what_github_found_is_revoked_and_labelled(world: Embedded) -> None:
    give_github(world)
    issued = await issue(world)
    body = message(issued.credential, "some_token")
    answer = await post(world, URL, content=body, headers=signed(body))
    hashes = [base64.b64encode(hashlib.sha256(t.encode()).digest()).decode() for t in (issued.credential, "some_token")]
    assert answer.json() == [
        {"token_hash": hashes[0], "token_type": "keybearer", "label": "true_positive"},
        {"token_hash": hashes[1], "token_type": "keybearer", "label": "false_positive"},
    ]
    assert await code(world, issued.credential) == "REVOKED"
    found = await incidents.page(world.authority, world.root, PageQuery({}))
    assert found.items[0].sightings[0].name == "https://github.com/octocat/shop/blob/main/.env"
    assert found.items[0].history[0].actor == "report:github"
    again = await post(world, URL, content=body, headers=signed(body))
    assert again.json() == answer.json(), "a replay says the same, and changes nothing"
    (incident,) = (await incidents.page(world.authority, world.root, PageQuery({}))).items
    assert incident.sighted == 1


async def test_forged_messages_change_nothing(world: Embedded) -> None:
    give_github(world)
    issued = await issue(world)
    body = message(issued.credential)
    good = signed(body)
    other = ec.generate_private_key(ec.SECP256R1())
    forged = [
        signed(body, other),
        {**good, "Github-Public-Key-Identifier": "kid2"},
        {**good, "Github-Public-Key-Identifier": ""},
        {**good, "Github-Public-Key-Identifier": "../kid1"},
        {**good, "Github-Public-Key-Signature": ""},
        {**good, "Github-Public-Key-Signature": "AAAA"},
        {**good, "Github-Public-Key-Signature": "not base64!"},
        {**good, "Github-Public-Key-Signature": "A" * 100_000},
        {"content-type": "application/json"},
    ]
    for headers in forged:
        assert (await post(world, URL, content=body, headers=headers)).status_code == 401, headers
    assert (await post(world, URL, content=body + b" ", headers=good)).status_code == 401
    assert await code(world, issued.credential) == "VALID"
    assert (await post(world, URL, content=body, headers=good)).status_code == 200


async def test_keys_on_another_curve_are_not_believed(world: Embedded) -> None:
    wide = ec.generate_private_key(ec.SECP384R1())
    give_github(world, kid1=wide.public_key())
    body = message("x")
    assert (await post(world, URL, content=body, headers=signed(body, wide))).status_code == 401


async def test_github_is_asked_rarely_however_many_unknown_keys_are_named(world: Embedded) -> None:
    github = give_github(world)
    body = message("some_token")
    assert (await post(world, URL, content=body, headers=signed(body))).status_code == 200
    for number in range(30):
        assert (await post(world, URL, content=body, headers=signed(body, kid=f"new{number}"))).status_code == 401
    assert github.asked == 1
    world.clock.move(61)
    github.keys["kid2"] = PRIVATE.public_key()
    assert (await post(world, URL, content=body, headers=signed(body, kid="kid2"))).status_code == 200
    assert github.asked == 2
    del github.keys["kid1"]
    world.clock.move(12 * 3600)
    assert (await post(world, URL, content=body, headers=signed(body))).status_code == 401, "withdrawn keys go"


async def test_without_githubs_keys_nothing_is_believed(world: Embedded) -> None:
    github = give_github(world)
    github.is_down = True
    body = message("x")
    for _ in range(3):
        assert (await post(world, URL, content=body, headers=signed(body))).status_code == 503
    assert github.asked == 1


async def test_a_signed_message_that_is_none_is_refused(world: Embedded) -> None:
    give_github(world)
    for body in (b"{}", b"[1]", b"[", b"", b'[{"token": ""}]', b'[{"token": "x", "token": "y"}]'):
        assert (await post(world, URL, content=body, headers=signed(body))).status_code == 400, body


# GitLab.


async def test_gitlab_revokes_with_the_shared_secret(world: Embedded) -> None:
    issued = await issue(world)
    body = [{"type": "keybearer_secret_key", "token": issued.credential, "location": "https://gitlab.example/x"}]
    path = "/v1/leaks/reports/gitlab"
    for wrong in ("", SHARED[:-1], SHARED + "x", f"Bearer {SHARED}x", f"Bearer  {SHARED} {SHARED}", f"Basic {SHARED}"):
        headers = {"authorization": wrong} if wrong else {}
        assert (await post(world, path, json=body, headers=headers)).status_code == 401, wrong
    assert await code(world, issued.credential) == "VALID"
    answer = await post(world, path, json=body, headers={"authorization": SHARED})
    assert (answer.status_code, answer.content) == (204, b"")
    assert await code(world, issued.credential) == "REVOKED"
    bearer = {"authorization": f"Bearer {SHARED}"}
    assert (await post(world, path, json=body, headers=bearer)).status_code == 204
    assert (await post(world, path, json=[{"type": "x"}], headers=bearer)).status_code == 400
    async with world.http("") as http:
        types = await http.get(f"{path}/types", headers=bearer)
        assert "keybearer_secret_key" in types.json()["types"]
        assert (await http.get(f"{path}/types")).status_code == 401


async def test_a_weak_or_missing_shared_secret_does_not_start(world: Embedded, tmp_path: Path) -> None:
    weak = tmp_path / "weak"
    weak.write_text("short\n")
    for path in (str(weak), str(tmp_path / "none"), ""):
        settings = Settings(leak_reports=("gitlab",), leak_report_token_file=path)
        authority = type("A", (), {"settings": settings, "clock": world.clock})()
        with pytest.raises(ConfigurationError):
            LeakReportEndpoints(authority, None)  # type: ignore[arg-type]
    with pytest.raises(ConfigurationError):
        load({"leak_reports": ("github", "everybody")}, {})


# Whoever has it.


async def test_whoever_has_the_secret_can_have_it_ended(world: Embedded) -> None:
    issued = await issue(world)
    finding = {"credential": issued.credential, "where": f"https://paste.example/?key={issued.credential}"}
    answer = await post(world, "/v1/leaks/report", json={"findings": [finding]})
    assert (answer.status_code, answer.json()) == (202, {"accepted": 1})
    assert await code(world, issued.credential) == "REVOKED"
    (incident,) = (await incidents.page(world.authority, world.root, PageQuery({}))).items
    assert issued.credential not in repr(incident)
    assert incident.sightings[0].client_ip == "192.0.2.1"


def in_base64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


@pytest.mark.parametrize("spelled", [percent, in_base64], ids=["percent", "base64"])
async def test_where_it_was_found_keeps_no_secret_in_any_spelling(
    world: Embedded, spelled: Callable[[str], str]
) -> None:
    issued = await issue(world)
    finding = {"credential": issued.credential, "where": f"https://paste.example/?key={spelled(issued.credential)}"}
    await post(world, "/v1/leaks/report", json={"findings": [finding]})
    (incident,) = (await incidents.page(world.authority, world.root, PageQuery({}))).items
    where = incident.sightings[0].name
    assert where.startswith("https://paste.example/?key=")
    assert spelled(issued.credential)[-24:] not in where


async def test_an_id_alone_ends_nothing(world: Embedded) -> None:
    issued = await issue(world)
    prefix, _, secret = issued.credential.rpartition("_")
    stranger = f"{prefix}_{'x' * 32}"
    for text in (issued.key.id, prefix, stranger + checksum(stranger), issued.credential[:-1], issued.credential + "0"):
        answer = await post(world, "/v1/leaks/report", json={"findings": [{"credential": text}]})
        assert answer.status_code == 202
    assert len(secret) == 38
    assert await code(world, issued.credential) == "VALID"
    assert await count(world) == 0


async def test_nobody_outside_ends_a_publishable_key(world: Embedded) -> None:
    policy = SetLeakPolicy(measures={"live.publishable_key": Measure.REVOKE})
    await leak_policies.set_policy(world.authority, world.root, world.authority.own_project_id, policy)
    public = RestrictionsSpec(ip_networks=["192.0.2.1"])
    issued = await issue(world, kind=CredentialKind.PUBLISHABLE_KEY, restrictions=public)
    await post(world, "/v1/leaks/report", json={"findings": [{"credential": issued.credential}]})
    assert await code(world, issued.credential, client_ip="192.0.2.1") == "VALID"
    assert await count(world) == 1


async def test_the_answer_is_the_same_whatever_is_reported(world: Embedded) -> None:
    live, over = await issue(world), await issue(world)
    await post(world, "/v1/leaks/report", json={"findings": [{"credential": over.credential}]})
    answers = [
        await post(world, "/v1/leaks/report", json={"findings": [{"credential": text}]})
        for text in (live.credential, over.credential, "nobody's", "kb_sk_live_x")
    ]
    plain = {(one.status_code, one.content) for one in answers}
    assert plain == {(202, b'{"accepted":1}')}
    headers = [{name: value for name, value in one.headers.items() if name != "x-request-id"} for one in answers]
    assert all(one == headers[0] for one in headers)


async def test_the_answer_does_not_wait_for_what_is_found_out(world: Embedded) -> None:
    issued = await issue(world)

    async def slow(*_: Any) -> Any:
        import asyncio

        await asyncio.sleep(0.5)
        raise AssertionError("nobody waits for this")

    object.__setattr__(world.authority, "store", type("S", (), {"transact": slow, "page": slow, "get": slow})())
    async with world.http("") as http:
        began = time.monotonic()
        answer = await http.post("/v1/leaks/report", json={"findings": [{"credential": issued.credential}]})
    assert answer.status_code == 202
    assert time.monotonic() - began < 0.4


async def test_a_network_reports_only_so_often(world: Embedded) -> None:
    body = {"findings": [{"credential": "x"}]}
    statuses = [(await post(world, "/v1/leaks/report", json=body)).status_code for _ in range(12)]
    assert statuses == [202] * 10 + [429] * 2
    async with world.http("", client=("2001:db8::1", 1)) as http:
        assert (await http.post("/v1/leaks/report", json=body)).status_code == 202


async def test_a_report_has_bounds(world: Embedded) -> None:
    for body in (
        {"findings": []},
        {"findings": [{"credential": "x"}] * 101},
        {"findings": [{"credential": "x" * 8193}]},
        {"findings": [{"credential": "x", "project_id": "proj_1"}]},
        {},
    ):
        assert (await post(world, "/v1/leaks/report", json=body)).status_code == 400


async def test_each_can_be_switched_off(anyio_backend: str) -> None:
    async with embedded(leak_reports=()) as running:
        for path in ("/v1/leaks/report", URL, "/v1/leaks/reports/gitlab"):
            assert (await post(running, path, json={"findings": [{"credential": "x"}]})).status_code == 404, path


# In URLs.


def embedded_proxy(world: Embedded) -> Any:
    """A client whom the authority trusts as a proxy."""
    return world.http("", client=("127.0.0.1", 1))


async def test_a_credential_in_a_url_is_refused_told_why_and_counted(world: Embedded) -> None:
    issued = await issue(world, permissions=["keybearer:keys.read"])
    async with world.http("") as http:
        for path in ("/v1/keys", "/v1/whoami", "/v1/whoami"):
            answer = await http.get(f"{path}?access_token={issued.credential}")
            assert answer.status_code == 401
            assert "end up in logs" in answer.json()["detail"]
            assert "send it in a header" in answer.headers["www-authenticate"]
            assert issued.credential not in answer.text
        await http.get("/v1/whoami?key=nobodys")
    await world.watch.flush()
    world.clock.move(1)
    report = await url_report.report(world.authority, world.root)
    (use,) = report.uses
    assert (use.key_id, use.source, use.code, use.count) == (issued.key.id, "192.0.2.1", "KIND_NOT_ACCEPTED", 3)
    assert await count(world) == 0
    assert await code(world, issued.credential) == "VALID"


async def test_a_key_that_may_stand_in_urls_is_counted_as_well(world: Embedded) -> None:
    authority, root = world.authority, world.root
    api = await apis.create(authority, root, CreateApi("urn:maps", "Maps", allow_publishable_in_query=True))
    project = await projects.create(authority, root, CreateProject("Site", enabled_apis=[api.id]))
    public = RestrictionsSpec(origins=["https://site.example"])
    body = CreateKey(project.id, "maps", kind=CredentialKind.PUBLISHABLE_KEY, restrictions=public)
    issued = await keys.create(authority, root, body)
    headers = {"origin": "https://site.example", "x-original-method": "GET", "x-forwarded-for": "203.0.113.5"}
    async with embedded_proxy(world) as http:
        for name, status in (("key", 200), ("page", 401)):
            uri = f"/tiles?{name}={issued.credential}"
            answer = await http.get("/forward-auth?api=urn:maps", headers={**headers, "x-original-uri": uri})
            assert answer.status_code == status
    await world.watch.flush()
    world.clock.move(1)
    (use,) = (await url_report.report(authority, root)).uses
    assert (use.project_id, use.key_id, use.source) == (project.id, issued.key.id, "203.0.113.5")
    assert (use.code, use.count) == ("VALID", 1)
    mine = Caller("key_1", frozenset({"keybearer:leaks.read"}), "proj_other")
    assert not (await url_report.report(authority, mine)).uses
    with pytest.raises(NotFound):
        await url_report.report(authority, mine, filters={"project_id": project.id})


async def test_a_policy_may_want_an_incident_of_it(world: Embedded) -> None:
    own = world.authority.own_project_id
    await leak_policies.set_policy(world.authority, world.root, own, SetLeakPolicy(in_urls=Measure.ALERT))
    issued = await issue(world)
    for _ in range(2):
        async with world.http("") as http:
            await http.get(f"/v1/whoami?api_key={issued.credential}")
        await world.watch.flush()
    (incident,) = (await incidents.page(world.authority, world.root, PageQuery({}))).items
    assert (incident.action, incident.sighted, incident.sightings[0].kind) == ("alerted", 1, "url")
    assert await code(world, issued.credential) == "VALID"


async def test_a_flood_of_urls_is_bounded(world: Embedded) -> None:
    async with world.http("") as http:
        for number in range(260):
            await http.get(f"/v1/whoami?key=x{number}")
    assert world.watch.dropped == 60
    await world.watch.flush()
    assert not (await url_report.report(world.authority, world.root)).uses

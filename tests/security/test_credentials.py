"""Credentials that are almost right, and what a refusal gives away: nothing.

Spec: SECURITY-BAR, ZITADEL CVE-2026-27840 (truncated tokens valid), LiteLLM CVE-2026-42208 and #39757 (SQL through
bearer, a 401 that echoes), LiteLLM CVE-2026-35030 and Oathkeeper CVE-2026-33496 (cache-key confusion), Better Auth
(missing permission answered as "key not found"); ASVS 11.5.1; CWE-203.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keybearer.core import credential as grammar
from keybearer.core.lifecycle import Change
from keybearer.core.records import ApiKey
from keybearer.services import keys, projects
from keybearer.wire.keys import CreateKey, ImportedSecret, RestrictionsSpec, RevokeKey, UpdateKey
from keybearer.wire.records import UpdateProject
from tests.security.conftest import anyone
from tests.support.embedded import Embedded, embedded
from tests.support.requests import Scene

pytestmark = pytest.mark.anyio


async def issue(world: Embedded, project: str, *permissions: str, **settings: Any) -> tuple[str, str]:
    body = CreateKey(project, "k", permissions=list(permissions), **settings)
    issued = await keys.create(world.authority, world.root, body)
    return issued.key.id, issued.credential


def sealed(body: str) -> str:
    """The body of a credential with the checksum that whoever alters it can also compute."""
    return body + grammar.checksum(body)


# Almost right


async def test_no_part_of_a_credential_is_one(world: Embedded) -> None:
    """Every prefix, every suffix, every piece left out; also with a checksum that fits again."""
    scene = await Scene.of(world, 1)
    _, good = await issue(world, scene.project)
    body = good[: -grammar.CHECKSUM_LENGTH]
    parts = {good[:end] for end in range(1, len(good))} | {good[start:] for start in range(1, len(good))}
    parts |= {good[:at] + good[at + 1 :] for at in range(len(good))}
    parts |= {sealed(body[:end]) for end in range(1, len(body))} | {
        sealed(body + "A"),
        good + good,
        good + "=",
        f" {good}",
    }
    for part in sorted(parts):
        assert (await world.verify(part))["code"] in ("MALFORMED", "NOT_FOUND"), part
    assert (await world.verify(good))["valid"]


async def test_no_flipped_bit_goes_through(world: Embedded) -> None:
    """Every bit of every character, with the old checksum and with one that fits."""
    scene = await Scene.of(world, 1)
    _, good = await issue(world, scene.project)
    body = good[: -grammar.CHECKSUM_LENGTH]
    for text, repair in ((good, str), (body, sealed)):
        for at, letter in enumerate(text):
            for bit in range(8):
                flipped = text[:at] + chr(ord(letter) ^ (1 << bit)) + text[at + 1 :]
                answer = await world.verify(repair(flipped))
                assert not answer["valid"]
                assert answer["code"] in ("MALFORMED", "NOT_FOUND")
                assert "principal" not in answer
                assert "credential" not in answer


@given(st.text(min_size=1, max_size=300))
def test_no_text_parses_that_was_not_minted(text: str) -> None:
    split = grammar.split(text)
    assert split is None or sealed(text[: -grammar.CHECKSUM_LENGTH]) == text


async def test_look_alike_letters_are_other_letters(world: Embedded) -> None:
    scene = await Scene.of(world, 1)
    _, good = await issue(world, scene.project)
    full_width = "".join(chr(ord(letter) + 0xFEE0) for letter in good)
    for text in (good.upper(), good.lower(), good.swapcase(), full_width, good.replace("k", "\N{KELVIN SIGN}", 1)):
        assert not (await world.verify(text))["valid"], text
    for text in (good + "\u200b", "\ufeff" + good, good.replace("_", "\u203f"), good + "\n", good + "\t", good + "\0"):
        assert not (await world.verify(text))["valid"], text


async def test_what_is_stored_opens_nothing(world: Embedded) -> None:
    """Digests of the database, in every encoding, native and imported: also where foreign keys are looked up."""
    scene = await Scene.of(world, 1)
    key_id, good = await issue(world, scene.project)
    record = await world.store.get(ApiKey, key_id)
    digest = record.versions[0].digest
    legacy = hashlib.sha256(b"legacy-key-0001").digest()
    lines = [
        {"scheme": "sha256", "value": legacy.hex()},
        {"scheme": "raw", "value": "legacy-key-0002"},
        {"scheme": "bcrypt", "value": "$2b$04$" + "abcdefghijklmnopqrstuu" + "a" * 31, "start": "legacy-key"},
        {"scheme": "seam", "value": legacy.hex(), "short_token": "abcd1234"},
    ]
    content = b"\n".join(
        json.dumps({"project_id": scene.project, "name": "o", "secret": secret}).encode() for secret in lines
    )
    async with world.http() as http:
        answer = await http.post("/v1/keys/import", content=content, headers={"content-type": "application/x-ndjson"})
    assert json.loads(answer.content.splitlines()[-1])["imported"] == 4
    assert (await world.verify("legacy-key-0001"))["valid"]
    for stored in (digest, legacy, *(hashlib.sha256(text.encode()).digest() for text in (good, "legacy-key-0002"))):
        for text in (
            *(stored.hex(), stored.hex().upper(), base64.b64encode(stored).decode(), f"sha256:{stored.hex()}"),
            *(base64.urlsafe_b64encode(stored).decode().rstrip("="), stored.decode("latin-1")),
            *(f"hmac-sha256:{record.versions[0].pepper_id}:{stored.hex()}", f"seam_abcd1234_{stored.hex()}"),
        ):
            assert not (await world.verify(text))["valid"], text
    for text in (str(lines[2]["value"]), "legacy-key", key_id, record.credential_id, f"kb_{key_id}"):
        assert not (await world.verify(text))["valid"], text


# What a refusal gives away


async def test_a_stranger_gets_one_constant_401(world: Embedded) -> None:
    """Whatever is wrong with the credential, the answer is the same but for its request id."""
    scene = await Scene.of(world, 1)
    own = world.authority.own_project_id
    revoked_id, revoked = await issue(world, own, "keybearer:admin")
    await keys.revoke(world.authority, world.root, revoked_id, RevokeKey())
    disabled_id, disabled = await issue(world, own, "keybearer:admin")
    await keys.set_state(world.authority, world.root, disabled_id, Change.DISABLE)
    deleted_id, deleted = await issue(world, own, "keybearer:admin")
    await keys.set_state(world.authority, world.root, deleted_id, Change.DELETE)
    _, expired = await issue(world, own, "keybearer:admin", expires_in=1)
    _, elsewhere = await issue(world, own, restrictions=RestrictionsSpec(ip_networks=["10.0.0.0/8"]))
    _, not_here = await issue(world, scene.project)
    world.clock.move(2)
    wrong = sealed(world.root_key[: -grammar.CHECKSUM_LENGTH - 1] + "0")
    unknown = grammar.mint("kb_sk_live", "0" * 16).reveal()
    said: dict[str, set[str]] = {}
    presented = {
        "revoked": revoked,
        "disabled": disabled,
        "deleted": deleted,
        "expired": expired,
        "elsewhere": elsewhere,
        "not here": not_here,
        "wrong": wrong,
        "unknown": unknown,
        "junk": "hello-hello",
        "cut": world.root_key[:-1],
    }
    for name, text in presented.items():
        async with world.http(text) as http:
            for method, path in (("GET", "/v1/keys"), ("POST", "/v1/verify"), ("POST", "/v1/keys/import")):
                answer = await http.request(method, path)
                assert answer.status_code == 401, (name, path)
                headers = {key: value for key, value in answer.headers.items() if key != "x-request-id"}
                body = {**answer.json(), "instance": ""}
                said.setdefault(path, set()).add(json.dumps([headers, body], sort_keys=True))
                for part in (text, text[-12:], hashlib.sha256(text.encode()).hexdigest(), revoked_id):
                    assert part not in answer.text + str(answer.headers), name
    assert {path: len(answers) for path, answers in said.items()} == dict.fromkeys(said, 1)


async def test_forward_auth_says_no_more() -> None:
    async with embedded(trusted_proxies=("192.0.2.1/32",)) as world:
        scene = await Scene.of(world, 1)
        other = await Scene.of(world, 2)
        revoked_id, revoked = await issue(world, scene.project)
        await keys.revoke(world.authority, world.root, revoked_id, RevokeKey())
        _, elsewhere = await issue(world, scene.project, restrictions=RestrictionsSpec(ip_networks=["10.0.0.0/8"]))
        _, stranger = await issue(world, other.project)
        said = set()
        async with world.http("") as http:
            for text in (revoked, elsewhere, stranger, "junk-junk", revoked[:-1], "' OR 1=1 --"):
                answer = await http.get(f"/forward-auth?api={scene.api}", headers=anyone(text))
                assert answer.status_code == 401
                assert text not in answer.text + str(answer.headers)
                headers = {key: value for key, value in answer.headers.items() if key != "x-request-id"}
                said.add(json.dumps([headers, answer.text], sort_keys=True))
        assert len(said) == 1


async def test_a_wrong_secret_and_an_unknown_id_look_the_same_to_trusted_callers_too(world: Embedded) -> None:
    scene = await Scene.of(world, 1)
    _, good = await issue(world, scene.project, metadata={"private": "yes"})
    wrong = sealed(good[: -grammar.CHECKSUM_LENGTH - 1] + "0")
    unknown = grammar.mint("kb_sk_live", "0" * 16).reveal()
    answers = [await world.verify(text) for text in (wrong, unknown)]
    assert answers[0] == answers[1]
    assert (answers[0]["code"], answers[0].keys() - {"valid", "code", "message"}) == ("NOT_FOUND", set())


async def test_each_reason_has_its_own_code_for_who_may_know(world: Embedded) -> None:
    """A key that lacks a permission is not "not found", and one that is used up is neither."""
    scene = await Scene.of(world, 1)
    name = f"orders{scene.number}:read"
    key_id, good = await issue(world, scene.project)
    lacking = await world.verify(good, api=scene.api, permissions=[name])
    assert (lacking["code"], lacking["missing"]) == ("INSUFFICIENT_PERMISSIONS", [name])
    async with world.http() as http:
        assert (await http.get(f"/v1/keys/{key_id}")).status_code == 200
    async with world.http((await issue(world, world.authority.own_project_id))[1]) as http:
        answer = await http.get(f"/v1/keys/{key_id}")
        assert (answer.status_code, answer.json()["missing"]) == (403, ["keybearer:keys.read"])


async def test_a_refusal_for_want_of_permission_is_audited(world: Embedded) -> None:
    """Also at the management API, counted and not once each: a flood does not fill the disk. ASVS 16.3.2"""
    key_id, weak = await issue(world, world.authority.own_project_id)
    async with world.http(weak) as http:
        for _ in range(500):
            assert (await http.post("/v1/keys", json={})).status_code == 403
    await world.recorder.flush(final=True)
    denied = [entry.draft for entry in await world.audit() if entry.draft.action == "verify.denied"]
    assert [(draft.target, draft.outcome, draft.details["count"]) for draft in denied] == [
        (key_id, "INSUFFICIENT_PERMISSIONS", 500)
    ]


# One credential at several doors


async def test_an_answer_at_one_door_says_nothing_about_another(world: Embedded) -> None:
    """The same credential, asked in turn about two APIs, two permissions, two addresses and two origins."""
    scene = await Scene.of(world, 1)
    other = await Scene.of(world, 2)
    name = f"orders{scene.number}:read"
    _, good = await issue(
        world,
        scene.project,
        name,
        restrictions=RestrictionsSpec(ip_networks=["10.0.0.0/8"], origins=["https://a.example"], paths=["/x/*"]),
    )
    right = {
        "api": scene.api,
        "client_ip": "10.1.1.1",
        "origin": "https://a.example",
        "url": "/x/1",
        "permissions": [name],
    }
    wrong: dict[str, tuple[object, str]] = {
        "api": (other.api, "API_NOT_ALLOWED"),
        "client_ip": ("192.0.2.1", "IP_NOT_ALLOWED"),
        "origin": ("https://b.example", "ORIGIN_NOT_ALLOWED"),
        "url": ("/y/1", "REQUEST_NOT_ALLOWED"),
        "permissions": ([f"orders{other.number}:read"], "INSUFFICIENT_PERMISSIONS"),
        "accept": (["publishable_key"], "KIND_NOT_ACCEPTED"),
    }
    for _ in range(2):
        for field, (value, code) in wrong.items():
            assert (await world.verify(good, **right))["valid"], field
            assert (await world.verify(good, **{**right, field: value}))["code"] == code
            if field in right:
                assert not (await world.verify(good, **{key: right[key] for key in right if key != field}))[
                    "valid"
                ] or (field in ("api", "permissions"))


async def test_two_keys_never_share_an_answer(world: Embedded) -> None:
    """Answers are encoded once and kept: each must be that of its own key, version and state."""
    one, two = await Scene.of(world, 1), await Scene.of(world, 2)
    made = [await issue(world, scene.project, metadata={"of": scene.project}) for scene in (one, two) for _ in range(3)]
    for _ in range(2):
        for key_id, good in made:
            answer = await world.verify(good)
            assert answer["credential"]["id"] == key_id
            assert answer["metadata"]["of"] == answer["principal"]["project_id"]
    key_id, good = made[0]
    await keys.update(world.authority, world.root, key_id, UpdateKey(metadata={"of": "now"}, name="renamed"))
    answer = await world.verify(good)
    assert (answer["metadata"], answer["credential"]["name"]) == ({"of": "now"}, "renamed")
    await projects.update(world.authority, world.root, one.project, UpdateProject(name="Renamed"))
    assert (await world.verify(good))["principal"]["project_name"] == "Renamed"


# Injection


SQL: tuple[str, ...] = (
    "' OR '1'='1",
    "' OR 1=1 --",
    '" OR ""="',
    "'; DROP TABLE keys; --",
    "' UNION SELECT digest FROM keys --",
    "%' AND 1=(SELECT COUNT(*) FROM keys) --",
    "\\'; SELECT pg_sleep(10); --",
    "1; ATTACH DATABASE '/tmp/x' AS x; --",
    "$$; SELECT 1; $$",
    "?1 ? $1 :name @p %s {0}",
    "kb_sk_live_' OR id LIKE '%",
    "sha256:' OR '1'='1",
    "%_%_%_%_%_%_%_%_%_%_%",
)


@pytest.mark.parametrize("engine", ["memory", "sqlite", "postgresql"])
async def test_sql_is_text(world: Embedded, engine: str, request: pytest.FixtureRequest, tmp_path: Any) -> None:
    """Through the credential, also where foreign keys are looked up by their beginning; ids, filters and names."""
    from tests.security.engines import authority_over

    async with authority_over(engine, request, tmp_path) as there:
        scene = await Scene.of(there, 1)
        secret = {"scheme": "pbkdf2-sha256", "value": "00" * 32, "salt": "AAAA", "iterations": 1, "start": "' OR 1=1"}
        line = json.dumps({"project_id": scene.project, "name": "o", "secret": secret}).encode()
        head = await there.authority.store.head()
        async with there.http() as http:
            jsonl = {"content-type": "application/x-ndjson"}
            answer = await http.post("/v1/keys/import", content=line, headers=jsonl)
            assert json.loads(answer.content.splitlines()[-1])["imported"] == 1
            for text in SQL:
                assert not (await there.verify(text))["valid"]
                for path in ("/v1/keys", "/v1/identities", "/v1/plans", "/v1/apis", "/v1/projects"):
                    found = await http.get(f"{path}/{text.replace('/', '').replace('?', '').replace('#', '')}")
                    assert found.status_code in (400, 404), (path, text)
                for query in ({"tag": text}, {"owner": text}, {"project_id": text}, {"state": text}):
                    found = await http.get("/v1/keys", params=query)
                    assert found.status_code in (200, 400, 404), query
                    assert found.status_code != 200 or found.json()["items"] == []
                for query in ({"actor": text}, {"target": text}, {"action": text}):
                    assert (await http.get("/v1/audit", params=query)).json()["items"] == []
                named = await http.post("/v1/projects", json={"name": text, "metadata": {"of": text}})
                assert named.status_code == 201
                got = (await http.get(f"/v1/projects/{named.json()['id']}")).json()
                assert (got["name"], got["metadata"]) == (text, {"of": text})
            for text in SQL:
                async with there.http(text.encode("ascii", "ignore").decode()) as stranger:
                    assert (await stranger.get("/v1/keys")).status_code == 401
            await there.recorder.flush(final=True)
            assert (await http.get("/v1/audit/verification")).json()["intact"]
        assert await there.authority.store.head() > head
        assert (await there.verify(there.root_key))["valid"]


# The prints of people


@pytest.mark.parametrize("shown", [repr, str, lambda value: f"{value}", lambda value: json.dumps(value, default=repr)])
def test_wire_types_that_hold_a_secret_do_not_show_it(shown: Callable[[object], str]) -> None:
    from keybearer.wire.verify import VerifyRequest

    assert "hush-hush" not in shown(ImportedSecret("raw", "hush-hush"))
    assert "hush-hush" not in shown(VerifyRequest("hush-hush"))

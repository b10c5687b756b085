"""The hot path: the same outcome at once and by waiting, charges exact, and nothing spent on a denial."""

from __future__ import annotations

import asyncio
import hashlib
from typing import Any

import bcrypt
import msgspec
import pytest

from keybearer.core.errors import Code, InvalidInput, Rejected
from keybearer.core.lifecycle import Change
from keybearer.core.quota import CalendarUnit
from keybearer.core.requirement import ANYTHING, NamedCost, Requirement
from keybearer.ports import NotReady
from keybearer.services import imports, keys, plans, projects, rotation, sweeper
from keybearer.web.decision import denial
from keybearer.wire.keys import CreateKey, ImportReport, RevokeKey, RotateKey, UpdateKey
from keybearer.wire.limits import CreditsSpec, QuotaSpec, RateLimitSpec, RefillSpec
from keybearer.wire.records import CreatePlan, CreateProject, UpdatePlan, UpdateProject
from keybearer.wire.verify import CreditsLeft
from tests.support.embedded import Embedded
from tests.support.requests import Scene

pytestmark = pytest.mark.anyio


async def made(world: Embedded, **settings: Any) -> tuple[str, str]:
    """Return ``(key id, credential)`` of a new key in a new project."""
    project = await projects.create(world.authority, world.root, CreateProject(name="P"))
    issued = await keys.create(world.authority, world.root, CreateKey(project_id=project.id, name="K", **settings))
    return issued.key.id, issued.credential


def code_now(world: Embedded, text: str, requirement: Requirement = ANYTHING) -> Code:
    try:
        world.verifier.verify_now(text, requirement)
    except Rejected as rejection:
        return rejection.code
    return Code.VALID


async def code_of(world: Embedded, text: str, requirement: Requirement = ANYTHING) -> Code:
    try:
        await world.verifier.verify(text, requirement)
    except Rejected as rejection:
        return rejection.code
    return Code.VALID


async def test_a_known_secret_is_still_refused_after_every_kind_of_end(world: Embedded) -> None:
    """What verify remembers of a good secret counts only for the very record that it was checked against."""
    key_id, text = await made(world)
    for _ in range(3):
        assert code_now(world, text) is Code.VALID
    await keys.set_state(world.authority, world.root, key_id, Change.DISABLE)
    assert code_now(world, text) is Code.DISABLED
    await keys.set_state(world.authority, world.root, key_id, Change.ENABLE)
    assert code_now(world, text) is Code.VALID
    await projects.set_state(
        world.authority, world.root, (await keys.get(world.authority, world.root, key_id)).project_id, Change.DISABLE
    )
    assert code_now(world, text) is Code.OWNER_DISABLED
    await projects.set_state(
        world.authority, world.root, (await keys.get(world.authority, world.root, key_id)).project_id, Change.ENABLE
    )
    await keys.revoke(world.authority, world.root, key_id, RevokeKey())
    assert code_now(world, text) is Code.REVOKED
    await keys.set_state(world.authority, world.root, key_id, Change.DELETE)
    assert code_now(world, text) is Code.NOT_FOUND
    assert await code_of(world, text) is Code.NOT_FOUND


async def test_rotation_overlaps_and_shares_one_budget(world: Embedded) -> None:
    """Unkey copied the remaining credits on rotation, which doubled the budget."""
    key_id, old = await made(world, limits=[RateLimitSpec("r", 4, 3600)])
    assert code_now(world, old) is Code.VALID
    new = (await rotation.rotate(world.authority, world.root, key_id, RotateKey(grace_in=60))).credential
    assert [code_now(world, text) for text in (new, old, new)] == [Code.VALID] * 3
    assert code_now(world, new) is Code.RATE_LIMITED
    assert code_now(world, old) is Code.RATE_LIMITED
    world.clock.move(61)
    assert code_now(world, old) is Code.EXPIRED


async def test_guessing_never_names_the_key(world: Embedded) -> None:
    _, text = await made(world)
    _, other = await made(world)
    forged = other.rsplit("_", 1)[1]
    for wrong in (text[:-1], text[: -len(forged)] + forged, "sk_something_else"):
        with pytest.raises(Rejected) as caught:
            world.verifier.verify_now(wrong, ANYTHING)
        assert caught.value.record is None
        assert caught.value.code in (Code.MALFORMED, Code.NOT_FOUND)


async def test_denials_spend_nothing(world: Embedded) -> None:
    key_id, text = await made(world, limits=[RateLimitSpec("r", 3, 3600)], credits=CreditsSpec(3))
    for _ in range(10):
        assert await code_of(world, text, Requirement(accept=frozenset())) is Code.KIND_NOT_ACCEPTED
    verified = await world.verifier.verify(text, ANYTHING)
    assert verified.credits_remaining == 2
    assert verified.limits[0].remaining == 2
    assert (await world.store.balances([f"key:{key_id}"]))[0].spent == 1


async def test_credits_that_run_out_give_the_rate_limit_back(world: Embedded) -> None:
    _, text = await made(world, limits=[RateLimitSpec("r", 10, 3600)], credits=CreditsSpec(2))
    codes = [await code_of(world, text) for _ in range(5)]
    assert codes == [Code.VALID, Code.VALID] + [Code.CREDITS_EXHAUSTED] * 3
    with pytest.raises(Rejected) as caught:
        await world.verifier.verify(text, Requirement(cost=9))
    assert caught.value.code is Code.RATE_LIMITED
    with pytest.raises(Rejected) as caught:
        await world.verifier.verify(text, Requirement(cost=8))
    assert caught.value.code is Code.CREDITS_EXHAUSTED


async def test_a_repeated_request_is_charged_once_and_refunded_once(world: Embedded) -> None:
    key_id, text = await made(world, limits=[RateLimitSpec("r", 10, 3600)], credits=CreditsSpec(10))
    same = Requirement(request_id="r-1", credit_cost=4)
    answers = await asyncio.gather(*(world.verifier.verify(text, same) for _ in range(8)))
    assert sorted(answer.replayed for answer in answers) == [False] + [True] * 7
    assert {answer.credits_remaining for answer in answers} == {6}
    assert (await world.verifier.verify(text, Requirement(cost=9, credit_cost=0))).limits[0].remaining == 0
    assert [await world.store.refund(key_id, "r-1", world.clock.now()) for _ in range(3)] == [True, False, False]
    assert (await world.store.balances([f"key:{key_id}"]))[0].balance == 10


async def test_what_must_be_charged_durably_is_not_answered_at_once(world: Embedded) -> None:
    for settings in ({"credits": CreditsSpec(1)}, {"quotas": [QuotaSpec("q", 1, CalendarUnit.DAY)]}):
        _, text = await made(world, **settings)
        with pytest.raises(NotReady):
            world.verifier.verify_now(text, ANYTHING)
    _, plain = await made(world)
    with pytest.raises(NotReady):
        world.verifier.verify_now(plain, Requirement(request_id="r"))


async def test_a_refusal_says_what_is_used_up_and_what_is_left(world: Embedded) -> None:
    _, text = await made(world, limits=[RateLimitSpec("r", 1, 3600)], credits=CreditsSpec(5))
    with pytest.raises(Rejected, match="costs 7 credits, and 5 are left") as caught:
        await world.verifier.verify(text, Requirement(credit_cost=7))
    assert denial(caught.value).credits == CreditsLeft(5)
    with pytest.raises(Rejected, match="more than the limit 'r' ever allows"):
        await world.verifier.verify(text, Requirement(cost=2))
    assert await code_of(world, text) is Code.VALID
    with pytest.raises(Rejected, match="The limit 'r' is used up for now"):
        await world.verifier.verify(text, ANYTHING)
    with pytest.raises(Rejected, match="costs 7 credits, and 4 are left"):
        await world.verifier.verify(text, Requirement(cost=0, credit_cost=7))
    assert await code_of(world, text, Requirement(cost=0, credit_cost=4)) is Code.VALID
    with pytest.raises(Rejected, match="are used up"):
        await world.verifier.verify(text, Requirement(cost=0))
    _, text = await made(world, quotas=[QuotaSpec("q", 2, CalendarUnit.DAY)])
    with pytest.raises(Rejected, match="more than the limit 'q' ever allows") as caught:
        await world.verifier.verify(text, Requirement(cost=3))
    assert caught.value.retry_after is None


async def test_a_limit_of_another_period_begins_afresh(world: Embedded) -> None:
    key_id, text = await made(world, limits=[RateLimitSpec("r", 2, 30 * 86_400)])
    assert [code_now(world, text) for _ in range(3)] == [Code.VALID, Code.VALID, Code.RATE_LIMITED]
    await keys.update(world.authority, world.root, key_id, UpdateKey(limits=[RateLimitSpec("r", 2, 60)]))
    assert await code_of(world, text) is Code.VALID


async def test_quotas_and_refills_follow_the_calendar(world: Embedded) -> None:
    _, text = await made(world, quotas=[QuotaSpec("q", 2, CalendarUnit.DAY)])
    assert [await code_of(world, text) for _ in range(3)] == [Code.VALID, Code.VALID, Code.RATE_LIMITED]
    with pytest.raises(Rejected) as caught:
        await world.verifier.verify(text, ANYTHING)
    assert 0 < caught.value.retry_after <= 86_400_000_000
    world.clock.move(86_400)
    assert await code_of(world, text) is Code.VALID
    _, refilled = await made(world, credits=CreditsSpec(1, RefillSpec(1, CalendarUnit.DAY)))
    assert [await code_of(world, refilled) for _ in range(2)] == [Code.VALID, Code.CREDITS_EXHAUSTED]
    world.clock.move(86_400)
    assert await code_of(world, refilled) is Code.VALID


async def test_a_misspelt_limit_does_not_switch_itself_off(world: Embedded) -> None:
    _, text = await made(world, limits=[RateLimitSpec("tokens", 100, 60, automatic=False)])
    named = Requirement(limits=(NamedCost("tokens", 60),))
    assert code_now(world, text, named) is Code.VALID
    assert code_now(world, text, named) is Code.RATE_LIMITED
    assert code_now(world, text) is Code.VALID
    with pytest.raises(InvalidInput, match="named twice"):
        world.verifier.verify_now(text, Requirement(limits=(NamedCost("tokens", 1), NamedCost("tokens", 2))))
    misspelt = Requirement(limits=(NamedCost("token", 1),))
    with pytest.raises(InvalidInput):
        world.verifier.verify_now(text, misspelt)
    with pytest.raises(InvalidInput):
        await world.verifier.verify(text, misspelt)


async def test_a_projects_plan_is_shared_by_its_keys_and_changes_at_once(world: Embedded) -> None:
    plan = await plans.create(world.authority, world.root, CreatePlan(name="Two", limits=[RateLimitSpec("r", 2, 3600)]))
    key_id, first = await made(world)
    project_id = (await keys.get(world.authority, world.root, key_id)).project_id
    second = (await keys.create(world.authority, world.root, CreateKey(project_id=project_id, name="K2"))).credential
    assert [await code_of(world, first) for _ in range(5)] == [Code.VALID] * 5
    await projects.update(world.authority, world.root, project_id, UpdateProject(plan_id=plan.id))
    assert [code_now(world, text) for text in (first, second, first)] == [Code.VALID, Code.VALID, Code.RATE_LIMITED]
    await plans.update(world.authority, world.root, plan.id, UpdatePlan(limits=[RateLimitSpec("s", 1, 3600)]))
    with pytest.raises(NotReady):
        code_now(world, first)  # the catalogue is read again first
    assert [await code_of(world, text) for text in (second, first)] == [Code.VALID, Code.RATE_LIMITED]


async def test_a_change_of_permissions_counts_at_the_next_request(world: Embedded) -> None:
    key_id, text = await made(world)
    await keys.update(world.authority, world.root, key_id, UpdateKey(expires_at=None, metadata={"a": 1}))
    assert world.verifier.verify_now(text, ANYTHING).principal.record.key.metadata == {"a": 1}


async def import_lines(world: Embedded, *lines: bytes) -> ImportReport:
    async def source():
        for line in lines:
            yield line

    report = None
    async for item in imports.run(world.authority, world.root, source(), dry_run=False):
        report = item
    assert isinstance(report, ImportReport)
    return report


async def test_an_imported_key_is_rehashed_on_first_use(world: Embedded) -> None:
    project = await projects.create(world.authority, world.root, CreateProject(name="Old"))
    slow, quick = "legacy_slow_key_0001", "legacy_quick_key_0002"
    assert code_now(world, quick) is Code.MALFORMED
    stored = bcrypt.hashpw(slow.encode(), bcrypt.gensalt(4)).decode()
    report = await import_lines(
        world,
        b'{"project_id":"%s","name":"a","secret":{"scheme":"sha256","value":"%s"}}'
        % (project.id.encode(), hashlib.sha256(quick.encode()).hexdigest().encode()),
        b'{"project_id":"%s","name":"b","secret":{"scheme":"bcrypt","value":"%s","start":"%s"}}'
        % (project.id.encode(), stored.encode(), slow[:16].encode()),
    )
    assert report.imported == 2, report
    with pytest.raises(NotReady):
        code_now(world, slow)
    await world.authority.records.refresh()
    with pytest.raises(NotReady):
        code_now(world, slow)  # bcrypt must not hold the event loop
    assert await code_of(world, slow + "x") is Code.NOT_FOUND
    for text in (slow, quick):
        verified = await world.verifier.verify(text, ANYTHING)
        before = verified.principal.record.key
        assert before.versions[0].scheme != "hmac-sha256"
        for outdated in list(world.recorder._outdated.values()):
            await sweeper.rehash(world.authority, outdated)
        world.recorder._outdated.clear()
        after = (await world.verifier.verify(text, ANYTHING)).principal.record.key
        assert after.id == before.id
        assert after.versions[0].scheme == "hmac-sha256"
        assert after.foreign_lookup.startswith("hmac-sha256:")
        assert code_now(world, text) is Code.VALID
    for stolen in (stored, hashlib.sha256(quick.encode()).hexdigest(), after.foreign_lookup):
        assert await code_of(world, stolen) in (Code.NOT_FOUND, Code.MALFORMED)


async def test_identify_knows_a_secret_whatever_the_state_of_its_key(world: Embedded) -> None:
    key_id, text = await made(world)
    await keys.revoke(world.authority, world.root, key_id, RevokeKey())
    record, version = await world.verifier.identify(text, ANYTHING)
    assert (record.key.id, version.number) == (key_id, 1)
    with pytest.raises(Rejected):
        await world.verifier.identify(text[:-1] + ("a" if text[-1] != "a" else "b"), ANYTHING)


async def test_a_key_that_begins_like_another_does_not_stand_in_its_way(world: Embedded) -> None:
    """Salted hashes are found by how a key begins; whoever imports one must not shut out the keys of others."""
    scene = await Scene.of(world, 1)
    mine, theirs = "legacy-key-mine", "legacy-key-theirs"
    salted = hashlib.pbkdf2_hmac("sha256", theirs.encode(), b"salt", 1, 32).hex()
    secret = {"scheme": "pbkdf2-sha256", "salt": "c2FsdA==", "iterations": 1}
    other = {"scheme": "seam", "value": hashlib.sha256(b"x" * 8).hexdigest(), "short_token": "abcd"}
    lines = [
        {**secret, "value": "00" * 32, "start": "legacy-key"},
        {**secret, "value": "11" * 32, "start": "legacy-key-th"},
        {**secret, "value": salted, "start": "legacy-k"},
        {"scheme": "sha256", "value": hashlib.sha256(mine.encode()).hexdigest()},
        other,
    ]
    async with world.http() as http:
        content = b"\n".join(
            msgspec.json.encode({"project_id": scene.project, "name": f"k{number}", "secret": one})
            for number, one in enumerate(lines)
        )
        answer = await http.post("/v1/keys/import", content=content, headers={"content-type": "application/x-ndjson"})
        assert msgspec.json.decode(answer.content.splitlines()[-1])["imported"] == len(lines)
    for _ in range(2):  # from the store, then from the cache
        assert (await world.verify(mine))["credential"]["name"] == "k3"
        assert (await world.verify(theirs))["credential"]["name"] == "k2"
        assert (await world.verify("legacy-key-nobodys"))["code"] == "NOT_FOUND"
        async with world.http(theirs) as http:
            assert (await http.get("/v1/whoami")).json()["name"] == "k2"

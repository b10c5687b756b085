"""Bulk import: all lines or none, and a report that says what is wrong where."""

import hashlib
import json
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from keybearer.core.errors import NotPermitted
from keybearer.core.records import ApiKey
from keybearer.ports import Query
from keybearer.services import imports, sweeper
from keybearer.services.authority import Caller
from keybearer.wire.keys import ImportKey, ImportReport
from tests.support.embedded import Embedded, embedded

pytestmark = pytest.mark.anyio


def line(world: Embedded, secret: dict[str, Any], **settings: Any) -> bytes:
    body = {"project_id": world.authority.own_project_id, "name": "old", "secret": secret, **settings}
    return msgspec.json.encode(body)


def raw(number: int) -> dict[str, str]:
    return {"scheme": "raw", "value": f"legacy-key-{number:06}"}


async def run(world: Embedded, lines: list[bytes], caller: Caller | None = None, dry_run: bool = False) -> ImportReport:
    async def each() -> AsyncIterator[bytes]:
        for one in lines:
            yield one

    items = [item async for item in imports.run(world.authority, caller or world.root, each(), dry_run=dry_run)]
    assert isinstance(items[-1], ImportReport)
    return items[-1]


async def count(world: Embedded) -> int:
    return len(await world.store.page(ApiKey, Query(limit=10_000)))


async def test_imported_keys_work_and_are_rehashed_on_first_use(world: Embedded) -> None:
    digest = hashlib.sha256(b"legacy-key-hashed").hexdigest()
    report = await run(world, [line(world, raw(1)), line(world, {"scheme": "sha256", "value": digest})])
    assert (report.lines, report.imported, report.refused_count) == (2, 2, 0)
    assert (await world.verify("legacy-key-000001"))["valid"]
    answer = await world.verify("legacy-key-hashed")
    assert answer["valid"]
    key = await world.store.get(ApiKey, answer["credential"]["id"])
    assert key.versions[0].scheme == "sha256"
    for item in list(world.recorder._outdated.values()):
        assert await sweeper.rehash(world.authority, item)
    key = await world.store.get(ApiKey, key.id)
    assert key.versions[0].scheme == "hmac-sha256"
    assert (await world.verify("legacy-key-hashed"))["valid"]
    assert not (await world.verify(digest))["valid"], "a stored hash is never a key"


async def test_one_bad_line_leaves_nothing_behind(world: Embedded) -> None:
    before = await count(world)
    lines = [
        line(world, raw(1)),
        b'{"name": 1}',
        b"not json",
        line(world, raw(1)),
        line(world, raw(2), project_id="proj_nobodys"),
        line(world, raw(3), identity_id="idn_nobodys"),
        line(world, raw(4), permissions=["stock:read"]),
        line(world, {"scheme": "raw", "value": world.root_key}),
        line(world, {"scheme": "sha256", "value": "zz"}),
        line(world, raw(5), surprise=1),
        b" " * 70_000 + b"{}",
        b"",
        line(world, raw(6), plan_id="plan_nobodys"),
        line(world, raw(7), plan_id="plan_nobodys"),
        line(world, {"scheme": "md5", "value": "00"}),
    ]
    report = await run(world, lines)
    assert report.imported == 0
    assert [(refused.line, refused.problems[0]["field"]) for refused in report.refused] == [
        (2, "name"),
        (3, "line"),
        (4, "secret"),
        (5, "project_id"),
        (6, "identity_id"),
        (7, "permissions[0]"),
        (8, "secret.value"),
        (9, "secret.value"),
        (10, "surprise"),
        (11, "line"),
        (13, "plan_id"),
        (14, "plan_id"),
        (15, "secret.scheme"),
    ]
    assert report.refused_count == 13
    assert report.lines == 14, "an empty line counts for the numbers only"
    assert report.refused[-1].problems[0]["message"].startswith("'md5' is not one of raw, sha256,")
    assert await count(world) == before


async def test_the_examples_of_the_documentation_are_right(world: Embedded) -> None:
    text = (Path(__file__).parents[3] / "docs/import.md").read_text()
    whole, secrets = re.findall(r"^```json\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)
    key = json.loads(whole)
    assert msgspec.convert(key, ImportKey).secret.scheme == "sha256"
    declared = [json.loads(one) for one in secrets.splitlines()]
    report = await run(world, [line(world, secret) for secret in declared if secret["scheme"] != "unkey"])
    assert report.imported == len(declared) - 1, report.refused
    assert (await world.verify("legacy_8f3kQz71Lw"))["valid"]
    assert (await world.verify("demo_BXgfTWpk_longTokenOfTheKey01"))["valid"]
    report = await run(world, [line(world, secret) for secret in declared if secret["scheme"] == "unkey"])
    assert report.imported == 0, "the same hash as that of the example for sha256"


async def test_a_key_that_is_there_already_is_refused(world: Embedded) -> None:
    await run(world, [line(world, raw(1))])
    report = await run(world, [line(world, raw(0)), line(world, raw(1))])
    assert [refused.line for refused in report.refused] == [2]
    assert report.imported == 0


async def test_a_dry_run_imports_nothing(world: Embedded) -> None:
    before = await count(world)
    report = await run(world, [line(world, raw(1))], dry_run=True)
    assert (report.lines, report.imported, report.refused_count, report.dry_run) == (1, 0, 0, True)
    assert await count(world) == before


async def test_power_over_keybearer_is_not_smuggled_in(world: Embedded) -> None:
    caller = Caller("key_i", frozenset({"keybearer:keys.import"}))
    for wanted in ("keybearer:admin", "*", "keybearer:*"):
        report = await run(world, [line(world, raw(1), permissions=[wanted])], caller)
        assert report.refused[0].problems[0]["field"] == "permissions[0]"
        assert report.imported == 0


async def test_a_projects_caller_imports_into_its_own_project_only(world: Embedded) -> None:
    caller = Caller("key_i", frozenset({"keybearer:keys.import"}), project_id="proj_mine")
    report = await run(world, [line(world, raw(1))], caller)
    assert report.refused[0].problems[0]["field"] == "project_id"
    with pytest.raises(NotPermitted):
        imports.require_import(Caller("key_w", frozenset({"keybearer:keys.write"})))


async def test_the_list_of_refused_lines_is_bounded_and_the_count_exact(world: Embedded) -> None:
    report = await run(world, [b"{}"] * 1_500)
    assert len(report.refused) == imports.MAX_REFUSED_SHOWN
    assert report.refused_count == 1_500


async def test_too_many_lines_are_refused_whole() -> None:
    async with embedded(max_import_lines=3) as world:
        before = await count(world)
        report = await run(world, [line(world, raw(number)) for number in range(4)])
        assert report.error
        assert report.imported == 0
        assert await count(world) == before

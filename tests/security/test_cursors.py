"""Cursors cannot be forged, altered, or carried to another list.

Spec: Hydra CVE-2026-33504 (a forged cursor became SQL); SECURITY-BAR 26 (page size).
"""

from __future__ import annotations

import base64
import secrets

import pytest

from keybearer.services import plans
from keybearer.web.cursors import open_cursor, seal_cursor
from keybearer.wire.records import CreatePlan
from tests.support.embedded import Embedded

pytestmark = pytest.mark.anyio


async def a_cursor(world: Embedded, path: str = "/v1/plans?limit=2") -> str:
    for number in range(5):
        await plans.create(world.authority, world.root, CreatePlan(f"plan {number}"))
    async with world.http() as http:
        cursor = (await http.get(path)).json()["next_cursor"]
    assert isinstance(cursor, str)
    return cursor


async def test_pages_show_everything_once(world: Embedded) -> None:
    await a_cursor(world)
    seen: list[str] = []
    cursor: str | None = ""
    async with world.http() as http:
        while cursor is not None:
            query = {"limit": "2", **({"cursor": cursor} if cursor else {})}
            answer = (await http.get("/v1/plans", params=query)).json()
            seen += [item["name"] for item in answer["items"]]
            cursor = answer["next_cursor"]
    assert sorted(seen) == [f"plan {number}" for number in range(5)]


async def test_every_altered_character_is_noticed(world: Embedded) -> None:
    cursor = await a_cursor(world)
    forged = [cursor[:n] + ("A" if cursor[n] != "A" else "B") + cursor[n + 1 :] for n in range(len(cursor))]
    forged += [cursor[:n] for n in range(1, len(cursor))]
    forged += [cursor + tail for tail in ("A", "=", "==", "\n", "%00", " ", cursor)]
    async with world.http() as http:
        for text in forged:
            answer = await http.get("/v1/plans", params={"cursor": text})
            assert answer.status_code == 400, text
            assert answer.json()["errors"][0]["field"] == "cursor"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "plan_0000000000000000",
        "' OR 1=1 --",
        base64.urlsafe_b64encode(b"plan_00000000000000000000000000").decode(),
        base64.urlsafe_b64encode(b"\0" * 16 + b"' OR '1'='1").decode(),
        "A" * 5000,
        "..%2f..",
        "é",
    ],
)
async def test_texts_that_are_no_cursors(world: Embedded, text: str) -> None:
    async with world.http() as http:
        answer = await http.get("/v1/plans", params={"cursor": text})
    assert answer.status_code == 400


@pytest.mark.parametrize(
    "path", ["/v1/apis", "/v1/keys", "/v1/audit", "/v1/plans?name=plan%201", "/v1/plans?state=deleted"]
)
async def test_a_cursor_is_good_for_its_own_list_only(world: Embedded, path: str) -> None:
    cursor = await a_cursor(world)
    async with world.http() as http:
        answer = await http.get(path + ("&" if "?" in path else "?") + f"cursor={cursor}")
    assert answer.status_code == 400


def test_another_keyring_opens_nothing() -> None:
    ours, theirs = secrets.token_bytes(32), secrets.token_bytes(32)
    cursor = seal_cursor(theirs, "/v1/plans", {}, "plan_1")
    with pytest.raises(Exception, match="cursor"):
        open_cursor(ours, "/v1/plans", {"cursor": cursor})


@pytest.mark.parametrize("limit", ["0", "201", "-1", "1.5", "ten", "", "9" * 30, "١"])
async def test_page_sizes_are_bounded(world: Embedded, limit: str) -> None:
    async with world.http() as http:
        answer = await http.get("/v1/plans", params={"limit": limit})
    assert answer.status_code == 400
    assert answer.json()["errors"][0]["field"] == "limit"

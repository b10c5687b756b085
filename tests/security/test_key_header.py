"""The header that an API takes credentials in is one that nobody sends unawares, and no proxy or guard means."""

from __future__ import annotations

import pytest

from tests.support.embedded import embedded

pytestmark = pytest.mark.anyio

MEANT_OTHERWISE = [
    *("Cookie", "Origin", "Referer", "Host", "DPoP", "Connection", "TE", "Upgrade", "Forwarded", "Content-Type"),
    *("X-Forwarded-For", "X-Real-IP", "X-Original-URI", "X-Rewrite-URL", "X-Keybearer-User", "X-HTTP-Method-Override"),
    *("Sec-Fetch-Site", "Proxy-Authorization", "Access-Control-Request-Method", "X-Android-Package"),
]
ONES_OWN = ("X-Api-Key", "X-Auth-Token", "Authorization", "Api-Key", "X-Shop-Key", "Cookie-Key", "X-Hosted-Key")


async def test_what_means_something_else_carries_no_credential() -> None:
    async with embedded() as world, world.http() as http:
        api = (await http.post("/v1/apis", json={"identifier": "urn:a", "name": "A"})).json()
        for name in MEANT_OTHERWISE:
            for method, path, body in (
                ("POST", "/v1/apis", {"identifier": "urn:b", "name": "B"}),
                ("PATCH", f"/v1/apis/{api['id']}", {}),
            ):
                answer = await http.request(method, path, json={**body, "key_header": name})
                assert answer.status_code == 400, name
                assert [problem["field"] for problem in answer.json()["errors"]] == ["key_header"]
        for name in ONES_OWN:
            answer = await http.patch(f"/v1/apis/{api['id']}", json={"key_header": name})
            assert answer.json()["key_header"] == name.lower()

"""Bodies that no honest client sends: each is refused with 400, names what is wrong, and leaves nothing behind.

Spec: OWASP API4 (bounds), API8; SECURITY-BAR 26, "a million malformed requests: 0 5xx"; RFC 8259 §4 and §8.
"""

from __future__ import annotations

import json
import random
from typing import Any

import pytest

from keybearer.services import keys
from keybearer.web.asgi import OPERATIONS
from keybearer.web.operation import Operation
from keybearer.wire.keys import CreateKey
from keybearer.wire.repeated_keys import may_repeat_a_key
from tests.support.embedded import Embedded
from tests.support.requests import Scene

pytestmark = pytest.mark.anyio

JSON = {"content-type": "application/json"}
WITH_BODY = [operation for operation in OPERATIONS if operation.body is not None]
HUGE = "9" * 4_000
VALUES: tuple[bytes, ...] = (
    *(b"null", b"true", b"0", b"-1", b"1.5", b"1e400", b"-1e400", b"1e-400", b'""', b'" "', b"[]", b"{}", b"[[]]"),
    *(b'{"":1}', b'{"\\u0000":1}', b"9223372036854775808", b"1" * 20, HUGE.encode(), b"-9" + HUGE.encode()),
    *(b'"\\u0000"', b'"a\\nb"', b'"\\ud800"', b'"\\udc00\\ud800"', b'"\\u202e\\u0007"', b'"' + b"x" * 5_000 + b'"'),
    *(b'["' + b'","'.join([b"x"] * 500) + b'"]', b"[" * 900 + b"]" * 900, b'{"a":' * 900 + b"1" + b"}" * 900),
    *(b'"9999-12-31T23:59:59.999999999-23:59"', b'"0001-01-01T00:00:00+23:59"', b'"0000-00-00T00:00:00Z"'),
    *(b'"2027-02-30T00:00:00Z"', b'"2027-01-01"', b'"\' OR 1=1; DROP TABLE keys; --"', b'"$(id)"', b'"{{7*7}}"'),
    *(b'"../../etc/passwd"', b'"%00"', b'"\xc2\x9b31m"', b'{"__proto__":{}}', b'{"$ne":null}', b'["*"]', b'"::/0"'),
)  # fmt: skip
NOT_JSON: dict[str, bytes] = {
    "nothing but space": b" \n",
    "half an object": b'{"name":"x"',
    "two objects": b'{"name":"x"}{"name":"y"}',
    "a comma too many": b'{"name":"x",}',
    "a comment": b'{"name":"x"/**/}',
    "single quotes": b"{'name':'x'}",
    "NaN": b'{"name":NaN}',
    "infinity": b'{"name":-Infinity}',
    "a leading zero": b'{"name":01}',
    "hexadecimal": b'{"name":0x1}',
    "invalid UTF-8": b'{"name":"\xff"}',
    "overlong UTF-8": b'{"name":"\xc0\xaf"}',
    "a surrogate in UTF-8": b'{"name":"\xed\xa0\x80"}',
    "a raw NUL": b'{"name":"a\0b"}',
    "a raw line break": b'{"name":"a\nb"}',
    "UTF-16": '{"name":"x"}'.encode("utf-16"),
    "a byte order mark": b'\xef\xbb\xbf{"name":"x"}',
    "an array": b'[{"name":"x"}]',
    "a text": b'"name"',
    "a number": b"1",
    "null": b"null",
    "an open array without end": b"[" * 60_000,
    "an open object without end": b'{"a":' * 10_000,
    "deep in a field": b'{"metadata":{"a":' + b"[" * 20_000 + b"]" * 20_000 + b"}}",
    "a number of 60,000 digits": b'{"name":' + b"1" * 60_000 + b"}",
    "an escape without end": b'{"name":"\\u12',
    "form fields": b"name=x&permissions=*",
}


async def nothing_was_written(world: Embedded, head: int, entries: int) -> None:
    assert await world.store.head() == head
    assert len(await world.audit()) == entries


@pytest.mark.parametrize("case", NOT_JSON)
async def test_what_is_no_json_object_is_400_everywhere(world: Embedded, case: str) -> None:
    scene = await Scene.of(world, 1)
    asked = [await scene.request(operation) for operation in WITH_BODY]
    head, entries = await world.store.head(), len(await world.audit())
    async with world.http() as http:
        for operation, (path, _) in zip(WITH_BODY, asked, strict=True):
            answer = await http.request(operation.method, path, content=NOT_JSON[case], headers=JSON)
            assert answer.status_code == 400, (operation.operation_id, answer.text)
            assert answer.headers["content-type"] == "application/problem+json"
        for path in ("/v1/verify", "/v1/revoke-mine"):
            answer = await http.post(path, content=NOT_JSON[case], headers=JSON)
            assert answer.status_code == 400, path
        jsonl = {"content-type": "application/x-ndjson"}
        answer = await http.post("/v1/keys/import", content=NOT_JSON[case], headers=jsonl)
        report = json.loads(answer.content.splitlines()[-1])
        assert report["imported"] == 0
    await nothing_was_written(world, head, entries)


@pytest.mark.parametrize("operation", WITH_BODY, ids=lambda operation: operation.operation_id)
async def test_no_value_of_any_field_is_a_fault_of_ours(world: Embedded, operation: Operation) -> None:
    """Every field of every body, with values of other types, other sizes, other alphabets and other times."""
    scene = await Scene.of(world, 1)
    path, body = await scene.request(operation)
    assert operation.body is not None
    async with world.http() as http:
        for name in operation.body.__struct_fields__:
            rest = json.dumps({key: value for key, value in (body or {}).items() if key != name})[1:-1].encode()
            for value in VALUES:
                content = b'{"%s":%s%s}' % (name.encode(), value, b"," + rest if rest else b"")
                answer = await http.request(operation.method, path, content=content, headers=JSON)
                assert answer.status_code < 500, (name, value[:60], answer.text)
                if operation.operation_id.startswith("keys.revoke") and answer.is_success:
                    scene = await Scene.of(world, random.randrange(10, 10**9))
                    path, body = await scene.request(operation)
        for listing in ("keys", "identities", "projects", "plans", "apis", "audit"):
            assert (await http.get(f"/v1/{listing}", params={"limit": 200})).status_code == 200, listing


async def test_no_value_of_any_field_of_verify_is_a_fault_of_ours(world: Embedded) -> None:
    from keybearer.wire.verify import VerifyRequest

    issued = await keys.create(world.authority, world.root, CreateKey(world.authority.own_project_id, "k"))
    async with world.http() as http:
        for name in VerifyRequest.__struct_fields__:
            for value in VALUES:
                rest = b"" if name == "credential" else b',"credential":"%s"' % issued.credential.encode()
                content = b'{"%s":%s%s}' % (name.encode(), value, rest)
                answer = await http.post("/v1/verify", content=content, headers=JSON)
                assert answer.status_code in (200, 400), (name, value[:60], answer.text)
                assert issued.credential not in answer.text
    await world.recorder.flush(final=True)  # what was counted can all be stored
    assert world.recorder.dropped == 0


def doubled(body: dict[str, Any]) -> list[bytes]:
    """The body with its first field once more: the same, written with an escape, and after a blank."""
    name = next(iter(body))
    inside = json.dumps(body)[1:-1].encode()
    escaped = "".join(f"\\u{ord(letter):04x}" for letter in name).encode()
    return [
        b'{"%s":"x",%s}' % (name.encode(), inside),
        b'{%s,"%s" \t: null}' % (inside, name.encode()),
        b'{"%s":"x",%s}' % (escaped, inside),
        b'{%s,"%s":0}' % (inside, escaped),
    ]


async def test_a_field_that_stands_twice_is_refused(world: Embedded) -> None:
    """One reader takes the first value and another the last: a guard and its backend must not differ."""
    scene = await Scene.of(world, 1)
    asked = [(operation, *await scene.request(operation)) for operation in WITH_BODY]
    head = await world.store.head()
    async with world.http() as http:
        for operation, path, body in asked:
            if not body:
                continue
            for content in doubled(body):
                answer = await http.request(operation.method, path, content=content, headers=JSON)
                assert answer.status_code == 400, (operation.operation_id, content)
                assert "twice" in answer.text
        for content in doubled({"credential": world.root_key}):
            answer = await http.post("/v1/verify", content=content, headers=JSON)
            assert (answer.status_code, "twice" in answer.text) == (400, True), content
        nested = b'{"credential":"x","limits":[{"name":"a","cost":1,"cost":2}]}'
        assert (await http.post("/v1/verify", content=nested, headers=JSON)).status_code == 400
        secret = b'{"scheme":"raw","value":"legacy-key-1","value":"legacy-key-2"}'
        line = b'{"project_id":"%s","name":"n","secret":%s}' % (scene.project.encode(), secret)
        answer = await http.post("/v1/keys/import", content=line, headers={"content-type": "application/x-ndjson"})
        assert json.loads(answer.content.splitlines()[-1])["refused_count"] == 1
    assert await world.store.head() == head


@pytest.mark.parametrize(
    "text",
    [
        b'{"credential":"x"}',
        b'{"credential":"x","api":"https://a.example"}',
        b'{"credential":"x","tags":["a","b"],"limits":[{"name":"r"}]}',
    ],
)
def test_an_ordinary_body_takes_no_second_look(text: bytes) -> None:
    assert not may_repeat_a_key(text)


async def test_no_depth_of_nesting_is_a_fault_of_ours(world: Embedded) -> None:
    """Also those at which the decoder's own bound of the stack lies, wherever that is."""
    scene = await Scene.of(world, 1)
    jsonl = {"content-type": "application/x-ndjson"}
    async with world.http() as http:
        for depth in (*range(1, 40), *range(500, 1000), 2_000, 15_000):
            nested = b"[" * depth + b"]" * depth
            body = b'{"project_id":"%s","name":"n","metadata":{"a":%s}}' % (scene.project.encode(), nested)
            answer = await http.post("/v1/keys", content=body, headers=JSON)
            assert answer.status_code == (201 if depth < 8 else 400), depth
            secret = b'{"scheme":"raw","value":"legacy-key-%d"}' % depth
            line = body[:-1] + b',"secret":' + secret + b"}"
            answer = await http.post("/v1/keys/import", content=line, headers=jsonl)
            report = json.loads(answer.content.splitlines()[-1])
            assert (report["imported"], report["refused_count"]) == ((1, 0) if depth < 8 else (0, 1)), depth

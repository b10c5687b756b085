"""The gateway as its clients and its upstreams see it: a real one, in the process of an authority."""

from __future__ import annotations

import asyncio
import base64
import json
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote

import httpx
import pytest
import websockets.sync.client

from tests.e2e.gated import MAPS_KEY, Gated, gated
from tests.e2e.raw import Closed, Raw, request
from tests.e2e.shop import API
from tests.support.oauth import claims_in
from tests.support.upstream import Asked, Upstream, echo, plain


async def _events(asked: Asked, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\ndata: 1\n\n")
    await writer.drain()
    await reader.read()  # until the other side ends


async def _endless(asked: Asked, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    while True:
        writer.write(b"5\r\nhello\r\n")
        await writer.drain()
        await asyncio.sleep(0.05)


async def _cut(asked: Asked, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nbegun")
    await writer.drain()
    raise ConnectionResetError


async def _silent(asked: Asked, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await asyncio.sleep(30)


async def _early(asked: Asked, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\n\r\nno")


async def _drops_first(asked: Asked, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    key = asked.method + asked.target
    _SEEN[key] = _SEEN.get(key, 0) + 1
    if _SEEN[key] == 1:
        raise ConnectionResetError
    await echo(asked, reader, writer)


_SEEN: dict[str, int] = {}


async def _repeats_secret(asked: Asked, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answers the secret in every spelling, cut into pieces at odd places."""
    spelt = [MAPS_KEY, quote(MAPS_KEY, safe=""), json.dumps(MAPS_KEY), base64.b64encode(MAPS_KEY.encode()).decode()]
    spelt += [base64.b64encode(b"x" * shift + MAPS_KEY.encode() + b"yz").decode() for shift in (1, 2)]
    body = ("|".join(spelt) + "|" + asked.target + "|end").encode()
    head = "HTTP/1.1 200 OK", f"X-Echo: {MAPS_KEY}", "Location: /maps/next?key=" + quote(MAPS_KEY, safe="")
    writer.write("\r\n".join((*head, "Transfer-Encoding: chunked", "", "")).encode())
    for at in range(0, len(body), 7):
        piece = body[at : at + 7]
        writer.write(b"%x\r\n%b\r\n" % (len(piece), piece))
        await writer.drain()
    writer.write(b"0\r\nX-Trailer: yes\r\n\r\n")


async def _websocket(asked: Asked, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Shakes hands, then sends back what comes, unmasked, in frames of its own."""
    import hashlib

    key = (asked.field("sec-websocket-key") or "") + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
    accept = base64.b64encode(hashlib.sha1(key.encode()).digest()).decode()
    writer.write(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        f"Sec-WebSocket-Accept: {accept}\r\n\r\n".encode()
    )
    while True:
        first, second = await reader.readexactly(2)
        mask = await reader.readexactly(4)
        payload = bytes(b ^ mask[i % 4] for i, b in enumerate(await reader.readexactly(second & 0x7F)))
        writer.write(bytes([first, len(payload)]) + payload)
        await writer.drain()
        if first & 0x0F == 8:
            raise ConnectionResetError  # both said goodbye


ANSWERS = {
    "/inner/events": _events,
    "/maps/events": _events,
    "/maps/endless": _endless,
    "/inner/cut": _cut,
    "/inner/silent": _silent,
    "/inner/early": _early,
    "/inner/drops": _drops_first,
    "/inner/teapot": plain(418, b"short and stout", "Connection: X-Internal", "X-Internal: 1", "Keep-Alive: 5"),
    "/inner/until-close": plain(200, b"as long as it goes", "Connection: close", length=False),
    "/inner/empty": plain(204, b"", length=False),
    "/inner/not-modified": plain(304, b"", 'ETag: "x"', length=False),
    "/inner/moved": plain(
        302, b"", "Location: @URL@/inner/there?x=1", "Set-Cookie: a=b; Path=/inner; Domain=x.example"
    ),
    "/inner/ours": plain(200, b"", "Set-Cookie: __Host-kb_session=stolen; Path=/", "Set-Cookie: fine=1"),
    "/inner/switches": plain(101, b"", "Upgrade: websocket", "Connection: upgrade", length=False),
    "/inner/both": plain(200, b"0\r\n\r\n", "Transfer-Encoding: chunked"),
    "/maps/echo": _repeats_secret,
    "/maps/gzip": plain(200, b"\x1f\x8b", "Content-Encoding: gzip"),
    "/maps/socket": _websocket,
    "/inner/socket": _websocket,
}


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gated]:
    upstream = Upstream()
    upstream.answers.update(ANSWERS)
    moved = plain(
        302, b"", f"Location: {upstream.url}/inner/there?x=1", "Set-Cookie: a=b; Path=/inner; Domain=x.example"
    )
    upstream.answers["/inner/moved"] = moved
    with gated(tmp_path_factory.mktemp("gated"), upstream) as made:
        yield made
    upstream.stop()


# Who may pass.


def test_a_key_opens_its_route_and_the_upstream_learns_who_calls_but_not_the_key(scene: Gated) -> None:
    seen = scene.echoed("/orders/1?x=%41&y=a+b", headers={"X-Keybearer-User": "forged", "X_Keybearer_Key": "forged"})
    fields = dict(map(tuple, seen["fields"]))
    assert seen["target"] == "/orders/1?x=%41&y=a+b"
    assert fields["x-keybearer-kind"] == "secret_key"
    assert "forged" not in str(seen)
    assert scene.key not in str(seen)


@pytest.mark.parametrize(
    ("path", "headers", "status"),
    [
        ("/orders/1", {"authorization": ""}, 401),
        ("/orders/1", {"authorization": "Bearer nonsense"}, 401),
        ("/orders/1", {"x-api-key": "another"}, 401),
        ("/orders/admin/x", {}, 403),
        ("/nowhere", {}, 404),
        ("/orders/%2e%2e/open", {}, 400),
        ("/orders//1", {}, 400),
        ("/%6frders/1", {}, 400),
        ("/lost/1", {}, 503),
        ("/down/1", {}, 502),
    ],
)
def test_what_does_not_pass(scene: Gated, path: str, headers: dict[str, str], status: int) -> None:
    scene.upstream.forget()
    sent = {name: value for name, value in {"authorization": f"Bearer {scene.key}", **headers}.items() if value}
    with Raw(scene.port) as raw:
        raw.send(request("GET", path, *[f"{name}: {value}" for name, value in sent.items()]))
        answer = raw.receive()
    assert answer.status == status, answer
    assert scene.upstream.asked == []


def test_a_method_that_a_narrow_route_does_not_take_is_not_answered_by_a_wider_one(scene: Gated) -> None:
    answer = scene.http.post("/orders/admin/x")
    assert answer.status_code == 405
    assert answer.headers["allow"] == "GET"


def test_a_refusal_names_what_is_needed_and_lets_the_page_of_the_right_origin_read_it(scene: Gated) -> None:
    answer = httpx.get(f"{scene.url}/orders/1", headers={"origin": "https://app.example"})
    assert answer.status_code == 401
    assert "resource_metadata=" in answer.headers["www-authenticate"]
    assert answer.headers["access-control-allow-origin"] == "https://app.example"
    other = httpx.get(f"{scene.url}/orders/1", headers={"origin": "https://evil.example"})
    assert "access-control-allow-origin" not in other.headers


def test_a_preflight_is_answered_without_the_upstream(scene: Gated) -> None:
    scene.upstream.forget()
    asks = {"origin": "https://app.example", "access-control-request-method": "GET"}
    answer = httpx.options(f"{scene.url}/orders/1", headers=asks)
    assert answer.status_code == 204
    assert answer.headers["access-control-allow-origin"] == "https://app.example"
    assert scene.upstream.asked == []


def test_a_revoked_key_is_refused_at_the_next_request(scene: Gated) -> None:
    key_id, credential = scene.shop.key("pages:read")
    headers = {"authorization": f"Bearer {credential}"}
    assert scene.http.get("/orders/1", headers=headers).status_code == 200
    scene.shop.call("POST", f"/v1/keys/{key_id}/revoke", {})
    assert scene.http.get("/orders/1", headers=headers).status_code == 401


def test_limits_are_those_of_the_authority_and_are_told(scene: Gated) -> None:
    limit = {"name": "requests", "limit": 2, "period_in": 3600}
    _, credential = scene.shop.key("pages:read", limits=[limit])
    headers = {"authorization": f"Bearer {credential}"}
    first = scene.http.get("/orders/1", headers=headers)
    assert first.headers["ratelimit"].startswith('"requests";r=1')
    assert scene.shop.verify(credential)["valid"]
    third = scene.http.get("/orders/1", headers=headers)
    assert third.status_code == 429
    assert int(third.headers["retry-after"]) > 0


def test_a_secret_in_a_url_is_refused_and_its_project_learns_of_it(scene: Gated) -> None:
    key_id, credential = scene.shop.key("pages:read")
    refused = scene.http.get(f"/orders/1?api_key={credential}")
    assert refused.status_code == 401
    assert credential not in refused.text + str(refused.headers)
    until = time.monotonic() + 15
    while True:  # written behind, as usage is
        uses = scene.shop.call("GET", "/v1/leaks/urls?start=-1h")["uses"]
        mine = [(use["code"], use["count"]) for use in uses if use["key_id"] == key_id]
        if mine or time.monotonic() > until:
            break
        time.sleep(0.1)
    assert mine == [("KIND_NOT_ACCEPTED", 1)]


def test_a_stream_ends_when_its_credential_does(scene: Gated) -> None:
    key_id, credential = scene.shop.key("pages:read")
    with scene.http.stream("GET", "/maps/endless", headers={"authorization": f"Bearer {credential}"}) as answer:
        pieces = answer.iter_bytes()
        assert next(pieces)
        scene.shop.call("POST", f"/v1/keys/{key_id}/revoke", {})
        revoked_at = time.monotonic()
        with pytest.raises(httpx.RemoteProtocolError):
            for _ in pieces:
                pass
        assert time.monotonic() - revoked_at < 2


# Secrets.


def test_an_upstream_secret_is_shown_to_the_upstream_and_to_nobody_else(scene: Gated) -> None:
    scene.upstream.forget()
    answer = scene.http.get("/maps/tiles?zoom=3")
    assert MAPS_KEY not in answer.text
    assert quote(MAPS_KEY, safe="") not in answer.text
    asked = scene.upstream.asked[-1]
    assert asked.target == f"/maps/tiles?zoom=3&key={quote(MAPS_KEY, safe='')}"
    assert asked.field("authorization") == f"Bearer {MAPS_KEY}"


def test_a_secret_that_is_echoed_is_blotted_out_in_every_spelling(scene: Gated) -> None:
    answer = scene.http.get("/maps/echo")
    seen = str(answer.headers) + answer.text
    assert answer.text.endswith("|end")
    for hidden in (MAPS_KEY, quote(MAPS_KEY, safe=""), base64.b64encode(MAPS_KEY.encode()).decode(), MAPS_KEY[4:20]):
        assert hidden not in seen
    core = [base64.b64encode(b"x" * shift + MAPS_KEY.encode()).decode()[3:-6] for shift in (0, 1, 2)]
    assert not [text for text in core if text in seen]
    assert "x-trailer" not in answer.headers


def test_what_cannot_be_searched_is_not_handed_on(scene: Gated) -> None:
    assert scene.http.get("/maps/gzip", headers={"accept-encoding": "gzip"}).status_code == 502
    asked = scene.upstream.asked[-1]
    assert asked.field("accept-encoding") == "identity"


def test_basic_credentials_are_made_of_a_secret(scene: Gated) -> None:
    scene.upstream.forget()
    answer = httpx.get(f"{scene.url}/basic/x", auth=("someone", "else"))
    assert answer.status_code == 200
    expected = "Basic " + base64.b64encode(f"user:{MAPS_KEY}".encode()).decode()
    assert scene.upstream.asked[-1].field("authorization") == expected
    assert expected[10:-4] not in answer.text


def test_a_rotated_secret_is_shown_at_the_next_request_and_a_disabled_one_closes_the_route(scene: Gated) -> None:
    made = scene.shop.call("POST", "/v1/secrets", {"name": "turning", "value": "first-secret"})
    inject = [{"secret": "turning", "place": "header", "name": "X-Secret"}]
    route = {"name": "turn", "upstream": scene.upstream.url, "path": "/turn", "public": True, "inject": inject}
    assert scene.shop.send("POST", "/v1/routes", route).status_code == 201
    # The route was made by the management API: its upstream on this machine may not be reached.
    assert scene.http.get("/turn").status_code == 502
    scene.shop.call("POST", f"/v1/secrets/{made['id']}/disable")
    assert scene.http.get("/turn").status_code == 503


def test_a_phantom_token_is_for_the_upstream_alone(scene: Gated) -> None:
    from joserfc import jwt
    from joserfc.jwk import KeySet

    fields = dict(map(tuple, scene.echoed("/orders/2")["fields"]))
    text = fields["authorization"].removeprefix("Bearer ")
    keys = KeySet.import_key_set(httpx.get(f"{scene.node.url}/oauth/jwks").json())
    token = jwt.decode(text, keys, algorithms=["ES256"])
    assert token.header["typ"] == "at+jwt"
    assert token.claims["aud"] == scene.upstream.url
    assert token.claims["iss"] == scene.node.issuer
    assert token.claims["scope"] == "pages:read"
    assert token.claims["exp"] - time.time() <= 61
    # Here it opens nothing.
    assert scene.http.get("/orders/1", headers={"authorization": f"Bearer {text}"}).status_code == 401
    assert scene.shop.verify(text, api=API)["valid"] is False


def test_a_phantom_token_ends_with_the_key_that_it_stands_for(scene: Gated) -> None:
    soon = datetime.now(UTC) + timedelta(seconds=30)
    key_id, short = scene.shop.key("pages:read", expires_at=soon.isoformat())
    seen = scene.echoed("/orders/2", headers={"authorization": f"Bearer {short}"})
    claims = claims_in(dict(map(tuple, seen["fields"]))["authorization"].removeprefix("Bearer "))
    assert claims["sub"] == key_id
    assert claims["exp"] <= soon.timestamp()


# The protocol.


def test_bodies_of_both_framings_arrive_whole(scene: Gated) -> None:
    body = bytes(range(256)) * 400
    seen = scene.echoed("/open/a", method="POST", content=body)
    assert seen["body"].encode("latin-1") == body
    seen = scene.echoed("/open/a", method="POST", content=(body[at : at + 1000] for at in range(0, len(body), 1000)))
    assert seen["body"].encode("latin-1") == body
    assert seen["target"] == "/inner/a"


@pytest.mark.parametrize("framing", ["length", "chunked"])
def test_a_body_that_is_too_large_is_refused(scene: Gated, framing: str) -> None:
    content: Any = b"x" * 300_000 if framing == "length" else (b"x" * 10_000 for _ in range(30))
    assert scene.http.post("/open/a", content=content).status_code == 413


def test_a_client_that_expects_to_be_asked_is_asked_once_it_may_send(scene: Gated) -> None:
    with scene.raw() as raw:
        raw.send(request("POST", "/open/a", "Expect: 100-continue", "Content-Length: 5"))
        assert raw.receive().status == 100
        raw.send(b"hello")
        answer = raw.receive()
    assert json.loads(answer.body)["body"] == "hello"
    with scene.raw() as raw:
        raw.send(request("POST", "/orders/1", "Expect: 100-continue", "Content-Length: 5"))
        assert raw.receive().status == 401


def test_answers_without_bodies(scene: Gated) -> None:
    with scene.raw() as raw:
        for method, path, status in (
            ("HEAD", "/open/teapot", 418),
            ("GET", "/open/empty", 204),
            ("GET", "/open/not-modified", 304),
        ):
            raw.send(request(method, path))
            answer = raw.receive(to_head=method == "HEAD")
            assert answer.status == status
            assert ("content-length" in answer.headers) == (method == "HEAD")
        raw.send(request("GET", "/open/teapot"))
        answer = raw.receive()
    assert answer.body == b"short and stout"
    assert not {"x-internal", "keep-alive"} & set(answer.headers)


def test_a_body_without_a_length_is_chunked_for_new_clients_and_ends_the_connection_for_old_ones(scene: Gated) -> None:
    with scene.raw() as raw:
        raw.send(request("GET", "/open/until-close"))
        answer = raw.receive()
        assert (answer.headers["transfer-encoding"], answer.body) == ("chunked", b"as long as it goes")
        raw.send(request("GET", "/open/teapot"))
        assert raw.receive().status == 418
    with scene.raw() as raw:
        raw.send(request("GET", "/open/until-close", version="1.0"))
        assert raw.receive().body == b"as long as it goes"


def test_requests_in_a_row_are_answered_in_order_on_one_connection(scene: Gated) -> None:
    with scene.raw() as raw:
        raw.send(b"".join(request("GET", f"/open/{number}") for number in range(5)))
        targets = [json.loads(raw.receive().body)["target"] for _ in range(5)]
    assert targets == [f"/inner/{number}" for number in range(5)]


def test_upstream_connections_are_used_again(scene: Gated) -> None:
    scene.http.get("/open/1")
    before = scene.upstream.connections
    for _ in range(10):
        scene.http.get("/open/1")
    assert scene.upstream.connections == before


def test_an_answer_that_is_cut_short_is_cut_short_for_the_client(scene: Gated) -> None:
    with pytest.raises(httpx.RemoteProtocolError):
        scene.http.get("/open/cut")


def test_an_answer_before_the_body_was_sent_is_handed_on(scene: Gated) -> None:
    with scene.raw() as raw:
        raw.send(request("POST", "/open/early?unread", "Content-Length: 190000") + b"x" * 1000)
        answer = raw.receive()
    assert (answer.status, answer.body) == (413, b"no")


def test_an_upstream_that_is_silent_is_given_up(scene: Gated) -> None:
    began = time.monotonic()
    assert scene.http.get("/open/silent").status_code == 504
    assert time.monotonic() - began < 5


def test_a_client_that_goes_away_ends_the_request_at_the_upstream(scene: Gated) -> None:
    closed = scene.upstream.closed
    with scene.raw() as raw:
        raw.send(request("GET", "/open/events"))
        raw._read_until(b"data: 1\n")
    until = time.monotonic() + 5
    while scene.upstream.closed == closed and time.monotonic() < until:
        time.sleep(0.02)
    assert scene.upstream.closed > closed


def test_events_arrive_as_they_are_sent(scene: Gated) -> None:
    with scene.http.stream("GET", "/open/events", timeout=2) as answer:
        assert answer.headers["content-type"] == "text/event-stream"
        assert next(answer.iter_bytes()) == b"data: 1\n\n"


@pytest.mark.parametrize(("method", "status"), [("GET", 200), ("POST", 502)])
def test_only_what_can_be_done_twice_is_tried_again(scene: Gated, method: str, status: int) -> None:
    _SEEN.clear()
    assert scene.http.request(method, "/open/drops").status_code == status
    assert {f"{method}/inner/drops": 2 if method == "GET" else 1} == _SEEN


def test_an_answer_that_can_be_read_in_two_ways_is_none(scene: Gated) -> None:
    assert scene.http.get("/open/both").status_code == 502
    assert scene.http.get("/open/switches").status_code == 502


def test_redirects_and_cookies_stay_within_the_gateway(scene: Gated) -> None:
    answer = scene.http.get("/open/moved")
    assert answer.status_code == 302
    assert answer.headers["location"] == f"{scene.url}/open/there?x=1"
    assert answer.headers["set-cookie"] == "a=b; Path=/open/"
    assert scene.http.get("/open/ours").headers.get_list("set-cookie") == ["fine=1"]


@pytest.mark.parametrize("path", ["/open/socket", "/maps/socket"])
def test_websockets_are_carried_both_ways(scene: Gated, path: str) -> None:
    headers = {"Authorization": f"Bearer {scene.key}"}
    url = f"ws://127.0.0.1:{scene.port}{path}"
    with websockets.sync.client.connect(url, additional_headers=headers, proxy=None) as socket:
        for text in ("hello", MAPS_KEY, "x" * 100):
            socket.send(text)
            heard = socket.recv(timeout=5)
            expected = "*" * len(MAPS_KEY) if text == MAPS_KEY and path.startswith("/maps") else text
            assert heard == expected


def test_a_request_that_went_in_a_circle_is_refused(scene: Gated) -> None:
    assert scene.http.get("/open/1", headers={"via": "1.1 elsewhere, 1.1 keybearer"}).status_code == 508


def test_a_slow_client_is_let_go(scene: Gated) -> None:
    with scene.raw() as raw:
        raw.send(b"GET /open/1 HTTP/1.1\r\nHost: x\r\n")
        assert raw.receive().status == 408
    with scene.raw() as raw:
        raw.send(request("POST", "/open/1", "Content-Length: 100"))
        began = time.monotonic()
        try:
            while time.monotonic() - began < 6:
                raw.send(b"x")
                time.sleep(0.3)
                if time.monotonic() - began > 3:
                    break
            assert raw.receive().status == 408
        except Closed:
            pass
        assert time.monotonic() - began < 6


def test_a_broken_upstream_is_left_alone_for_a_while(scene: Gated) -> None:
    statuses = [scene.http.get("/down/x").status_code for _ in range(8)]
    assert statuses[0] == 502
    assert statuses[-1] == 503
    assert int(scene.http.get("/down/x").headers["retry-after"]) >= 1


def test_nothing_secret_is_logged(scene: Gated) -> None:
    assert MAPS_KEY not in scene.node.output
    assert scene.key not in scene.node.output

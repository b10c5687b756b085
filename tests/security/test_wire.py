"""What hostile clients write on the wire, against the running server: hosts, trailers, repeated and look-alike headers,
endless queries, strange targets. Never a 5xx, never a second meaning.

Spec: SECURITY-BAR, defects of peers: LiteLLM CVE-2026-49468 (``Host: /#@``), h11 CVE-2025-43859 (chunk framing), Envoy
CVE-2021-32777 (only the last of several values), Caddy CVE-2026-30851, Traefik CVE-2026-39858, oauth2-proxy
CVE-2025-64484 (another spelling), Oathkeeper GHSA-w9mr-28mw-j8hg (hop by hop).
"""

import json
from collections.abc import Iterator

import pytest

from tests.e2e.raw import Closed, Raw, Response
from tests.e2e.shop import API, Shop
from tests.support.authority import Authority

HOST = "Host: keys.example"


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    """One authority for all of this module; whose bad credentials slow nobody down."""
    folder = tmp_path_factory.mktemp("wire")
    node = Authority(folder / "data", folder / "logs", environment={"KEYBEARER_FAILURES_PER_MINUTE": "0"})
    node.init()
    node.start()
    yield Shop(node)
    node.stop()


@pytest.fixture(autouse=True)
def nothing_unexpected(shop: Shop) -> Iterator[None]:
    """No request may end in a traceback, whatever it was answered."""
    seen = len(shop.node.output)
    yield
    assert shop.node.is_running
    assert "Traceback" not in shop.node.output[seen:]
    assert "unexpected error" not in shop.node.output[seen:]


def written(method: str, target: str, *headers: str, body: bytes = b"", version: str = "1.1") -> bytes:
    """A request with these header lines and no others but the length of a body."""
    lines = [f"{method} {target} HTTP/{version}", *headers, *([f"Content-Length: {len(body)}"] if body else [])]
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + body


def ask(shop: Shop, data: bytes) -> Response:
    with Raw(shop.node.port) as connection:
        connection.send(data)
        return connection.receive()


def statuses(shop: Shop, data: bytes) -> list[int]:
    """All that the server answers to these bytes until it closes, or three answers."""
    found: list[int] = []
    with Raw(shop.node.port, seconds=5) as connection:
        connection.send(data)
        try:
            while len(found) < 3:
                found.append(connection.receive().status)
        except Closed:
            pass
    return found


def root(shop: Shop) -> str:
    return f"Authorization: Bearer {shop.node.root_key}"


def verify_body(shop: Shop) -> bytes:
    return json.dumps({"credential": shop.node.root_key}).encode()


# Host


BAD_HOSTS = {
    "none": (),
    "two": ("Host: a.example", "Host: b.example"),
    "the same twice": (HOST, HOST),
    "two spellings": (HOST, "hOST: b.example"),
    "empty": ("Host:",),
    "a path and a fragment": ("Host: /#@",),
    "a path": ("Host: a.example/v1/keys",),
    "a query": ("Host: a.example?",),
    "a user": ("Host: a@b.example",),
    "a list": ("Host: a.example, b.example",),
    "a space inside": ("Host: a.example b.example",),
    "half an IPv6 address": ("Host: [",),
    "no address in brackets": ("Host: [x]",),
    "a scheme": ("Host: http://a.example",),
    "a port that is none": ("Host: a.example:http",),
    "two ports": ("Host: a.example:80:80",),
    "a backslash": ("Host: a.example\\b",),
    "percent-encoding": ("Host: a%2fb",),
    "bytes": ("Host: \xff\xfe",),
    "very long": ("Host: " + "a" * 5000,),
}
ROUTES = ("/v1/verify", "/forward-auth", "/forward-auth/nginx", "/v1/keys", "/v1/whoami", "/healthz", "/nothing")


@pytest.mark.spec("RFC 9112", "3.2", "MUST")
@pytest.mark.parametrize("case", BAD_HOSTS)
def test_one_valid_host_or_400(shop: Shop, case: str) -> None:
    for route in ROUTES:
        method, body = ("POST", verify_body(shop)) if route == "/v1/verify" else ("GET", b"")
        answer = ask(shop, written(method, route, *BAD_HOSTS[case], root(shop), body=body))
        assert (answer.status, answer.headers["connection"]) == (400, "close"), route
        assert b"a.example" not in answer.body


@pytest.mark.parametrize(
    "host", ["keys.example", "KEYS.example:8443", "127.0.0.1:8080", "[::1]", "[::1]:80", "up_stream"]
)
def test_a_host_of_any_usual_form_is_taken(shop: Shop, host: str) -> None:
    for _ in range(2):
        answer = ask(shop, written("POST", "/v1/verify", f"Host: {host}", root(shop), body=verify_body(shop)))
        assert answer.status == 200
    assert ask(shop, written("GET", "/healthz", f"Host: {host}")).status == 200


def test_what_follows_a_bad_host_is_not_read(shop: Shop) -> None:
    good = written("GET", "/healthz", HOST)
    for bad in (written("GET", "/healthz"), written("POST", "/v1/verify", "Host: /#@", body=good)):
        assert statuses(shop, bad + good) == [400]


def test_a_cursor_is_bound_to_its_list_whatever_the_host_says(shop: Shop) -> None:
    for _ in range(3):
        shop.key()
    page = ask(shop, written("GET", "/v1/keys?limit=1", HOST, root(shop)))
    cursor = json.loads(page.body)["next_cursor"]
    for host in (HOST, "Host: /#@", "Host: keys.example/v1/keys?"):
        answer = ask(shop, written("GET", f"/v1/audit?cursor={cursor}", host, root(shop)))
        assert answer.status == 400


# Trailers, hop-by-hop fields, repeated and look-alike headers


@pytest.mark.spec("RFC 9110", "6.5.1", "MUST")
@pytest.mark.parametrize("route", ["/v1/verify", "/v1/projects", "/v1/revoke-mine"])
def test_a_trailer_is_no_header(shop: Shop, route: str) -> None:
    """A proxy in front strips and sets headers; trailers pass it by."""
    body = verify_body(shop) if route == "/v1/verify" else b'{"name":"x"}' if route == "/v1/projects" else b"{}"
    chunks = b"%x\r\n%s\r\n0\r\n%s\r\n\r\n" % (len(body), body, root(shop).encode())
    answer = ask(shop, written("POST", route, HOST, "Transfer-Encoding: chunked", "Trailer: Authorization") + chunks)
    assert answer.status == 401
    assert answer.headers["www-authenticate"] == "Bearer"  # as for a request that carries nothing at all


def test_a_trailer_cannot_change_what_a_proxy_said(shop: Shop) -> None:
    _, near = shop.key("pages:read", restrictions={"ip_networks": ["10.0.0.0/8"], "paths": ["/guide/*"]})
    head = written(
        *("POST", "/forward-auth", HOST, f"X-Api-Key: {near}", "X-Forwarded-For: 192.0.2.7"),
        *("X-Original-URI: /admin", "Transfer-Encoding: chunked"),
    )
    for trailer in ("X-Forwarded-For: 10.1.2.3", "X-Original-URI: /guide/x", "X-Forwarded-Uri: /guide/x"):
        assert ask(shop, head + b"0\r\n" + trailer.encode() + b"\r\n\r\n").status == 401


def test_trailers_are_bounded_like_headers(shop: Shop) -> None:
    head = written("POST", "/v1/verify", HOST, root(shop), "Transfer-Encoding: chunked")
    trailers = b"".join(b"X-%d: %s\r\n" % (number, b"y" * 1000) for number in range(90))
    assert statuses(shop, head + b"0\r\n" + trailers + b"\r\n")[0] in (400, 431)


@pytest.mark.parametrize("route", ["/v1/verify", "/v1/keys", "/v1/whoami", "/v1/revoke-mine", "/forward-auth"])
def test_two_credentials_are_refused_even_when_both_are_good(shop: Shop, route: str) -> None:
    method = "POST" if route in ("/v1/verify", "/v1/revoke-mine") else "GET"
    body = verify_body(shop) if route == "/v1/verify" else b""
    _, other = shop.key("pages:read")
    for second in (root(shop), f"authorization: Bearer {other}", f"X-Api-Key: {shop.node.root_key}", "Authorization: "):
        for pair in ((root(shop), second), (second, root(shop))):
            answer = ask(shop, written(method, route, HOST, *pair, body=body))
            assert answer.status == 401, (route, second)
    assert shop.verify(shop.node.root_key)["valid"]


def test_another_spelling_of_a_header_is_not_that_header(shop: Shop) -> None:
    """``X_Forwarded_For``, ``X.Forwarded.For`` and the like are nobody's word, and no credential stands in them."""
    _, near = shop.key("pages:read", restrictions={"ip_networks": ["10.0.0.0/8"]})
    for name in ("X_Forwarded_For", "X.Forwarded.For", "X-Forwarded_For", "X_FORWARDED-FOR", "Forwarded", "X-Real-Ip"):
        for lies in ((f"{name}: 10.1.2.3",), (f"{name}: 10.1.2.3", "X-Forwarded-For: 192.0.2.7")):
            assert ask(shop, written("GET", "/forward-auth", HOST, f"X-Api-Key: {near}", *lies)).status == 401, name
    for name in ("X_Api_Key", "X-Api_Key", "x_api-key", "Proxy-Authorization", "X-Authorization", "Api-Key"):
        assert ask(shop, written("GET", "/forward-auth", HOST, f"{name}: {near}")).status == 401, name


def test_the_right_most_untrusted_address_counts_over_all_lines(shop: Shop) -> None:
    _, near = shop.key("pages:read", restrictions={"ip_networks": ["10.0.0.0/8"]})
    cases = {
        ("10.1.2.3",): 200,
        ("192.0.2.7, 10.1.2.3",): 200,
        ("10.1.2.3, 192.0.2.7",): 401,
        ("10.1.2.3", "192.0.2.7"): 401,
        ("192.0.2.7", "10.1.2.3"): 200,
        ("10.1.2.3, 192.0.2.7, 127.0.0.1",): 401,
        ("10.1.2.3, unknown",): 401,
        ("10.1.2.3, ",): 401,
        ("10.1.2.3, " + "x" * 9000,): 401,
        ("10.1.2.3, fe80::1%10.1.2.3",): 401,
        ("::ffff:10.1.2.3",): 200,
        ("010.001.002.003",): 401,
        ("167838211",): 401,
    }
    for lines, status in cases.items():
        forwarded = [f"X-Forwarded-For: {line}" for line in lines]
        answer = ask(shop, written("GET", "/forward-auth", HOST, f"X-Api-Key: {near}", *forwarded))
        assert answer.status == status, lines


def test_contradicting_words_about_the_request_are_refused(shop: Shop) -> None:
    """Whichever of two values an authorizer takes, the other is the one that was forwarded."""
    _, near = shop.key("pages:read", restrictions={"paths": ["/guide/*"], "methods": ["GET"]})
    good = ("X-Original-URI: /guide/x", "X-Original-Method: GET")
    assert ask(shop, written("GET", "/forward-auth", HOST, f"X-Api-Key: {near}", *good)).status == 200
    for lie in ("X-Original-URI: /admin", "X-Forwarded-Uri: /admin", "X-Original-Method: DELETE", "Origin: https://x"):
        lies = (lie, "Origin: https://y") if "Origin:" in lie else (lie,)
        for headers in ((*good, *lies), (*lies, *good)):
            assert ask(shop, written("GET", "/forward-auth", HOST, f"X-Api-Key: {near}", *headers)).status == 401, lie


def test_a_connection_header_takes_nothing_away(shop: Shop) -> None:
    """The end of the line is we: what a client names hop by hop still stands there, and still must be right."""
    _, near = shop.key("pages:read", restrictions={"ip_networks": ["10.0.0.0/8"]})
    hop = "Connection: keep-alive, X-Forwarded-For, X-Original-URI, X-Api-Key, Authorization"
    for address, status in {"192.0.2.7": 401, "10.1.2.3": 200}.items():
        headers = (HOST, hop, f"X-Api-Key: {near}", f"X-Forwarded-For: {address}")
        assert ask(shop, written("GET", "/forward-auth", *headers)).status == status
    assert ask(shop, written("GET", "/v1/whoami", HOST, hop)).status == 401


# Chunk framing beside what tests/e2e/test_http.py has


FRAMING = {
    "two other bytes for the end of a chunk": b"1\r\nxXX0\r\n\r\n",
    "LF for CRLF after the size": b"1\nx\r\n0\r\n\r\n",
    "LF for CRLF after the data": b"1\r\nx\n0\r\n\r\n",
    "CR alone after the size": b"1\rx\r\n0\r\n\r\n",
    "a space before the size": b" 1\r\nx\r\n0\r\n\r\n",
    "an empty size": b"\r\nx\r\n0\r\n\r\n",
    "a size with 0x": b"0x1\r\nx\r\n0\r\n\r\n",
    "a size with an underscore": b"1_0\r\n" + b"x" * 16 + b"\r\n0\r\n\r\n",
    "a size beyond 64 bits": b"10000000000000001\r\nx\r\n0\r\n\r\n",
    "a NUL in an extension": b"1;a=\0\r\nx\r\n0\r\n\r\n",
    "LF in an extension": b"1;a\nb\r\nx\r\n0\r\n\r\n",
    "a trailer without a colon": b"0\r\nnothing\r\n\r\n",
    "a trailer with a space in its name": b"0\r\nX A: b\r\n\r\n",
    "a trailer with a bare CR": b"0\r\nX: a\rb\r\n\r\n",
    "a folded trailer": b"0\r\nX: a\r\n b\r\n\r\n",
}


@pytest.mark.spec("RFC 9112", "7.1", "MUST")
@pytest.mark.parametrize("route", ["/v1/verify", "/v1/projects"])
@pytest.mark.parametrize("case", FRAMING)
def test_chunks_that_two_readers_would_cut_differently(shop: Shop, route: str, case: str) -> None:
    head = written("POST", route, HOST, root(shop), "Content-Type: application/json", "Transfer-Encoding: chunked")
    found = statuses(shop, head + FRAMING[case] + written("GET", "/healthz", HOST, "Connection: close"))
    # One refusal and the end. What follows is never taken for a request of its own unless the chunks were understood.
    assert all(400 <= status < 500 for status in found[:1]), found
    assert 200 not in found, found


# Queries and targets


@pytest.mark.parametrize("count", [60, 101, 999, 5_000])
def test_a_query_of_many_fields_is_no_fault_of_ours(shop: Shop, count: int) -> None:
    query = "&".join(["a"] * count)
    _, key = shop.key("pages:read")
    routes = ("/v1/keys", "/v1/whoami", "/forward-auth", "/forward-auth/nginx", "/v1/usage", "/v1/audit", "/healthz")
    for route in routes:
        assert ask(shop, written("GET", f"{route}?{query}", HOST, root(shop))).status < 500, route
    asked = written("GET", "/forward-auth", HOST, f"X-Api-Key: {key}", f"X-Original-URI: /x?{query}")
    assert ask(shop, asked).status == (200 if count < 1000 else 401)
    for route in ("/v1/keys/import", "/v1/revoke-mine"):
        headers = (HOST, f"X-Api-Key: {key}", "Content-Type: application/x-ndjson")
        assert ask(shop, written("POST", f"{route}?{query}", *headers)).status < 500, route


def test_verify_takes_no_query(shop: Shop) -> None:
    _, key = shop.key("pages:read")
    for query in (f"key={key}", "x", "credential=x"):
        answer = ask(shop, written("POST", f"/v1/verify?{query}", HOST, root(shop), body=verify_body(shop)))
        assert answer.status == 400
        assert key.encode() not in answer.body
    assert ask(shop, written("POST", "/v1/verify?", HOST, root(shop), body=verify_body(shop))).status == 200
    assert key not in shop.node.output


def test_a_door_is_described_once(shop: Shop) -> None:
    """Of a parameter that stands twice, one program takes the first and another the last."""
    _, key = shop.key("pages:read")
    for query in (f"api={API}&api=", "permissions=pages:read&permissions=", "cost=1&cost=0", "x=1"):
        assert ask(shop, written("GET", f"/forward-auth?{query}", HOST, f"X-Api-Key: {key}")).status == 400, query


TARGETS = (
    *("*", "/", "//", "/v1", "/v1/", "/v1/keys/", "//v1/keys", "/v1//keys", "/./v1/keys", "/x/../v1/keys"),
    *("/v1/%6beys", "/V1/KEYS", "/v1/keys;x=1", "/v1/keys#x", "/v1/keys%23", "/v1/keys%3flimit=1", "/v1/keys\\x"),
    *("/v1/keys/%00", "/v1/keys/%ff", "/v1/keys/%ed%a0%80", "/v1/keys/%c0%ae%c0%ae", "/v1/keys/%", "/v1/keys/%zz"),
    *("/v1/keys/..%2f..%2fhealthz", "/v1/keys/..;/healthz", "/v1/keys/%2e%2e/projects", "/v1/keys/\xff"),
    *("/v1/keys/" + "a" * 9000, "/v1/apis/urn:%00", "/v1/apis/urn:%ff", "/v1/apis/a:b/c/d/enable"),
    *("/v1/keys?limit=%00", "/v1/keys?limit=" + "9" * 400, "/v1/keys?limit=-0", "/v1/keys?cursor=%ff", "/v1/keys?%00"),
    *("/v1/keys?limit=%d9%a1", "/v1/keys?state=%00", "/v1/keys?tag='%20OR%201=1--", "/v1/keys?project_id[]=x"),
    *("/v1/events?after=" + "9" * 30, "/v1/events?after=-1", "/v1/audit?cursor=AAAA", "/v1/audit?actor=%00"),
    *("/v1/audit/verification?expected=0:", "/v1/audit/verification?expected=999999999999999999:" + "0" * 64),
    *("/v1/usage?start=x&end=y", "/v1/usage?start=0001-01-01T00:00:00Z", "/v1/usage?group_by=key,key"),
    *("/v1/usage?start=9999-12-31T23:59:59-23:59", "/forward-auth?api=%ff", "/forward-auth?permissions=(((("),
    *("/forward-auth?cost=" + "9" * 50, "/forward-auth?cost=%d9%a1", "/forward-auth/", "/forward-auth/nginx/x"),
    *("/forward-authx", "/metrics?x", "/openapi.json?x", "/readyz/", "keys.example:443"),
    *("http://keys.example/v1/keys", "http://[/v1/keys", "https://evil.example/v1/whoami"),
)  # fmt: skip


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "HEAD", "TRACE"])
def test_strange_targets_are_nobodys_fault(shop: Shop, method: str) -> None:
    for target in TARGETS:
        with Raw(shop.node.port) as connection:
            connection.send(written(method, target, HOST, root(shop), "Connection: close"))
            try:
                answer = connection.receive(to_head=method == "HEAD")
            except Closed:
                continue
        assert answer.status < 500, target
        assert b"Traceback" not in answer.body, target


def test_methods_nobody_knows(shop: Shop) -> None:
    rest = b" HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
    for line in ("CONNECT keys.example:443", "PRI *", "BREW /", "get /healthz", "GET", "M-SEARCH *", "SOURCE /v1/keys"):
        assert all(400 <= status < 500 for status in statuses(shop, line.encode() + rest)), line
    for version in ("0.9", "1.2", "2.0", "9.9", "x"):
        found = statuses(shop, f"GET /healthz HTTP/{version}\r\nHost: a\r\nConnection: close\r\n\r\n".encode())
        assert all(status < 500 for status in found), version

"""Which route a path leads to, however it is spelt: never a wider one than the route that was made for it."""

from __future__ import annotations

import pytest

from keybearer.core.instant import Instant
from keybearer.core.routes import Bff, Route, RouteTable, is_plain_path
from keybearer.gateway.body import Body
from keybearer.gateway.forwarding import target_for
from keybearer.gateway.message import Request, request_from


def route(name: str, path: str, **more: object) -> Route:
    at = {"created_at": Instant(0), "updated_at": Instant(0)}
    return Route(id=f"rte_{name}", name=name, upstream="http://up.example/base", path=path, **at, **more)  # type: ignore[arg-type]


TABLE = RouteTable(
    [
        route("all", "/"),
        route("me", "/v1/@me", strip_path=True),
        route("models", "/v1/models:run"),
        route("café", "/caf%C3%A9"),
        route("site", "/app", bff=Bff("cl_1", path="/app/~in!")),
    ]
)


def request(path: str) -> Request:
    fields = [(b"host", b"a.example")]
    return request_from(b"GET", path.encode(), fields, "1.1", Body(lambda held: None), keep_alive=True)


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("/v1/@me", "me"),
        ("/v1/%40me", "me"),
        ("/v1/%40me/x%20y", "me"),
        ("/v1/@meadow", "all"),
        ("/v1/models%3arun", "models"),
        ("/v1/models%3Arun/now", "models"),
        ("/caf%c3%a9/x", "café"),
        ("/CAF%C3%A9", "all"),
    ],
)
def test_another_spelling_leads_to_the_same_route(path: str, name: str) -> None:
    assert is_plain_path(path)
    found = TABLE.match("a.example", path)
    assert found is not None
    assert [one.name for one in found.routes] == [name]


def test_the_pages_of_a_bff_are_found_alike() -> None:
    for path in ("/app/~in!/login", "/app/~in%21/login"):
        found = TABLE.match("a.example", path)
        assert found is not None
        assert (found.routes[0].name, found.bff_page) == ("site", "login")


@pytest.mark.parametrize(
    ("path", "target"),
    [
        ("/v1/@me", b"/base/"),
        ("/v1/@me/x", b"/base/x"),
        ("/v1/%40me/x%2By?q=%40", b"/base/x%2By?q=%40"),
        ("/v1/%40me/", b"/base/"),
    ],
)
def test_what_is_stripped_is_the_route_and_no_more(path: str, target: bytes) -> None:
    found = TABLE.by_name["me"]
    assert target_for(found, request(path), frozenset(), {}) == target
    assert target_for(TABLE.by_name["all"], request(path), frozenset(), {}) == b"/base" + path.encode()

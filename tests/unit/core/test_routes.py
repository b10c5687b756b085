"""Which route a request is for."""

from typing import Any

import pytest

from keybearer.core.instant import Instant
from keybearer.core.records import State
from keybearer.core.routes import Bff, Matched, Route, RouteTable, is_plain_path


def route(name: str, **fields: Any) -> Route:
    at = Instant(0)
    return Route(id=f"rte_{name}", created_at=at, updated_at=at, name=name, upstream="https://u.example", **fields)


TABLE = RouteTable(
    [
        route("all"),
        route("maps", path="/maps"),
        route("tiles", path="/maps/tiles/", methods=("GET",)),
        route("tiles-put", path="/maps/tiles", methods=("PUT",)),
        route("host", host="a.example", path="/maps"),
        route("off", path="/maps/off", state=State.DISABLED),
        route("app", host="a.example", path="/api", bff=Bff("client_1")),
    ]
)


@pytest.mark.parametrize(
    ("host", "path", "method", "found"),
    [
        ("b.example", "/", "GET", "all"),
        ("b.example", "/map", "GET", "all"),
        ("b.example", "/mapsx", "GET", "all"),
        ("b.example", "/maps", "GET", "maps"),
        ("b.example", "/maps/", "GET", "maps"),
        ("b.example", "/maps/off", "GET", "off"),
        ("b.example", "/maps/off/x", "GET", "off"),
        ("b.example", "/maps/tiles", "GET", "tiles"),
        ("b.example", "/maps/tiles/1/2", "PUT", "tiles-put"),
        ("b.example", "/maps/tiles/1", "POST", None),
        ("a.example", "/maps/tiles/1", "POST", "host"),
        ("a.example", "/other", "GET", "all"),
    ],
)
def test_the_host_and_the_longest_path_come_before_the_method(
    host: str, path: str, method: str, found: str | None
) -> None:
    matched = TABLE.match(host, path)
    assert matched is not None
    chosen = matched.for_method(method)
    assert (chosen and chosen.name) == found


def test_the_pages_of_a_bff_are_on_its_host_alone() -> None:
    matched = TABLE.match("a.example", "/bff/login")
    assert matched is not None
    assert matched.bff_page == "login"
    other = TABLE.match("b.example", "/bff/login")
    assert other is not None
    assert other.bff_page == ""


def test_a_session_opens_routes_of_its_own_host_only() -> None:
    table = RouteTable(
        [*TABLE.by_name.values(), route("there", session="app"), route("here", host="a.example", session="app")]
    )
    assert table.session_of(table.by_name["there"]) is None
    assert table.session_of(table.by_name["here"]) is table.by_name["app"]


def _names(matched: Matched | None) -> list[str]:
    return [] if matched is None else [one.name for one in matched.routes]


def test_what_a_file_says_is_not_taken_over_by_another_route() -> None:
    bff = Bff("client_1")
    table = RouteTable(
        [
            route("mine", path="/a/", methods=("GET",)),
            route("site", path="/elsewhere"),
            route("pages", path="/other", bff=bff),
            route("over", path="/more", bff=Bff("client_1", path="/a")),
            route("site", path="/", bff=bff, from_file=True),
            route("a", path="/a", from_file=True),
            route("narrower", path="/a/b"),
        ]
    )
    assert sorted(table.left_out) == ["mine", "over", "pages", "site"]
    assert _names(table.match("x", "/a")) == ["a"]
    assert _names(table.match("x", "/bff/login")) == ["site"]
    assert _names(table.match("x", "/a/b")) == ["narrower"]


@pytest.mark.parametrize("path", ["/caf%C3%A9", "/caf%c3%a9/x"])
def test_a_path_is_matched_as_an_upstream_reads_it(path: str) -> None:
    table = RouteTable([route("all"), route("narrow", path="/caf%c3%A9")])
    assert _names(table.match("x", path)) == ["narrow"]


@pytest.mark.parametrize("path", ["/a/../b", "/%61", "/%2E/x", "//x", "/a;b", "/a%2fb", "/a%5cb", "/a\\b", "a", "/%7e"])
def test_a_path_with_two_readings_or_spellings_is_not_plain(path: str) -> None:
    assert not is_plain_path(path)


@pytest.mark.parametrize("path", ["/", "/a/b.c", "/a%20b", "/caf%C3%A9", "/~ada/x-y_z", "/a:b@c,d"])
def test_a_path_with_one_reading_is_plain(path: str) -> None:
    assert is_plain_path(path)

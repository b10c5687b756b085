"""CORS of a guarded API: who may read, what a preflight is told, and which policies are refused."""

from __future__ import annotations

from typing import Any

import pytest

from keybearer.core.errors import InvalidInput
from keybearer.http.cors import FOR_ALL, SAID, CorsPolicy

APP = "https://app.example"
EXPOSED = (
    b"access-control-expose-headers",
    b"WWW-Authenticate, Retry-After, RateLimit, RateLimit-Policy, DPoP-Nonce, X-Request-Id",
)
VARY = (b"vary", b"Origin")


def asking(origin: str | None, *more: tuple[bytes, bytes]) -> list[tuple[bytes, bytes]]:
    return [*([] if origin is None else [(b"origin", origin.encode())]), *more]


def preflight(origin: str) -> list[tuple[bytes, bytes]]:
    return asking(origin, (b"access-control-request-method", b"PUT"), (b"access-control-request-headers", b"x-api-key"))


ONE = CorsPolicy((APP, "https://*.shop.example"))


@pytest.mark.parametrize("origin", [APP, "https://www.shop.example", "https://a.b.shop.example"])
def test_an_allowed_origin_is_named_and_nothing_is_cached_for_another(origin: str) -> None:
    said = ONE.of_answer(asking(origin))
    assert said == ((b"access-control-allow-origin", origin.encode()), VARY, EXPOSED)


@pytest.mark.parametrize(
    "origin",
    [
        None,
        "null",
        "",
        "https://app.example.evil.example",
        "https://evilapp.example",
        "http://app.example",
        "https://app.example:8443",
        "https://app.example/",
        "https://app.example?",
        "https://user@app.example",
        "https://shop.example",
        "https://evil.example\\.shop.example",
        "https://app.example https://evil.example",
    ],
)
def test_other_origins_may_not_read_but_caches_keep_the_answers_apart(origin: str | None) -> None:
    assert ONE.of_answer(asking(origin)) == (VARY,)
    assert not ONE.allows(origin)


def test_an_origin_that_comes_twice_is_nobodys() -> None:
    twice = [(b"origin", APP.encode())] * 2
    assert ONE.of_answer(twice) == (VARY,)
    asked = ONE.of_preflight("OPTIONS", [*twice, (b"access-control-request-method", b"GET")])
    assert asked is not None
    assert not {name for name, _ in asked} & SAID


def test_for_everybody_no_answer_depends_on_who_asks() -> None:
    for origin in (APP, "null", None):
        assert FOR_ALL.of_answer(asking(origin)) == ((b"access-control-allow-origin", b"*"), EXPOSED)


def test_cookies_count_only_for_origins_by_name() -> None:
    policy = CorsPolicy((APP,), with_cookies=True)
    assert (b"access-control-allow-credentials", b"true") in policy.of_answer(asking(APP))
    assert policy.of_answer(asking("https://evil.example")) == (VARY,)
    assert all(name != b"access-control-allow-credentials" for name, _ in ONE.of_answer(asking(APP)))


def test_a_preflight_is_told_what_scripts_may_send() -> None:
    assert ONE.of_preflight("OPTIONS", preflight(APP)) == (
        (b"access-control-allow-origin", APP.encode()),
        (b"access-control-allow-methods", b"GET, HEAD, POST, PUT, PATCH, DELETE"),
        (b"access-control-allow-headers", b"Authorization, Content-Type, DPoP, X-Api-Key"),
        (b"access-control-max-age", b"600"),
        (b"vary", b"Origin, Access-Control-Request-Method, Access-Control-Request-Headers"),
    )


def test_a_preflight_from_elsewhere_is_told_nothing() -> None:
    said = ONE.of_preflight("OPTIONS", preflight("https://evil.example"))
    assert said is not None
    assert [name for name, _ in said] == [b"vary"]


@pytest.mark.parametrize(
    ("method", "headers"),
    [("GET", preflight(APP)), ("OPTIONS", asking(APP)), ("OPTIONS", preflight(APP)[1:]), ("options", preflight(APP))],
    ids=["get", "no-method", "no-origin", "lower-case"],
)
def test_everything_else_is_no_preflight(method: str, headers: list[tuple[bytes, bytes]]) -> None:
    assert ONE.of_preflight(method, headers) is None


@pytest.mark.parametrize(
    "wrong",
    [
        {"origins": ()},
        {"origins": ("null",)},
        {"origins": ("*", APP)},
        {"origins": ("*",), "with_cookies": True},
        {"origins": ("https://*.shop.example",), "with_cookies": True},
        {"origins": ("https://*.com",)},
        {"origins": ("https://*",)},
        {"origins": ("https://a.*.example",)},
        {"origins": ("https://app.example/",)},
        {"origins": ("https://APP.example",)},
        {"origins": ("app.example",)},
        {"origins": ("ftp://app.example",)},
        {"origins": (APP,), "headers": ("*",)},
        {"origins": (APP,), "methods": ("*",)},
        {"origins": (APP,), "exposed": ("X\r\nSet-Cookie: a",)},
        {"origins": (APP,), "max_age": -1},
        {"origins": (APP,), "max_age": 90_000},
    ],
    ids=str,
)
def test_a_policy_that_says_more_than_it_can_mean_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput):
        CorsPolicy(**wrong)

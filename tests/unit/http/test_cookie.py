"""A cookie may carry an access token where the API says so, and only for requests that its own site made."""

from __future__ import annotations

import pytest

from keybearer.core import credential
from keybearer.core.errors import Code, Rejected
from keybearer.http.carriage import CrossSite, Missing, Place, carried

TOKEN = credential.mint("kb_at", credential.new_expiring_id(1_800_000_000_000_000)).reveal().encode()  # type: ignore[arg-type]
KEY = credential.mint("kb_sk_live", "0" * 16).reveal().encode()
NAME = b"__Host-token"


def look(*, changes: bool = False, name: bytes = NAME, **fields: bytes) -> tuple[str, Place]:
    found = {key.replace("_", "-").encode(): value for key, value in fields.items()}
    return carried(found, token_cookie=name, changes=changes)


def test_a_cookie_carries_a_token_where_the_api_says_so() -> None:
    assert look(cookie=b"a=1; __Host-token=" + TOKEN) == (TOKEN.decode(), Place.COOKIE)
    with pytest.raises(Missing):
        look(cookie=b"__Host-token=" + TOKEN, name=b"")
    with pytest.raises(Missing):
        look(cookie=b"token=" + TOKEN + b"; __host-token=" + TOKEN)


def test_a_second_one_does_not_hide_behind_a_thousand_others() -> None:
    one = b"__Host-token=" + TOKEN
    assert look(cookie=b"a=1; " * 999 + one) == (TOKEN.decode(), Place.COOKIE)
    with pytest.raises(Rejected) as refused:
        look(cookie=one + b"; a=1" * 1000 + b"; " + one)
    assert refused.value.code is Code.MALFORMED


@pytest.mark.parametrize(
    "fields",
    [
        {"cookie": b"__Host-token=" + TOKEN + b"; __Host-token=" + TOKEN},
        {"cookie": b"__Host-token=" + TOKEN, "authorization": b"Bearer " + TOKEN},
        {"cookie": b"__Host-token=" + TOKEN, "x_api_key": KEY},
    ],
    ids=["twice", "with Authorization", "with a key"],
)
def test_exactly_one_credential(fields: dict[str, bytes]) -> None:
    with pytest.raises(Rejected) as refused:
        look(**fields)
    assert refused.value.code is Code.MALFORMED


@pytest.mark.parametrize("value", [KEY, b"", b"nothing"], ids=["a key", "empty", "junk"])
def test_nothing_but_tokens(value: bytes) -> None:
    with pytest.raises(Rejected) as refused:
        look(cookie=b"__Host-token=" + value)
    assert refused.value.code is Code.KIND_NOT_ACCEPTED


@pytest.mark.parametrize(
    ("fields", "passes"),
    [
        ({}, False),
        ({"sec_fetch_site": b"same-origin"}, True),
        ({"sec_fetch_site": b"same-site"}, False),
        ({"sec_fetch_site": b"cross-site", "origin": b"https://app.example"}, False),
        ({"sec_fetch_site": b"none"}, False),
        ({"origin": b"https://app.example"}, True),
        ({"origin": b"https://app.example:443"}, True),
        ({"origin": b"https://APP.example"}, True),
        ({"origin": b"https://app.example:8443"}, False),
        ({"origin": b"https://evil.example"}, False),
        ({"origin": b"https://app.example.evil.example"}, False),
        ({"origin": b"https://app.example@evil.example"}, False),
        ({"origin": b"https://evil.example/app.example"}, False),
        ({"origin": b"null"}, False),
        ({"origin": b"https://app.example", "host": b"app.example:443"}, True),
        ({"origin": b"http://app.example:443"}, False),
        ({"origin": b"http://app.example"}, False),
        ({"origin": b"http://app.example", "host": b"app.example:80"}, False),
        ({"origin": b"http://localhost:8080", "host": b"localhost:8080"}, True),
        ({"origin": b"http://app.localhost", "host": b"app.localhost"}, True),
        ({"origin": b"http://[::1]:8080", "host": b"[::1]:8080"}, True),
        ({"origin": b"http://localhost.evil.example", "host": b"localhost.evil.example"}, False),
        ({"origin": b"http://notlocalhost", "host": b"notlocalhost"}, False),
        ({"origin": b"https://[", "host": b"["}, False),
        ({"origin": b"https://app.example:99999"}, False),
        ({"origin": b"\xff"}, False),
    ],
    ids=str,
)
def test_what_changes_something_must_come_from_the_very_site(fields: dict[str, bytes], passes: bool) -> None:
    given = {"cookie": b"__Host-token=" + TOKEN, "host": b"app.example", **fields}
    assert look(**given)[1] is Place.COOKIE  # reading needs no proof: other sites cannot see the answer
    if passes:
        assert look(changes=True, **given)[1] is Place.COOKIE
    else:
        with pytest.raises(CrossSite):
            look(changes=True, **given)

"""Where a credential may stand: exactly one, in a header, and a secret never in a URL."""

from __future__ import annotations

import pytest

from keybearer.core import credential
from keybearer.core.errors import Code, Rejected
from keybearer.core.instant import Instant
from keybearer.http.carriage import Missing, credential_in

NOW = Instant(1_795_000_000_000_000)
SECRET = credential.mint("kb_sk_live", credential.new_id(NOW)).reveal()
PUBLISHABLE = credential.mint("kb_pk_live", credential.new_id(NOW)).reveal()


def headers(**named: str) -> list[tuple[bytes, bytes]]:
    return [(name.replace("_", "-").encode(), value.encode()) for name, value in named.items()]


def test_one_credential_is_found() -> None:
    assert credential_in(headers(authorization=f"Bearer {SECRET}")) == SECRET
    assert credential_in(headers(authorization=f"bearer   {SECRET} ")) == SECRET
    assert credential_in(headers(x_api_key=SECRET)) == SECRET
    assert credential_in(headers(x_shop_key=SECRET), key_header=b"x-shop-key") == SECRET


@pytest.mark.parametrize("none", [[], headers(x_other="a"), headers(cookie="key=1")])
def test_none_is_missing(none: list[tuple[bytes, bytes]]) -> None:
    with pytest.raises(Missing):
        credential_in(none)


@pytest.mark.parametrize(
    "several",
    [
        headers(authorization=f"Bearer {SECRET}", x_api_key=SECRET),
        [(b"authorization", b"Bearer a"), (b"authorization", b"Bearer b")],
        [(b"x-api-key", b"a"), (b"x-api-key", b"a")],
    ],
)
def test_several_are_refused(several: list[tuple[bytes, bytes]]) -> None:
    with pytest.raises(Rejected) as caught:
        credential_in(several)
    assert caught.value.code is Code.MALFORMED
    assert not isinstance(caught.value, Missing)


@pytest.mark.parametrize("value", ["Basic dXNlcjpwYXNz", "Bearer", "Bearer ", pytest.param(SECRET, id="bare"), ""])
def test_other_schemes_are_refused(value: str) -> None:
    with pytest.raises(Rejected):
        credential_in(headers(authorization=value))


@pytest.mark.parametrize("name", ["key", "api_key", "apikey", "access_token", "token", "KEY", "Api_Key"])
def test_a_secret_in_the_query_is_refused_even_beside_a_good_header(name: str) -> None:
    """CWE-598: credentials in URLs end up in logs."""
    for allowed in (False, True):
        with pytest.raises(Rejected) as caught:
            credential_in(headers(x_api_key=SECRET), query=f"a=b&{name}={SECRET}", query_allowed=allowed)
        assert caught.value.code is Code.KIND_NOT_ACCEPTED
        assert SECRET not in str(caught.value)


def test_a_publishable_key_in_the_query_needs_the_apis_leave() -> None:
    assert credential_in([], query=f"key={PUBLISHABLE}", query_allowed=True) == PUBLISHABLE
    with pytest.raises(Rejected):
        credential_in([], query=f"key={PUBLISHABLE}")
    with pytest.raises(Rejected):
        credential_in([], query=f"key={PUBLISHABLE[:-1]}", query_allowed=True)
    with pytest.raises(Rejected):
        credential_in([], query=f"key={PUBLISHABLE}&key={PUBLISHABLE}", query_allowed=True)

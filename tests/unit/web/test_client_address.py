"""The client's address: the rightmost that no trusted proxy added, never what the client wrote itself."""

from __future__ import annotations

from ipaddress import ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keybearer.http.client_address import MAX_PEERS, TrustedProxies

LOOPBACK = TrustedProxies([ip_network("127.0.0.0/8"), ip_network("10.0.0.0/8")])


def address(proxies: TrustedProxies, peer: str | None, *forwarded: str) -> str | None:
    headers = [(b"x-forwarded-for", text.encode("latin-1")) for text in forwarded]
    found = proxies.client_address(peer, headers)
    return None if found is None else str(found)


@pytest.mark.parametrize(
    ("peer", "forwarded", "expected"),
    [
        ("203.0.113.9", [], "203.0.113.9"),
        ("203.0.113.9", ["1.2.3.4"], "203.0.113.9"),
        ("127.0.0.1", ["1.2.3.4"], "1.2.3.4"),
        ("127.0.0.1", ["6.6.6.6, 1.2.3.4"], "1.2.3.4"),
        ("127.0.0.1", ["6.6.6.6", "1.2.3.4"], "1.2.3.4"),
        ("127.0.0.1", ["6.6.6.6, 1.2.3.4, 10.0.0.7"], "1.2.3.4"),
        ("127.0.0.1", ["1.2.3.4, junk"], None),
        ("127.0.0.1", ["junk, 10.0.0.7"], None),
        ("127.0.0.1", [""], None),
        ("127.0.0.1", [], None),
        ("127.0.0.1", ["127.0.0.1"], "127.0.0.1"),
        ("127.0.0.1", ["1.2.3.4:5678"], "1.2.3.4"),
        ("127.0.0.1", ["[2001:db8::1]:443"], "2001:db8::1"),
        ("::ffff:127.0.0.1", ["1.2.3.4"], "1.2.3.4"),
        (None, ["1.2.3.4"], None),
        ("not-an-address", ["1.2.3.4"], None),
    ],
)
def test_table(peer: str | None, forwarded: list[str], expected: str | None) -> None:
    assert address(LOOPBACK, peer, *forwarded) == expected


def test_an_empty_list_trusts_nobody() -> None:
    """oauth2-proxy #3506: an empty trust list trusted everyone."""
    nobody = TrustedProxies([])
    assert not nobody.trusts("127.0.0.1")
    assert address(nobody, "127.0.0.1", "1.2.3.4") == "127.0.0.1"


@given(st.lists(st.ip_addresses(v=4).map(str), min_size=1, max_size=40))
def test_what_the_client_wrote_never_wins(written: list[str]) -> None:
    real = "198.51.100.7"
    assert address(LOOPBACK, "127.0.0.1", ", ".join([*written, real])) == real


def test_memory_is_bounded() -> None:
    proxies = TrustedProxies([ip_network("127.0.0.0/8")])
    for number in range(MAX_PEERS + 10):
        assert proxies.client_address(str(ip_address(number)), []) == ip_address(number)
    assert len(proxies._peers) <= MAX_PEERS


def test_a_zone_is_nobodys_text() -> None:
    """``fe80::1%…`` takes any text for its zone, NUL and line breaks too; none of it goes on to counters and logs."""
    proxies = TrustedProxies([ip_network("127.0.0.0/8")])
    for zone in ("eth0", "\0", "\n[error] forged", "%%"):
        assert str(proxies.client_address("127.0.0.1", [(b"x-forwarded-for", f"fe80::1%{zone}".encode())])) == "fe80::1"


def test_endless_entries_are_not_kept() -> None:
    proxies = TrustedProxies([ip_network("127.0.0.0/8")])
    for number in range(5000):
        entry = f"{number}" + "x" * 1000
        assert proxies.client_address("127.0.0.1", [(b"x-forwarded-for", entry.encode())]) is None
    assert sum(len(text) for text in proxies._peers) < 100_000

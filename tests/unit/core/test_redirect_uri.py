"""Redirect URIs: a corpus of mutations, of which none may pass for what was registered."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keybearer.core.redirect_uri import host_of, matches, problem_of

REGISTERED = "https://app.example.com/oauth/callback"
LOOPBACK = "http://127.0.0.1:3000/callback"


@pytest.mark.spec("RFC 9700", "2.1", "MUST")
@pytest.mark.parametrize(
    "presented",
    [
        REGISTERED + "/",
        REGISTERED + "?",
        REGISTERED + "#",
        REGISTERED + "?a=1",
        REGISTERED.upper(),
        REGISTERED.replace("https", "http"),
        REGISTERED.replace("app.", "APP."),
        REGISTERED.replace("example.com", "example.com."),
        REGISTERED.replace("example.com", "example.com:443"),
        REGISTERED.replace("example.com", "example.com@attacker.example"),
        REGISTERED.replace("app.example.com", "app.example.com.attacker.example"),
        REGISTERED.replace("/oauth", "//oauth"),
        REGISTERED.replace("/oauth", "/./oauth"),
        REGISTERED.replace("/oauth", "/x/../oauth"),
        REGISTERED.replace("/oauth", "/x/..;/oauth"),  # Keycloak CVE-2026-3872
        REGISTERED.replace("/oauth", "/%6fauth"),
        REGISTERED.replace("/oauth/", "/oauth%2f"),
        REGISTERED.replace("/", "\\"),
        " " + REGISTERED,
        REGISTERED + "\n",
        REGISTERED + "\x00",
        REGISTERED + "%00",
        "javascript:alert(1)//" + REGISTERED,
        "",
    ],
)
def test_nothing_but_the_very_uri_matches(presented: str) -> None:
    assert matches(REGISTERED, REGISTERED)
    assert not matches(REGISTERED, presented)


@given(st.text(max_size=80))
def test_no_text_but_itself_matches(text: str) -> None:
    assert matches(REGISTERED, text) is (text == REGISTERED)


@pytest.mark.spec("RFC 8252", "7.3", "MUST")
def test_only_the_port_of_a_loopback_address_may_differ() -> None:
    assert matches(LOOPBACK, "http://127.0.0.1:51004/callback")
    assert matches("http://127.0.0.1/callback", "http://127.0.0.1:51004/callback")
    assert matches("http://[::1]/callback", "http://[::1]:51004/callback")
    for other in (
        "http://127.0.0.1:51004/callback2",
        "http://127.0.0.1:51004/",
        "http://127.0.0.2:3000/callback",
        "http://localhost:3000/callback",
        "https://127.0.0.1:3000/callback",
        "http://127.0.0.1:3000@attacker.example/callback",
        "http://127.0.0.1:300000/callback",
        "http://127.0.0.1.attacker.example:3000/callback",
        "http://127.0.0.1:3000/callback#x",
    ):
        assert not matches(LOOPBACK, other), other


@pytest.mark.parametrize(
    "uri",
    [
        REGISTERED,
        REGISTERED + "?tenant=a&b=c",
        LOOPBACK,
        "http://localhost/callback",
        "http://[::1]:8000/callback",
        "com.example.app:/callback",
        "https://app.example.com:8443/x/y.z",
    ],
)
def test_what_may_be_registered(uri: str) -> None:
    assert problem_of(uri) is None


@pytest.mark.parametrize(
    ("uri", "says"),
    [
        ("", "absolute"),
        ("/callback", "own scheme"),
        ("http://app.example.com/callback", "https"),
        (REGISTERED + "#top", "fragment"),
        ("https://*.example.com/callback", "wildcards"),
        ("https://user@app.example.com/callback", "user name"),
        ("https:///callback", "host"),
        ("https://accounts.example.com%2flogin.evil.example/", "plain letters"),
        ("https://app.example.com;sandbox/callback", "plain letters"),
        ("https://app.example.com,evil.example/callback", "plain letters"),
        ("https://-app.example.com/callback", "plain letters"),
        ("javascript:alert(1)", "own scheme"),
        ("data:text/html,x", "own scheme"),
        ("myapp://callback", "no host"),
        ("https://app.example.com/a/../b", "'..'"),
        ("https://app.example.com/a/%2e%2e/b", "'..'"),
        ("https://app.example.com/a/..;/b", "';'"),
        ("https://app.example.com/\u00e4", "ASCII"),
        ("https://app.example.com/ x", "ASCII"),
        ("https://app.example.com:99999/", "not a URI"),
        ("https://" + "a" * 2000, "2000"),
    ],
)
def test_what_may_not_be_registered(uri: str, says: str) -> None:
    problem = problem_of(uri)
    assert problem is not None
    assert says in problem


def test_what_a_user_recognises() -> None:
    assert host_of(REGISTERED) == "app.example.com"
    assert host_of("com.example.app:/callback") == "com.example.app:"

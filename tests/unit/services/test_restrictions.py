"""Restrictions: their normal form, and what is refused with a hint."""

import pytest

from keybearer.services.problems import Problems
from keybearer.services.restrictions import to_restrictions
from keybearer.wire.keys import AndroidAppSpec, RestrictionsSpec


def problems_of(spec: RestrictionsSpec) -> dict[str, str]:
    problems = Problems()
    to_restrictions(problems, spec, {})
    return {problem.field: problem.message for problem in problems.found}


@pytest.mark.parametrize(
    ("written", "kept"),
    [
        ("10.0.0.0/8", "10.0.0.0/8"),
        ("203.0.113.9", "203.0.113.9/32"),
        ("2001:DB8::/32", "2001:db8::/32"),
    ],
)
def test_networks_in_normal_form(written: str, kept: str) -> None:
    assert to_restrictions(Problems(), RestrictionsSpec(ip_networks=[written]), {}).ip_networks == (kept,)


@pytest.mark.parametrize(
    ("written", "hint"),
    [
        ("10.0.0.1/8", "10.0.0.0/8"),
        ("0.0.0.0/0", "leave it out"),
        ("::/0", "leave it out"),
        ("::ffff:10.0.0.0/104", "10.0.0.0/8"),
        ("fe80::1%eth0", "zone"),
        ("example.com", "not a network"),
        ("10.0.0.0/33", "not a network"),
    ],
)
def test_networks_that_are_refused(written: str, hint: str) -> None:
    assert hint in problems_of(RestrictionsSpec(ip_networks=[written]))["restrictions.ip_networks[0]"]


@pytest.mark.parametrize(
    ("written", "kept"),
    [
        ("https://Shop.Example.com", "https://shop.example.com"),
        ("https://shop.example.com:443", "https://shop.example.com"),
        ("http://localhost:3000", "http://localhost:3000"),
        ("https://*.example.com", "https://*.example.com"),
        ("HTTPS://*.Example.com:8443", "https://*.example.com:8443"),
        ("http://[::1]:8080", "http://[::1]:8080"),
    ],
)
def test_origins_in_normal_form(written: str, kept: str) -> None:
    problems = Problems()
    assert to_restrictions(problems, RestrictionsSpec(origins=[written]), {}).origins == (kept,)
    assert not problems.found


@pytest.mark.parametrize(
    "written",
    [
        "*",
        "https://*",
        "https://*.com",
        "https://*.*.example.com",
        "https://a.*.example.com",
        "https://*example.com",
        "https://example.com/",
        "https://example.com/path",
        "https://user@example.com",
        "https://example.com:99999",
        "https://exämple.com",
        "https://-a.example.com",
        "https://a..example.com",
        "https://*.10.0.0.1",
        "ftp://example.com",
        "example.com",
        "null",
        "https://",
    ],
)
def test_origins_that_are_refused(written: str) -> None:
    assert "restrictions.origins[0]" in problems_of(RestrictionsSpec(origins=[written]))


@pytest.mark.parametrize("written", ["https://example.com/shop/*", "https://*.example.com/a", "https://example.com"])
def test_referrers(written: str) -> None:
    problems = Problems()
    assert to_restrictions(problems, RestrictionsSpec(referrers=[written]), {}).referrers == (written,)
    assert not problems.found


@pytest.mark.parametrize(
    "written", ["shop", "/a b", "/a?b", "/a/../b", "/a//b", "/%2e%2e/b", "/a;b", "/a*", "/*/b", "/ä", "", "/a\x00"]
)
def test_paths_that_are_refused(written: str) -> None:
    assert "restrictions.paths[0]" in problems_of(RestrictionsSpec(paths=[written]))


@pytest.mark.parametrize("written", ["/", "/*", "/v1/orders", "/v1/*", "/v1/orders/"])
def test_paths(written: str) -> None:
    assert not problems_of(RestrictionsSpec(paths=[written]))


def test_apps_and_apis() -> None:
    colons = ":".join(["AB"] * 32)
    problems = Problems()
    spec = RestrictionsSpec(
        android_apps=[AndroidAppSpec("com.example.app", colons)], ios_bundle_ids=["com.example.App"]
    )
    kept = to_restrictions(problems, spec, {})
    assert kept.android_apps[0].certificate_sha256 == "ab" * 32
    assert not problems.found
    wrong = RestrictionsSpec(
        android_apps=[AndroidAppSpec("nodots", ":" * 64)], ios_bundle_ids=["no spaces"], apis=["urn:other"]
    )
    assert set(problems_of(wrong)) == {
        "restrictions.android_apps[0].package",
        "restrictions.android_apps[0].certificate_sha256",
        "restrictions.ios_bundle_ids[0]",
        "restrictions.apis[0]",
    }

"""The decision, as a table: for each code the smallest change that makes a good request a refused one."""

from __future__ import annotations

import hmac
from dataclasses import replace
from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keybearer.core.decide import decide, match
from keybearer.core.errors import Code, Rejected
from keybearer.core.permissions import all_of
from keybearer.core.records import AndroidApp, CredentialKind, Restrictions, State
from keybearer.core.requirement import ANYTHING, Requirement

from .making import EARLIER, LATER, NOW, api, identity, key, project, record, version

CERT = "ab" * 32


def restricted(**restrictions: object) -> object:
    return record(key(restrictions=Restrictions(**restrictions)))


ON_A = restricted(origins=("https://a.example",), referrers=("https://a.example/*",))

DENIALS = [
    (Code.NOT_FOUND, record(key(state=State.DELETED)), ANYTHING),
    (Code.REVOKED, record(key(state=State.REVOKED)), ANYTHING),
    (Code.REVOKED, record(key(versions=(version(revoked_at=NOW),))), ANYTHING),
    (Code.DISABLED, record(key(state=State.DISABLED)), ANYTHING),
    (Code.EXPIRED, record(key(expires_at=NOW)), ANYTHING),
    (Code.EXPIRED, record(key(expires_at=EARLIER)), ANYTHING),
    (Code.EXPIRED, record(key(versions=(version(expires_at=NOW),))), ANYTHING),
    (Code.EXPIRED, record(key(expires_at=NOW, versions=(version(expires_at=LATER),))), ANYTHING),
    (Code.OWNER_DISABLED, record(of_project=project(state=State.DISABLED)), ANYTHING),
    (Code.OWNER_DISABLED, record(of_project=project(state=State.DELETED)), ANYTHING),
    (Code.OWNER_DISABLED, record(of_identity=identity(state=State.DISABLED)), ANYTHING),
    (Code.KIND_NOT_ACCEPTED, record(), Requirement(accept=frozenset({CredentialKind.PUBLISHABLE_KEY}))),
    (Code.KIND_NOT_ACCEPTED, record(), Requirement(accept=frozenset())),
    (Code.KIND_NOT_ACCEPTED, record(), Requirement(api=api(accepts=(CredentialKind.PUBLISHABLE_KEY,)))),
    (Code.API_NOT_ALLOWED, record(of_project=project(enabled_apis=())), Requirement(api=api())),
    (Code.API_NOT_ALLOWED, record(), Requirement(api=api(state=State.DISABLED))),
    (Code.API_NOT_ALLOWED, restricted(apis=("api_2",)), Requirement(api=api())),
    (Code.API_NOT_ALLOWED, restricted(apis=("api_2",)), ANYTHING),
    (Code.IP_NOT_ALLOWED, restricted(ip_networks=("10.0.0.0/8",)), ANYTHING),
    (Code.IP_NOT_ALLOWED, restricted(ip_networks=("10.0.0.0/8",)), Requirement(client_ip=ip_address("11.0.0.1"))),
    (Code.IP_NOT_ALLOWED, restricted(ip_networks=("10.0.0.0/8",)), Requirement(client_ip=ip_address("::10.0.0.1"))),
    (Code.ORIGIN_NOT_ALLOWED, restricted(origins=("https://a.example",)), ANYTHING),
    (Code.ORIGIN_NOT_ALLOWED, restricted(origins=("https://a.example",)), Requirement(origin="https://b.example")),
    (Code.ORIGIN_NOT_ALLOWED, restricted(origins=("https://a.example",)), Requirement(origin="http://a.example")),
    (Code.ORIGIN_NOT_ALLOWED, restricted(origins=("https://a.example",)), Requirement(origin="null")),
    (Code.ORIGIN_NOT_ALLOWED, restricted(origins=("https://*.a.example",)), Requirement(origin="https://a.example")),
    (
        Code.ORIGIN_NOT_ALLOWED,
        restricted(origins=("https://*.a.example",)),
        Requirement(origin="https://evil.example/.a.example"),
    ),
    (
        Code.ORIGIN_NOT_ALLOWED,
        restricted(referrers=("https://a.example/maps/*",)),
        Requirement(referrer="https://a.example/other"),
    ),
    (Code.ORIGIN_NOT_ALLOWED, ON_A, Requirement(referrer="https://a.example.evil.example/")),
    (Code.ORIGIN_NOT_ALLOWED, ON_A, Requirement(origin="https://a.example/")),
    (Code.ORIGIN_NOT_ALLOWED, ON_A, Requirement(origin="https://a.example", referrer="https://b.example/")),
    (Code.ORIGIN_NOT_ALLOWED, ON_A, Requirement(origin="null", referrer="https://a.example/")),
    (Code.ORIGIN_NOT_ALLOWED, ON_A, Requirement(origin="", referrer="https://a.example/")),
    (Code.ORIGIN_NOT_ALLOWED, ON_A, Requirement(referrer="about:client")),
    (
        Code.ORIGIN_NOT_ALLOWED,
        restricted(referrers=("https://a.example/maps/*",)),
        Requirement(origin="https://a.example"),
    ),
    (
        Code.ORIGIN_NOT_ALLOWED,
        restricted(referrers=("https://a.example/maps/*",)),
        Requirement(origin="https://b.example", referrer="https://a.example/maps/x"),
    ),
    (
        Code.ORIGIN_NOT_ALLOWED,
        restricted(android_apps=(AndroidApp("org.app", CERT),)),
        Requirement(android_app=AndroidApp("org.app", "cd" * 32)),
    ),
    (Code.ORIGIN_NOT_ALLOWED, restricted(ios_bundle_ids=("org.app",)), Requirement(ios_bundle_id="org.other")),
    (Code.REQUEST_NOT_ALLOWED, restricted(methods=("GET",)), Requirement(method="POST")),
    (Code.REQUEST_NOT_ALLOWED, restricted(methods=("GET",)), ANYTHING),
    (Code.REQUEST_NOT_ALLOWED, restricted(paths=("/public/*",)), Requirement(path="/private")),
    (Code.REQUEST_NOT_ALLOWED, restricted(paths=("/public/*",)), Requirement(path="/public/../private")),
    (Code.REQUEST_NOT_ALLOWED, restricted(paths=("/public/*",)), Requirement(path="/public/%2e%2e/private")),
    (Code.REQUEST_NOT_ALLOWED, restricted(paths=("/public/*",)), ANYTHING),
    (Code.INSUFFICIENT_PERMISSIONS, record(), Requirement(demand=all_of(["orders:write"]))),
]

ADMISSIONS = [
    (record(), ANYTHING),
    (record(key(expires_at=LATER)), ANYTHING),
    (record(key(versions=(version(expires_at=LATER),))), ANYTHING),
    (record(), Requirement(api=api(), accept=frozenset({CredentialKind.SECRET_KEY}))),
    (restricted(apis=("api_1",)), Requirement(api=api())),
    (restricted(ip_networks=("10.0.0.0/8", "2001:db8::/32")), Requirement(client_ip=ip_address("2001:db8::1"))),
    (restricted(ip_networks=("10.0.0.0/8",)), Requirement(client_ip=ip_address("::ffff:10.1.2.3"))),
    (restricted(origins=("https://a.example",)), Requirement(origin="https://A.example:443")),
    (restricted(origins=("https://*.a.example",)), Requirement(origin="https://x.y.a.example")),
    (restricted(origins=("https://a.example",), ios_bundle_ids=("org.app",)), Requirement(ios_bundle_id="org.app")),
    (restricted(referrers=("https://a.example/maps/*",)), Requirement(referrer="https://a.example/maps/x?q=1")),
    (restricted(origins=("https://a.example",)), Requirement(referrer="https://a.example/maps/x?q=1")),
    (restricted(origins=("https://a.example",)), Requirement(origin="https://a.example", referrer="")),
    (restricted(referrers=("https://a.example/*",)), Requirement(origin="https://a.example")),
    (ON_A, Requirement(origin="https://a.example", referrer="https://a.example/maps")),
    (restricted(android_apps=(AndroidApp("org.app", CERT),)), Requirement(android_app=AndroidApp("org.app", CERT))),
    (restricted(methods=("GET",), paths=("/public/*",)), Requirement(method="GET", path="/public/a")),
    (record(), Requirement(demand=all_of(["orders:read"]))),
]


@pytest.mark.parametrize(("code", "of_record", "requirement"), DENIALS)
def test_each_check_refuses(code, of_record, requirement) -> None:
    with pytest.raises(Rejected) as caught:
        decide(of_record, of_record.key.versions[0], requirement, NOW)
    assert caught.value.code is code
    assert caught.value.record is of_record


@pytest.mark.parametrize(
    ("restrictions", "text"),
    [
        ({"apis": ("api_2",)}, "restricted to certain APIs, and no api was given"),
        ({"ip_networks": ("10.0.0.0/8",)}, "no client_ip was given"),
        ({"origins": ("https://a.example",)}, "no origin was given"),
        (
            {"referrers": ("https://a.example/",), "ios_bundle_ids": ("com.a",)},
            "no referrer or ios_bundle_id was given",
        ),
        ({"android_apps": (AndroidApp("com.a", CERT),)}, "no android_app was given"),
        ({"methods": ("GET",)}, "no method was given"),
        ({"paths": ("/a",)}, "no url was given"),
    ],
)
def test_what_the_caller_forgot_to_state_is_named(restrictions: dict[str, object], text: str) -> None:
    with pytest.raises(Rejected, match=text):
        decide(restricted(**restrictions), version(), ANYTHING, NOW)


@pytest.mark.parametrize(("of_record", "requirement"), ADMISSIONS)
def test_a_good_request_passes(of_record, requirement) -> None:
    principal = decide(of_record, of_record.key.versions[0], requirement, NOW)
    assert principal.credential_id == "key_1"
    assert principal.project_id == "proj_1"


def test_no_matched_secret_names_no_record() -> None:
    with pytest.raises(Rejected) as caught:
        decide(record(), None, ANYTHING, NOW)
    assert caught.value.code is Code.NOT_FOUND
    assert caught.value.record is None


def test_what_is_missing_is_named() -> None:
    with pytest.raises(Rejected) as caught:
        decide(record(), version(), Requirement(demand=all_of(["orders:read", "a:b", "c:d"])), NOW)
    assert caught.value.missing == ("a:b", "c:d")


def test_a_better_credential_state_is_answered_before_the_request() -> None:
    """The order of the codes is part of the contract (DESIGN §3)."""
    everything_wrong = record(
        key(state=State.REVOKED, expires_at=EARLIER, restrictions=Restrictions(apis=("api_9",), methods=("GET",))),
        project(state=State.DISABLED, enabled_apis=()),
    )
    demanding = Requirement(api=api(), accept=frozenset(), demand=all_of(["x:y"]))
    order = []
    current = everything_wrong
    for mend in (
        lambda r: record(replace(r.key, state=State.ENABLED), r.project),
        lambda r: record(replace(r.key, expires_at=None), r.project),
        lambda r: record(r.key, replace(r.project, state=State.ENABLED)),
        lambda r: record(r.key, replace(r.project, enabled_apis=("api_1",))),
    ):
        with pytest.raises(Rejected) as caught:
            decide(
                current,
                version(),
                demanding._replace(accept=None) if order[-1:] == ["OWNER_DISABLED"] else demanding,
                NOW,
            )
        order.append(caught.value.code.value)
        current = mend(current)
    assert order == ["REVOKED", "EXPIRED", "OWNER_DISABLED", "API_NOT_ALLOWED"]


def digest(pepper_id: str, text: str) -> bytes:
    return hmac.digest(pepper_id.encode(), text.encode(), "sha256")


def test_every_version_of_a_key_is_tried_under_its_own_pepper() -> None:
    versions = (
        version(1, digest=digest("old", "first"), pepper_id="old"),
        version(2, digest=digest("new", "second"), pepper_id="new"),
    )
    assert match(versions, "first", digest) is versions[0]
    assert match(versions, "second", digest) is versions[1]
    assert match(versions, "third", digest) is None


@given(st.text())
def test_a_stored_digest_is_never_a_key(text: str) -> None:
    stored = version(digest=digest("p", text))
    assert match((stored,), stored.digest.hex(), digest) is None
    assert match((version(scheme="sha256", digest=digest("p", text)),), text, digest) is None

"""The decision about an access token, as a table: for each code the smallest change that makes a good one refused."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keybearer.core.decide_token import CLOCK_SKEW, decide_token
from keybearer.core.errors import Code, Rejected
from keybearer.core.instant import DAY, Instant
from keybearer.core.permissions import all_of
from keybearer.core.records import CredentialKind, Restrictions, State
from keybearer.core.requirement import ANYTHING, Requirement

from .making import EARLIER, LATER, NOW, api, identity, key, project, record, version
from .making_tokens import client, grant, of_client, of_user, session, shop_api, token, user

AT_SHOP = Requirement(api=shop_api())
BOUND = token(key_thumbprint="thumb")
CERTIFIED = token(certificate_thumbprint="print")


def of_key(**changes: object) -> object:
    return of_client(key=record(key(**changes)), key_id="key_1")


DENIALS = [
    (Code.REVOKED, of_user(is_revoked=True), ANYTHING),
    *((Code.REVOKED, of_user(**{missing: None}), ANYTHING) for missing in ("api", "user", "grant", "session")),
    (Code.REVOKED, of_client(key_id="key_gone"), ANYTHING),
    *((Code.REVOKED, of_user(of_grant=grant(state=state)), ANYTHING) for state in State if state != State.ENABLED),
    *((Code.REVOKED, of_user(of_session=session(state=state)), ANYTHING) for state in State if state != State.ENABLED),
    (Code.REVOKED, of_user(of_client=client(state=State.REVOKED)), ANYTHING),
    (Code.REVOKED, of_user(of_client=client(state=State.DELETED)), ANYTHING),
    (Code.REVOKED, of_user(of_user=user(state=State.DELETED)), ANYTHING),
    (Code.EXPIRED, of_user(token(expires_at=NOW)), ANYTHING),
    (Code.EXPIRED, of_user(token(expires_at=EARLIER)), ANYTHING),
    (Code.EXPIRED, of_user(token(issued_at=Instant(NOW + CLOCK_SKEW + 1))), ANYTHING),
    (Code.EXPIRED, of_user(of_session=session(expires_at=NOW)), ANYTHING),
    (Code.EXPIRED, of_user(of_session=session(seen_at=EARLIER, idle_in=DAY)), ANYTHING),
    (Code.EXPIRED, of_user(of_grant=grant(expires_at=NOW)), ANYTHING),
    *((Code.REVOKED, of_key(state=state), ANYTHING) for state in State if state != State.ENABLED),
    (Code.REVOKED, of_key(versions=(version(revoked_at=NOW), version(2, expires_at=NOW))), ANYTHING),
    (Code.REVOKED, of_key(versions=()), ANYTHING),
    (Code.EXPIRED, of_key(expires_at=NOW), ANYTHING),
    (
        Code.OWNER_DISABLED,
        of_client(key=record(of_identity=identity(state=State.DISABLED)), key_id="key_1"),
        ANYTHING,
    ),
    (Code.OWNER_DISABLED, of_user(of_client=client(state=State.DISABLED)), ANYTHING),
    (Code.OWNER_DISABLED, of_user(of_user=user(state=State.DISABLED)), ANYTHING),
    (Code.OWNER_DISABLED, of_user(of_project=project(state=State.DISABLED)), ANYTHING),
    (Code.OWNER_DISABLED, of_user(of_project=project(state=State.DELETED)), ANYTHING),
    (Code.KIND_NOT_ACCEPTED, of_user(), Requirement(accept=frozenset({CredentialKind.SECRET_KEY}))),
    (Code.KIND_NOT_ACCEPTED, of_user(), Requirement(accept=frozenset())),
    (Code.KIND_NOT_ACCEPTED, of_user(), Requirement(api=api(accepts=(CredentialKind.SECRET_KEY,)))),
    (Code.API_NOT_ALLOWED, of_user(), Requirement(api=api(id="api_2"))),
    (Code.API_NOT_ALLOWED, of_user(token(api_id=None)), AT_SHOP),
    (Code.API_NOT_ALLOWED, of_user(), Requirement(api=api(state=State.DISABLED))),
    (Code.API_NOT_ALLOWED, of_user(of_project=project(enabled_apis=())), AT_SHOP),
    (Code.API_NOT_ALLOWED, of_key(restrictions=Restrictions(apis=("api_2",))), AT_SHOP),
    (Code.IP_NOT_ALLOWED, of_key(restrictions=Restrictions(ip_networks=("10.0.0.0/8",))), ANYTHING),
    (Code.PROOF_REQUIRED, of_user(BOUND), ANYTHING),
    (Code.PROOF_INVALID, of_user(BOUND), Requirement(key_thumbprint="other")),
    (Code.PROOF_INVALID, of_user(BOUND), Requirement(key_thumbprint="thum")),
    (Code.PROOF_REQUIRED, of_user(BOUND), Requirement(certificate_thumbprint="thumb")),
    (Code.PROOF_REQUIRED, of_user(CERTIFIED), ANYTHING),
    (Code.PROOF_INVALID, of_user(CERTIFIED), Requirement(certificate_thumbprint="other")),
    (Code.PROOF_INVALID, of_user(), Requirement(key_thumbprint="thumb")),
    (Code.INSUFFICIENT_PERMISSIONS, of_user(), Requirement(demand=all_of(["orders:write"]))),
    (Code.INSUFFICIENT_PERMISSIONS, of_user(), Requirement(demand=all_of(["orders:refund"]))),
    (Code.INSUFFICIENT_PERMISSIONS, of_user(), Requirement(demand=all_of(["openid"]))),
    (Code.INSUFFICIENT_PERMISSIONS, of_key(permissions=()), Requirement(demand=all_of(["orders:read"]))),
]

ADMISSIONS = [
    (of_user(), ANYTHING),
    (of_user(), AT_SHOP),
    (of_user(), Requirement(accept=frozenset({CredentialKind.ACCESS_TOKEN}), demand=all_of(["orders:read"]))),
    (of_user(token(expires_at=Instant(NOW + 1))), ANYTHING),
    (of_user(token(issued_at=Instant(NOW + CLOCK_SKEW))), ANYTHING),
    (of_user(of_grant=grant(expires_at=Instant(NOW + 1))), ANYTHING),
    (of_user(of_session=session(expires_at=Instant(NOW + 1))), ANYTHING),
    (of_user(BOUND), Requirement(key_thumbprint="thumb")),
    (of_user(CERTIFIED), Requirement(certificate_thumbprint="print")),
    (of_user(), Requirement(certificate_thumbprint="print")),
    (
        of_user(of_user=user(permissions=("orders:refund",))),
        Requirement(demand=all_of(["orders:refund"])),
    ),
    (of_client(), Requirement(api=shop_api(), demand=all_of(["orders:write"]))),
    (of_key(), Requirement(api=shop_api(), demand=all_of(["orders:read"]))),
    (of_key(versions=(version(revoked_at=NOW), version(2, expires_at=LATER))), ANYTHING),
    (
        of_key(restrictions=Restrictions(ip_networks=("10.0.0.0/8",))),
        Requirement(client_ip=ip_address("10.1.2.3")),
    ),
]


@pytest.mark.parametrize(("code", "of_token", "requirement"), DENIALS)
def test_what_is_refused_and_why(code: Code, of_token: object, requirement: Requirement) -> None:
    with pytest.raises(Rejected) as caught:
        decide_token(of_token, requirement, NOW)  # type: ignore[arg-type]
    assert caught.value.code is code
    assert caught.value.record is of_token


@pytest.mark.parametrize(("of_token", "requirement"), ADMISSIONS)
def test_what_is_accepted(of_token: object, requirement: Requirement) -> None:
    principal = decide_token(of_token, requirement, NOW)  # type: ignore[arg-type]
    assert principal.record is of_token
    assert principal.version == 0


def test_every_code_that_a_token_can_have_is_in_the_table() -> None:
    assert {code for code, _, _ in DENIALS} == {
        *(Code.REVOKED, Code.EXPIRED, Code.OWNER_DISABLED, Code.KIND_NOT_ACCEPTED, Code.API_NOT_ALLOWED),
        *(Code.IP_NOT_ALLOWED, Code.PROOF_REQUIRED, Code.PROOF_INVALID, Code.INSUFFICIENT_PERMISSIONS),
    }


@given(st.integers(-2 * DAY, 2 * DAY))
def test_an_ended_token_stays_ended(later: int) -> None:
    """Once refused for its age, a token is refused at every later moment."""
    of_token = of_user(of_session=session(expires_at=Instant(LATER + DAY), idle_in=9 * DAY))
    at = Instant(NOW + later)
    if EARLIER - CLOCK_SKEW <= at < LATER:
        assert decide_token(of_token, ANYTHING, at).record is of_token
        return
    with pytest.raises(Rejected) as caught:
        decide_token(of_token, ANYTHING, at)
    assert caught.value.code is Code.EXPIRED


def test_what_is_wrong_with_the_token_is_said_before_what_is_wrong_with_the_request() -> None:
    worst = of_user(BOUND, is_revoked=True)
    with pytest.raises(Rejected) as caught:
        decide_token(worst, Requirement(accept=frozenset(), demand=all_of(["nothing"])), LATER)
    assert caught.value.code is Code.REVOKED
    alive = replace(worst, is_revoked=False)
    with pytest.raises(Rejected) as caught:
        decide_token(alive, Requirement(accept=frozenset()), LATER)
    assert caught.value.code is Code.EXPIRED

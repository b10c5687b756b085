"""A remembered credential is decided as its record would be, whatever is asked of it."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keybearer.core.clients import Client
from keybearer.core.decide import decide
from keybearer.core.decide_standing import decide_standing
from keybearer.core.decide_token import decide_token
from keybearer.core.errors import Code, Rejected
from keybearer.core.instant import SECOND, Instant
from keybearer.core.permissions import parse
from keybearer.core.records import (
    AndroidApp,
    Api,
    ApiKey,
    CredentialKind,
    CredentialRecord,
    Environment,
    KeyRecord,
    Permission,
    Project,
    Restrictions,
    SecretVersion,
    State,
    key_record,
)
from keybearer.core.remembered import Remembered, remember
from keybearer.core.requirement import ANYTHING, Requirement
from keybearer.core.tokens import AccessToken, TokenRecord, token_record

NOW = Instant(1_800_000_000 * SECOND)
AT = {"created_at": Instant(0), "updated_at": Instant(0)}
PERMISSIONS = ("orders:read", "orders:write", "refunds:write")
APIS = tuple(
    Api(id=f"api_{n}", identifier=f"https://{n}.example", name=n, accepts=accepts, state=state, **AT,
        permissions=tuple(Permission(name) for name in PERMISSIONS))
    for n, accepts, state in (
        ("one", tuple(CredentialKind), State.ENABLED),
        ("two", (CredentialKind.ACCESS_TOKEN,), State.ENABLED),
        ("three", (CredentialKind.SECRET_KEY, CredentialKind.PUBLISHABLE_KEY), State.ENABLED),
        ("off", tuple(CredentialKind), State.DISABLED),
    )
)  # fmt: skip
APP = AndroidApp("com.example.app", "ab" * 32)
RESTRICTIONS = st.builds(
    Restrictions,
    ip_networks=st.sampled_from([(), ("192.0.2.0/24",), ("2001:db8::/32",)]),
    origins=st.sampled_from([(), ("https://shop.example",), ("https://*.shop.example",)]),
    referrers=st.sampled_from([(), ("https://shop.example/maps/*",)]),
    android_apps=st.sampled_from([(), (APP,)]),
    ios_bundle_ids=st.sampled_from([(), ("com.example.app",)]),
    apis=st.sampled_from([(), ("api_one",), ("api_two", "api_off")]),
    methods=st.sampled_from([(), ("GET",)]),
    paths=st.sampled_from([(), ("/orders/*",)]),
)
ENDS = st.sampled_from([None, Instant(NOW + SECOND), Instant(NOW + 100 * SECOND)])
ENABLED_APIS = st.sampled_from([(), ("api_one",), ("api_one", "api_two", "api_three", "api_off")])
HELD = st.lists(st.sampled_from([*PERMISSIONS, "orders:*", "*"]), unique=True, max_size=3).map(tuple)


@st.composite
def keys(draw: st.DrawFn) -> KeyRecord:
    project = Project(id="proj_1", name="Shop", enabled_apis=draw(ENABLED_APIS), **AT)
    versions = tuple(
        SecretVersion(number=number, digest=b"", created_at=Instant(0), expires_at=draw(ENDS)) for number in (1, 2)
    )
    key = ApiKey(
        id="key_1", project_id=project.id, environment=Environment.LIVE, prefix="kb_sk_live", name="k",
        kind=draw(st.sampled_from([CredentialKind.SECRET_KEY, CredentialKind.PUBLISHABLE_KEY])), versions=versions,
        permissions=draw(HELD), restrictions=draw(RESTRICTIONS), expires_at=draw(ENDS), **AT,
    )  # fmt: skip
    return key_record(7, key, project, None, None)


@st.composite
def tokens(draw: st.DrawFn) -> TokenRecord:
    project = Project(id="proj_2", name="Shop", enabled_apis=draw(ENABLED_APIS), **AT)
    client = Client(id="cl_1", project_id=project.id, name="Shop", scopes=PERMISSIONS, **AT)
    api = draw(st.sampled_from([None, *APIS]))
    key = draw(st.one_of(st.none(), keys()))
    token = AccessToken(
        id="at_1", client_id=client.id, project_id=project.id, issued_at=Instant(NOW - SECOND), subject="ada",
        expires_at=Instant(NOW + 50 * SECOND), api_id=None if api is None else api.id,
        key_id=None if key is None else key.id,
        scopes=draw(st.lists(st.sampled_from(PERMISSIONS), unique=True).map(tuple)),
        acr=draw(st.sampled_from(["", "urn:keybearer:acr:password", "other"])),
        authenticated_at=draw(st.sampled_from([None, Instant(NOW - 5 * SECOND)])),
        key_thumbprint=draw(st.sampled_from(["", "", "thumb"])),
    )  # fmt: skip
    return token_record(7, token, client, project, api=api, key=key)


REQUIREMENTS = st.builds(
    Requirement,
    accept=st.sampled_from([None, frozenset(CredentialKind), frozenset({CredentialKind.ACCESS_TOKEN})]),
    api=st.sampled_from([None, *APIS]),
    demand=st.sampled_from(
        [None, *map(parse, ("orders:read", "orders:write and refunds:write", "a:b or orders:read"))]
    ),
    client_ip=st.sampled_from([None, *map(ip_address, ("192.0.2.7", "198.51.100.1", "2001:db8::1"))]),
    origin=st.sampled_from([None, "https://shop.example", "https://evil.example", "null"]),
    referrer=st.sampled_from([None, "https://shop.example/maps/1"]),
    android_app=st.sampled_from([None, APP]),
    ios_bundle_id=st.sampled_from([None, "com.example.app"]),
    method=st.sampled_from([None, "GET", "POST"]),
    path=st.sampled_from([None, "/orders/1", "/orders/../x", "/other"]),
    key_thumbprint=st.sampled_from(["", "", "thumb"]),
    acr_values=st.sampled_from([(), ("urn:keybearer:acr:password",), ("other",)]),
    max_age=st.sampled_from([None, SECOND, 60 * SECOND]),
)


def outcome_of_record(record: CredentialRecord, requirement: Requirement, now: Instant) -> tuple[Code, tuple[str, ...]]:
    try:
        if isinstance(record, KeyRecord):
            decide(record, record.key.versions[0], requirement, now)
        else:
            assert isinstance(record, TokenRecord)
            decide_token(record, requirement, now)
    except Rejected as rejection:
        return rejection.code, rejection.missing
    return Code.VALID, ()


def outcome_of_remembered(
    remembered: Remembered, requirement: Requirement, now: Instant
) -> tuple[Code, tuple[str, ...]]:
    try:
        decide_standing(remembered, requirement, now)
    except Rejected as rejection:
        return rejection.code, rejection.missing
    return Code.VALID, ()


@given(st.one_of(keys(), tokens()), REQUIREMENTS, st.integers(0, 200))
def test_what_is_remembered_is_decided_as_the_record_is(
    record: CredentialRecord, requirement: Requirement, later: int
) -> None:
    remembered = remember(record, 1)
    if outcome_of_record(record, ANYTHING, NOW)[0] is not Code.VALID:
        return  # nobody remembers what was refused
    if isinstance(record, TokenRecord) and record.token.key_thumbprint:
        assert remembered is None
        return
    assert remembered is not None
    now = Instant(NOW + later * SECOND)
    of_record, of_remembered = (
        outcome_of_record(record, requirement, now),
        outcome_of_remembered(remembered, requirement, now),
    )
    ended = {Code.EXPIRED, Code.REVOKED}  # a token whose key ran out counts as revoked
    assert of_record == of_remembered or (of_record[0] in ended and of_remembered[0] is Code.EXPIRED)


@pytest.mark.parametrize(
    ("changes", "requirement", "code"),
    [
        ({}, Requirement(), Code.VALID),
        ({"until": NOW}, Requirement(), Code.EXPIRED),
        ({}, Requirement(accept=frozenset({CredentialKind.ACCESS_TOKEN})), Code.KIND_NOT_ACCEPTED),
        ({}, Requirement(api=APIS[0]), Code.VALID),
        ({}, Requirement(api=APIS[1]), Code.KIND_NOT_ACCEPTED),
        ({"api_ids": frozenset()}, Requirement(api=APIS[0]), Code.API_NOT_ALLOWED),
        ({}, Requirement(api=APIS[3]), Code.API_NOT_ALLOWED),
        ({}, Requirement(max_age=1), Code.INSUFFICIENT_AUTHENTICATION),
        ({}, Requirement(demand=parse("orders:write")), Code.INSUFFICIENT_PERMISSIONS),
        ({"kind": CredentialKind.ACCESS_TOKEN}, Requirement(key_thumbprint="x"), Code.PROOF_INVALID),
        ({"kind": CredentialKind.ACCESS_TOKEN}, Requirement(max_age=1), Code.INSUFFICIENT_AUTHENTICATION),
        (
            {"is_restricted": True, "restrictions": Restrictions(methods=("GET",))},
            Requirement(method="POST"),
            Code.REQUEST_NOT_ALLOWED,
        ),
    ],
    ids=lambda value: value.value if isinstance(value, Code) else "",
)
def test_the_decision_as_a_table(changes: dict[str, object], requirement: Requirement, code: Code) -> None:
    remembered = Remembered(
        kind=CredentialKind.SECRET_KEY,
        depends_on=frozenset({"key_1"}),
        api_ids=frozenset({"api_one", "api_two", "api_off"}),
        permissions=frozenset({"orders:read"}),
        restrictions=Restrictions(),
        networks=(),
        is_restricted=False,
    )
    assert outcome_of_remembered(replace(remembered, **changes), requirement, NOW)[0] is code  # type: ignore[arg-type]

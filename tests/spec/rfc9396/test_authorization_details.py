"""Rich authorization requests at the token endpoint."""

from __future__ import annotations

import json
from typing import Any

import pytest

from keybearer.core import authorization_details
from keybearer.core.oauth_error import InvalidAuthorizationDetails
from tests.support.oauth import API, OAuth, error_of

pytestmark = pytest.mark.anyio
PAY = {"type": "payment", "amount": {"currency": "EUR", "value": "10.00"}, "creditor": "DE89"}
LOOK = {"type": "account", "actions": ["read"], "locations": [API]}
BAD = (400, "invalid_authorization_details")


@pytest.fixture
async def rich(oauth: OAuth) -> OAuth:
    await oauth.change(oauth.api, metadata={"authorization_details_types": ["payment", "account"]})
    return oauth


@pytest.mark.spec("RFC 9396", "7", "MUST")
async def test_what_was_granted_is_in_the_answer_and_in_the_token(rich: OAuth) -> None:
    application = await rich.client()
    said = await application.tokens(resource=API, authorization_details=json.dumps([PAY, LOOK]))
    assert said["authorization_details"] == [PAY, LOOK]
    assert (await rich.introspect(said["access_token"]))["authorization_details"] == [PAY, LOOK]


@pytest.mark.spec("RFC 9396", "6", "MUST")
async def test_a_request_picks_from_what_the_user_agreed_to(rich: OAuth) -> None:
    consent = await rich.consent(await rich.client(), authorization_details=(PAY, LOOK))
    granted = {"scopes": ("orders:read",), "authorization_details": (PAY, LOOK)}
    said = await consent.tokens(**granted)
    assert said["authorization_details"] == [PAY, LOOK]
    narrow = (await consent.application.refresh(said["refresh_token"], authorization_details=json.dumps([PAY]))).json()
    assert narrow["authorization_details"] == [PAY]
    more = {**PAY, "amount": {"currency": "EUR", "value": "10.01"}}
    for asked in ([more], [PAY, more], [{"type": "payment"}]):
        refused = await consent.application.refresh(narrow["refresh_token"], authorization_details=json.dumps(asked))
        assert error_of(refused) == BAD
    whole = (await consent.application.refresh(narrow["refresh_token"])).json()
    assert whole["authorization_details"] == [PAY, LOOK]


@pytest.mark.spec("RFC 9396", "5", "MUST")
@pytest.mark.parametrize(
    "text",
    [
        "x",
        "{}",
        "[]",
        "[1]",
        '[{"type": 1}]',
        "[{}]",
        '[{"type": "unknown"}]',
        '[{"type": "payment", "locations": "x"}]',
        '[{"type": "payment", "locations": ["https://other.example"]}]',
        '[{"type": "payment", "type": "account"}]',
        '[{"type": "payment", "x": NaN}]',
        json.dumps([{"type": "payment", "x": "y" * 9000}]),
        json.dumps([{"type": "payment"}] * 21),
        "[" * 1000 + "]" * 1000,
    ],
)
async def test_details_that_are_not_understood_are_refused(rich: OAuth, text: str) -> None:
    answer = await (await rich.client()).token(resource=API, authorization_details=text)
    assert error_of(answer) == BAD


async def test_an_api_gets_only_its_own_details(rich: OAuth) -> None:
    other = await rich.another_api(
        "https://bank.example", "accounts:read", metadata={"authorization_details_types": ["payment"]}
    )
    application = await rich.client(scopes=("openid", "orders:read", "accounts:read"))
    consent = await rich.consent(application)
    scopes = ("orders:read", "accounts:read")
    resources = (rich.api.id, other.id)
    code = await consent.code(scopes=scopes, resources=resources, authorization_details=(PAY, LOOK))
    said = (await application.redeem(code, resource=other.identifier)).json()
    assert said["authorization_details"] == [PAY]


def test_depth_is_bounded() -> None:
    from keybearer.core.instant import Instant
    from keybearer.core.records import Api

    api = Api(
        id="api_1",
        created_at=Instant(0),
        updated_at=Instant(0),
        identifier=API,
        name="x",
        metadata={"authorization_details_types": ["payment", 7]},
    )
    deep: Any = {}
    for _ in range(20):
        deep = {"x": deep}
    with pytest.raises(InvalidAuthorizationDetails):
        authorization_details.parse(json.dumps([{"type": "payment", "x": deep}]), [api])
    assert authorization_details.parse("", [api]) == ()
    assert authorization_details.types_of(api) == {"payment"}

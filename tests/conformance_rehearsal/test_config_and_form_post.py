"""The plans ``oidcc-config-…`` and ``oidcc-formpost-basic-certification-test-plan``.

The latter is the basic plan with ``response_mode=form_post``: what differs is how an answer travels.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.conformance_rehearsal.party import CALLBACK, ISSUER, Party, Rehearsal
from tests.support.browser import Page
from tests.support.oauth import error_of

pytestmark = pytest.mark.anyio

ENDPOINTS = ("authorization", "token", "userinfo", "registration", "end_session", "pushed_authorization_request")


@pytest.mark.spec("OIDC Discovery", "3", "MUST")
@pytest.mark.spec("OIDC Discovery", "4", "MUST")
async def test_oidcc_discovery_endpoint_verification(suite: Rehearsal) -> None:
    said = await suite.metadata()
    assert said["issuer"] == ISSUER
    assert "code" in said["response_types_supported"]
    assert set(said["subject_types_supported"]) <= {"public", "pairwise"}
    assert "RS256" in said["id_token_signing_alg_values_supported"]
    assert "RS256" in said["userinfo_signing_alg_values_supported"]
    assert "RS256" in said["request_object_signing_alg_values_supported"]
    assert "authorization_code" in said["grant_types_supported"]
    assert "openid" in said["scopes_supported"]
    assert said["claims_parameter_supported"] is True
    assert {"sub", "name", "email"} <= set(said["claims_supported"])
    assert said["code_challenge_methods_supported"] == ["S256"]
    assert all(isinstance(one, str) and " " not in one for one in said["scopes_supported"])
    addresses = [said[f"{name}_endpoint"] for name in ENDPOINTS] + [said["jwks_uri"]]
    for one in addresses:
        parts = urlsplit(one)
        assert (parts.scheme, parts.netloc, parts.fragment) == ("https", "op.example.com", "")
    keys = await suite.keys()
    assert keys
    for key in keys:
        assert key["kid"]
        assert key["use"] == "sig"
        assert {"d", "p", "q", "k"}.isdisjoint(key)


async def test_what_a_dynamic_provider_would_have_to_offer_is_not_claimed(suite: Rehearsal) -> None:
    """The known deviations of ``docs/certification.md``, so that they are not forgotten there."""
    said = await suite.metadata()
    assert said["response_types_supported"] == ["code"]
    assert said["request_uri_parameter_supported"] is False
    for kind in ("id_token", "id_token token", "code id_token"):
        refused = await suite.register(response_types=[kind], status=400)
        assert refused.registration["error"] == "invalid_client_metadata"


@pytest.fixture
async def party(suite: Rehearsal) -> Party:
    return await suite.register()


def posted(page: Page) -> dict[str, str]:
    """What the page would send to the client: by its button, since nothing runs scripts here."""
    form = page.form()
    assert (form.method, form.action) == ("post", CALLBACK)
    assert [button.id for button in form.buttons] == ["submit"]
    assert page.headers["cache-control"] == "no-store"
    assert "form-action 'self' https:" in page.headers["content-security-policy"]
    return form.fields


@pytest.mark.spec("OAuth Form Post Response Mode", "2", "MUST")
async def test_form_post_of_a_code(suite: Rehearsal, party: Party) -> None:
    page = await party.authorize(response_mode="form_post")
    answer = posted(page)
    assert set(answer) == {"code", "state", "iss"}
    assert answer["state"] == party.asked["state"]
    assert answer["iss"] == ISSUER
    await party.checked(await party.redeem(answer["code"]))
    assert error_of(await party.redeem(answer["code"])) == (400, "invalid_grant")


@pytest.mark.parametrize(
    ("more", "error"), [({"prompt": "none"}, "login_required"), ({"response_type": None}, "invalid_request")], ids=str
)
async def test_form_post_of_an_error(party: Party, more: dict[str, Any], error: str) -> None:
    page = await party.authorize(response_mode="form_post", **more)
    answer = posted(page)
    assert answer["error"] == error
    assert set(answer) == {"error", "error_description", "state", "iss"}


async def test_form_post_when_already_signed_in(suite: Rehearsal, party: Party) -> None:
    first = posted(await party.authorize(response_mode="form_post"))
    page = await suite.browser.get(party.request(response_mode="form_post", prompt="none"))
    assert posted(page)["code"] != first["code"]


async def test_form_post_to_an_unregistered_uri_is_a_page_of_ours(party: Party) -> None:
    page = await party.authorize(response_mode="form_post", redirect_uri=CALLBACK + "/other")
    assert page.status == 400
    assert not page.forms

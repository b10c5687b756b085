"""Apache with mod_auth_openidc before a site: people sign in through the pages, and machines bring tokens."""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import urlencode

import httpx
import pytest

from tests.e2e.shop import API, Shop
from tests.e2e.static_site import StaticSite
from tests.support.apache import Apache, find_apache
from tests.support.authority import ADMIN_EMAIL
from tests.support.visitor import Visitor

DIRECTIVES = """\
OIDCProviderMetadataURL {issuer}/.well-known/openid-configuration
OIDCClientID {client_id}
OIDCClientSecret "{secret}"
OIDCRedirectURI @URL@/inside/answer
OIDCCryptoPassphrase "{secret}"
OIDCScope "openid email offline_access pages:read"
OIDCPKCEMethod S256
OIDCRemoteUserClaim email
OIDCPassUserInfoAs claims
OIDCSessionType server-cache
OIDCOAuthServerMetadataURL {issuer}/.well-known/oauth-authorization-server
OIDCOAuthIntrospectionEndpointAuth client_secret_basic
OIDCOAuthClientID {client_id}
OIDCOAuthClientSecret "{secret}"
OIDCOAuthTokenIntrospectionInterval -1
OIDCOAuthRemoteUserClaim client_id
ProxyPass /inside/answer !
ProxyPass / {site}/
<Location /inside>
    AuthType openid-connect
    Require claim email:{email}
</Location>
<Location /api>
    AuthType oauth20
    Require claim scope:pages:read
</Location>
"""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StaticSite]:
    """The site behind it, which keeps the headers it got."""
    folder = tmp_path_factory.mktemp("site")
    for name in ("inside", "api", "public"):
        (folder / name).mkdir()
        (folder / name / "page.html").write_text(f"<h1>{name}</h1>")
    one = StaticSite(folder)
    yield one
    one.stop()


@pytest.fixture(scope="module")
def apache(world: Shop, site: StaticSite, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Apache]:
    """The Apache, as a client of the authority."""
    found = find_apache()
    if found is None:
        pytest.skip("Apache with mod_auth_openidc is not installed")
    server = Apache(found[0], tmp_path_factory.mktemp("apache"), modules=found[1])
    client_id, secret = world.client(
        f"{server.url}/inside/answer",
        post_logout_redirect_uris=[f"{server.url}/public/page.html"],
        grant_types=["authorization_code", "refresh_token", "client_credentials"],
    )
    settings = {"issuer": world.node.issuer, "client_id": client_id, "secret": secret, "email": ADMIN_EMAIL}
    server.start(DIRECTIVES.format(site=f"http://127.0.0.1:{site.port}", **settings))
    yield server
    server.stop()


def _headers(site: StaticSite) -> dict[str, str]:
    return {name.lower(): value for name, value in site.last_headers}


def test_sign_in_claims_renewal_and_sign_out(apache: Apache, world: Shop, site: StaticSite, visitor: Visitor) -> None:
    page = visitor.through(f"{apache.url}/inside/page.html")
    assert page.text == "<h1>inside</h1>", apache.error_log
    told = _headers(site)
    assert told["oidc_claim_iss"] == world.node.issuer
    assert told["oidc_claim_email"] == ADMIN_EMAIL
    assert told["oidc_claim_amr"] == "pwd"
    token = told["oidc_access_token"]
    principal = world.verify(token, permissions=["pages:read"])["principal"]
    assert principal["user_id"] == told["oidc_claim_sub"]

    again = {"refresh": f"{apache.url}/inside/page.html", "access_token": token}
    assert visitor.open(f"{apache.url}/inside/answer?{urlencode(again)}").text == "<h1>inside</h1>"
    renewed = _headers(site)["oidc_access_token"]
    assert renewed != token
    assert world.verify(renewed, permissions=["pages:read"])["valid"]

    leave = urlencode({"logout": f"{apache.url}/public/page.html"})
    assert visitor.open(f"{apache.url}/inside/answer?{leave}").text == "<h1>public</h1>"
    assert "email" in visitor.open(f"{apache.url}/inside/page.html").form("/sign-in").fields


def test_a_person_who_does_not_agree_stays_outside(apache: Apache, world: Shop, visitor: Visitor) -> None:
    page = visitor.open(f"{apache.url}/inside/page.html")
    page = visitor.send(page, action="/sign-in/cancel")
    assert str(page.response.url).startswith(f"{apache.url}/inside/answer?error=access_denied")
    # What the module shows then is its own affair: 2.4.12 takes the `iss` that RFC 9207 demands for a login begun by
    # others.
    assert "inside</h1>" not in page.text
    assert visitor.open(f"{apache.url}/inside/page.html").form("/sign-in")


def test_tokens_of_machines_are_introspected(apache: Apache, world: Shop, site: StaticSite) -> None:
    client_id, secret = world.client(grant_types=["client_credentials"])

    def token(scope: str) -> str:
        form = {"grant_type": "client_credentials", "scope": scope}
        answer = httpx.post(f"{world.node.url}/oauth/token", data=form, auth=(client_id, secret), trust_env=False)
        return str(answer.json()["access_token"])

    def visit(credential: str) -> httpx.Response:
        headers = {"authorization": f"Bearer {credential}"}
        return httpx.get(f"{apache.url}/api/page.html", headers=headers, trust_env=False)

    good = token("pages:read")
    assert visit(good).text == "<h1>api</h1>", apache.error_log
    told = _headers(site)
    assert (told["oidc_claim_client_id"], told["oidc_claim_aud"]) == (client_id, API)
    assert visit(token("pages:write")).status_code in (401, 403)
    assert visit("kb_at_nothing").status_code == 401
    world.call("POST", "/v1/clients/" + client_id + "/revoke")
    assert visit(good).status_code == 401

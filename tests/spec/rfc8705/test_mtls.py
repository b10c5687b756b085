"""TLS client certificates: as authentication, and as what tokens are bound to."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID
from joserfc.jwk import ECKey

from keybearer.client_auth.certificate import load
from keybearer.core.clients import ClientAuthMethod
from tests.support.certificates import Pair, at_instant, make
from tests.support.embedded import START
from tests.support.oauth import Application, OAuth, error_of, oauth_world

pytestmark = pytest.mark.anyio
NOW = at_instant(START)
AUTHORITY = make("Authority", is_ca=True, at=NOW)
REFUSED = (401, "invalid_client")
FORM = {"grant_type": "client_credentials", "scope": "orders:read"}
DN = "CN=shop,O=Example"


@dataclass
class Behind:
    """A world behind a proxy that hands certificates over."""

    oauth: OAuth

    async def ask(self, application: Application, certificate: Pair | str | None, peer: str = "127.0.0.1") -> Any:
        header = certificate.rfc9440 if isinstance(certificate, Pair) else certificate
        headers = {} if header is None else {"client-cert": header}
        form: dict[str, Any] = dict(FORM)
        application.credentials(form, headers)
        return await self.oauth.post("/oauth/token", form, headers, client=(peer, 1))

    async def by_tls(self, **changes: Any) -> Application:
        names = changes or {"tls_client_auth_subject_dn": DN}
        return await self.oauth.client(token_endpoint_auth_method=ClientAuthMethod.TLS, **names)


@pytest.fixture
async def behind(anyio_backend: str, tmp_path: Path) -> AsyncIterator[Behind]:
    (tmp_path / "ca.pem").write_bytes(AUTHORITY.pem)
    options = {"trusted_proxies": ("127.0.0.0/8",), "client_certificate_header": "Client-Cert"}
    async with oauth_world(client_ca=str(tmp_path / "ca.pem"), **options) as oauth:
        yield Behind(oauth)


@pytest.mark.spec("RFC 8705", "2.1", "MUST")
async def test_a_certificate_that_is_vouched_for_proves_its_subject(behind: Behind) -> None:
    application = await behind.by_tls()
    good = make("shop", issuer=AUTHORITY, at=NOW)
    assert (await behind.ask(application, good)).status_code == 200
    assert (await behind.ask(application, good.escaped)).status_code == 200
    assert error_of(await behind.ask(application, None)) == REFUSED


@pytest.mark.spec("RFC 8705", "2.1", "MUST")
@pytest.mark.parametrize(
    "wrong",
    [
        make("shop", at=NOW),
        make("shop", issuer=make("Authority", is_ca=True, at=NOW), at=NOW),
        make("other", issuer=AUTHORITY, at=NOW),
        make("shop", issuer=AUTHORITY, at=at_instant(START - 90 * 86_400_000_000)),
        make("shop", issuer=AUTHORITY, at=at_instant(START + 90 * 86_400_000_000)),
        make("shop", issuer=AUTHORITY, at=NOW, usage=ExtendedKeyUsageOID.SERVER_AUTH),
        make("shop", issuer=make("between", issuer=AUTHORITY, at=NOW), at=NOW),
    ],
    ids=["self-signed", "another authority", "another name", "over", "not yet", "for servers", "issued by a client"],
)
async def test_any_other_certificate_proves_nothing(behind: Behind, wrong: Pair) -> None:
    assert error_of(await behind.ask(await behind.by_tls(), wrong)) == REFUSED


@pytest.mark.spec("RFC 8705", "2.1.2", "MUST")
@pytest.mark.parametrize(
    ("field", "registered", "names", "others"),
    [
        ("san_dns", "shop.example", [x509.DNSName("shop.example")], [x509.DNSName("a.shop.example")]),
        (
            "san_uri",
            "https://shop.example/x",
            [x509.UniformResourceIdentifier("https://shop.example/x")],
            [x509.UniformResourceIdentifier("https://shop.example/y")],
        ),
        ("san_ip", "192.0.2.7", [x509.IPAddress(ip_address("192.0.2.7"))], [x509.IPAddress(ip_address("192.0.2.8"))]),
        ("san_email", "a@shop.example", [x509.RFC822Name("a@shop.example")], [x509.RFC822Name("b@shop.example")]),
    ],
)
async def test_the_registered_name_is_looked_for_where_it_belongs(
    behind: Behind, field: str, registered: str, names: Any, others: Any
) -> None:
    application = await behind.by_tls(**{f"tls_client_auth_{field}": registered})
    assert (await behind.ask(application, make("any", issuer=AUTHORITY, names=names, at=NOW))).status_code == 200
    for certificate in (
        make(registered, issuer=AUTHORITY, at=NOW),
        make("any", issuer=AUTHORITY, names=others, at=NOW),
    ):
        assert error_of(await behind.ask(application, certificate)) == REFUSED


async def test_a_client_without_one_registered_name_is_nobody(behind: Behind) -> None:
    good = make("shop", issuer=AUTHORITY, names=[x509.DNSName("shop.example")], at=NOW)
    for names in (
        {"tls_client_auth_subject_dn": ""},
        {"tls_client_auth_subject_dn": DN, "tls_client_auth_san_dns": "x"},
    ):
        assert error_of(await behind.ask(await behind.by_tls(**names), good)) == REFUSED


@pytest.mark.spec("RFC 8705", "2.2", "MUST")
async def test_a_self_signed_certificate_is_known_by_its_key(behind: Behind) -> None:
    pair = make("anything", at=NOW)
    key = ECKey.import_key(pair.key_pem).as_dict(private=False)
    application = await behind.oauth.client(
        token_endpoint_auth_method=ClientAuthMethod.SELF_SIGNED_TLS, jwks={"keys": [key]}
    )
    assert (await behind.ask(application, pair)).status_code == 200
    for wrong in (make("anything", at=NOW), make("anything", issuer=AUTHORITY, at=NOW), None):
        assert error_of(await behind.ask(application, wrong)) == REFUSED
    behind.oauth.move(40 * 86_400)
    assert error_of(await behind.ask(application, pair)) == REFUSED


async def test_only_trusted_proxies_speak_for_certificates(behind: Behind) -> None:
    """ZITADEL CVE-2025-64101: believing what anybody says about the connection."""
    application = await behind.by_tls()
    good = make("shop", issuer=AUTHORITY, at=NOW)
    assert error_of(await behind.ask(application, good, peer="192.0.2.1")) == REFUSED


@pytest.mark.parametrize("text", ["x", "::", ":x:", ":AAAA:", "-----BEGIN CERTIFICATE-----", ":" + "A" * 20_000 + ":"])
async def test_a_header_that_cannot_be_read_is_refused(behind: Behind, text: str) -> None:
    assert error_of(await behind.ask(await behind.by_tls(), text)) == (400, "invalid_request")


@pytest.mark.spec("RFC 8705", "3", "MUST")
@pytest.mark.spec("RFC 8705", "3.1", "MUST")
async def test_tokens_are_bound_to_the_certificate_where_the_client_wants_it(behind: Behind) -> None:
    pair = make("shop", issuer=AUTHORITY, at=NOW)
    application = await behind.oauth.client(tls_client_certificate_bound_access_tokens=True)
    said = (await behind.ask(application, pair)).json()
    found = await behind.oauth.introspect(said["access_token"])
    certificate = load(pair.der)
    assert certificate is not None
    assert found["cnf"] == {"x5t#S256": certificate.thumbprint}
    assert said["token_type"] == "Bearer"
    assert error_of(await behind.ask(application, None)) == (400, "invalid_request")


@pytest.mark.spec("RFC 8705", "4", "MUST")
async def test_refresh_tokens_of_public_clients_are_bound_to_their_certificate(behind: Behind) -> None:
    application = await behind.oauth.public_client(tls_client_certificate_bound_access_tokens=True)
    consent = await behind.oauth.consent(application)
    pair, stranger = (make("any", at=NOW) for _ in range(2))

    async def send(certificate: Pair, **form: str) -> Any:
        form["client_id"] = application.client.id
        headers = {"client-cert": certificate.rfc9440}
        return await behind.oauth.post("/oauth/token", form, headers, client=("127.0.0.1", 1))

    from tests.support.oauth import REDIRECT, VERIFIER

    code = await consent.code(scopes=("orders:read",))
    said = (
        await send(pair, grant_type="authorization_code", code=code, redirect_uri=REDIRECT, code_verifier=VERIFIER)
    ).json()
    refused = await send(stranger, grant_type="refresh_token", refresh_token=said["refresh_token"])
    assert error_of(refused) == (400, "invalid_grant")
    assert (await send(pair, grant_type="refresh_token", refresh_token=said["refresh_token"])).status_code == 200

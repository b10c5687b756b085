"""TLS that the server ends itself: it speaks https, and clients prove themselves with their certificates."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import httpx
import pytest
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID
from joserfc.jwk import import_key

from tests.support.authority import Authority
from tests.support.certificates import Pair, make

NOW = datetime.now(UTC)
CA = make("Clients", is_ca=True, at=NOW)
SHOP = make("shop", issuer=CA, at=NOW)
OTHER = make("other", issuer=CA, at=NOW)
STRANGER = make("shop", at=NOW)
OWN = make("own", at=NOW)


@dataclass
class Scene:
    """An authority that speaks https, and what it takes to speak to it."""

    node: Authority
    folder: Path

    def client(self, shown: Pair | None = None, key: str | None = None) -> httpx.Client:
        context = ssl.create_default_context(cafile=str(self.folder / "server.pem"))
        if shown is not None:
            mine = self.folder / f"{id(shown)}.pem"
            mine.write_bytes(shown.pem + shown.key_pem)
            context.load_cert_chain(mine)
        headers = {} if key is None else {"authorization": f"Bearer {key}"}
        return httpx.Client(base_url=self.node.url, verify=context, headers=headers, timeout=20)

    def make(self, plural: str, **body: Any) -> dict[str, Any]:
        with self.client(key=self.node.root_key) as http:
            answer = http.post(f"/v1/{plural}", json=body)
        assert answer.status_code == 201, answer.text
        return dict(answer.json())


@pytest.fixture
def scene(authority: Callable[..., Authority], tmp_path: Path) -> Scene:
    folder = tmp_path
    addresses = [x509.IPAddress(ip_address("127.0.0.1"))]
    server = make("localhost", at=NOW, names=addresses, usage=ExtendedKeyUsageOID.SERVER_AUTH)
    (folder / "server.pem").write_bytes(server.pem)
    (folder / "server.key").write_bytes(server.key_pem)
    (folder / "clients.pem").write_bytes(CA.pem + OWN.pem)
    node = authority(
        environment={
            "KEYBEARER_TLS_CERTIFICATE": str(folder / "server.pem"),
            "KEYBEARER_TLS_KEY": str(folder / "server.key"),
            "KEYBEARER_CLIENT_CA": str(folder / "clients.pem"),
        }
    )
    return Scene(node, folder)


def registered(scene: Scene, **changes: Any) -> str:
    api = scene.make("apis", identifier="https://orders.example", name="Orders", permissions=[{"name": "orders:read"}])
    project = scene.make("projects", name="Shop", enabled_apis=[api["id"]])
    made = scene.make(
        "clients",
        project_id=project["id"],
        name="Shop",
        grant_types=["client_credentials"],
        scopes=["orders:read"],
        **changes,
    )
    return str(made["client"]["id"])


def ask(scene: Scene, client_id: str, shown: Pair | None) -> httpx.Response:
    with scene.client(shown) as http:
        return http.post("/oauth/token", data={"grant_type": "client_credentials", "client_id": client_id})


def test_it_speaks_https_and_says_so(scene: Scene) -> None:
    assert scene.node.url.startswith("https://127.0.0.1:")
    with scene.client() as http:
        assert http.get("/.well-known/openid-configuration").json()["issuer"].startswith("https://")
        assert http.get("/healthz").status_code == 200


@pytest.mark.spec("RFC 9325", "4.2", "RECOMMENDED")
@pytest.mark.spec("FAPI 2.0 Security Profile", "5.2.2", "MUST")
@pytest.mark.parametrize(
    ("version", "ciphers", "agreed"),
    [
        (ssl.TLSVersion.TLSv1_3, "DEFAULT", "TLSv1.3"),
        (ssl.TLSVersion.TLSv1_2, "ECDHE+AESGCM", "TLSv1.2"),
        (ssl.TLSVersion.TLSv1_2, "ECDHE+AES:!AESGCM:!AESCCM", None),
        (ssl.TLSVersion.TLSv1_2, "DHE+AESGCM", None),
        (ssl.TLSVersion.TLSv1_2, "AES128-GCM-SHA256", None),
        (ssl.TLSVersion.TLSv1_2, "ECDHE+CHACHA20", None),
    ],
    ids=str,
)
def test_only_good_ciphers_are_agreed_to(
    scene: Scene, version: ssl.TLSVersion, ciphers: str, agreed: str | None
) -> None:
    context = ssl.create_default_context(cafile=str(scene.folder / "server.pem"))
    context.maximum_version = version
    context.set_ciphers(ciphers)
    address = ("127.0.0.1", int(scene.node.url.rpartition(":")[2]))
    with socket.create_connection(address, 10) as plain:
        if agreed is None:
            with pytest.raises(ssl.SSLError):
                context.wrap_socket(plain, server_hostname="127.0.0.1")
            return
        with context.wrap_socket(plain, server_hostname="127.0.0.1") as wrapped:
            assert wrapped.version() == agreed


@pytest.mark.spec("RFC 8705", "2.1", "MUST")
def test_a_certificate_proves_a_client(scene: Scene) -> None:
    client_id = registered(
        scene, token_endpoint_auth_method="tls_client_auth", tls_client_auth_subject_dn="CN=shop,O=Example"
    )
    assert ask(scene, client_id, SHOP).status_code == 200
    for shown in (None, OTHER):
        assert ask(scene, client_id, shown).json()["error"] == "invalid_client"
    with pytest.raises(httpx.HTTPError):
        ask(scene, client_id, STRANGER)  # nobody vouches for it: the handshake ends


@pytest.mark.spec("RFC 8705", "3", "MUST")
def test_tokens_are_bound_to_the_certificate(scene: Scene) -> None:
    client_id = registered(
        scene,
        token_endpoint_auth_method="tls_client_auth",
        tls_client_auth_subject_dn="CN=shop,O=Example",
        tls_client_certificate_bound_access_tokens=True,
    )
    token = ask(scene, client_id, SHOP).json()["access_token"]
    with scene.client(key=scene.node.root_key) as http:
        said = http.post("/v1/verify", json={"credential": token}).json()
        assert said["code"] == "PROOF_REQUIRED"


@pytest.mark.spec("RFC 8705", "2.2", "MUST")
def test_a_certificate_that_a_client_signed_itself(scene: Scene) -> None:
    key = import_key(OWN.key_pem, "EC")
    client_id = registered(
        scene, token_endpoint_auth_method="self_signed_tls_client_auth", jwks={"keys": [key.as_dict(private=False)]}
    )
    assert ask(scene, client_id, OWN).status_code == 200
    for shown in (None, SHOP):
        assert ask(scene, client_id, shown).json()["error"] == "invalid_client"

"""The real `swift` command and keystoneauth1 in front of an object store that Keybearer guards."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from keystoneauth1 import exceptions
from keystoneauth1.identity import generic, v3
from keystoneauth1.session import Session

from tests.e2e.shop import Shop
from tests.e2e.swift_store import SwiftStore
from tests.support.authority import Authority

PERMISSIONS = [{"name": "objects:read"}, {"name": "objects:write"}]
BOTH = ("objects:read", "objects:write")


@dataclass
class Cloud:
    """The authority's world and the store; `project` names the project of the shop."""

    shop: Shop
    store: SwiftStore

    @property
    def project(self) -> str:
        return str(self.shop.project["id"])

    def swift(
        self, *arguments: str, folder: Path | None = None, **environment: str
    ) -> subprocess.CompletedProcess[str]:
        """The command; its own retries are off, so that a refusal is one."""
        clean = {name: value for name, value in os.environ.items() if not name.startswith(("OS_", "ST_"))}
        return subprocess.run(
            [str(Path(sys.executable).with_name("swift")), "--retries", "0", *arguments],
            capture_output=True,
            text=True,
            timeout=60,
            cwd=folder,
            env=clean | {"no_proxy": "*"} | environment,
        )

    def v1(self, secret: str, *arguments: str, user: str = "Shop:web", **more: Any) -> subprocess.CompletedProcess[str]:
        """The command with the v1 call."""
        return self.swift("-A", self.shop.node.url + "/auth/v1.0", "-U", user, "-K", secret, *arguments, **more)

    def session(self, plugin: Any) -> Session:
        session = Session(auth=plugin)
        session.session.trust_env = False
        return session


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    """One of each for all tests of this module."""
    home = tmp_path_factory.mktemp("swift")
    environment = {"KEYBEARER_X_AUTH": "true", "KEYBEARER_FAILURES_PER_MINUTE": "0"}
    node = Authority(home / "data", home / "logs", environment=environment)
    store = SwiftStore()
    try:
        node.init()
        node.start()
        catalog = [{"type": "object-store", "name": "files", "region": "north", "url": store.url}]
        shop = Shop(node, permissions=PERMISSIONS, key_header="X-Auth-Token", metadata={"catalog": catalog})
        store.guard(shop, shop.api["identifier"])
        yield Cloud(shop, store)
    finally:
        node.stop()
        store.stop()


def _done(run: subprocess.CompletedProcess[str]) -> str:
    assert run.returncode == 0, f"{run.args}: {run.stdout}{run.stderr}"
    return run.stdout


def test_swift_keeps_files_with_a_key_of_the_project(cloud: Cloud, tmp_path: Path) -> None:
    _, secret = cloud.shop.key(*BOTH)
    (tmp_path / "a note.txt").write_text("remember\n")
    (tmp_path / "large.bin").write_bytes(bytes(range(256)) * 1200)
    _done(cloud.v1(secret, "upload", "box", "a note.txt", folder=tmp_path))
    _done(cloud.v1(secret, "upload", "box", "large.bin", "--segment-size", "100000", folder=tmp_path))
    account = cloud.store.accounts[f"AUTH_{cloud.project}"]
    assert len(account.containers["box_segments"]) == 4
    assert _done(cloud.v1(secret, "list", "box")).split("\n")[:2] == ["a note.txt", "large.bin"]
    said = _done(cloud.v1(secret, "stat"))
    assert f"AUTH_{cloud.project}" in said
    assert "Containers: 2" in said
    _done(cloud.v1(secret, "post", "box", "a note.txt", "-m", "colour:blue"))
    assert "Meta Colour: blue" in _done(cloud.v1(secret, "stat", "box", "a note.txt"))
    back = tmp_path / "back"
    back.mkdir()
    _done(cloud.v1(secret, "download", "box", folder=back))
    for name in ("a note.txt", "large.bin"):
        assert (back / name).read_bytes() == (tmp_path / name).read_bytes()
    _done(cloud.v1(secret, "delete", "box"))
    assert "box" not in account.containers


def test_who_is_named_must_own_the_secret(cloud: Cloud) -> None:
    _, secret = cloud.shop.key(*BOTH)
    wrong = secret[:-1] + ("A" if secret[-1] != "A" else "B")
    for refused in (cloud.v1(secret, "stat", user="Other:web"), cloud.v1(wrong, "stat")):
        assert refused.returncode == 1
        assert "401" in refused.stderr


def test_a_client_signs_in_with_its_secret(cloud: Cloud) -> None:
    client_id, secret = cloud.shop.client(grant_types=["client_credentials"], name="backup", scopes=["objects:read"])
    assert cloud.v1(secret, "stat", user=f"Shop:{client_id}").returncode == 0
    refused = cloud.v1(secret, "post", "box", user="Shop:backup")
    assert "403" in refused.stderr, refused.stderr


@pytest.mark.parametrize("method", ["password", "application_credential"])
def test_swift_signs_in_through_keystone(cloud: Cloud, method: str) -> None:
    key_id, secret = cloud.shop.key(*BOTH)
    url = cloud.shop.node.url + "/v3"
    if method == "password":
        options = ("--os-username", "web", "--os-password", secret, "--os-project-name", "Shop")
    else:
        options = ("--os-auth-type", "v3applicationcredential", "--os-application-credential-id", key_id)
        options += ("--os-application-credential-secret", secret)
    said = _done(cloud.swift("--auth-version", "3", "--os-auth-url", url, *options, "stat"))
    assert f"AUTH_{cloud.project}" in said
    assert cloud.swift("--auth-version", "3", "--os-auth-url", url, *options, "post", "kept").returncode == 0


def test_a_revoked_key_takes_its_tokens_along(cloud: Cloud) -> None:
    key_id, secret = cloud.shop.key(*BOTH)
    token, place = _signed_in(cloud, secret)
    direct = ("--os-storage-url", place, "--os-auth-token", token, "stat")
    assert cloud.swift(*direct).returncode == 0
    cloud.shop.call("POST", f"/v1/keys/{key_id}/revoke", {})
    assert "401" in cloud.swift(*direct).stderr
    assert "401" in cloud.v1(secret, "stat").stderr


def test_what_is_revoked_at_one_node_is_refused_at_a_store_that_asks_another_within_a_second(cloud: Cloud) -> None:
    peer = cloud.shop.node.peer()
    peer.start()
    cloud.store.guard(cloud.shop, cloud.store.api, at=peer)
    try:
        with httpx.Client(trust_env=False) as http:
            for _ in range(10):
                _, secret = cloud.shop.key(*BOTH)
                session = cloud.session(_password(cloud, secret))
                token, place = session.get_token(), session.get_endpoint(service_type="object-store")
                assert http.get(place, headers={"X-Auth-Token": token}).status_code == 200
                cloud.session(_password(cloud, secret)).delete(
                    cloud.shop.node.url + "/v3/auth/tokens", headers={"X-Subject-Token": token}
                )
                began = time.monotonic()
                while http.get(place, headers={"X-Auth-Token": token}).status_code == 200:
                    assert time.monotonic() - began < 1
    finally:
        cloud.store.guard(cloud.shop, cloud.store.api)
        peer.stop()


def _signed_in(cloud: Cloud, secret: str) -> tuple[str, str]:
    """The token and the storage URL that the v1 call gives."""
    head = {"X-Auth-User": "Shop:web", "X-Auth-Key": secret}
    answer = httpx.get(cloud.shop.node.url + "/auth/v1.0", headers=head, trust_env=False)
    return answer.headers["x-auth-token"], answer.headers["x-storage-url"]


# keystoneauth1


def _password(cloud: Cloud, secret: str, **more: Any) -> v3.Password:
    named = {"username": "web", "user_domain_id": "default", "project_name": "Shop", "project_domain_id": "default"}
    return v3.Password(auth_url=cloud.shop.node.url + "/v3", password=secret, **(named | more))


def test_a_session_finds_its_service_and_signs_in_again_when_the_token_has_ended(cloud: Cloud) -> None:
    key_id, secret = cloud.shop.key(*BOTH)
    plugin = _password(cloud, secret)
    session = cloud.session(plugin)
    service = {"service_type": "object-store", "interface": "public"}
    assert session.get_endpoint(**service) == cloud.store.url.format(project_id=cloud.project)
    with pytest.raises(exceptions.EndpointNotFound):
        session.get_endpoint(**service, region_name="south")
    access = plugin.get_access(session)
    assert (access.user_id, access.username) == (key_id, "web")
    assert (access.project_id, access.project_name) == (cloud.project, "Shop")
    assert sorted(access.role_names) == sorted(BOTH)
    assert access.audit_id.startswith("at_")
    assert 3500 < (access.expires - access.issued).total_seconds() <= 3600
    first = session.get_token()
    assert session.get("/", endpoint_filter=service, headers={"Accept": "application/json"}).status_code == 200
    session.delete(
        cloud.shop.node.url + "/v3/auth/tokens", headers={"X-Subject-Token": first}, endpoint_override="unused"
    )
    assert cloud.shop.verify(first)["code"] == "REVOKED"
    refused = cloud.store.refused
    assert session.get("/", endpoint_filter=service).status_code == 200
    assert cloud.store.refused == refused + 1  # with the first token, before a second one was fetched
    assert session.get_token() != first


def test_a_token_is_traded_for_itself_and_ends_with_itself(cloud: Cloud) -> None:
    _, secret = cloud.shop.key(*BOTH)
    first = cloud.session(_password(cloud, secret)).get_token()
    url = cloud.shop.node.url + "/v3"
    traded = cloud.session(v3.Token(auth_url=url, token=first, project_id=cloud.project))
    assert traded.get_token() == first
    assert traded.get_endpoint(service_type="object-store")
    other = cloud.shop.call("POST", "/v1/projects", {"name": "Elsewhere", "enabled_apis": [cloud.shop.api["id"]]})
    for wrong in ({"project_id": other["id"]}, {"project_name": "Shop", "project_domain_name": "another"}):
        with pytest.raises(exceptions.Unauthorized):
            cloud.session(v3.Token(auth_url=url, token=first, **wrong)).get_token()
    cloud.session(_password(cloud, secret)).delete(url + "/auth/tokens", headers={"X-Subject-Token": first})
    with pytest.raises(exceptions.Unauthorized):
        cloud.session(v3.Token(auth_url=url, token=first, project_id=cloud.project)).get_token()


def test_application_credentials_and_discovery(cloud: Cloud) -> None:
    client_id, secret = cloud.shop.client(grant_types=["client_credentials"], scopes=list(BOTH))
    one = v3.ApplicationCredential(
        auth_url=cloud.shop.node.url + "/v3",
        application_credential_id=client_id,
        application_credential_secret=secret,
    )
    session = cloud.session(one)
    assert session.get_project_id() == cloud.project
    answer = session.get(cloud.shop.node.url + "/v3/auth/catalog").json()
    assert [service["type"] for service in answer["catalog"]] == ["object-store"]
    answer = session.get(cloud.shop.node.url + "/v3/auth/projects").json()
    assert [project["id"] for project in answer["projects"]] == [cloud.project]

    _, secret = cloud.shop.key(*BOTH)
    for entrance in ("/v3", "/v3/", "/identity", "/identity/"):
        named = {"username": "web", "project_name": "Shop", "user_domain_name": "Default"}
        found = generic.Password(
            auth_url=cloud.shop.node.url + entrance, password=secret, project_domain_name="Default", **named
        )
        session = cloud.session(found)
        assert session.get_token()
        assert found.get_discovery(session, cloud.shop.node.url + entrance).url_for((3, 0))


def test_wrong_secrets_are_unauthorized_in_keystones_own_way(cloud: Cloud) -> None:
    _, secret = cloud.shop.key(*BOTH)
    for wrong in ({"password": "nonsense"}, {"username": "other"}, {"project_name": "Other"}):
        plugin = _password(cloud, **({"secret": secret} | {"secret": wrong.pop("password", secret)}), **wrong)
        with pytest.raises(exceptions.Unauthorized):
            cloud.session(plugin).get_token()

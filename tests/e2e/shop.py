"""A small world for a test: one API, one project that may call it, and a client with the root key."""

from typing import Any

import httpx

from tests.support.authority import Authority

API = "https://site.example"


class Shop:
    """The API ``https://site.example`` with ``pages:read`` and ``pages:write``, and the project Shop."""

    def __init__(self, node: Authority, **api: Any) -> None:
        self.node = node
        body = {"identifier": API, "name": "Site", "permissions": [{"name": "pages:read"}, {"name": "pages:write"}]}
        self.api = self.call("POST", "/v1/apis", body | api)
        self.project = self.call("POST", "/v1/projects", {"name": "Shop", "enabled_apis": [self.api["id"]]})

    def send(self, method: str, path: str, body: Any = None, *, at: Authority | None = None, **more: Any) -> Any:
        """One management call over a connection of its own; returns the response, whatever it is."""
        headers = {"authorization": f"Bearer {self.node.root_key}", **more.pop("headers", {})}
        with httpx.Client(trust_env=False, verify=False, timeout=30) as client:
            return client.request(method, (at or self.node).url + path, json=body, headers=headers, **more)

    def call(self, method: str, path: str, body: Any = None, **more: Any) -> Any:
        """One management call that must be done; returns its JSON."""
        response = self.send(method, path, body, **more)
        assert response.is_success, f"{method} {path}: {response.status_code} {response.text}"
        return response.json() if response.content else None

    def key(self, *permissions: str, **more: Any) -> tuple[str, str]:
        """A new key; returns its id and its credential."""
        body = {"project_id": self.project["id"], "name": "web", "permissions": list(permissions), **more}
        issued = self.call("POST", "/v1/keys", body)
        return issued["key"]["id"], issued["credential"]

    def client(self, *redirect_uris: str, **more: Any) -> tuple[str, str]:
        """A new OAuth client that may ask for both permissions; returns its id and its secret, if it has one."""
        body = {"name": "Shop", "redirect_uris": list(redirect_uris), "scopes": ["pages:read", "pages:write"], **more}
        issued = self.call("POST", "/v1/clients", {"project_id": self.project["id"], **body})
        return issued["client"]["id"], issued.get("client_secret") or ""

    def verify(self, credential: str, *, at: Authority | None = None, **more: Any) -> Any:
        """The JSON answer of one verify, over a connection of its own."""
        return self.call("POST", "/v1/verify", {"credential": credential, **more}, at=at)

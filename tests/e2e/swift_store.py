"""A small object store in the manner of Swift: accounts, containers, objects and segments, guarded by /v1/verify.

The token comes in `X-Auth-Token`, and Keybearer is asked about it at every request: nothing is remembered here.
"""

from __future__ import annotations

import hashlib
import http.server
import json
import threading
import time
from dataclasses import dataclass, field
from email.utils import formatdate
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from tests.e2e.shop import Shop
from tests.support.authority import Authority
from tests.support.ports import free_port


@dataclass
class Stored:
    """An object: its bytes, what the client said about it, and the prefix of its segments, if it is large."""

    data: bytes
    kind: str
    meta: dict[str, str] = field(default_factory=dict)
    manifest: str = ""
    at: float = field(default_factory=time.time)


@dataclass
class Account:
    """What one project has: containers of objects, and metadata."""

    containers: dict[str, dict[str, Stored]] = field(default_factory=dict)
    meta: dict[str, str] = field(default_factory=dict)
    container_meta: dict[str, dict[str, str]] = field(default_factory=dict)


class SwiftStore:
    """Serves on a free port of 127.0.0.1; `guard` gives it the world whose tokens it takes."""

    def __init__(self) -> None:
        self.port = free_port()
        self.accounts: dict[str, Account] = {}
        self.refused = 0
        self.shop: Shop | None = None
        self.api = ""
        self.at: Authority | None = None
        store = self

        class Handler(_Handler):
            pass

        Handler.store = store
        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", self.port), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        """What stands in the catalogue."""
        return f"http://127.0.0.1:{self.port}/v1/AUTH_{{project_id}}"

    def guard(self, shop: Shop, api: str, *, at: Authority | None = None) -> None:
        """Begins to take tokens for an API of this world, and asks its node about them, or another one."""
        self.shop, self.api, self.at = shop, api, at

    def stop(self) -> None:
        """Ends it."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(10)


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    store: SwiftStore

    def do_GET(self) -> None:
        self._serve()

    do_HEAD = do_PUT = do_POST = do_DELETE = do_GET

    def _serve(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length") or 0))
        if self.headers.get("transfer-encoding", "").lower() == "chunked":
            while size := int(self.rfile.readline(), 16):
                body += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
        parts = urlsplit(self.path)
        query = {name: values[-1] for name, values in parse_qs(parts.query, keep_blank_values=True).items()}
        account, container, name = ([unquote(part) for part in parts.path.split("/", 4)[2:]] + [""] * 3)[:3]
        if not parts.path.startswith("/v1/AUTH_"):
            return self._answer(404)
        status = self._guarded(account.removeprefix("AUTH_"))
        if status:
            self.store.refused += 1
            return self._answer(status)
        held = self.store.accounts.setdefault(account, Account())
        if name:
            return self._object(held, container, name, body)
        if container:
            return self._container(held, container, query)
        return self._account(held, query)

    def _guarded(self, project_id: str) -> int:
        """Ask Keybearer; returns the status of a refusal, or 0."""
        shop = self.store.shop
        assert shop is not None
        wanted = "objects:read" if self.command in ("GET", "HEAD") else "objects:write"
        answer = shop.verify(
            self.headers.get("x-auth-token") or "none",
            api=self.store.api,
            accept=["access_token"],
            permissions=[wanted],
            method=self.command,
            at=self.store.at,
        )
        if not answer["valid"]:
            return 403 if answer["code"] == "INSUFFICIENT_PERMISSIONS" else 401
        return 0 if answer["principal"]["project_id"] == project_id else 403

    # Resources.

    def _account(self, held: Account, query: dict[str, str]) -> None:
        if self.command == "POST":
            held.meta |= self._meta("x-account-meta-")
            return self._answer(204)
        sizes = {name: self._size(held, objects) for name, objects in held.containers.items()}
        headers = {
            "x-account-container-count": str(len(sizes)),
            "x-account-object-count": str(sum(len(objects) for objects in held.containers.values())),
            "x-account-bytes-used": str(sum(sizes.values())),
            **held.meta,
        }
        listed = [
            {"name": name, "count": len(held.containers[name]), "bytes": sizes[name]}
            for name in sorted(sizes)
            if name > query.get("marker", "")
        ]
        return self._listing(listed, headers)

    def _container(self, held: Account, container: str, query: dict[str, str]) -> None:
        objects = held.containers.get(container)
        if self.command == "PUT":
            held.containers.setdefault(container, {})
            return self._answer(201 if objects is None else 202)
        if objects is None:
            return self._answer(404)
        if self.command == "POST":
            held.container_meta.setdefault(container, {}).update(self._meta("x-container-meta-"))
            return self._answer(204)
        if self.command == "DELETE":
            if objects:
                return self._answer(409)
            del held.containers[container]
            return self._answer(204)
        headers = {
            "x-container-object-count": str(len(objects)),
            "x-container-bytes-used": str(self._size(held, objects)),
            **held.container_meta.get(container, {}),
        }
        listed = [
            {
                "name": name,
                "bytes": len(one.data),
                "hash": hashlib.md5(one.data).hexdigest(),
                "content_type": one.kind,
                "last_modified": time.strftime("%Y-%m-%dT%H:%M:%S.000000", time.gmtime(one.at)),
            }
            for name, one in sorted(objects.items())
            if name > query.get("marker", "") and name.startswith(query.get("prefix", ""))
        ]
        return self._listing(listed, headers)

    def _object(self, held: Account, container: str, name: str, body: bytes) -> None:
        objects = held.containers.get(container)
        if objects is None:
            return self._answer(404)
        if self.command == "PUT":
            one = Stored(
                body,
                self.headers.get("content-type") or "application/octet-stream",
                self._meta("x-object-meta-"),
                unquote(self.headers.get("x-object-manifest") or ""),
            )
            objects[name] = one
            return self._answer(201, {"etag": hashlib.md5(body).hexdigest()})
        found = objects.get(name)
        if found is None:
            return self._answer(404)
        if self.command == "POST":
            found.meta = self._meta("x-object-meta-")
            return self._answer(202)
        if self.command == "DELETE":
            del objects[name]
            return self._answer(204)
        data = self._data(held, found)
        headers = {
            "content-type": found.kind,
            "etag": f'"{hashlib.md5(data).hexdigest()}"' if found.manifest else hashlib.md5(data).hexdigest(),
            "last-modified": formatdate(found.at, usegmt=True),
            "x-timestamp": f"{found.at:.5f}",
            **found.meta,
        }
        if found.manifest:
            headers["x-object-manifest"] = found.manifest
        return self._answer(200, headers, data)

    # Helpers.

    def _data(self, held: Account, one: Stored) -> bytes:
        if not one.manifest:
            return one.data
        container, _, prefix = one.manifest.partition("/")
        segments = held.containers.get(container, {})
        return b"".join(segments[name].data for name in sorted(segments) if name.startswith(prefix))

    def _size(self, held: Account, objects: dict[str, Stored]) -> int:
        return sum(len(one.data) for one in objects.values())

    def _meta(self, prefix: str) -> dict[str, str]:
        return {name.lower(): value for name, value in self.headers.items() if name.lower().startswith(prefix)}

    def _listing(self, listed: list[dict[str, Any]], headers: dict[str, str]) -> None:
        body = json.dumps(listed).encode()
        self._answer(200, {**headers, "content-type": "application/json"}, body)

    def _answer(self, status: int, headers: dict[str, str] | None = None, body: bytes = b"") -> None:
        self.send_response(status)
        for name, value in {"content-length": str(len(body)), "x-trans-id": "tx", **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, *arguments: Any) -> None:
        """Stay quiet."""

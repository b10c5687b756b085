"""An OpenID provider whose every answer a test can bend, behind real TLS on loopback; and the way through it."""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

import httpx
from joserfc import jwk, jws

from keybearer.core.upstreams import Upstream
from keybearer.services import upstreams
from keybearer.wire.upstreams import CreateUpstream
from tests.support.authorizing import browsing
from tests.support.browser import Browser, Page
from tests.support.embedded import Embedded
from tests.support.https import HttpsServer, Received, Reply, give_fetcher, https_server

SECRET = "a secret: with+special&characters"
CLIENT = "key bearer"


@dataclass
class BentProvider:
    """Answers as a provider does. What ``claims``, ``header``, ``metadata`` and ``answer`` say overrides that.

    A value of ``None`` leaves a member out.
    """

    server: HttpsServer
    world: Embedded
    key: Any = field(default_factory=lambda: jwk.ECKey.generate_key("P-256"))
    published: list[dict[str, Any]] = field(default_factory=list)
    claims: dict[str, Any] = field(default_factory=dict)
    header: dict[str, Any] = field(default_factory=dict)
    metadata: dict[str, Any] = field(default_factory=dict)
    answer: dict[str, Any] = field(default_factory=dict)
    userinfo: dict[str, Any] = field(default_factory=dict)
    token_status: int = 200
    written: str = ""
    """An ID token to answer with as it is."""
    asked: dict[str, str] = field(default_factory=dict)
    """The parameters of the last authorization request."""

    @property
    def issuer(self) -> str:
        return self.server.url

    @property
    def public(self) -> dict[str, Any]:
        return {**self.key.as_dict(private=False), "kid": "k1", "alg": "ES256", "use": "sig"}

    async def handle(self, request: Received) -> Reply:
        path = urlsplit(request.target).path
        if path == "/.well-known/openid-configuration":
            return _json(_bent(self._metadata(), self.metadata))
        if path == "/jwks":
            return _json({"keys": self.published or [self.public]})
        if path == "/userinfo":
            return _json(self.userinfo)
        assert path == "/token", path
        said = {"access_token": "at-1", "token_type": "Bearer", "expires_in": 60, "id_token": self.id_token()}
        return _json(_bent(said, self.answer), self.token_status)

    def _metadata(self) -> dict[str, Any]:
        paths = {"token_endpoint": "/token", "jwks_uri": "/jwks", "authorization_endpoint": "/authorize?tenant=1"}
        return {"issuer": self.issuer, **{name: self.issuer + path for name, path in paths.items()}}

    def id_token(self) -> str:
        now = self.world.clock.now() // 1_000_000
        usual = {
            "iss": self.issuer,
            "sub": "subject-1",
            "aud": CLIENT,
            "iat": now,
            "exp": now + 300,
            "nonce": self.asked.get("nonce", ""),
            "at_hash": _b64(sha256(b"at-1").digest()[:16]),
            "email": "ada@example.com",
            "email_verified": True,
            "name": "Ada Lovelace",
        }
        if self.written:
            return self.written
        header = _bent({"alg": "ES256", "kid": "k1", "typ": "JWT"}, self.header)
        return self.sign(_bent(usual, self.claims), header)

    def sign(self, claims: dict[str, Any], header: dict[str, Any], key: Any = None) -> str:
        return jws.serialize_compact(header, json.dumps(claims).encode(), key or self.key, algorithms=[header["alg"]])

    @property
    def token_requests(self) -> list[Received]:
        return [one for one in self.server.received if one.target == "/token"]


def _bent(usual: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in {**usual, **changes}.items() if value is not None}


def _json(said: Any, status: int = 200) -> Reply:
    return Reply(status, json.dumps(said).encode(), {"content-type": "application/json"})


def _b64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


@dataclass
class Visitor:
    """A browser at the authority that goes to the provider and comes back."""

    browser: Browser
    upstream: Upstream
    provider: BentProvider

    async def leave(self, **query: str) -> dict[str, str]:
        """Press the button; returns the parameters of the request that the provider gets."""
        suffix = f"?{urlencode(query)}" if query else ""
        page = await self.browser.get(f"/sign-in/with/{self.upstream.id}{suffix}", follow=False)
        assert page.status == 303, page.text
        assert page.location.startswith(self.provider.issuer + "/authorize?tenant=1&")
        self.provider.asked = dict(parse_qsl(urlsplit(page.location).query, strict_parsing=True))
        return self.provider.asked

    async def come_back(self, *, follow: bool = False, **answer: str | None) -> Page:
        """Bring the provider's answer; a value of ``None`` leaves a parameter out."""
        usual = {"code": "c-1", "state": self.provider.asked["state"], **answer}
        query = urlencode({name: value for name, value in usual.items() if value is not None})
        return await self.browser.get(f"/sign-in/callback?{query}", follow=follow)

    async def go(self, **query: str) -> Page:
        """There and back."""
        await self.leave(**query)
        return await self.come_back()

    @property
    def session(self) -> str | None:
        """The session cookie that the browser has."""
        return self.browser.http.cookies.get("__Host-kb_session")


async def make_upstream(world: Embedded, issuer: str, **changes: Any) -> Upstream:
    body = {"name": "Elsewhere", "client_id": CLIENT, "client_secret": SECRET, **changes}
    made = await upstreams.create(world.authority, world.root, CreateUpstream(issuer=issuer, **body))
    return await world.store.get(Upstream, made.id)


@asynccontextmanager
async def bent_provider(world: Embedded, folder: Path) -> AsyncIterator[BentProvider]:
    """A provider that this authority may reach."""
    async with https_server(folder) as server:
        provider = BentProvider(server, world)
        server.handler = provider.handle
        give_fetcher(world.authority, server.fetcher())
        yield provider


@asynccontextmanager
async def visiting(world: Embedded, provider: BentProvider, upstream: Upstream) -> AsyncIterator[Visitor]:
    """A browser that nobody has signed in with yet."""
    async with browsing(world) as browser:
        yield Visitor(browser, upstream, provider)


def forwarded_to(web: Any) -> Any:
    """A handler that lets a web application answer, as a server with TLS in front of it would."""

    async def handle(request: Received) -> Reply:
        transport = httpx.ASGITransport(web, raise_app_exceptions=False, client=("192.0.2.9", 1234))
        url = f"https://{request.headers['host']}{request.target}"
        async with httpx.AsyncClient(transport=transport) as http:
            sent = {name: value for name, value in request.headers.items() if name not in ("host", "content-length")}
            answer = await http.request(request.method, url, content=request.body, headers=sent)
        headers = {"content-type": answer.headers.get("content-type", "text/plain")}
        return Reply(answer.status_code, answer.content, headers)

    return handle

"""A relying party as the certification suite plays it: registered dynamically, with a browser that runs no scripts."""

from __future__ import annotations

import hashlib
import json
import secrets
from base64 import urlsafe_b64encode
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode

import httpx

from keybearer.core.instant import SECOND
from keybearer.core.users import User
from keybearer.formats import jws
from tests.support.authorizing import browsing, sign_in_at
from tests.support.browser import Browser, Page
from tests.support.embedded import Embedded, embedded
from tests.support.oauth import ASSERTION_TYPE, basic, new_key, public_of, signed
from tests.support.people import make_user

KEY, OTHER_KEY = new_key("RSA"), new_key("RSA")
ISSUER = "https://op.example.com"
CALLBACK = "https://suite.example.net/test/a/keybearer/callback"
POST_LOGOUT = "https://suite.example.net/test/a/keybearer/post_logout_redirect"
CLAIMS: dict[str, Any] = {
    "given_name": "Ada",
    "family_name": "Lovelace",
    "middle_name": "King",
    "nickname": "ada",
    "preferred_username": "ada",
    "profile": "https://example.com/ada",
    "picture": "https://example.com/ada.png",
    "website": "https://example.com",
    "gender": "female",
    "birthdate": "1815-12-10",
    "zoneinfo": "Europe/London",
    "locale": "en-GB",
    "phone_number": "+44 20 7946 0000",
    "phone_number_verified": False,
    "address": {"formatted": "12 St James's Square\nLondon", "locality": "London", "country": "GB"},
}
"""What an administrator writes down about the test user, so that every scope has all its claims."""


@dataclass
class Rehearsal:
    """The authority, its test user and the browser of the suite."""

    world: Embedded
    user: User
    browser: Browser

    @property
    def now(self) -> int:
        return self.world.clock.now() // SECOND

    async def http(self, method: str, path: str, **options: Any) -> httpx.Response:
        """A request of the suite's own, without the browser's cookies."""
        transport = httpx.ASGITransport(self.world.web, raise_app_exceptions=False, client=("192.0.2.9", 1234))
        async with httpx.AsyncClient(transport=transport, base_url=ISSUER) as client:
            return await client.request(method, path, **options)

    async def metadata(self) -> dict[str, Any]:
        answer = await self.http("GET", "/.well-known/openid-configuration")
        assert answer.status_code == 200
        assert answer.headers["content-type"].startswith("application/json")
        return dict(answer.json())

    async def keys(self) -> list[dict[str, Any]]:
        return list((await self.http("GET", "/oauth/jwks")).json()["keys"])

    async def verified(self, text: str) -> dict[str, Any]:
        """The claims of a JWT of the authority, under the one published key with its ``kid``."""
        unverified = jws.parse(text)
        [key] = [key for key in await self.keys() if key["kid"] == unverified.unverified_header["kid"]]
        return dict(jws.verify(unverified, key, jws.ASYMMETRIC))

    async def register(self, *, key: Any = None, status: int = 201, **metadata: Any) -> Party:
        """Register as ``OIDCCCreateDynamicClientRegistrationRequest`` does."""
        key = key or KEY
        asked = {
            "client_name": "keybearer rehearsal " + secrets.token_hex(4),
            "grant_types": ["authorization_code"],
            "response_types": ["code"],
            "redirect_uris": [CALLBACK],
            "contacts": ["certification@example.net"],
            "token_endpoint_auth_method": "client_secret_basic",
            "jwks": {"keys": [public_of(key, use="sig", alg="RS256")]},
            **metadata,
        }
        body = {name: value for name, value in asked.items() if value is not None}
        answer = await self.http("POST", "/oauth/register", json=body)
        assert answer.status_code == status, answer.text
        assert answer.headers["content-type"].startswith("application/json")
        return Party(self, dict(answer.json()), key)


@dataclass
class Party:
    """One client of the suite."""

    suite: Rehearsal
    registration: dict[str, Any]
    key: Any
    algorithm: str = "RS256"
    audience: str = ISSUER + "/oauth/token"
    asked: dict[str, str] = field(default_factory=dict)
    """The parameters of the last authorization request."""

    @property
    def id(self) -> str:
        return str(self.registration["client_id"])

    def request(self, **changes: Any) -> str:
        """The URL of an authorization request; ``None`` leaves a parameter out, a JSON value is written as JSON."""
        usual = {
            "client_id": self.id,
            "redirect_uri": CALLBACK,
            "scope": "openid",
            "state": secrets.token_urlsafe(8) + "~.-_",
            "nonce": secrets.token_urlsafe(8),
            "response_type": "code",
        }
        values = {name: value for name, value in {**usual, **changes}.items() if value is not None}
        self.asked = {name: value if isinstance(value, str) else json.dumps(value) for name, value in values.items()}
        return "/oauth/authorize?" + urlencode(self.asked)

    async def authorize(self, browser: Browser | None = None, **changes: Any) -> Page:
        """Go through sign-in and consent, as far as they come, and return the answer to the client."""
        browser = browser or self.suite.browser
        return await self.through(browser, await browser.get(self.request(**changes)))

    async def through(self, browser: Browser, page: Page) -> Page:
        """Fill in what is asked, by the names and ids that the documentation gives."""
        for _ in range(4):
            forms = [form.action for form in page.forms]
            if "/sign-in" in forms:
                page = await sign_in_at(browser, page, self.suite.user)
            elif "/consent" in forms:
                page = await browser.send(page, action="/consent", button="submit")
            else:
                break
        return page

    def code_in(self, page: Page) -> str:
        """The code of a successful answer, of which everything is looked at."""
        assert page.location.startswith(self.asked.get("redirect_uri", CALLBACK)), (page.status, page.text[:3000])
        answer = page.answer
        assert set(answer) >= {"code", "iss"}, answer
        assert answer["iss"] == ISSUER
        assert answer.get("state") == self.asked.get("state")
        assert len(answer["code"]) >= 22  # more than 128 bits
        return answer["code"]

    def assertion(self, **changes: Any) -> str:
        """A client assertion; ``header`` changes its header, a claim with ``None`` is left out."""
        header = {"typ": "JWT", **changes.pop("header", {})}
        now = self.suite.now
        claims = {
            "iss": self.id,
            "sub": self.id,
            "aud": self.audience,
            "jti": secrets.token_urlsafe(12),
            "nbf": now,
            "iat": now,
            "exp": now + 60,
            **changes,
        }
        claims = {name: value for name, value in claims.items() if value is not None}
        return signed(claims, self.key, self.algorithm, **header)

    def proof(self, fields: dict[str, str], headers: dict[str, str]) -> None:
        """Add what proves this client."""
        match self.registration["token_endpoint_auth_method"]:
            case "client_secret_basic":
                headers["authorization"] = basic(self.id, self.registration["client_secret"])
            case "client_secret_post":
                fields.update(client_id=self.id, client_secret=self.registration["client_secret"])
            case "private_key_jwt":
                fields.setdefault("client_assertion", self.assertion())
                fields.setdefault("client_assertion_type", ASSERTION_TYPE)

    async def post(self, path: str, fields: dict[str, str], headers: dict[str, str] | None = None) -> httpx.Response:
        """A form of this client, with its proof unless ``fields`` bring one."""
        fields, headers = dict(fields), dict(headers or {})
        self.proof(fields, headers)
        return await self.suite.http("POST", path, data=fields, headers=headers)

    async def redeem(self, code: str, headers: dict[str, str] | None = None, **changes: str) -> httpx.Response:
        fields = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": self.asked.get("redirect_uri", CALLBACK),
            **changes,
        }
        return await self.post("/oauth/token", fields, headers)

    async def tokens(self, page: Page, headers: dict[str, str] | None = None, **changes: str) -> dict[str, Any]:
        """Redeem the code in an answer and look at all that comes back, the ID token too (``claims``)."""
        answer = await self.redeem(self.code_in(page), headers, **changes)
        return await self.checked(answer)

    async def checked(self, answer: httpx.Response, *, is_renewal: bool = False) -> dict[str, Any]:
        """Look at the answer of the token endpoint; the ID token of a renewal has no nonce (OIDC Core §12.2)."""
        assert answer.status_code == 200, answer.text
        assert answer.headers["content-type"].startswith("application/json")
        assert "no-store" in answer.headers["cache-control"]
        said = dict(answer.json())
        assert said["access_token"]
        assert said["token_type"].lower() in ("bearer", "dpop")
        assert said["expires_in"] > 0
        if "id_token" in said:
            said["claims"] = await self.id_token(said["id_token"], said["access_token"])
            assert said["claims"].get("nonce") == (None if is_renewal else self.asked.get("nonce"))
        return said

    async def id_token(self, text: str, access_token: str) -> dict[str, Any]:
        """Verify an ID token as the suite does."""
        header = jws.parse(text).unverified_header
        assert header["alg"] == self.registration["id_token_signed_response_alg"]
        claims = await self.suite.verified(text)
        now = self.suite.now
        assert claims["iss"] == ISSUER
        assert claims["aud"] == self.id
        assert isinstance(claims["sub"], str)
        assert 1 <= len(claims["sub"]) <= 255
        assert now - 5 <= claims["iat"] <= now < claims["exp"]
        assert isinstance(claims["auth_time"], int)
        assert isinstance(claims["acr"], str)
        assert all(isinstance(one, str) for one in claims["amr"])
        digest = hashlib.sha256(access_token.encode()).digest()[:16]
        assert claims["at_hash"] == urlsafe_b64encode(digest).rstrip(b"=").decode()
        known = {"iss", "aud", "sub", "iat", "exp", "auth_time", "acr", "amr", "nonce", "at_hash", "c_hash", "sid"}
        wanted = json.loads(self.asked.get("claims", "{}")).get("id_token", {})
        assert set(claims) <= known | set(wanted), "a claim that nobody asked for"
        return claims

    async def userinfo(self, access_token: str) -> dict[str, Any]:
        headers = {"authorization": f"Bearer {access_token}"}
        answer = await self.suite.http("GET", "/oauth/userinfo", headers=headers)
        assert answer.status_code == 200, answer.text
        assert answer.headers["content-type"].startswith("application/json")
        return dict(answer.json())

    async def unregister(self) -> None:
        """What the suite does after each module."""
        path = self.registration["registration_client_uri"].removeprefix(ISSUER)
        headers = {"authorization": f"Bearer {self.registration['registration_access_token']}"}
        answer = await self.suite.http("DELETE", path, headers=headers)
        assert answer.status_code == 204


@asynccontextmanager
async def rehearsal(**settings: Any) -> AsyncIterator[Rehearsal]:
    """An authority set up as ``docs/certification.md`` says."""
    options = {
        "issuer": ISSUER,
        "client_registration": "open",
        "client_registrations_per_day": 100_000,
        "registered_clients_need_pkce": False,
        "assertion_audience": "token_endpoint",
        **settings,
    }
    async with embedded(**options) as world:
        user = await make_user(world, name="Ada Lovelace", email_verified=True, claims=CLAIMS)
        async with browsing(world) as browser:
            yield Rehearsal(world, user, browser)

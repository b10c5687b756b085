"""A small world of OAuth inside the test process: an API, a project, clients, users, and what users agreed to.

Records are put into the store directly, since how people sign in and agree is tested elsewhere.
"""

from __future__ import annotations

import base64
import hashlib
import json
import secrets
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import httpx
from joserfc import jwk, jws

from keybearer.core.authorization_code import AuthorizationCode
from keybearer.core.clients import SECRET_METHODS, Client, ClientAuthMethod, GrantType
from keybearer.core.credential import new_id
from keybearer.core.grants import Grant
from keybearer.core.instant import DAY, HOUR, SECOND, Instant
from keybearer.core.lifecycle import touch
from keybearer.core.records import Api, Permission, Project, Record, TokenFormat
from keybearer.core.sessions import Session
from keybearer.core.users import User
from keybearer.ports import UnitOfWork
from keybearer.services.clients import new_secret
from keybearer.services.codes import put_code
from keybearer.stores.postgresql import PostgresqlStore
from keybearer.stores.sqlite import SqliteStore
from tests.support.embedded import Embedded, embedded

ISSUER = "https://auth.example"
API = "https://orders.example"
REDIRECT = "https://app.example/callback"
VERIFIER = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"
CHALLENGE = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"
EVERY_GRANT = tuple(GrantType)


@dataclass
class Application:
    """One client and its secret, if it has one."""

    oauth: OAuth
    client: Client
    secret: str = field(default="", repr=False)

    def credentials(self, data: dict[str, Any], headers: dict[str, str]) -> None:
        """Add what proves the client, by its own method."""
        method = self.client.token_endpoint_auth_method
        if method is ClientAuthMethod.BASIC:
            headers.setdefault("authorization", basic(self.client.id, self.secret))
        else:
            data.setdefault("client_id", self.client.id)
            if method is ClientAuthMethod.POST:
                data.setdefault("client_secret", self.secret)

    async def post(
        self, path: str, data: Mapping[str, Any], headers: Mapping[str, str] | None = None
    ) -> httpx.Response:
        """One request of this client."""
        fields, more = dict(data), dict(headers or {})
        self.credentials(fields, more)
        return await self.oauth.post(path, fields, more)

    async def token(self, grant_type: str = "client_credentials", /, **data: Any) -> httpx.Response:
        """One request at the token endpoint; ``headers`` may be among the rest."""
        headers = data.pop("headers", None)
        return await self.post("/oauth/token", {"grant_type": grant_type, **data}, headers)

    async def tokens(self, grant_type: str = "client_credentials", /, **data: Any) -> dict[str, Any]:
        """What a token request that must succeed is answered."""
        answer = await self.token(grant_type, **data)
        assert answer.status_code == 200, answer.text
        return dict(answer.json())

    async def redeem(self, code: str, **data: Any) -> httpx.Response:
        """Redeem a code with the usual redirect URI and verifier; an empty value leaves a parameter out."""
        usual = {"code": code, "redirect_uri": REDIRECT, "code_verifier": VERIFIER}
        return await self.token("authorization_code", **{**usual, **data})

    async def refresh(self, refresh_token: str, **data: Any) -> httpx.Response:
        """Use a refresh token."""
        return await self.token("refresh_token", refresh_token=refresh_token, **data)


@dataclass
class OAuth:
    """The world. ``api`` understands ``orders:read``, ``orders:write`` and, restricted, ``orders:refund``."""

    world: Embedded
    api: Api
    project: Project

    async def insert(self, *records: Record) -> None:
        async def work(uow: UnitOfWork) -> None:
            for record in records:
                await uow.insert(record)
                uow.emit(f"{type(record).__name__.lower()}.create", record.id)

        await self.world.authority.store.transact(work)

    async def change(self, record: Any, **changes: Any) -> Any:
        """Change a stored record as a service would, with its event."""

        async def work(uow: UnitOfWork) -> Any:
            current = await uow.get(type(record), record.id)
            changed = touch(current, self.now, **changes)
            await uow.update(changed)
            uow.emit(f"{type(record).__name__.lower()}.update", record.id)
            return changed

        return await self.world.authority.store.transact(work)

    @property
    def now(self) -> Instant:
        return self.world.authority.clock.now()

    def _record(self, prefix: str) -> dict[str, Any]:
        now = self.now
        return {"id": prefix + new_id(now), "created_at": now, "updated_at": now}

    async def another_api(self, identifier: str, *scopes: str, **changes: Any) -> Api:
        """Another API that the project may call."""
        permissions = tuple(Permission(name) for name in scopes)
        api = Api(**self._record("api_"), identifier=identifier, name="Other", permissions=permissions, **changes)
        await self.insert(api)
        current = await self.world.authority.store.get(Project, self.project.id)
        self.project = await self.change(current, enabled_apis=(*current.enabled_apis, api.id))
        return api

    async def client(self, project: Project | None = None, **changes: Any) -> Application:
        """A confidential client that may use every grant and scope, unless it is said otherwise."""
        draft = Client(
            **{
                **self._record("client_"),
                "project_id": (project or self.project).id,
                "name": "Shop",
                "grant_types": EVERY_GRANT,
                "redirect_uris": (REDIRECT,),
                "scopes": (
                    "openid",
                    "profile",
                    "email",
                    "offline_access",
                    "orders:read",
                    "orders:write",
                    "orders:refund",
                ),
                **changes,
            }
        )
        secret = ""
        if draft.token_endpoint_auth_method in SECRET_METHODS:
            text, kept = new_secret(self.world.authority, draft, 1, self.now)
            draft, secret = replace(draft, secrets=(kept,)), text.reveal()
        await self.insert(draft)
        return Application(self, draft, secret)

    async def public_client(self, **changes: Any) -> Application:
        return await self.client(token_endpoint_auth_method=ClientAuthMethod.NONE, **changes)

    async def user(self, **changes: Any) -> User:
        record = self._record("user_")
        user = User(**{**record, "email": f"{record['id'].lower()}@example.com", "name": "Ada", **changes})
        await self.insert(user)
        return user

    async def session(self, user: User, **changes: Any) -> Session:
        now = self.now
        session = Session(
            **{
                **self._record("sess_"),
                "user_id": user.id,
                "digest": b"d" * 32,
                "pepper_id": "p",
                "authenticated_at": now,
                "expires_at": Instant(now + 30 * DAY),
                "idle_in": 30 * DAY,
                "seen_at": now,
                "amr": ("pwd",),
                "acr": "urn:example:one",
                **changes,
            }
        )
        await self.insert(session)
        return session

    async def grant(self, user: User, application: Application, **changes: Any) -> Grant:
        grant = Grant(
            **{
                **self._record("grant_"),
                "user_id": user.id,
                "client_id": application.client.id,
                "project_id": application.client.project_id,
                "scopes": application.client.scopes,
                **changes,
            }
        )
        await self.insert(grant)
        return grant

    async def consent(self, application: Application, **changes: Any) -> Consent:
        """A user who is signed in and agreed to everything."""
        user = await self.user()
        session = await self.session(user)
        return Consent(self, application, user, session, await self.grant(user, application, **changes))

    async def post(
        self,
        path: str,
        data: Mapping[str, Any] | bytes,
        headers: Mapping[str, str] | None = None,
        *,
        client: tuple[str, int] = ("192.0.2.1", 1234),
    ) -> httpx.Response:
        """One form, sent by nobody in particular. A parameter with ``None`` is left out."""
        content = data
        if not isinstance(content, bytes):
            given = {name: value for name, value in dict(data).items() if value is not None}
            content = urlencode(given, doseq=True).encode()
        more = {"content-type": "application/x-www-form-urlencoded", **(headers or {})}
        async with self.world.http("", client=client) as http:
            return await http.post(path, content=content, headers=more)

    async def introspect(self, token: str, **data: Any) -> dict[str, Any]:
        """What introspection tells a service key of the authority itself about a token."""
        answer = await self.post(
            "/oauth/introspect", {"token": token, **data}, {"authorization": f"Bearer {self.world.root_key}"}
        )
        assert answer.status_code == 200, answer.text
        return dict(answer.json())

    async def is_active(self, token: str) -> bool:
        return bool((await self.introspect(token))["active"])

    async def audit(self, action: str) -> list[Any]:
        entries = await self.world.authority.store.audit_page(0, 1000)
        return [entry.draft for entry in entries if entry.draft.action == action]

    def move(self, seconds: float) -> None:
        self.world.clock.move(seconds)


@dataclass
class Consent:
    """A user who is signed in, and what that user allowed a client."""

    oauth: OAuth
    application: Application
    user: User
    session: Session
    grant: Grant

    async def code(self, **changes: Any) -> str:
        """An authorization code, as the authorize endpoint would have made it."""
        authority = self.oauth.world.authority
        code = AuthorizationCode(
            **{
                "client_id": self.application.client.id,
                "user_id": self.user.id,
                "grant_id": self.grant.id,
                "session_id": self.session.id,
                "scopes": ("openid", "orders:read", "orders:write"),
                "authenticated_at": self.session.authenticated_at,
                "redirect_uri": REDIRECT,
                "code_challenge": CHALLENGE,
                "nonce": "n-1",
                "amr": self.session.amr,
                "acr": self.session.acr,
                **changes,
            }
        )

        async def work(uow: UnitOfWork) -> str:
            return (await put_code(uow, authority, code)).reveal()

        return await authority.store.transact(work)

    async def tokens(self, **changes: Any) -> dict[str, Any]:
        """What redeeming a code gives."""
        answer = await self.application.redeem(await self.code(**changes))
        assert answer.status_code == 200, answer.text
        return dict(answer.json())


@asynccontextmanager
async def oauth_world(engine: str = "memory", folder: Path | None = None, **settings: Any) -> AsyncIterator[OAuth]:
    """A world over ``memory``, ``sqlite``, or PostgreSQL where that is the address of a database."""

    def make(audit_key: bytes, *, clock: Any) -> Any:
        if engine != "sqlite":
            return PostgresqlStore(engine, audit_key, clock=clock)
        assert folder is not None
        return SqliteStore(folder / "keybearer.db", audit_key, clock=clock)

    options = {"issuer": ISSUER, **settings}
    async with embedded(make_store=None if engine == "memory" else make, **options) as world:
        now = world.authority.clock.now()
        at = {"created_at": now, "updated_at": now}
        permissions = (
            Permission("orders:read", "See orders."),
            Permission("orders:write", "Change orders."),
            Permission("orders:refund", "Give money back.", restricted=True),
        )
        api = Api(id="api_" + new_id(now), **at, identifier=API, name="Orders", permissions=permissions)
        project = Project(id="proj_" + new_id(now), **at, name="Shop", enabled_apis=(api.id,))
        oauth = OAuth(world, api, project)
        await oauth.insert(api, project)
        yield oauth


def basic(client_id: str, secret: str) -> str:
    """The header of ``client_secret_basic``."""
    return "Basic " + base64.b64encode(f"{client_id}:{secret}".encode()).decode()


def error_of(answer: httpx.Response) -> tuple[int, str]:
    """The status and the error code of a refusal, whose form is checked too."""
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["cache-control"] == "no-store"
    body = answer.json()
    assert set(body) == {"error", "error_description"}, body
    assert body["error_description"]
    return answer.status_code, body["error"]


# Keys and JWTs of others.


def new_key(kty: str = "EC") -> Any:
    """A fresh key pair of a client."""
    if kty == "RSA":
        return jwk.RSAKey.generate_key(2048)
    return jwk.OKPKey.generate_key("Ed25519") if kty == "OKP" else jwk.ECKey.generate_key("P-256")


def public_of(key: Any, **members: Any) -> dict[str, Any]:
    """The public JWK."""
    return {**key.as_dict(private=False), **members}


def signed(claims: Mapping[str, Any], key: Any, alg: str = "ES256", **header: Any) -> str:
    """A compact JWS; what is ``None`` in the header is left out of it."""
    protected = {name: value for name, value in {"alg": alg, **header}.items() if value is not None}
    registry = jws.JWSRegistry(algorithms=[alg], strict_check_header=False)  # any header may be tried
    return str(jws.serialize_compact(protected, json.dumps(claims), key, registry=registry))


def claims_in(text: str) -> dict[str, Any]:
    """The claims of a JWT, unverified."""
    part = text.split(".")[1]
    return dict(json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))))


def header_in(text: str) -> dict[str, Any]:
    """The header of a JWT, unverified."""
    part = text.split(".")[0]
    return dict(json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))))


def proof(oauth: OAuth, key: Any, *, method: str = "POST", path: str = "/oauth/token", **changes: Any) -> str:
    """A DPoP proof for this authority; ``header`` changes its header, a claim with ``None`` is left out."""
    header = {"typ": "dpop+jwt", "jwk": public_of(key), **changes.pop("header", {})}
    alg = changes.pop("alg", "ES256")
    claims = {
        "jti": secrets.token_urlsafe(12),
        "htm": method,
        "htu": ISSUER + path,
        "iat": oauth.now // SECOND,
        **changes,
    }
    return signed({name: value for name, value in claims.items() if value is not None}, key, alg, **header)


def ath(access_token: str) -> str:
    """The hash of an access token that a proof at an API carries."""
    return base64.urlsafe_b64encode(hashlib.sha256(access_token.encode()).digest()).rstrip(b"=").decode()


def assertion(oauth: OAuth, application: Application, key: Any, alg: str = "ES256", **changes: Any) -> str:
    """A client assertion; ``header`` changes its header, a claim with ``None`` is left out."""
    header = changes.pop("header", {})
    now = oauth.now // SECOND
    claims = {
        "iss": application.client.id,
        "sub": application.client.id,
        "aud": ISSUER,
        "jti": secrets.token_urlsafe(12),
        "iat": now,
        "exp": now + 60,
        **changes,
    }
    return signed({name: value for name, value in claims.items() if value is not None}, key, alg, **header)


ASSERTION_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
JWT = TokenFormat.JWT
AN_HOUR = HOUR

"""Users, clients, grants and tokens to try stores with."""

from typing import Any

from keybearer.core.artefacts import Artefact, ArtefactKind
from keybearer.core.clients import Client
from keybearer.core.grants import Grant
from keybearer.core.instant import DAY, MINUTE, Instant
from keybearer.core.records import Permission
from keybearer.core.routes import Bff, Cors, Injection, InjectionPlace, Route
from keybearer.core.sessions import Session
from keybearer.core.signing_keys import SigningKey
from keybearer.core.tokens import AccessToken, TokenFamily
from keybearer.core.upstream_secrets import UpstreamSecret
from keybearer.core.upstreams import Upstream
from keybearer.core.users import Factors, Link, Passkey, Totp, User
from keybearer.ports import Store, UnitOfWork
from tests.contract.making import NOW, api, days, insert, plan, project

BORN: dict[str, Any] = {"created_at": NOW, "updated_at": NOW}


def user(number: int = 1, **changes: Any) -> User:
    return User(**{"id": f"user_{number:04}", "email": f"user{number}@example.com", **BORN, **changes})


def factors(number: int = 1, **changes: Any) -> Factors:
    given = {
        "id": f"fac_{number:04}",
        "user_id": f"user_{number:04}",
        "password_hash": "$argon2id$…",
        "totp": Totp(b"\0sealed", NOW, last_step=7),
        "passkeys": (Passkey(b"\0\xff", b"key", 3, "Laptop", NOW, ("usb",)),),
        "recovery_digests": (b"one", b"\0two"),
    }
    return Factors(**{**given, **BORN, **changes})


def link(number: int = 1, **changes: Any) -> Link:
    given = {"id": f"lnk_{number:04}", "user_id": "user_0001", "issuer": "https://idp", "subject": f"s{number}"}
    return Link(**{**given, **BORN, **changes})


def client(number: int = 1, **changes: Any) -> Client:
    given = {"id": f"client_{number:04}", "project_id": "proj_0001", "name": "App", "scopes": ("orders:read", "x")}
    return Client(**{**given, **BORN, **changes})


def consent(number: int = 1, **changes: Any) -> Grant:
    given = {"id": f"grant_{number:04}", "user_id": "user_0001", "client_id": "client_0001", "project_id": "proj_0001"}
    return Grant(**{**given, "scopes": ("orders:read", "openid"), "resources": ("api_0001",), **BORN, **changes})


def session(number: int = 1, **changes: Any) -> Session:
    given = {
        "id": f"sess_{number:04}",
        "user_id": "user_0001",
        "digest": b"\0d",
        "pepper_id": "p1",
        "authenticated_at": NOW,
        "expires_at": days(7),
        "idle_in": DAY,
        "seen_at": NOW,
    }
    return Session(**{**given, **BORN, **changes})


def signing_key(number: int = 1, **changes: Any) -> SigningKey:
    given = {"id": f"sig_{number:04}", "algorithm": "ES256", "public_jwk": {"kty": "EC"}, "sealed": b"\0s"}
    return SigningKey(**{**given, "activates_at": NOW, **BORN, **changes})


def upstream(number: int = 1, **changes: Any) -> Upstream:
    given = {"id": f"idp_{number:04}", "name": "Firm", "issuer": "https://idp.example", "client_id": "there"}
    return Upstream(**{**given, **BORN, **changes})


def route(number: int = 1, **changes: Any) -> Route:
    given: dict[str, Any] = {"id": f"rte_{number:04}", "name": "maps", "upstream": "https://maps.example"}
    inject = (Injection("maps-key", InjectionPlace.QUERY, "key"),)
    given |= {"api": "api_0001", "inject": inject, "cors": Cors(("https://app.example",)), "bff": Bff("client_0001")}
    return Route(**{**given, **BORN, **changes})


def upstream_secret(number: int = 1, **changes: Any) -> UpstreamSecret:
    given: dict[str, Any] = {"id": f"sec_{number:04}", "name": "maps-key", "sealed": b"\0s"}
    return UpstreamSecret(**{**given, **BORN, **changes})


def token(number: int = 1, **changes: Any) -> AccessToken:
    """An opaque token that came from a user's consent."""
    given: dict[str, Any] = {
        "id": f"at_{number:04}",
        "client_id": "client_0001",
        "project_id": "proj_0001",
        "issued_at": NOW,
        "expires_at": Instant(NOW + 10 * MINUTE),
        "subject": "user_0001",
        "scopes": ("openid", "orders:read"),
        "api_id": "api_0001",
        "user_id": "user_0001",
        "grant_id": "grant_0001",
        "session_id": "sess_0001",
        "family_id": "rt_0001",
        "digest": bytes(range(32)),
        "pepper_id": "p1",
    }
    return AccessToken(**{**given, **changes})


def machine_token(number: int = 1, **changes: Any) -> AccessToken:
    """An opaque token that a client got for itself."""
    given = dict.fromkeys(("user_id", "grant_id", "session_id", "family_id"))
    return token(number, **{**given, "subject": "client_0001", "scopes": ("orders:read",), **changes})


def family(number: int = 1, **changes: Any) -> TokenFamily:
    given: dict[str, Any] = {
        "id": f"rt_{number:04}",
        "client_id": "client_0001",
        "project_id": "proj_0001",
        "user_id": "user_0001",
        "subject": "user_0001",
        "created_at": NOW,
        "rotated_at": NOW,
        "expires_at": days(30),
        "idle_in": 14 * DAY,
        "digest": b"\0" * 32,
        "pepper_id": "p1",
        "grant_id": "grant_0001",
        "session_id": "sess_0001",
        "scopes": ("openid", "orders:read"),
    }
    return TokenFamily(**{**given, **changes})


def artefact(artefact_id: str = "a1", **changes: Any) -> Artefact:
    given: dict[str, Any] = {"kind": ArtefactKind.AUTHORIZATION_CODE, "id": artefact_id, "created_at": NOW}
    return Artefact(
        **{**given, "expires_at": Instant(NOW + MINUTE), "digest": b"\0d", "subject": "user_0001", **changes}
    )


async def furnish(store: Store) -> None:
    """Insert all that `token()` points at."""
    understood = (Permission("orders:read"), Permission("x"))
    await insert(store, plan(), project(plan_id="plan_0001"), api(permissions=understood), user(), client(), consent())
    await insert(store, session())

    async def add(unit: UnitOfWork) -> None:
        await unit.add_family(family())
        await unit.add_token(token())
        await unit.add_token(machine_token(2))

    await store.transact(add)

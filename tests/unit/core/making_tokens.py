"""Access tokens and what they come from, for tests of the core."""

from __future__ import annotations

from typing import Any

from keybearer.core.clients import Client
from keybearer.core.grants import Grant
from keybearer.core.instant import DAY
from keybearer.core.records import Api, KeyRecord, Permission, Plan, Project
from keybearer.core.sessions import Session
from keybearer.core.tokens import AccessToken, TokenRecord, token_record
from keybearer.core.users import User

from .making import EARLIER, LATER, NOW, api, project

BORN: dict[str, Any] = {"created_at": EARLIER, "updated_at": EARLIER}
UNDERSTOOD = (
    Permission("orders:read"),
    Permission("orders:write"),
    Permission("orders:refund", restricted=True),
)


def shop_api(**changes: Any) -> Api:
    return api(**{"permissions": UNDERSTOOD, **changes})


def client(**changes: Any) -> Client:
    scopes = ("orders:read", "orders:write", "orders:refund")
    return Client(**{"id": "client_1", "project_id": "proj_1", "name": "App", "scopes": scopes, **BORN, **changes})


def user(**changes: Any) -> User:
    return User(**{"id": "user_1", "email": "ann@example.com", **BORN, **changes})


def grant(**changes: Any) -> Grant:
    given = {"id": "grant_1", "user_id": "user_1", "client_id": "client_1", "project_id": "proj_1"}
    return Grant(**{**given, "scopes": ("openid", "orders:read", "orders:refund"), **BORN, **changes})


def session(**changes: Any) -> Session:
    given = {"id": "sess_1", "user_id": "user_1", "digest": b"d", "pepper_id": "p", "authenticated_at": EARLIER}
    return Session(**{**given, "expires_at": LATER, "idle_in": DAY, "seen_at": NOW, **BORN, **changes})


def token(**changes: Any) -> AccessToken:
    given: dict[str, Any] = {
        "id": "at_1",
        "client_id": "client_1",
        "project_id": "proj_1",
        "issued_at": EARLIER,
        "expires_at": LATER,
        "subject": "user_1",
        "scopes": ("openid", "orders:read", "orders:write", "orders:refund"),
        "api_id": "api_1",
        "user_id": "user_1",
        "grant_id": "grant_1",
        "session_id": "sess_1",
        "family_id": "rt_1",
        "digest": b"d" * 32,
        "pepper_id": "p",
    }
    return AccessToken(**{**given, **changes})


def of_user(
    of_token: AccessToken | None = None,
    of_client: Client | None = None,
    of_project: Project | None = None,
    of_api: Api | None = None,
    of_user: User | None = None,
    of_grant: Grant | None = None,
    of_session: Session | None = None,
    **rest: Any,
) -> TokenRecord:
    """A token that a user consented to, with everything there."""
    given: dict[str, Any] = {
        "api": of_api or shop_api(),
        "user": of_user or user(),
        "grant": of_grant or grant(),
        "session": of_session or session(),
    }
    return token_record(1, of_token or token(), of_client or client(), of_project or project(), **{**given, **rest})


def of_client(
    of_client: Client | None = None, key: KeyRecord | None = None, plan: Plan | None = None, **changes: Any
) -> TokenRecord:
    """A token that a client got for itself, or for an API key."""
    given: dict[str, Any] = dict.fromkeys(("user_id", "grant_id", "session_id", "family_id"))
    made = token(**{**given, "subject": "client_1", "scopes": ("orders:read", "orders:write"), **changes})
    return token_record(1, made, of_client or client(), project(), api=shop_api(), key=key, plan=plan)

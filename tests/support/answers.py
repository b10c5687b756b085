"""What a Keybearer answers, for tests without one."""

import json
from collections.abc import Callable
from typing import Any

import httpx

NOW = "2026-01-02T03:04:05Z"
URL = "https://keys.example.com"
KEY = "kb_sk_live_0000000000000000_SECRETSECRETSECRETSECRETSECRET12abcdef"

RECORD = {"state": "enabled", "revision": 1, "created_at": NOW, "updated_at": NOW, "deleted_at": None}
API = {
    **RECORD,
    "id": "api_1",
    "identifier": "https://orders.example",
    "name": "Orders",
    "permissions": [{"name": "orders:read", "description": "", "read_only": True, "restricted": False}],
    "accepts": ["secret_key"],
    "token_format": "opaque",
    "token_in": None,
    "key_header": "x-api-key",
    "allow_publishable_in_query": False,
    "token_cookie": "",
    "default_plan_id": None,
    "metadata": {},
}
PROJECT = {
    **RECORD,
    "id": "proj_1",
    "name": "Shop",
    "brand": "kb",
    "enabled_apis": ["api_1"],
    "plan_id": None,
    "metadata": {},
}
PLAN = {
    **RECORD,
    "id": "plan_1",
    "name": "Free",
    "limits": [{"name": "requests", "limit": 100, "period_in": 60, "burst": 20, "automatic": True}],
    "quotas": [{"name": "calls", "limit": 1000, "per": "month", "automatic": True}],
    "metadata": {},
}
CREDITS = {"balance": 7, "granted": 10, "spent": 3, "refill": None, "refills_at": None}
IDENTITY = {
    **RECORD,
    "id": "idn_1",
    "project_id": "proj_1",
    "external_id": "customer-7",
    "name": "",
    "limits": [],
    "quotas": [],
    "credits": CREDITS,
    "metadata": {},
}
USER = {
    **RECORD,
    "id": "user_1",
    "email": "ada@example.com",
    "email_verified": True,
    "name": "Ada",
    "claims": {"given_name": "Ada"},
    "permissions": ["orders:approve"],
    "metadata": {},
}
UPSTREAM = {
    **RECORD,
    "id": "idp_1",
    "name": "Example",
    "issuer": "https://accounts.example.com",
    "client_id": "keybearer",
    "has_secret": True,
    "scopes": ["openid", "email"],
    "creates_users": False,
    "links_by_email": True,
    "redirect_uri": "https://keys.example.com/sign-in/callback",
}
ROUTE = {
    **RECORD,
    "id": "rte_1",
    "name": "maps",
    "upstream": "https://maps.example.com",
    "host": "",
    "path": "/maps",
    "methods": ["GET"],
    "strip_path": False,
    "preserve_host": False,
    "public": False,
    "api": "urn:maps",
    "permissions": "maps:read",
    "cost": 1,
    "accepts": [],
    "acr_values": [],
    "inject": [{"secret": "maps-key", "place": "query", "name": "key"}],
    "identity_headers": True,
    "phantom_token": False,
    "connect_in": 5,
    "response_in": 60,
    "idle_in": 300,
    "retries": 1,
    "max_body": 10485760,
    "max_connections": 100,
    "cors": None,
    "bff": None,
    "session": "",
}
UPSTREAM_SECRET = {**RECORD, "id": "sec_1", "name": "maps-key", "version": 2, "description": "Maps"}
INCIDENT = {
    **RECORD,
    "id": "inc_1",
    "status": "open",
    "project_id": "proj_1",
    "kind": "secret_key",
    "environment": "live",
    "credential_id": "0000000000000000",
    "version": 1,
    "name": "shop",
    "key_id": "key_1",
    "client_id": None,
    "owner": "ada@example.com",
    "action": "revoked",
    "first_seen_at": NOW,
    "last_seen_at": NOW,
    "resolved_at": None,
    "sighted": 2,
    "sightings": [
        {
            "kind": "log",
            "name": "access.log",
            "reported_at": NOW,
            "line": 7,
            "column": 3,
            "at": NOW,
            "client_ip": "192.0.2.1",
            "commit": None,
        }
    ],
    "history": [{"at": NOW, "what": "revoked", "actor": "key_2", "note": ""}],
    "requests_from": "key_1",
    "requests": [{"at": NOW, "code": "VALID", "count": 3}],
    "requesters": [{"source": "192.0.2.1", "code": "VALID", "count": 3}],
    "requests_truncated": False,
}
WEBHOOK = {
    **RECORD,
    "id": "hook_1",
    "project_id": "proj_1",
    "name": "pager",
    "url": "https://pager.example.com/keybearer",
    "events": ["incident.opened"],
    "secrets": [{"number": 1, "created_at": NOW, "expires_at": None}],
}
ISSUED_WEBHOOK = {"webhook": WEBHOOK, "secret": "whsec_c2VjcmV0"}
DELIVERY = {
    **RECORD,
    "id": "msg_1",
    "webhook_id": "hook_1",
    "event": "incident.opened",
    "status": "dead",
    "attempts": 10,
    "answered": 503,
    "why": "it answered 503",
    "due_at": None,
    "settled_at": NOW,
}
URL_REPORT = {
    "start": NOW,
    "end": NOW,
    "uses": [
        {
            "project_id": "proj_1",
            "key_id": "key_1",
            "source": "192.0.2.1",
            "code": "KIND_NOT_ACCEPTED",
            "count": 3,
            "last_at": NOW,
        }
    ],
    "truncated": False,
}
LEAK_POLICY = {
    "project_id": "proj_1",
    "measures": {"live.secret_key": "rotate"},
    "grace_in": 43200,
    "in_urls": "ignore",
    "own": ["live.secret_key", "grace_in"],
}
CLIENT = {
    **RECORD,
    "id": "client_1",
    "project_id": "proj_1",
    "name": "Shop",
    "origin": "managed",
    "revoked_at": None,
    "secrets": [{"number": 1, "created_at": NOW, "expires_at": None, "revoked_at": None}],
    **dict.fromkeys(
        [
            "jwks_uri",
            "tls_client_auth_subject_dn",
            "tls_client_auth_san_dns",
            "tls_client_auth_san_uri",
            "tls_client_auth_san_ip",
            "tls_client_auth_san_email",
            "sector_identifier_uri",
            "client_uri",
            "logo_uri",
            "policy_uri",
            "tos_uri",
            "backchannel_logout_uri",
            "userinfo_signed_response_alg",
            "introspection_signed_response_alg",
            "request_object_signing_alg",
            "token_endpoint_auth_signing_alg",
        ],
        "",
    ),
    "token_endpoint_auth_method": "client_secret_basic",
    "grant_types": ["authorization_code", "refresh_token"],
    "redirect_uris": ["https://shop.example/callback"],
    "post_logout_redirect_uris": [],
    "scopes": ["orders:read", "orders:write"],
    "optional_scopes": ["orders:write"],
    "jwks": None,
    "tls_client_certificate_bound_access_tokens": False,
    "dpop_bound_access_tokens": False,
    "require_pkce": True,
    "require_pushed_authorization_requests": False,
    "require_signed_request_object": False,
    "is_first_party": False,
    "subject_type": "public",
    "id_token_signed_response_alg": "ES256",
    "authorization_signed_response_alg": "ES256",
    "default_max_age": None,
    "require_auth_time": False,
    "backchannel_logout_session_required": False,
    "access_token_in": 600,
    "refresh_token_in": 2592000,
    "refresh_idle_in": 1209600,
    "limits": [],
    "quotas": [],
    "contacts": [],
    "metadata": {},
}
ISSUED_CLIENT = {"client": CLIENT, "client_secret": "kb_cs_0000000000000001_SECRET"}
GRANT = {
    **RECORD,
    "id": "grant_1",
    "user_id": "user_1",
    "client_id": "client_1",
    "project_id": "proj_1",
    "scopes": ["openid", "orders:read"],
    "resources": ["api_1"],
    "authorization_details": [],
    "expires_at": None,
    "revoked_at": None,
    "limits": [],
    "quotas": [],
}
SIGNING_KEY = {
    **RECORD,
    "id": "sig_1",
    "algorithm": "ES256",
    "phase": "next",
    "public_jwk": {"kty": "EC", "kid": "sig_1"},
    "activates_at": NOW,
    "retires_at": None,
    "ends_at": None,
    "revoked_at": None,
}
FACTORS = {
    "user_id": "user_1",
    "has_password": True,
    "password_changed_at": NOW,
    "has_totp": True,
    "recovery_codes": 9,
    "passkeys": [{"id": "AAAA", "name": "laptop", "created_at": NOW, "last_used_at": None, "backed_up": True}],
    "failures": 2,
    "failed_at": NOW,
}
LINK = {"id": "lnk_1", "user_id": "user_1", "issuer": "crm", "subject": "4711", "created_at": NOW}
SENT = {"kind": "invitation", "email": "ada@example.com"}
SESSION = {
    **RECORD,
    "id": "sess_1",
    "user_id": "user_1",
    "is_live": True,
    "authenticated_at": NOW,
    "seen_at": NOW,
    "expires_at": NOW,
    "revoked_at": None,
    "amr": ["pwd", "otp", "mfa"],
    "acr": "urn:keybearer:acr:2fa",
    "source": "192.0.2.1",
    "user_agent": "Firefox",
}
KEY_VIEW = {
    **RECORD,
    "id": "key_0000000000000001",
    "project_id": "proj_1",
    "kind": "secret_key",
    "environment": "live",
    "hint": "kb_sk_live_0000000000000001_…",
    "name": "web shop",
    "owner": None,
    "identity_id": None,
    "plan_id": None,
    "permissions": ["orders:read"],
    "restrictions": {"ip_networks": ["10.0.0.0/8"]},
    "limits": PLAN["limits"],
    "quotas": [],
    "credits": CREDITS,
    "expires_at": None,
    "expired": False,
    "revoked_at": None,
    "last_used_at": NOW,
    "versions": [
        {
            "number": 1,
            "state": "active",
            "scheme": "hmac-sha256",
            "created_at": NOW,
            "expires_at": None,
            "revoked_at": None,
            "last_used_at": None,
        }
    ],
    "tags": ["a"],
    "metadata": {"team": "shop"},
    "created_by": "key_root",
}
ISSUED = {"key": KEY_VIEW, "credential": KEY}
YES = {
    "valid": True,
    "code": "VALID",
    "kind": "secret_key",
    "principal": {"project_id": "proj_1", "project_name": "Shop", "owner": None, "identity": None},
    "credential": {"id": "key_1", "name": "web", "environment": "live", "expires_at": None, "version": 1},
    "permissions": ["orders:read"],
    "limits": [{"name": "requests", "limit": 100, "remaining": 99, "reset_in": 1, "exceeded": False}],
}
WHOAMI = {
    "id": "key_1",
    "name": "root",
    "kind": "secret_key",
    "environment": "live",
    "version": 1,
    "project_id": "proj_0",
    "project_name": "Keybearer",
    "owner": None,
    "permissions": ["keybearer:admin"],
    "expires_at": None,
    "version_expires_at": None,
    "credits": None,
    "limits": [],
    "quotas": [],
}
USAGE = {
    "start": NOW,
    "end": NOW,
    "group_by": ["hour", "code"],
    "total": 30,
    "groups": [{"count": 20, "at": NOW, "code": "VALID"}, {"count": 10, "at": NOW, "code": "RATE_LIMITED"}],
    "truncated": False,
}
ENTRY = {
    "seq": 1,
    "at": NOW,
    "actor": "key_root",
    "action": "key.create",
    "target": "key_1",
    "outcome": "ok",
    "project_id": None,
    "source": None,
    "request_id": None,
    "details": {},
    "digest": "00",
}
CHAIN = {"intact": True, "entries": 3, "seq": 3, "digest": "ab" * 32}

Handler = Callable[[httpx.Request], httpx.Response]


def problem(status: int, **more: Any) -> httpx.Response:
    """A problem answer."""
    body = {"type": "about:blank", "title": "Title", "status": status, "detail": "What is wrong.", **more}
    headers = {"content-type": "application/problem+json", "x-request-id": "req_1"}
    return httpx.Response(status, content=json.dumps(body), headers=headers)


class Recorder:
    """Answers each request with the next of some answers (the last one again and again), and keeps the requests."""

    def __init__(self, *answers: Any) -> None:
        self.answers = list(answers)
        self.requests: list[httpx.Request] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        """What ``httpx.MockTransport`` calls; an answer that is a function is asked."""
        request.read()
        self.requests.append(request)
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        if callable(answer):
            return answer(request)
        if isinstance(answer, httpx.Response):  # a new one, since each can be read only once
            return httpx.Response(answer.status_code, headers=answer.headers, content=answer.content)
        return httpx.Response(200, json=answer)

    @property
    def request(self) -> httpx.Request:
        """The only request."""
        (only,) = self.requests
        return only

    @property
    def body(self) -> Any:
        """The JSON of the only request."""
        return json.loads(self.request.content)

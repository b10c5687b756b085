"""What makes a client sound: each of its settings, and how they fit together.

Spec: RFC 7591 §2, RFC 9700 §2.1, RFC 8705 §2, OIDC Registration §2.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final
from urllib.parse import urlsplit

from ..core import own_api
from ..core.clients import Client, ClientAuthMethod, GrantType, SubjectType
from ..core.errors import NotPermitted
from ..core.records import Api, State
from ..core.redirect_uri import problem_of
from ..core.tokens import IDENTITY_SCOPES
from ..formats.jws import ASYMMETRIC, HMACS
from .authority import Caller
from .limits import check_names
from .problems import Problems
from .text import shown

SIGNING: Final = ("ES256", "RS256", "EdDSA")
"""What this authority signs with (``services/signing_keys.py``)."""

MAX_KEYS: Final = 20
_PRIVATE: Final = ("d", "p", "q", "dp", "dq", "qi", "oth", "k")
_TLS_NAMES: Final = (
    "tls_client_auth_subject_dn",
    "tls_client_auth_san_dns",
    "tls_client_auth_san_uri",
    "tls_client_auth_san_ip",
    "tls_client_auth_san_email",
)
_SIGNED: Final = (
    "id_token_signed_response_alg",
    "userinfo_signed_response_alg",
    "introspection_signed_response_alg",
    "authorization_signed_response_alg",
)
_TRUSTED: Final = ("is_first_party", "redirect_uris", "scopes", "grant_types")
_PAGES: Final = ("client_uri", "logo_uri", "policy_uri", "tos_uri")


def check_client(problems: Problems, client: Client, apis: Sequence[Api]) -> None:
    """Note everything that is wrong with a client; ``apis`` are those that its project may call."""
    _check_uris(problems, client)
    _check_grants(problems, client)
    _check_authentication(problems, client)
    _check_scopes(problems, client, apis)
    _check_algorithms(problems, client)
    check_names(problems, client.limits, client.quotas)


def require_may_hand_on(caller: Caller, scopes: Sequence[str]) -> None:
    """Raise ``NotPermitted`` for a client with power over Keybearer that the caller may not hand on.

    Spec: OWASP API5.
    """
    for scope in scopes:
        if own_api.is_own(scope) and not own_api.may_hand_on(caller.permissions, scope):
            raise NotPermitted(f"A client that may ask for {scope!r} needs {own_api.ADMIN!r}.", missing=(scope,))


def require_may_trust(caller: Caller, before: Client | None, after: Client) -> None:
    """Raise ``NotPermitted`` when a project's caller would spare a client the consent of users, who are everybody's.

    Nor may it change where the answers of such a client go, or what it asks for. Spec: RFC 9700 §4.15, OWASP API5.
    """
    if not after.is_first_party or caller.project_id is None:
        return
    if before is None or any(getattr(before, name) != getattr(after, name) for name in _TRUSTED):
        raise NotPermitted("Only a key of the authority's own project may spare a client the consent of users.")


def _check_uris(problems: Problems, client: Client) -> None:
    for field in ("redirect_uris", "post_logout_redirect_uris"):
        for index, uri in enumerate(getattr(client, field)):
            wrong = problem_of(uri)
            if wrong is not None:
                problems.add(f"{field}[{index}]", f"{shown(uri)} {wrong}")
    for field in ("jwks_uri", "sector_identifier_uri", "backchannel_logout_uri"):
        uri = getattr(client, field)
        if uri and not is_web(uri):
            problems.add(field, "must be an https URL without a fragment")
    for field in _PAGES:
        uri = getattr(client, field)
        if uri and not is_web(uri, may_be_plain=True):
            problems.add(field, "must be an http(s) URL")


def is_web(uri: str, *, may_be_plain: bool = False) -> bool:
    """Tell whether this is an https URL (or http, with ``may_be_plain``) with a host and no fragment."""
    try:
        parts = urlsplit(uri)
        _ = parts.port
    except ValueError:
        return False
    schemes = ("https", "http") if may_be_plain else ("https",)
    return parts.scheme in schemes and bool(parts.hostname) and "@" not in parts.netloc and "#" not in uri


def _check_grants(problems: Problems, client: Client) -> None:
    grants = client.grant_types
    if not grants:
        problems.add("grant_types", "must name at least one grant")
    if GrantType.AUTHORIZATION_CODE in grants and not client.redirect_uris:
        problems.add("redirect_uris", "must have at least one URI for the authorization_code grant")
    if client.is_public:
        for grant in (GrantType.CLIENT_CREDENTIALS, GrantType.JWT_BEARER, GrantType.TOKEN_EXCHANGE):
            if grant in grants:
                problems.add("grant_types", f"{grant.value} is not for a client that cannot keep a secret")
        if not client.require_pkce:
            problems.add("require_pkce", "can be switched off only for a client that can keep a secret")
    for field in ("refresh_idle_in", "access_token_in"):
        if getattr(client, field) > client.refresh_token_in:
            problems.add(field, "must not be longer than refresh_token_in")


def _check_authentication(problems: Problems, client: Client) -> None:
    method = client.token_endpoint_auth_method
    if client.jwks is not None and client.jwks_uri:
        problems.add("jwks_uri", "must not be given beside jwks")
    needs_keys = method in (ClientAuthMethod.PRIVATE_KEY_JWT, ClientAuthMethod.SELF_SIGNED_TLS)
    if needs_keys and client.jwks is None and not client.jwks_uri:
        problems.add("jwks", f"is needed for {method.value}, or jwks_uri")
    if client.jwks is not None:
        _check_jwks(problems, client.jwks)
    named = [name for name in _TLS_NAMES if getattr(client, name)]
    if method is ClientAuthMethod.TLS and len(named) != 1:
        problems.add(_TLS_NAMES[0], "give exactly one of the tls_client_auth names for tls_client_auth")
    algorithm = client.token_endpoint_auth_signing_alg
    allowed = {ClientAuthMethod.PRIVATE_KEY_JWT: ASYMMETRIC, ClientAuthMethod.SECRET_JWT: HMACS}.get(method)
    if algorithm and (allowed is None or algorithm not in allowed):
        problems.add("token_endpoint_auth_signing_alg", f"does not go with {method.value}")


def _check_jwks(problems: Problems, jwks: Mapping[str, Any]) -> None:
    keys = jwks.get("keys")
    if not isinstance(keys, list) or not 1 <= len(keys) <= MAX_KEYS or not all(isinstance(key, dict) for key in keys):
        problems.add("jwks", f"must be a JWK Set with 1 to {MAX_KEYS} keys")
        return
    for index, key in enumerate(keys):
        if key.get("kty") not in ("EC", "RSA", "OKP"):
            problems.add(f"jwks.keys[{index}]", "must be an EC, RSA or OKP key")
        if any(name in key for name in _PRIVATE):
            problems.add(f"jwks.keys[{index}]", "is private: give the public half only, and replace the key")


def _check_scopes(problems: Problems, client: Client, apis: Sequence[Api]) -> None:
    known = {permission.name for api in apis if api.state is not State.DELETED for permission in api.permissions}
    for index, scope in enumerate(client.scopes):
        if scope not in known and scope not in IDENTITY_SCOPES:
            problems.add(
                f"scopes[{index}]",
                f"no API that the project may call knows {shown(scope)}; add it there, or enable the API",
            )
    for index, scope in enumerate(client.optional_scopes):
        if scope not in client.scopes:
            problems.add(f"optional_scopes[{index}]", "must be one of the scopes")
    if client.subject_type is SubjectType.PAIRWISE and not client.sector_identifier_uri:
        hosts = {urlsplit(uri).hostname for uri in client.redirect_uris}
        if len(hosts) > 1:
            problems.add("sector_identifier_uri", "is needed when the redirect URIs have several hosts")


def _check_algorithms(problems: Problems, client: Client) -> None:
    for field in _SIGNED:
        algorithm = getattr(client, field)
        optional = field not in ("id_token_signed_response_alg", "authorization_signed_response_alg")
        if algorithm not in SIGNING and not (optional and algorithm == ""):
            problems.add(field, f"must be one of {', '.join(SIGNING)}" + (", or empty" if optional else ""))
    if client.request_object_signing_alg and client.request_object_signing_alg not in ASYMMETRIC:
        problems.add("request_object_signing_alg", f"must be one of {', '.join(sorted(ASYMMETRIC))}, or empty")

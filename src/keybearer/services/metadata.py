"""Server metadata: what clients may rely on, said once for OAuth and for OpenID discovery.

Everything named here exists; what is switched off is left out. The issuer is the settings', byte for byte.
Spec: RFC 8414 §2, OIDC Discovery §3, RFC 9207 §3, RFC 9126 §5, RFC 9449 §5.1, RFC 8705 §3.3, RFC 9396 §10.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from ..core.assurance import LEVELS
from ..core.authorization_request import Prompt, ResponseMode
from ..core.clients import ClientAuthMethod, GrantType, SubjectType
from ..core.pkce import METHOD
from ..core.tokens import IDENTITY_SCOPES
from ..formats.jws import ASYMMETRIC, HMACS
from ..settings import Settings
from .claims import SUPPORTED
from .client_rules import SIGNING

ENDPOINTS: Final[Mapping[str, str]] = {
    "authorization_endpoint": "/oauth/authorize",
    "token_endpoint": "/oauth/token",
    "pushed_authorization_request_endpoint": "/oauth/par",
    "revocation_endpoint": "/oauth/revoke",
    "introspection_endpoint": "/oauth/introspect",
    "device_authorization_endpoint": "/oauth/device_authorization",
    "userinfo_endpoint": "/oauth/userinfo",
    "end_session_endpoint": "/oauth/logout",
    "jwks_uri": "/oauth/jwks",
}
"""Where each endpoint is, under the issuer."""

GRANTS: Final = (
    GrantType.AUTHORIZATION_CODE,
    GrantType.REFRESH_TOKEN,
    GrantType.CLIENT_CREDENTIALS,
    GrantType.DEVICE_CODE,
    GrantType.TOKEN_EXCHANGE,
    GrantType.JWT_BEARER,
)


def endpoint(settings: Settings, path: str) -> str:
    """Return the URL of a path under the issuer; the issuer never comes from a request (SECURITY-BAR 23)."""
    return settings.issuer_url.rstrip("/") + path


def metadata(settings: Settings) -> dict[str, Any]:
    """Return the metadata of this server, the same for both documents."""
    asymmetric, signing = sorted(ASYMMETRIC), list(SIGNING)
    authentication = [method.value for method in ClientAuthMethod]
    return {
        "issuer": settings.issuer_url,
        **{name: endpoint(settings, path) for name, path in ENDPOINTS.items()},
        "scopes_supported": sorted(IDENTITY_SCOPES),
        "response_types_supported": ["code"],
        "response_modes_supported": [*ResponseMode, "jwt"],
        "grant_types_supported": [grant.value for grant in GRANTS],
        "subject_types_supported": [kind.value for kind in SubjectType],
        "id_token_signing_alg_values_supported": signing,
        "userinfo_signing_alg_values_supported": signing,
        "token_endpoint_auth_methods_supported": authentication,
        "token_endpoint_auth_signing_alg_values_supported": [*asymmetric, *sorted(HMACS)],
        "revocation_endpoint_auth_methods_supported": authentication,
        "revocation_endpoint_auth_signing_alg_values_supported": [*asymmetric, *sorted(HMACS)],
        "introspection_endpoint_auth_methods_supported": [one for one in authentication if one != "none"],
        "introspection_endpoint_auth_signing_alg_values_supported": [*asymmetric, *sorted(HMACS)],
        "code_challenge_methods_supported": [METHOD],
        "dpop_signing_alg_values_supported": asymmetric,
        "tls_client_certificate_bound_access_tokens": True,
        "authorization_response_iss_parameter_supported": True,
        "client_id_metadata_document_supported": settings.client_metadata_documents,
        **_registration(settings),
        "backchannel_logout_supported": True,
        "backchannel_logout_session_supported": True,
        "require_pushed_authorization_requests": False,
        "claim_types_supported": ["normal"],
        "claims_supported": ["iss", "aud", "exp", "iat", "auth_time", "nonce", "acr", "amr", "sid", *SUPPORTED],
        "claims_parameter_supported": True,
        "request_parameter_supported": True,
        "request_object_signing_alg_values_supported": asymmetric,
        "authorization_signing_alg_values_supported": signing,
        "request_uri_parameter_supported": False,
        "acr_values_supported": list(LEVELS),
        "prompt_values_supported": [prompt.value for prompt in Prompt],
        "ui_locales_supported": ["en"],
    }


def _registration(settings: Settings) -> dict[str, str]:
    """Return the registration endpoint, where clients may register themselves."""
    return (
        {}
        if settings.client_registration == "off"
        else {"registration_endpoint": endpoint(settings, "/oauth/register")}
    )

"""OAuth errors: one class per code on the wire, each with a description that a developer can act on.

``status`` is what the token endpoint answers; where an error travels in a redirect, only ``error`` and ``description``
do. Spec: RFC 6749 §4.1.2.1 and §5.2, RFC 6750 §3.1, RFC 8628 §3.5, RFC 9449 §5 and §8, OIDC Core §3.1.2.6.
"""

from __future__ import annotations

import re
from typing import ClassVar, Final

from .errors import KeybearerError

_UNSPEAKABLE: Final = re.compile(r"[^\x20-\x21\x23-\x5b\x5d-\x7e]")


class OAuthError(KeybearerError):
    """The root of OAuth's errors. ``description`` holds only the characters that the protocol allows."""

    error: ClassVar[str] = "server_error"
    status: ClassVar[int] = 400

    def __init__(self, description: str, *, detail: str | None = None) -> None:
        super().__init__(description, detail=detail)
        self.description = _UNSPEAKABLE.sub("'", description)


class InvalidRequest(OAuthError):
    """A parameter is missing, repeated, or wrong."""

    error = "invalid_request"


class InvalidClient(OAuthError):
    """The client is unknown, or did not prove itself."""

    error = "invalid_client"
    status = 401


class InvalidGrant(OAuthError):
    """The code, refresh token, assertion or subject token is not good, or was issued to another client."""

    error = "invalid_grant"


class UnauthorizedClient(OAuthError):
    """This client may not use this grant or response type."""

    error = "unauthorized_client"


class UnsupportedGrantType(OAuthError):
    """There is no such grant here."""

    error = "unsupported_grant_type"


class UnsupportedResponseType(OAuthError):
    """There is no such response type here."""

    error = "unsupported_response_type"


class UnsupportedResponseMode(OAuthError):
    """There is no such response mode here. Spec: OAuth 2.0 Multiple Response Types §2.1."""

    error = "invalid_request"


class InvalidScope(OAuthError):
    """The scope is unknown, malformed, or more than this client or subject may have."""

    error = "invalid_scope"


class InvalidTarget(OAuthError):
    """The resource or audience is unknown, or may not be asked for. Spec: RFC 8707 §2, RFC 8693 §2.2.2."""

    error = "invalid_target"


class InvalidAuthorizationDetails(OAuthError):
    """The rich authorization request is not understood. Spec: RFC 9396 §5."""

    error = "invalid_authorization_details"


class AccessDenied(OAuthError):
    """The user or the authority said no."""

    error = "access_denied"


class LoginRequired(OAuthError):
    """The user would have to sign in, and ``prompt=none`` forbids it."""

    error = "login_required"


class ConsentRequired(OAuthError):
    """The user would have to consent, and ``prompt=none`` forbids it."""

    error = "consent_required"


class UnmetAuthenticationRequirements(OAuthError):
    """The user could not be authenticated as strongly as was asked. Spec: OIDC Unmet Authentication Requirements."""

    error = "unmet_authentication_requirements"


class InvalidRequestUri(OAuthError):
    """The ``request_uri`` is unknown, used, or over. Spec: RFC 9101 §7, RFC 9126 §4."""

    error = "invalid_request_uri"


class InvalidRequestObject(OAuthError):
    """The ``request`` object is not valid. Spec: RFC 9101 §7."""

    error = "invalid_request_object"


class RequestNotSupported(OAuthError):
    """Request objects are not taken from this client. Spec: OIDC Core §6.1."""

    error = "request_not_supported"


class RequestUriNotSupported(OAuthError):
    """Only pushed requests are taken by reference. Spec: OIDC Core §6.2."""

    error = "request_uri_not_supported"


class RegistrationNotSupported(OAuthError):
    """Clients do not register themselves inside an authorization request. Spec: OIDC Core §3.1.2.6."""

    error = "registration_not_supported"


class AuthorizationPending(OAuthError):
    """The user has not decided yet. Spec: RFC 8628 §3.5."""

    error = "authorization_pending"


class SlowDown(OAuthError):
    """The device polls too often. Spec: RFC 8628 §3.5."""

    error = "slow_down"


class ExpiredToken(OAuthError):
    """The device code is over. Spec: RFC 8628 §3.5."""

    error = "expired_token"


class InvalidToken(OAuthError):
    """The access token at a protected endpoint is not good. Spec: RFC 6750 §3.1."""

    error = "invalid_token"
    status = 401


class InsufficientScope(OAuthError):
    """The access token is good and does not reach far enough. Spec: RFC 6750 §3.1."""

    error = "insufficient_scope"
    status = 403


class InvalidDpopProof(OAuthError):
    """The DPoP proof is not good. Spec: RFC 9449 §5."""

    error = "invalid_dpop_proof"


class UseDpopNonce(OAuthError):
    """The DPoP proof needs the nonce that comes with this answer. Spec: RFC 9449 §8."""

    error = "use_dpop_nonce"

    def __init__(self, nonce: str) -> None:
        super().__init__("Use the nonce of the DPoP-Nonce header in the proof.")
        self.nonce = nonce


class UnsupportedTokenType(OAuthError):
    """Tokens of this type cannot be revoked here. Spec: RFC 7009 §2.2.1."""

    error = "unsupported_token_type"


class InvalidClientMetadata(OAuthError):
    """A client cannot be registered like this. Spec: RFC 7591 §3.2.2."""

    error = "invalid_client_metadata"


class InvalidRedirectUri(OAuthError):
    """A redirect URI cannot be registered. Spec: RFC 7591 §3.2.2."""

    error = "invalid_redirect_uri"


class TooManyRequests(OAuthError):
    """The client or its address asks too often. ``retry_after`` is in microseconds."""

    error = "temporarily_unavailable"
    status = 429

    def __init__(self, description: str, retry_after: int) -> None:
        super().__init__(description)
        self.retry_after = retry_after


class ServerError(OAuthError):
    """Something went wrong here."""

    error = "server_error"
    status = 500

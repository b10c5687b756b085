"""Authorization requests: from the raw parameters to what was asked for, in two steps that types keep apart.

``target_of`` finds where an answer may go; until it has, nothing is ever redirected (RFC 6749 §4.1.2.1). ``parse`` then
reads the rest, and its errors travel to that target. Spec: RFC 6749 §4.1.1, OIDC Core §3.1.2.1, RFC 7636 §4.3, RFC 8707
§2, RFC 9396 §2, RFC 9449 §10.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final
from urllib.parse import urlencode, urlsplit

from . import pkce, redirect_uri, scopes, strict_json
from .clients import Client, GrantType
from .instant import SECOND
from .oauth_error import (
    InvalidRequest,
    InvalidTarget,
    OAuthError,
    RegistrationNotSupported,
    RequestUriNotSupported,
    UnauthorizedClient,
    UnsupportedResponseMode,
    UnsupportedResponseType,
)

MAX_PARAMETERS: Final = 60
MAX_LENGTH: Final = 16_384
"""The most characters of one parameter; what a browser must carry is bounded again by the size of its cookie."""
MAX_JSON_DEPTH: Final = 8
MAX_RESOURCES: Final = 10
MAX_AGE_DIGITS: Final = 9

_REPEATABLE: Final = frozenset({"resource"})
_THUMBPRINT: Final = re.compile(r"[A-Za-z0-9\-_]{43}", re.ASCII)
_UNSOUND: Final = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff]")
_CODE: Final = "code"


class ResponseMode(StrEnum):
    """How the answer travels. Spec: OAuth 2.0 Multiple Response Types §2.1, Form Post Response Mode, JARM §2.3."""

    QUERY = "query"
    FRAGMENT = "fragment"
    FORM_POST = "form_post"
    QUERY_JWT = "query.jwt"
    FRAGMENT_JWT = "fragment.jwt"
    FORM_POST_JWT = "form_post.jwt"

    @property
    def is_jwt(self) -> bool:
        """Whether the answer travels as one signed JWT. Spec: JARM §2.3."""
        return self.value.endswith(".jwt")

    @property
    def carrier(self) -> ResponseMode:
        """How the answer travels, wrapped or not."""
        return ResponseMode(self.value.removesuffix(".jwt"))


_SHORT_JWT: Final = "jwt"
"""The JWT form of the response type's own mode, which is the query for a code. Spec: JARM §2.3.4."""


class Prompt(StrEnum):
    """What the user must be asked, or ``none``. Spec: OIDC Core §3.1.2.1."""

    NONE = "none"
    LOGIN = "login"
    CONSENT = "consent"
    SELECT_ACCOUNT = "select_account"


@dataclass(frozen=True, slots=True)
class Parameters:
    """The raw parameters. ``repeated`` names those that came more than once, which the protocol forbids."""

    single: Mapping[str, str]
    resources: tuple[str, ...] = ()
    repeated: frozenset[str] = frozenset()

    def get(self, name: str) -> str:
        """Return a parameter, empty when it is absent: both mean the same (RFC 6749 §3.1)."""
        return self.single.get(name, "")

    def pairs(self) -> list[tuple[str, str]]:
        """Return them as they can be read again by ``parameters_of``."""
        repeated = [(name, self.single[name]) for name in sorted(self.repeated) if name in self.single]
        return [*self.single.items(), *repeated, *(("resource", one) for one in self.resources)]


def parameters_of(pairs: Iterable[tuple[str, str]]) -> Parameters:
    """Sort raw pairs. Unknown names are kept and later ignored, as RFC 6749 §3.1 demands."""
    single: dict[str, str] = {}
    resources: list[str] = []
    repeated: set[str] = set()
    for name, value in pairs:
        if name in _REPEATABLE:
            resources += [value] if value else []
        elif name in single:
            repeated.add(name)
        else:
            single[name] = value
    return Parameters(single, tuple(dict.fromkeys(resources)), frozenset(repeated))


@dataclass(frozen=True, slots=True)
class ResponseTarget:
    """Where an answer may go: only ``target_of`` makes one, of a redirect URI that the client registered."""

    redirect_uri: str
    mode: ResponseMode
    state: str = ""

    @property
    def source(self) -> str:
        """The redirect URI as a CSP source: its origin, or an app's scheme."""
        parts = urlsplit(self.redirect_uri)
        return f"{parts.scheme}://{parts.netloc}" if parts.scheme in ("http", "https") else f"{parts.scheme}:"

    def answer(self, issuer: str, values: Mapping[str, str]) -> dict[str, str]:
        """Return the parameters of an answer, with ``state`` and ``iss``. Spec: RFC 9207 §2."""
        return {**values, **({"state": self.state} if self.state else {}), "iss": issuer}

    def url(self, answer: Mapping[str, str]) -> str:
        """Return where to redirect; not for ``form_post``."""
        encoded = urlencode(answer)
        if self.mode.carrier is ResponseMode.FRAGMENT:
            return f"{self.redirect_uri}#{encoded}"
        if "?" not in self.redirect_uri:
            return f"{self.redirect_uri}?{encoded}"
        return self.redirect_uri + ("" if self.redirect_uri[-1] in "?&" else "&") + encoded


def error_values(error: OAuthError) -> dict[str, str]:
    """Return an error as it travels in an answer. Spec: RFC 6749 §4.1.2.1."""
    return {"error": error.error, "error_description": error.description}


def client_id_of(parameters: Parameters) -> str:
    """Return the ``client_id``; raises ``InvalidRequest``, which belongs on a page."""
    if "client_id" in parameters.repeated:
        raise InvalidRequest("client_id stands in this request more than once.")
    client_id = parameters.get("client_id")
    if not client_id:
        raise InvalidRequest("client_id is missing.")
    return client_id


def target_of(parameters: Parameters, client: Client) -> ResponseTarget:
    """Return where answers to this request may go; what it raises belongs on a page, never in a redirect."""
    if "redirect_uri" in parameters.repeated:
        raise InvalidRequest("redirect_uri stands in this request more than once.")
    if not client.redirect_uris:
        raise UnauthorizedClient("This client has no redirect_uri registered, so it cannot send users here.")
    presented = parameters.get("redirect_uri")
    if presented:
        if not any(redirect_uri.matches(registered, presented) for registered in client.redirect_uris):
            raise InvalidRequest(
                "redirect_uri is not one of those that this client registered. It is compared character by character."
            )
    elif "openid" in parameters.get("scope").split(" "):
        raise InvalidRequest("redirect_uri is missing. OpenID Connect requires it.")
    elif len(client.redirect_uris) != 1:
        raise InvalidRequest("redirect_uri is missing. This client has registered more than one.")
    state = "" if "state" in parameters.repeated else parameters.get("state")
    return ResponseTarget(presented or client.redirect_uris[0], _mode_of(parameters), state)


def _mode_of(parameters: Parameters) -> ResponseMode:
    """Return the mode that was asked for where there is such a one, else the default of the response type."""
    if "response_mode" not in parameters.repeated:
        try:
            mode = parameters.get("response_mode")
            return ResponseMode.QUERY_JWT if mode == _SHORT_JWT else ResponseMode(mode)
        except ValueError:
            pass
    # Errors of response types that are not served here go where their senders look for them.
    asked = parameters.get("response_type").split(" ")
    return ResponseMode.FRAGMENT if "token" in asked or "id_token" in asked else ResponseMode.QUERY


@dataclass(frozen=True, slots=True, kw_only=True)
class AuthorizationRequest:
    """What a client asked for. ``redirect_uri`` is ``None`` when it was left out; ``resources`` are identifiers.

    ``max_age`` is in seconds. ``claims`` is the ``claims`` parameter (OIDC Core §5.5). ``authorization_details`` is as
    it came: only with the APIs at hand can it be read (``core/authorization_details.py``).
    """

    client_id: str
    redirect_uri: str | None
    scopes: tuple[str, ...] = ()
    resources: tuple[str, ...] = ()
    authorization_details: str = ""
    code_challenge: str = ""
    nonce: str = ""
    prompts: frozenset[Prompt] = frozenset()
    max_age: int | None = None
    login_hint: str = ""
    id_token_hint: str = ""
    acr_values: tuple[str, ...] = ()
    claims: Mapping[str, Any] | None = None
    key_thumbprint: str = ""
    ui_locales: tuple[str, ...] = field(default=())

    @property
    def required_subject(self) -> str | None:
        """The ``sub`` that the ``claims`` parameter insists on. Spec: OIDC Core §5.5.1."""
        value = self._id_token_claim("sub").get("value")
        return value if isinstance(value, str) else None

    @property
    def required_acrs(self) -> tuple[str, ...]:
        """The ``acr`` values of which one must be met. Spec: OIDC Core §5.5.1.1."""
        asked = self._id_token_claim("acr")
        if asked.get("essential") is not True:
            return ()
        values = asked.get("values", [asked["value"]] if "value" in asked else [])
        return tuple(value for value in values if isinstance(value, str)) if isinstance(values, list) else ()

    def _id_token_claim(self, name: str) -> Mapping[str, Any]:
        members = (self.claims or {}).get("id_token")
        asked = members.get(name) if isinstance(members, dict) else None
        return asked if isinstance(asked, dict) else {}


def parse(parameters: Parameters, client: Client) -> AuthorizationRequest:
    """Return what was asked for; raises the ``OAuthError`` to answer with."""
    for name in sorted(parameters.repeated):
        raise InvalidRequest(f"{name[:64]} stands in this request more than once.")
    for value in parameters.single.values():
        if len(value) > MAX_LENGTH or _UNSOUND.search(value) is not None:
            raise InvalidRequest(f"A parameter may have {MAX_LENGTH:,} characters at most, and no control characters.")
    if parameters.get("request"):
        raise InvalidRequest("request was not read: it cannot stand inside another request.")
    if parameters.get("request_uri"):
        raise RequestUriNotSupported("Only a request_uri that was pushed here (RFC 9126) is taken.")
    if parameters.get("registration"):
        raise RegistrationNotSupported("The registration parameter is not supported; register the client beforehand.")
    _check_response(parameters, client)
    asked = scopes.parse(parameters.get("scope"))
    return AuthorizationRequest(
        client_id=client.id,
        redirect_uri=parameters.get("redirect_uri") or None,
        scopes=asked,
        resources=_resources_of(parameters),
        authorization_details=parameters.get("authorization_details"),
        code_challenge=_challenge_of(parameters, client),
        nonce=parameters.get("nonce"),
        prompts=_prompts_of(parameters.get("prompt")),
        max_age=_max_age_of(parameters.get("max_age"), client),
        login_hint=parameters.get("login_hint")[:254],
        id_token_hint=parameters.get("id_token_hint"),
        acr_values=tuple(parameters.get("acr_values").split())[:20],
        claims=_claims_of(parameters.get("claims")),
        key_thumbprint=_thumbprint_of(parameters.get("dpop_jkt")),
        ui_locales=tuple(parameters.get("ui_locales").split())[:20],
    )


def _check_response(parameters: Parameters, client: Client) -> None:
    response_type = parameters.get("response_type")
    if not response_type:
        raise InvalidRequest("response_type is missing; it must be 'code'.")
    if response_type != _CODE:
        raise UnsupportedResponseType("response_type must be 'code'. Tokens are never handed out in a URL.")
    mode = parameters.get("response_mode")
    if mode and mode != _SHORT_JWT and mode not in tuple(ResponseMode):
        raise UnsupportedResponseMode("response_mode must be query, fragment or form_post, or one of these with .jwt.")
    if GrantType.AUTHORIZATION_CODE not in client.grant_types:
        raise UnauthorizedClient("This client may not use the authorization_code grant.")


def _challenge_of(parameters: Parameters, client: Client) -> str:
    challenge, method = parameters.get("code_challenge"), parameters.get("code_challenge_method")
    if not challenge:
        if method:
            raise InvalidRequest("code_challenge is missing, though code_challenge_method is there.")
        if client.require_pkce or client.is_public:
            raise InvalidRequest("code_challenge is missing. This client must use PKCE with S256 (RFC 7636).")
        return ""
    if method != pkce.METHOD:
        # A missing method would mean "plain", which protects nobody who can read the request.
        raise InvalidRequest("code_challenge_method must be S256.")
    if not pkce.is_challenge(challenge):
        raise InvalidRequest("code_challenge must be the base64url SHA-256 of the verifier: 43 characters.")
    return challenge


def _resources_of(parameters: Parameters) -> tuple[str, ...]:
    if len(parameters.resources) > MAX_RESOURCES:
        raise InvalidTarget(f"resource may be given {MAX_RESOURCES} times at most.")
    for resource in parameters.resources:
        if len(resource) > 2000 or "#" in resource or not resource.partition(":")[1]:
            raise InvalidTarget("resource must be an absolute URI without a fragment.")
    return parameters.resources


def _prompts_of(text: str) -> frozenset[Prompt]:
    try:
        prompts = frozenset(Prompt(name) for name in text.split())
    except ValueError:
        raise InvalidRequest("prompt must be 'none', or any of login, consent and select_account.") from None
    if Prompt.NONE in prompts and len(prompts) > 1:
        raise InvalidRequest("prompt=none cannot be combined with another value.")
    return prompts


def _max_age_of(text: str, client: Client) -> int | None:
    if not text:
        return None if client.default_max_age is None else client.default_max_age // SECOND
    if not (text.isascii() and text.isdecimal()):
        raise InvalidRequest("max_age must be a number of seconds, 0 or more.")
    return int(text) if len(text) <= MAX_AGE_DIGITS else 10**MAX_AGE_DIGITS


def _thumbprint_of(text: str) -> str:
    if text and _THUMBPRINT.fullmatch(text) is None:
        raise InvalidRequest("dpop_jkt must be the base64url SHA-256 thumbprint of a key: 43 characters.")
    return text


def _claims_of(text: str) -> Mapping[str, Any] | None:
    if not text:
        return None
    try:
        claims = _json(text)
    except ValueError:
        raise InvalidRequest("claims is not valid JSON.") from None
    members = claims.values() if isinstance(claims, dict) else [None]
    if not all(isinstance(member, dict) for member in members):
        raise InvalidRequest("claims must be a JSON object with the objects userinfo and id_token.")
    for name in ("userinfo", "id_token"):
        if not all(asked is None or isinstance(asked, dict) for asked in claims.get(name, {}).values()):
            raise InvalidRequest(f"In claims.{name}, each claim must be null or an object.")
    return {name: claims[name] for name in ("userinfo", "id_token") if name in claims}


def _json(text: str) -> Any:
    """Return bounded JSON whose texts have no characters that no text has; raises ``ValueError``."""
    value = strict_json.loads(text, MAX_JSON_DEPTH)
    if not _is_sound(value):
        raise ValueError("characters that no text has")
    return value


def _is_sound(value: object) -> bool:
    if isinstance(value, str):
        return _UNSOUND.search(value) is None
    if not isinstance(value, dict | list):
        return True
    inner = [*value, *value.values()] if isinstance(value, dict) else value
    return all(_is_sound(one) for one in inner)

"""Logout that a client asks for: what is asked, whether it is sure, and where the browser may go afterwards.

Spec: OpenID Connect RP-Initiated Logout 1.0 §2-3.
"""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import urlencode

from ..core.authorization_request import Parameters
from ..core.clients import Client
from ..core.oauth_error import InvalidRequest, OAuthError
from .authority import Authority
from .authorize import client_in_force
from .id_tokens import read_hint
from .sessions import SignedIn
from .subjects import subject_for


@dataclass(frozen=True, slots=True)
class LogoutRequest:
    """A logout that is understood. ``redirect_uri`` is one that the client registered for this, or empty.

    ``session_id`` and ``subject`` are what the ID token in ``id_token_hint`` says.
    """

    client: Client | None
    redirect_uri: str = ""
    state: str = ""
    session_id: str = ""
    subject: str = ""

    @property
    def destination(self) -> str:
        """Where the browser goes afterwards, empty for a page of ours."""
        if not self.redirect_uri or not self.state:
            return self.redirect_uri
        return self.redirect_uri + ("&" if "?" in self.redirect_uri else "?") + urlencode({"state": self.state})


async def understand(authority: Authority, parameters: Parameters, source: str | None = None) -> LogoutRequest:
    """Return what a logout request asks for; raises ``InvalidRequest``, which belongs on a page."""
    for name in sorted(parameters.repeated):
        raise InvalidRequest(f"{name[:64]} stands in this request more than once.")
    text, client_id = parameters.get("id_token_hint"), parameters.get("client_id")
    claims = await read_hint(authority, text) if text else {}
    if claims is None:
        raise InvalidRequest("id_token_hint is not an ID token of this issuer.")
    if claims and client_id and claims["aud"] != client_id:
        raise InvalidRequest("id_token_hint was issued to another client than client_id.")
    named = client_id or str(claims.get("aud", ""))
    client = await _client(authority, named, source) if named else None
    redirect_uri = parameters.get("post_logout_redirect_uri")
    if redirect_uri and client is None:
        raise InvalidRequest("post_logout_redirect_uri needs an id_token_hint or a client_id beside it.")
    if redirect_uri and client is not None and redirect_uri not in client.post_logout_redirect_uris:
        raise InvalidRequest("post_logout_redirect_uri is not one of those that this client registered.")
    return LogoutRequest(
        client, redirect_uri, parameters.get("state"), str(claims.get("sid", "")), str(claims.get("sub", ""))
    )


async def _client(authority: Authority, client_id: str, source: str | None) -> Client:
    try:
        return await client_in_force(authority, client_id, source)
    except OAuthError as error:
        raise InvalidRequest("client_id is not a client of this issuer, or it is switched off.") from error


def is_sure(authority: Authority, request: LogoutRequest, signed_in: SignedIn | None) -> bool:
    """Tell whether to end the session without asking: there is none, or the hint is of this very session and user.

    Anybody can send a browser here; only who received the ID token of this session can have such a hint.
    """
    if signed_in is None:
        return True
    if request.client is None or not request.subject:
        return False
    same_user = request.subject == subject_for(authority.keyring, signed_in.user, request.client)
    return same_user and request.session_id in ("", signed_in.session.id)

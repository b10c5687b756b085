"""Keybearer as an OpenID provider: where to send people, and what to do with the code that they come back with.

This is an ordinary OAuth client: authorization code with PKCE, and nothing that knows Keybearer in particular.
Spec: RFC 6749 §4.1, RFC 7636, RFC 9207, OpenID Connect Core §3.1.
"""

from __future__ import annotations

import time
from base64 import urlsafe_b64encode
from hashlib import sha256
from typing import Any
from urllib.parse import urlencode

import httpx

from keybearer.core.secret import Secret

from ..config import API, Config
from ..permissions import MODERATE, READ, WRITING
from .sessions import SigningIn, Tokens

SCOPE = " ".join(("openid", "profile", READ, *WRITING, MODERATE))
"""All that is ever needed; of ``MODERATE`` only moderators are asked, since nobody else can get it."""
TIMEOUT = 5.0


class SignInFailed(Exception):
    """The sign-in came to nothing; the text is for the person."""


class CannotBeReached(SignInFailed):
    """Keybearer does not answer, or not now: nobody is any less signed in for that."""

    def __init__(self) -> None:
        super().__init__("Keybearer cannot be asked for now. Please try again.")


class Authority:
    """Keybearer, as this application's own client there."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._http = httpx.AsyncClient(timeout=TIMEOUT, follow_redirects=False)
        self._known: dict[str, Any] | None = None

    async def close(self) -> None:
        """Close its connections."""
        await self._http.aclose()

    async def sign_in_url(self, signing_in: SigningIn, *, again: bool = False) -> str:
        """Return where to send a browser that shall sign in; ``again`` wants it done now, whoever is signed in."""
        challenge = sha256(signing_in.code_verifier.reveal().encode()).digest()
        query = {
            "response_type": "code",
            "client_id": self._config.client_id,
            "redirect_uri": self._config.redirect_uri,
            "scope": SCOPE,
            "resource": API,
            "state": signing_in.state,
            "code_challenge": urlsafe_b64encode(challenge).rstrip(b"=").decode(),
            "code_challenge_method": "S256",
        }
        if again:
            query["prompt"] = "login"
        return f"{await self._endpoint('authorization_endpoint')}?{urlencode(query)}"

    async def tokens_for(self, code: str, code_verifier: Secret) -> Tokens:
        """Return what a code is good for. Raises ``SignInFailed``."""
        said = await self._token(
            grant_type="authorization_code",
            code=code,
            redirect_uri=self._config.redirect_uri,
            code_verifier=code_verifier.reveal(),
        )
        return _tokens(said)

    async def renewed(self, tokens: Tokens) -> Tokens | None:
        """Return the next tokens, or ``None`` where the person must sign in anew. Raises ``CannotBeReached``."""
        if tokens.refresh is None:
            return None
        try:
            said = await self._token(grant_type="refresh_token", refresh_token=tokens.refresh.reveal())
        except CannotBeReached:
            raise
        except SignInFailed:
            return None
        renewed = _tokens(said)
        renewed.id_token = renewed.id_token or tokens.id_token
        return renewed

    async def userinfo(self, tokens: Tokens) -> dict[str, Any]:
        """Return who signed in. Raises ``SignInFailed``."""
        url = await self._endpoint("userinfo_endpoint")
        return _read(await self._send("GET", url, headers={"authorization": f"Bearer {tokens.access.reveal()}"}))

    async def revoke(self, tokens: Tokens) -> None:
        """Give the tokens back. One that could not be given back ends by itself."""
        token = tokens.refresh or tokens.access
        url = await self._endpoint("revocation_endpoint")
        await self._send("POST", url, data={"token": token.reveal()}, auth=self._auth)

    async def sign_out_url(self, tokens: Tokens) -> str:
        """Return where a browser is signed out of Keybearer too. Spec: OpenID Connect RP-Initiated Logout §2."""
        query = {"client_id": self._config.client_id, "post_logout_redirect_uri": f"{self._config.url}/"}
        if tokens.id_token is not None:
            query["id_token_hint"] = tokens.id_token.reveal()
        return f"{await self._endpoint('end_session_endpoint')}?{urlencode(query)}"

    @property
    def _auth(self) -> tuple[str, str]:
        return self._config.client_id, self._config.client_secret

    async def _token(self, **form: str) -> dict[str, Any]:
        url = await self._endpoint("token_endpoint")
        return _read(await self._send("POST", url, data={**form, "resource": API}, auth=self._auth))

    async def _endpoint(self, name: str) -> str:
        if self._known is None:
            url = f"{self._config.issuer}/.well-known/openid-configuration"
            found = _read(await self._send("GET", url))
            if found.get("issuer") != self._config.issuer:
                raise SignInFailed("Keybearer is not where it was configured to be.")
            self._known = found
        return str(self._known[name])

    async def _send(self, method: str, url: str, **options: Any) -> httpx.Response:
        try:
            return await self._http.request(method, url, **options)
        except httpx.HTTPError:
            raise CannotBeReached from None


def _read(response: httpx.Response) -> dict[str, Any]:
    if response.status_code >= 500 or response.status_code == 429:
        raise CannotBeReached
    if response.status_code != 200:
        raise SignInFailed("Keybearer did not accept this sign-in. Please try again.")
    return dict(response.json())


def _tokens(said: dict[str, Any]) -> Tokens:
    refresh, id_token = said.get("refresh_token"), said.get("id_token")
    return Tokens(
        access=Secret(said["access_token"]),
        refresh=None if refresh is None else Secret(refresh),
        id_token=None if id_token is None else Secret(id_token),
        ends=time.monotonic() + float(said["expires_in"]),
        scope=frozenset(said.get("scope", "").split()),
    )

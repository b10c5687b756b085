"""Signing in from a program without a browser: the device grant, and keeping the tokens fresh. Spec: RFC 8628."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Final

import httpx
import msgspec

from ..core.secret import Secret
from . import connection
from .errors import ClientError, Unreachable

CLIENT: Final = "client_0000keybearercli"
"""The client that the command line is at every Keybearer (``services/bootstrap.py``)."""

GRANT: Final = "urn:ietf:params:oauth:grant-type:device_code"
TIMEOUT: Final = 30.0
MAX_WAIT: Final = 1800.0
MARGIN: Final = 30
"""Seconds before its end at which an access token counts as used up."""


class DeviceAuthorization(msgspec.Struct):
    """What to show the person: a short code, and where to enter it. Spec: RFC 8628 §3.2."""

    device_code: Secret
    user_code: str
    verification_uri: str
    expires_in: int
    verification_uri_complete: str = ""
    interval: int = 5


class Tokens(msgspec.Struct):
    """What the person's yes gave. ``ends_at`` is in seconds since the epoch."""

    access_token: Secret
    ends_at: int
    refresh_token: Secret | None = None
    scope: str = ""

    def is_fresh(self, now: float) -> bool:
        """Tell whether the access token may still be used."""
        return now < self.ends_at - MARGIN


class LoginRefused(ClientError):
    """The person said no, or did not answer in time, or the tokens are no longer good."""


class DeviceLogin:
    """Speak to the token endpoint of one Keybearer as the command line. ``transport``, ``sleep`` and ``now`` are for
    tests.
    """

    def __init__(
        self,
        url: str,
        *,
        transport: httpx.BaseTransport | None = None,
        sleep: Callable[[float], None] = time.sleep,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._url = url.rstrip("/")
        self._client = httpx.Client(
            transport=transport, timeout=TIMEOUT, follow_redirects=False, headers=connection.headers()
        )
        self._sleep = sleep
        self._now = now

    def start(self, scope: str) -> DeviceAuthorization:
        """Ask for a code to show."""
        status, said = self._post("/oauth/device_authorization", scope=scope)
        if status != 200:
            raise _refused(said)
        return DeviceAuthorization(
            device_code=Secret(said["device_code"]),
            user_code=said["user_code"],
            verification_uri=said["verification_uri"],
            verification_uri_complete=said.get("verification_uri_complete", ""),
            expires_in=said["expires_in"],
            interval=said.get("interval", 5),
        )

    def wait(self, started: DeviceAuthorization) -> Tokens:
        """Return the tokens once the person said yes; raises ``LoginRefused`` for a no, or when the time is over."""
        interval = max(1, started.interval)
        end = self._now() + min(started.expires_in, MAX_WAIT)
        while self._now() < end:
            self._sleep(interval)
            status, said = self._post("/oauth/token", grant_type=GRANT, device_code=started.device_code.reveal())
            if status == 200:
                return self._tokens(said)
            if said.get("error") == "slow_down":
                interval += 5
            elif said.get("error") != "authorization_pending":
                raise _refused(said)
        raise LoginRefused("Nobody confirmed the code in time.")

    def refresh(self, tokens: Tokens) -> Tokens:
        """Return fresh tokens; raises ``LoginRefused`` when a new sign-in is needed."""
        if tokens.refresh_token is None:
            raise LoginRefused("The sign-in has ended.")
        status, said = self._post(
            "/oauth/token", grant_type="refresh_token", refresh_token=tokens.refresh_token.reveal()
        )
        if status != 200:
            raise _refused(said)
        return self._tokens(said)

    def revoke(self, tokens: Tokens) -> None:
        """End the sign-in at the server."""
        token = tokens.refresh_token or tokens.access_token
        self._post("/oauth/revoke", token=token.reveal())

    def close(self) -> None:
        """Let go of the connection."""
        self._client.close()

    def _tokens(self, said: dict[str, Any]) -> Tokens:
        refresh = said.get("refresh_token")
        return Tokens(
            access_token=Secret(said["access_token"]),
            ends_at=int(self._now()) + int(said.get("expires_in", 300)),
            refresh_token=None if refresh is None else Secret(refresh),
            scope=said.get("scope", ""),
        )

    def _post(self, path: str, **form: str) -> tuple[int, dict[str, Any]]:
        try:
            answer = self._client.post(self._url + path, data={"client_id": CLIENT, **form})
        except httpx.HTTPError as error:
            raise Unreachable(f"{self._url} does not answer: {error}") from error
        try:
            said = answer.json() if answer.content else {}
        except ValueError:
            said = {}
        return answer.status_code, said if isinstance(said, dict) else {}


def _refused(said: dict[str, Any]) -> LoginRefused:
    return LoginRefused(str(said.get("error_description") or said.get("error") or "The sign-in was refused."))

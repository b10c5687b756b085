"""Sessions: who a browser belongs to. The tokens stay on this side; the browser has a random name for them."""

from __future__ import annotations

import hmac
import secrets
import time
from dataclasses import dataclass, field

from starlette.requests import Request
from starlette.responses import Response

from keybearer.core.secret import Secret

MOST = 10_000
LASTS = 12 * 3600.0
SIGNING_IN_LASTS = 600.0


@dataclass(slots=True)
class Tokens:
    """What Keybearer gave for somebody: ``ends`` is when the access token is over, on the monotonic clock."""

    access: Secret
    refresh: Secret | None
    id_token: Secret | None
    ends: float
    scope: frozenset[str]


@dataclass(slots=True)
class SigningIn:
    """A sign-in that has begun and is not over: what the answer will be held against."""

    state: str
    code_verifier: Secret
    back_to: str


@dataclass(eq=False)
class Session:
    """One browser. Until somebody signed in it has no tokens."""

    id: Secret
    ends: float
    form_token: str = field(default_factory=lambda: secrets.token_urlsafe(24), repr=False)
    signing_in: SigningIn | None = None
    person_id: str = ""
    name: str = ""
    tokens: Tokens | None = None

    def accepts_form(self, token: str) -> bool:
        """Tell whether a form was one of this session's own."""
        return hmac.compare_digest(token.encode(), self.form_token.encode())


class Sessions:
    """All sessions, in memory: whoever restarts the application signs everybody out.

    The oldest make room, each among its own: strangers who begin to sign in push nobody out who did.
    """

    def __init__(self, *, secure: bool) -> None:
        self._secure = secure
        self._name = "__Host-qa" if secure else "qa"  # without TLS browsers do not take the prefix
        self._signing_in: dict[str, Session] = {}
        self._signed_in: dict[str, Session] = {}

    def of(self, request: Request) -> Session | None:
        """Return the session of a browser, if it has one that is not over."""
        name = request.cookies.get(self._name, "")
        session = self._signed_in.get(name) or self._signing_in.get(name)
        if session is not None and session.ends < time.monotonic():
            self.end(session)
            return None
        return session

    def begin_to_sign_in(self) -> Session:
        """Begin a session of somebody who is not known yet."""
        return _begun(self._signing_in, SIGNING_IN_LASTS)

    def begin(self, tokens: Tokens, person_id: str, name: str) -> Session:
        """Begin the session of somebody, under a new name: one from before a sign-in is worth nothing after it."""
        session = _begun(self._signed_in, LASTS)
        session.tokens, session.person_id, session.name = tokens, person_id, name
        return session

    def end(self, session: Session) -> None:
        """End a session."""
        self._signing_in.pop(session.id.reveal(), None)
        self._signed_in.pop(session.id.reveal(), None)

    def give(self, response: Response, session: Session) -> None:
        """Let the browser keep the name of a session, out of reach of scripts and of other sites' forms."""
        response.set_cookie(
            self._name, session.id.reveal(), path="/", secure=self._secure, httponly=True, samesite="lax"
        )

    def take(self, response: Response) -> None:
        """Let the browser forget."""
        response.delete_cookie(self._name, path="/", secure=self._secure, httponly=True, samesite="lax")


def _begun(among: dict[str, Session], lasts: float) -> Session:
    while len(among) >= MOST:
        del among[next(iter(among))]
    session = Session(Secret(secrets.token_urlsafe(32)), time.monotonic() + lasts)
    among[session.id.reveal()] = session
    return session

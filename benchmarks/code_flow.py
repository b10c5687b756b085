"""Whole code flows of a user who is signed in: authorize, redeem the code with PKCE, refresh once; each checked.

This module is also the process that asks: connections that each go through one flow after another, on a core of their
own (``python -m benchmarks.code_flow``, told what to ask on standard input).
"""

from __future__ import annotations

import asyncio
import base64
import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path
from time import perf_counter
from urllib.parse import urlencode

import uvloop

from keybearer import foundation
from keybearer.clock import SystemClock
from keybearer.services import bootstrap, users
from keybearer.services.authority import SYSTEM, Authority
from keybearer.services.passwords import Passwords
from keybearer.services.sign_in import Attempt, Done, Visit, with_password
from keybearer.settings import Settings
from keybearer.stores.cached import CachedRecords
from keybearer.wire.users import CreateUser

from .machine import pinned

CONNECTIONS = 32
REDIRECT = "https://shop.example/callback"
EMAIL, PASSWORD = "ada@example.com", "quartz lantern overture 41"
_VERIFIER = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"
_CHALLENGE = base64.urlsafe_b64encode(sha256(_VERIFIER.encode()).digest()).rstrip(b"=").decode()


@dataclass(frozen=True, slots=True)
class Browser:
    """A browser that is signed in, and a client that needs no consent: ``authorization`` proves the client."""

    host: str
    port: int
    session: str
    client_id: str
    authorization: str
    scope: str
    resource: str

    def authorize(self) -> bytes:
        """Return an authorization request."""
        query = {
            "response_type": "code",
            "client_id": self.client_id,
            "redirect_uri": REDIRECT,
            "scope": self.scope,
            "resource": self.resource,
            "state": "s",
            "code_challenge": _CHALLENGE,
            "code_challenge_method": "S256",
        }
        target = f"/oauth/authorize?{urlencode(query)}"
        return f"GET {target} HTTP/1.1\r\nHost: a.example\r\nCookie: kb_session={self.session}\r\n\r\n".encode()

    def token(self, **form: str) -> bytes:
        """Return a token request."""
        body = urlencode(form)
        return (
            f"POST /oauth/token HTTP/1.1\r\nHost: a.example\r\nAuthorization: {self.authorization}\r\n"
            f"Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {len(body)}\r\n\r\n{body}"
        ).encode()


def sign_in(data: Path) -> str:
    """Make a user in a data directory that nobody serves yet, and return the cookie of a new session."""
    return asyncio.run(_signed_in(Settings(data=data)))


async def _signed_in(settings: Settings) -> str:
    async with foundation.foundation(settings) as base:
        await base.doorbell.align(base.store.head)
        records = CachedRecords(base.store, base.immediate, doorbell=base.doorbell)
        authority = Authority(
            settings,
            base.store,
            records,
            base.keyring,
            SystemClock(),
            own_project_id=bootstrap.OWN_PROJECT_ID,
            own_api_id=bootstrap.OWN_API_ID,
            passwords=Passwords(),
        )
        await users.create(authority, SYSTEM, CreateUser(EMAIL, password=PASSWORD))
        done = await with_password(authority, Attempt(EMAIL, PASSWORD, Visit()))
        authority.passwords.close()
    if not isinstance(done, Done):
        raise RuntimeError("the sign-in wants a second factor")
    return done.secret.reveal()


def per_second(browser: Browser, seconds: float) -> float:
    """Return whole flows a second; raises ``RuntimeError`` when a step was answered otherwise than it should."""
    told = json.dumps({"browser": asdict(browser), "seconds": seconds})
    done = subprocess.run(
        [*pinned(1), sys.executable, "-m", __name__],
        input=told,
        capture_output=True,
        text=True,
        timeout=seconds + 60,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"the flows failed: {done.stderr}")
    return float(done.stdout)


# The process that asks


class _Line:
    """One connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def ask(self, request: bytes, status: int) -> tuple[bytes, bytes]:
        """Return head and body of the answer."""
        self._writer.write(request)
        head = await self._reader.readuntil(b"\r\n\r\n")
        length = next(
            (int(line[16:]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length: ")), 0
        )
        body = await self._reader.readexactly(length) if length else b""
        if not head.startswith(b"HTTP/1.1 %d " % status):
            raise RuntimeError(f"{request.split(b' HTTP')[0]!r}: {head!r} {body!r}")
        return head, body


async def _flows(browser: Browser, until: float) -> int:
    line = _Line(*await asyncio.open_connection(browser.host, browser.port))
    authorize, flows = browser.authorize(), 0
    while perf_counter() < until:
        head, _ = await line.ask(authorize, 303)
        code = head.split(b"code=", 1)[1].split(b"&", 1)[0].split(b"\r", 1)[0].decode()
        redeem = browser.token(
            grant_type="authorization_code", code=code, redirect_uri=REDIRECT, code_verifier=_VERIFIER
        )
        _, body = await line.ask(redeem, 200)
        refresh_token = json.loads(body)["refresh_token"]
        _, body = await line.ask(browser.token(grant_type="refresh_token", refresh_token=refresh_token), 200)
        if json.loads(body)["refresh_token"] == refresh_token:
            raise RuntimeError("the refresh token did not change")
        flows += 1
    return flows


async def _ask(browser: Browser, seconds: float) -> float:
    started = perf_counter()
    counts: Sequence[int] = await asyncio.gather(*(_flows(browser, started + seconds) for _ in range(CONNECTIONS)))
    return sum(counts) / (perf_counter() - started)


def main() -> None:
    """Ask as standard input says, and print flows a second."""
    told = json.load(sys.stdin)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        print(runner.run(_ask(Browser(**told["browser"]), told["seconds"])))


if __name__ == "__main__":
    main()

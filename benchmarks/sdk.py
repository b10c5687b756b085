"""Guards inside an application: a cached key and token, and a JWT that was never seen, against PyJWT and Authlib.

A guard follows a real authority; the calling thread's processor time is measured. A JWT that was never seen comes
from a client of which nothing has changed for a minute, as most have: what the guard heard is set back by so much.
"""

from __future__ import annotations

import tempfile
import time
import warnings
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from keybearer import app
from keybearer.client import CreateClient, GrantType, Keybearer
from keybearer.core.records import TokenFormat
from keybearer.guards import Guard
from keybearer.settings import Settings
from keybearer.wire.records import PermissionSpec

from . import authority
from .authority import Running
from .figures import Figure, Goal, Spread, microseconds_each, ratios
from .tokens import Client, ask_once

SIGNATURE = "bare ES256 signature check"
KEY = Goal("median < 3 µs", at_most=3.0)
TOKEN = Goal("median < 5 µs", at_most=5.0)
FIRST = Goal("≤ 1.3 × the bare signature check", at_most=1.3, of_ratio=True)
GOALS = {"guard: cached key": KEY, "guard: cached token": TOKEN, "guard: JWT never seen": FIRST}
SCOPE = "orders:read"


def measure(*, quick: bool) -> Sequence[Figure]:
    """Time all in alternating short repeats."""
    rounds, loops, tokens = (8, 500, 60) if quick else (60, 1000, 300)
    with tempfile.TemporaryDirectory(prefix="keybearer-bench-") as folder, ExitStack() as stack:
        scratch = Path(folder)
        root_key = str(app.init(Settings(data=scratch / "data"), "benchmark@example.com", None)["root_key"])
        server = stack.enter_context(authority.running(authority.serve(scratch / "data"), scratch / "serve.log"))
        keybearer = stack.enter_context(Keybearer(server.url, root_key))
        opaque = _Scene(stack, server, keybearer, root_key, TokenFormat.OPAQUE)
        jwt = _Scene(stack, server, keybearer, root_key, TokenFormat.JWT)
        key, token = opaque.key(), opaque.token()
        guard, reader = opaque.guard, jwt.guard
        for credential in (key, token):
            guard.verify(credential, SCOPE)
        unseen = [jwt.token() for _ in range(tokens)]
        jwt.settle(unseen[0])
        bare, pyjwt, authlib = _others(server, jwt, unseen)

        def first_seen() -> None:
            for one in unseen:
                reader.verify(one, SCOPE)

        subjects: dict[str, tuple[Callable[[], object], int, int]] = {
            SIGNATURE: (bare, 1, tokens),
            "guard: cached key": (lambda: guard.verify(key, SCOPE), loops, 1),
            "guard: cached token": (lambda: guard.verify(token, SCOPE), loops, 1),
            "guard: JWT never seen": (first_seen, 1, tokens),
            "PyJWT, key at hand": (pyjwt, 1, tokens),
            "Authlib, key at hand": (authlib, 1, tokens),
        }
        times: dict[str, list[float]] = {name: [] for name in subjects}
        online = dict(reader.metrics)["online"] + dict(guard.metrics)["online"]
        for _ in range(rounds):
            for name, (subject, calls, each) in subjects.items():
                reader._memory.clear()
                while not (guard.is_fresh and reader.is_fresh):
                    time.sleep(0.01)
                times[name] += [one / each for one in microseconds_each(subject, repeats=1, loops=calls)]
        if dict(reader.metrics)["online"] + dict(guard.metrics)["online"] != online:
            raise RuntimeError("a guard asked the authority: this is no measurement of its memory")
    return [
        Figure(
            name,
            "µs",
            Spread.of(values),
            "" if name == SIGNATURE else SIGNATURE,
            None if name == SIGNATURE else ratios(values, times[SIGNATURE]),
            GOALS.get(name),
        )
        for name, values in times.items()
    ]


class _Scene:
    """An API with one format of tokens, a project and a client that may call it, and a guard in front."""

    def __init__(
        self, stack: ExitStack, server: Running, keybearer: Keybearer, root_key: str, tokens: TokenFormat
    ) -> None:
        self._server, self._keybearer = server, keybearer
        identifier = f"https://{tokens.value}.example.com"
        api = keybearer.apis.create(
            identifier=identifier, name="Orders", permissions=[PermissionSpec(SCOPE)], token_format=tokens
        )
        self.project = keybearer.projects.create(name="Shop", enabled_apis=[api.id])
        body = CreateClient(
            project_id=self.project.id, name="Shop", grant_types=[GrantType.CLIENT_CREDENTIALS], scopes=[SCOPE]
        )
        issued = keybearer.clients.create(body)
        secret = issued.client_secret
        self._client = Client(issued.client.id, secret.reveal() if secret else "", identifier)
        self.identifier = identifier
        self.guard = stack.enter_context(Guard(server.url, key=root_key, api=identifier))
        self.guard.start()

    def key(self) -> str:
        """Return a new key."""
        issued = self._keybearer.keys.create(project_id=self.project.id, name="benchmark", permissions=[SCOPE])
        return issued.credential.reveal()

    def token(self) -> str:
        """Return a new access token."""
        return str(ask_once(self._server, self._client.token_question())["access_token"])

    def settle(self, token: str) -> None:
        """Let the guard know what tokens come from, and forget that it was made a moment ago."""
        time.sleep(1.0)
        heard = self.guard._follower.heard
        heard._last = {subject: (seq, 0) for subject, (seq, _) in heard._last.items()}
        heard.known_since = 0
        self.guard._jwts.sources.clear()
        self.guard.verify(token, SCOPE)


def _others(
    server: Running, scene: _Scene, tokens: Sequence[str]
) -> tuple[Callable[[], None], Callable[[], None], Callable[[], None]]:
    """Return what checks all tokens once: the bare signature, PyJWT and Authlib, each with its key imported already."""
    import httpx
    import jwt as pyjwt
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
    from cryptography.hazmat.primitives.hashes import SHA256

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Authlib says that its JOSE moves to joserfc
        from authlib.jose import JsonWebKey, JsonWebToken
    from keybearer.formats.jws import decode_part

    jwks = httpx.get(f"{server.url}/oauth/jwks", trust_env=False).json()["keys"]
    header = pyjwt.get_unverified_header(tokens[0])
    jwk: dict[str, Any] = next(one for one in jwks if one["kid"] == header["kid"])
    x, y = (int.from_bytes(decode_part(jwk[name])) for name in ("x", "y"))
    public = ec.EllipticCurvePublicNumbers(x, y, ec.SECP256R1()).public_key()
    algorithm = ec.ECDSA(SHA256())
    taken_apart = []
    for token in tokens:
        signed, _, signature = token.rpartition(".")
        raw = decode_part(signature)
        der = encode_dss_signature(int.from_bytes(raw[:32]), int.from_bytes(raw[32:]))
        taken_apart.append((der, signed.encode()))
    other, key = JsonWebToken(["ES256"]), JsonWebKey.import_key(jwk)
    wanted = {"iss": {"value": server.url}, "aud": {"value": scene.identifier}}

    def bare() -> None:
        for der, signed in taken_apart:
            public.verify(der, signed, algorithm)

    def by_pyjwt() -> None:
        for token in tokens:
            pyjwt.decode(token, public, algorithms=["ES256"], audience=scene.identifier, issuer=server.url)

    def by_authlib() -> None:
        for token in tokens:
            other.decode(token, key, claims_options=wanted).validate()

    return bare, by_pyjwt, by_authlib

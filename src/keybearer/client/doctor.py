"""The doctor: looks at an installation as a client would, and says of each thing whether it is well and what to mend.

It needs no key and changes nothing. Spec: RFC 8414 §3.3, RFC 9700 §2.6, OIDC Discovery §4.3, RFC 7517 §5.
"""

from __future__ import annotations

import json
import socket
import ssl
import time
from collections.abc import Callable, Iterator, Mapping
from email.utils import parsedate_to_datetime
from enum import StrEnum
from typing import Any, Final, NamedTuple
from urllib.parse import urlsplit

import httpx

from . import connection

TIMEOUT: Final = 10.0
MAX_BODY: Final = 1_000_000
_PRIVATE: Final = ("d", "p", "q", "dp", "dq", "qi", "k")
_REQUIRED: Final = ("issuer", "authorization_endpoint", "token_endpoint", "jwks_uri", "response_types_supported")


class Verdict(StrEnum):
    """How a thing is."""

    WELL = "well"
    LOOK = "look"
    ILL = "ill"


class Finding(NamedTuple):
    """One thing that was looked at: what is so, and what to mend (empty when it is well)."""

    what: str
    verdict: Verdict
    says: str
    mend: str = ""


Now = Callable[[], float]


class Doctor:
    """Examine the installation whose issuer is ``issuer``. ``transport`` is for tests."""

    def __init__(
        self, issuer: str, *, transport: httpx.BaseTransport | None = None, verify: bool = True, now: Now = time.time
    ) -> None:
        self._issuer = issuer
        self._parts = urlsplit(issuer)
        self._now = now
        self._client = httpx.Client(
            transport=transport, timeout=TIMEOUT, follow_redirects=False, verify=verify, headers=connection.headers()
        )
        self._metadata: Mapping[str, Any] = {}

    def __enter__(self) -> Doctor:
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()

    def examine(self, client_id_document: str = "") -> Iterator[Finding]:
        """Yield what is found, one thing after the other; stops early when nothing answers."""
        reached = self._reach()
        yield reached
        if reached.verdict is Verdict.ILL:
            return
        yield self._transport()
        if self._parts.scheme == "https":
            yield self._certificate()
            yield self._plain_redirect()
        yield self._clock()
        yield from self._documents()
        if self._metadata:
            yield self._endpoints()
            yield from self._keys()
            yield self._token_endpoint()
            yield self._authorization_endpoint()
        if client_id_document:
            yield self._client_document(client_id_document)

    # The things that are looked at.

    def _reach(self) -> Finding:
        try:
            answer = self._client.get(self._at("/readyz"))
        except httpx.HTTPError as error:
            return _ill(
                "reachable",
                f"{self._issuer} does not answer: {error}.",
                "Start it, or mend the proxy or DNS.",
            )
        if answer.status_code == 200:
            return _well("reachable", "It answers, and is ready.")
        if answer.status_code == 503:
            return _ill("reachable", "It answers, but its database does not.", "Mend the database.")
        return _look(
            "reachable",
            f"/readyz answers {answer.status_code}.",
            "Let the proxy pass /readyz on, if clients are to see it.",
        )

    def _transport(self) -> Finding:
        if self._parts.scheme == "https":
            return _well("transport", "The issuer is https.")
        if self._parts.hostname in ("127.0.0.1", "::1", "localhost"):
            return _well("transport", "Plain http, on this machine only.")
        return _ill(
            "transport",
            "The issuer is plain http: whoever is on the way reads and changes everything.",
            "Put TLS in front, and set KEYBEARER_ISSUER to the https URL.",
        )

    def _certificate(self) -> Finding:
        host, port = self._parts.hostname or "", self._parts.port or 443
        try:
            with (
                socket.create_connection((host, port), TIMEOUT) as plain,
                ssl.create_default_context().wrap_socket(plain, server_hostname=host) as wrapped,
            ):
                found = wrapped.getpeercert() or {}
                version = wrapped.version()
        except (OSError, ssl.SSLError) as error:
            return _ill("certificate", f"TLS fails: {error}.", "Give the proxy a valid certificate.")
        ends = ssl.cert_time_to_seconds(str(found["notAfter"]))
        days = int((ends - self._now()) // 86_400)
        if version not in ("TLSv1.2", "TLSv1.3"):
            return _ill("certificate", f"It speaks {version}.", "Allow TLS 1.2 and 1.3 only.")
        if days < 14:
            return _look("certificate", f"The certificate ends in {days} days.", "Renew it.")
        return _well("certificate", f"{version}; the certificate is good for {days} days.")

    def _plain_redirect(self) -> Finding:
        try:
            answer = self._client.get(f"http://{self._parts.hostname}/")
        except httpx.HTTPError:
            return _well("redirect", "Nothing answers on plain http.")
        location = answer.headers.get("location", "")
        if answer.is_redirect and location.startswith("https://"):
            return _well("redirect", "Plain http leads to https.")
        return _look(
            "redirect",
            f"Plain http answers {answer.status_code}.",
            "Let port 80 redirect to https, or close it.",
        )

    def _clock(self) -> Finding:
        answer = self._client.get(self._at("/healthz"))
        text = answer.headers.get("date", "")
        try:
            theirs = parsedate_to_datetime(text).timestamp()
        except (TypeError, ValueError):
            return _look("clock", "It does not say what time it is.", "Let the proxy keep the Date header.")
        off = abs(theirs - self._now())
        if off <= 5:
            return _well("clock", "Its clock and this machine's agree.")
        verdict = Verdict.ILL if off > 60 else Verdict.LOOK
        return Finding(
            "clock",
            verdict,
            f"Its clock and this machine's are {int(off)} seconds apart.",
            "Run NTP on both: tokens live for minutes.",
        )

    def _documents(self) -> Iterator[Finding]:
        seen: list[Mapping[str, Any]] = []
        path = self._parts.path.rstrip("/")
        for name, place in (
            ("OpenID metadata", f"{path}/.well-known/openid-configuration"),
            ("OAuth metadata", f"/.well-known/oauth-authorization-server{path}"),
        ):
            finding, document = self._document(name, f"{self._parts.scheme}://{self._parts.netloc}{place}")
            yield finding
            if document is not None:
                seen.append(document)
        if len(seen) == 2 and seen[0] != seen[1]:
            yield _look("metadata", "The two documents differ.", "Let the proxy cache neither, or both.")
        if seen:
            self._metadata = seen[0]

    def _document(self, name: str, url: str) -> tuple[Finding, Mapping[str, Any] | None]:
        try:
            answer = self._client.get(url)
        except httpx.HTTPError as error:
            return _ill(name, f"{url} does not answer: {error}.", "Let the proxy pass it on."), None
        if answer.status_code != 200:
            says = f"{url} answers {answer.status_code}."
            mend = "Clients follow no redirect here." if answer.is_redirect else "Let the proxy pass it on."
            return _ill(name, says, mend), None
        document = _object(answer)
        if document is None:
            return _ill(name, f"{url} is no JSON object.", "Look at what the proxy answers there."), None
        if document.get("issuer") != self._issuer:
            return (
                _ill(
                    name,
                    f"It says the issuer is {document.get('issuer')!r}, and you asked {self._issuer!r}.",
                    "They must be equal, byte for byte: set KEYBEARER_ISSUER to what clients use, or use what it says.",
                ),
                document,
            )
        missing = [member for member in _REQUIRED if member not in document]
        if missing:
            return _ill(name, f"It lacks {', '.join(missing)}.", "Look at the proxy."), None
        return _well(name, "The issuer is right, byte for byte."), document

    def _endpoints(self) -> Finding:
        elsewhere = [
            name
            for name, url in self._metadata.items()
            if name.endswith(("_endpoint", "jwks_uri")) and not str(url).startswith(self._issuer.rstrip("/") + "/")
        ]
        if elsewhere:
            return _look("endpoints", f"Not under the issuer: {', '.join(sorted(elsewhere))}.", "Is that meant?")
        return _well("endpoints", "All endpoints are under the issuer.")

    def _keys(self) -> Iterator[Finding]:
        url = str(self._metadata.get("jwks_uri", ""))
        try:
            answer = self._client.get(url)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            yield _ill("signing keys", f"{url} does not answer: {error}.", "Let the proxy pass it on.")
            return
        document = _object(answer) or {}
        keys = document.get("keys")
        if answer.status_code != 200 or not isinstance(keys, list) or not keys:
            yield _ill("signing keys", "There are none.", "Look at the authority's log.")
            return
        if any(name in key for key in keys for name in _PRIVATE):
            yield _ill("signing keys", "A private key is published.", "Revoke it at once.")
            return
        algorithms = sorted({str(key.get("alg")) for key in keys})
        yield _well("signing keys", f"{len(keys)} published: {', '.join(algorithms)}.")
        yield self._age_of_keys(answer)

    def _age_of_keys(self, answer: httpx.Response) -> Finding:
        age = answer.headers.get("age", "0")
        control = answer.headers.get("cache-control", "")
        kept = next((part.partition("=")[2] for part in control.split(",") if "max-age" in part), "0")
        seconds = max(int(text) if text.isdecimal() else 0 for text in (age, kept.strip()))
        if seconds > 3600:
            return _look(
                "age of keys",
                f"Caches may keep the keys for {seconds} seconds.",
                "Keep it under an hour, or a revoked key lives on in caches.",
            )
        return _well("age of keys", f"Caches keep the keys for {seconds} seconds at most.")

    def _token_endpoint(self) -> Finding:
        url = str(self._metadata["token_endpoint"])
        try:
            answer = self._client.post(url, data={"grant_type": "doctor"})
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            return _ill("token endpoint", f"It does not answer: {error}.", "Let the proxy pass it on.")
        said = _object(answer) or {}
        if answer.status_code not in (400, 401) or "error" not in said:
            return _ill(
                "token endpoint",
                f"A wrong request is answered {answer.status_code}, not with an OAuth error.",
                "Let the proxy pass POST, its body and the answer on unchanged.",
            )
        if "no-store" not in answer.headers.get("cache-control", ""):
            return _ill("token endpoint", "Its answers may be cached.", "Keep Cache-Control: no-store.")
        return _well("token endpoint", "It refuses a wrong request as it should.")

    def _authorization_endpoint(self) -> Finding:
        url = str(self._metadata["authorization_endpoint"])
        try:
            answer = self._client.get(url, params={"client_id": "doctor", "redirect_uri": "https://doctor.example/"})
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            return _ill("authorization endpoint", f"It does not answer: {error}.", "Let the proxy pass it on.")
        if answer.is_redirect:
            return _ill(
                "authorization endpoint",
                f"A request of nobody is redirected to {answer.headers.get('location', '')[:80]!r}.",
                "It must end on a page: is another server there?",
            )
        policy = answer.headers.get("content-security-policy", "")
        if "frame-ancestors 'none'" not in policy:
            return _ill("authorization endpoint", "Its pages can be framed.", "Keep Content-Security-Policy.")
        if answer.headers.get("access-control-allow-origin"):
            return _ill("authorization endpoint", "It allows other origins.", "Add no CORS headers there.")
        return _well("authorization endpoint", "It trusts nobody, and cannot be framed.")

    def _client_document(self, url: str) -> Finding:
        what = "client document"
        try:
            answer = self._client.get(url)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            return _ill(what, f"{url} does not answer: {error}.", "Publish it where anybody can read it.")
        document = _object(answer)
        if answer.status_code != 200 or document is None:
            return _ill(what, f"{url} answers {answer.status_code}.", "It must be JSON, without a redirect.")
        if document.get("client_id") != url:
            return _ill(what, "Its client_id is not its own URL.", f"Write {url!r} there, byte for byte.")
        return _well(what, "It can be read, and names itself.")

    def _at(self, path: str) -> str:
        return self._issuer.rstrip("/") + path


def _object(answer: httpx.Response) -> Mapping[str, Any] | None:
    if len(answer.content) > MAX_BODY:
        return None
    try:
        found = json.loads(answer.content)
    except ValueError:
        return None
    return found if isinstance(found, dict) else None


def _well(what: str, says: str) -> Finding:
    return Finding(what, Verdict.WELL, says)


def _look(what: str, says: str, mend: str) -> Finding:
    return Finding(what, Verdict.LOOK, says, mend)


def _ill(what: str, says: str, mend: str) -> Finding:
    return Finding(what, Verdict.ILL, says, mend)

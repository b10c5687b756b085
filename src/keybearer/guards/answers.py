"""What a guarded application answers to who may not pass. Spec: RFC 9457, RFC 6750 §3, RFC 9110 §10.2.3."""

from __future__ import annotations

from typing import Final, NamedTuple

import msgspec

from ..core.errors import Rejected
from ..http.challenges import metadata_url
from ..http.refusals import Terms, refusal
from .guard import ApiRules
from .rule import Rule

Headers = list[tuple[bytes, bytes]]
_ALWAYS: Final = ((b"content-type", b"application/problem+json"), (b"cache-control", b"no-store"))
_WORDS: Final = {
    400: ("bad-request", "Bad Request", "This path could be read in several ways."),
    401: ("unauthorized", "Unauthorized", "A valid credential is needed."),
    403: ("forbidden", "Forbidden", "The credential does not allow this."),
    429: ("too-many-requests", "Too Many Requests", "The limit is used up for now."),
    503: ("unavailable", "Service Unavailable", "Credentials cannot be checked for now."),
}


class Answer(NamedTuple):
    """One answer, the same for every framework."""

    status: int
    headers: Headers
    body: bytes

    @property
    def text_headers(self) -> list[tuple[str, str]]:
        """The headers as text, for WSGI and what stands on it."""
        return [(name.decode("latin-1").title(), value.decode("latin-1")) for name, value in self.headers]


class Refused(Exception):
    """The request may not pass; ``answer`` says so. ``is_anonymous`` is true where it carried no credential at all."""

    def __init__(self, answer: Answer, *, is_anonymous: bool = False) -> None:
        super().__init__(f"refused with {answer.status}")
        self.answer = answer
        self.is_anonymous = is_anonymous


def _body(status: int) -> bytes:
    slug, title, detail = _WORDS[status]
    kind = f"urn:keybearer:problem:{slug}"
    return msgspec.json.encode({"type": kind, "title": title, "status": status, "detail": detail})


_BODIES: Final = {status: _body(status) for status in _WORDS}
UNAVAILABLE: Final = Answer(503, [*_ALWAYS, (b"retry-after", b"1")], _BODIES[503])
"""Nothing is known of the credential, and nobody can be asked."""
AMBIGUOUS: Final = Answer(400, [*_ALWAYS], _BODIES[400])
"""The path could be read in several ways, so no rule says what it needs."""


def refused(rejection: Rejected, wanted: Rule, rules: ApiRules, *, dpop: bool) -> Answer:
    """Return the public answer: constant for each status, whatever the reason."""
    metadata = metadata_url(rules.issuer, rules.api.identifier)
    terms = Terms(wanted.demand, wanted.acr_values, wanted.max_age, metadata)
    status, said = refusal(rejection, terms, dpop=dpop)
    return Answer(status, [*_ALWAYS, *said], _BODIES[status])

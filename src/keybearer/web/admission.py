"""What guards at the edge answer: who calls, to hand on to the site, or a refusal that tells nothing of the reason."""

from __future__ import annotations

from typing import Final

from ..core.errors import Rejected
from ..core.principal import Principal
from ..core.records import CredentialRecord
from ..http.carriage import SecretInUrl
from ..http.identity_headers import identity_of
from ..http.refusals import Terms, refusal
from .door import Door
from .reply import Reply, WrittenHeaders

STATUS: Final = b"x-keybearer-status"
CARRIED: Final = b"x-keybearer-carried"
_BASE_HEADERS: Final = ((b"cache-control", b"no-store"), (b"x-content-type-options", b"nosniff"))
_BODY: Final = {
    401: b'{"title":"Unauthorized","status":401,"detail":"A valid credential is needed."}',
    403: b'{"title":"Forbidden","status":403,"detail":"The credential does not allow this."}',
    429: b'{"title":"Too Many Requests","status":429,"detail":"The limit is used up for now."}',
}
_SECRET_IN_URL: Final = b'{"title":"Unauthorized","status":401,"detail":"%s"}' % SecretInUrl.TEXT.encode()
CARRIED_IN_QUERY: Final = (CARRIED, b"query")
"""Tells the proxy that the URL holds the key, so that nobody shall keep the answer or hand the URL on."""


_IDENTITY: Final = tuple(
    b"x-keybearer-" + name
    for name in (
        b"key",
        b"token",
        b"project",
        b"kind",
        b"environment",
        b"permissions",
        b"identity",
        b"owner",
        b"client",
        b"subject",
        b"user",
    )
)
"""What an upstream may learn about who calls."""


class Admissions:
    """The headers of a 200: what is the same each time for one record is put together once, as in ``decision.py``."""

    MAX = 20_000

    def __init__(self) -> None:
        self._known: dict[tuple[str, int], tuple[CredentialRecord, WrittenHeaders]] = {}

    def always(self, principal: Principal) -> WrittenHeaders:
        """Return the headers that every admission of this principal has."""
        record, version = principal
        known = self._known.get((record.id, version))
        if known is None or known[0] is not record:
            if len(self._known) >= self.MAX:
                self._known.clear()
            known = self._known[record.id, version] = (record, WrittenHeaders(_admission(record)))
        return known[1]


def _admission(record: CredentialRecord) -> list[tuple[bytes, bytes]]:
    said = identity_of(record)
    # Every name is answered each time: some proxies would hand on what a client wrote in the place of one that is not.
    unsaid = [(name, b"") for name in _IDENTITY if name not in dict(said)]
    return [*_BASE_HEADERS, (STATUS, b"200"), *said, *unsaid]


def refused(rejection: Rejected, door: Door, request_id: str, metadata: str, dpop: bool) -> Reply:
    """Return the public answer."""
    status, said = refusal(rejection, Terms(door.demand, door.acr_values, door.max_age, metadata), dpop=dpop)
    headers = (
        *_BASE_HEADERS,
        (b"content-type", b"application/problem+json"),
        (b"x-request-id", request_id.encode()),
        *said,
        (STATUS, str(status).encode()),
    )
    body = _SECRET_IN_URL if isinstance(rejection, SecretInUrl) else _BODY[status]
    return Reply(status, headers, body)

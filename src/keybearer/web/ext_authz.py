"""Envoy's ext_authz: its question becomes one of forward-auth, and the answer says which headers the site may not get.

Over HTTP, Envoy repeats the request itself: its method, and its path behind ``/ext-authz``, byte for byte. What must
hold (``door.py``) stands in ``X-Keybearer-Door``, which Envoy's configuration sets; without it nobody passes. The same
over gRPC is ``ext_authz_grpc.py``.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from ..core.errors import InvalidInput, KeybearerError
from ..core.records import Api
from ..http.carriage import AUTHORIZATION, DEFAULT_KEY_HEADER
from ..http.identity_headers import is_identity
from ..ports import NotReady, Records
from .admission import CARRIED_IN_QUERY
from .decision import fresh_api
from .forward_auth import PATH as FORWARD_AUTH
from .forward_auth import ForwardAuthEdge
from .original_request import DPOP
from .problem import reply_for
from .reply import EdgeRequest, HeaderList, Reply, Steps

PREFIX: Final = b"/ext-authz"
DOOR: Final = b"x-keybearer-door"
TO_REMOVE: Final = b"x-envoy-auth-headers-to-remove"
_OURS: Final = frozenset(
    {DOOR, b"x-original-uri", b"x-forwarded-uri", b"x-original-method", b"x-forwarded-method", b"x-forwarded-host"}
)
"""What says here which request it is about: the client's own are never believed."""
_UNKEPT: Final = ((b"cache-control", b"no-store"), (b"referrer-policy", b"no-referrer"))


class ExtAuthzEdge:
    """Answers the HTTP requests of Envoy's ext_authz filter."""

    def __init__(self, records: Records, forward: ForwardAuthEdge) -> None:
        self._records = records
        self._forward = forward

    def at_once(self, request: EdgeRequest) -> Reply | None:
        """Answer, if nothing has to be waited for."""
        try:
            asked = _question_in(request)
            door = self._forward.door(asked)
            # Before the question, which takes from limits and cannot be asked twice.
            api = None if door.api is None else self._records.api(door.api)
        except NotReady:
            return None
        except KeybearerError as error:
            return reply_for(error, request.request_id)
        reply = self._forward.at_once(asked)
        return None if reply is None else _without_credentials(reply, api)

    def steps(self, request: EdgeRequest) -> Steps:
        """Do the work of one question."""
        try:
            asked = _question_in(request)
            door = self._forward.door(asked)
            api = None
            if door.api is not None:
                api = yield from fresh_api(self._records, door.api)
        except KeybearerError as error:
            return reply_for(error, request.request_id)
        return _without_credentials((yield from self._forward.steps(asked)), api)


def question(
    headers: HeaderList, *, door: bytes, method: bytes, uri: bytes, host: bytes, peer: str | None, number: int
) -> EdgeRequest:
    """Return the question of forward-auth about a request with these headers."""
    believed = [header for header in headers if header[0] not in _OURS]
    believed += [(b"x-original-uri", uri), (b"x-original-method", method), (b"x-forwarded-host", host)]
    return EdgeRequest(b"GET", FORWARD_AUTH + b"?" + door, believed, b"", peer, number)


def headers_to_remove(api: Api | None, names: Iterable[str] = ()) -> list[str]:
    """Return what the site may not get: the credential, and among ``names`` whatever it might read as an identity."""
    carrying = [AUTHORIZATION.decode(), DEFAULT_KEY_HEADER.decode(), DPOP.decode()]
    if api is not None and api.key_header.lower() not in carrying:
        carrying.append(api.key_header.lower())
    return [*carrying, *(name for name in names if is_identity(name.encode("latin-1")))]


def for_the_client(reply: Reply) -> HeaderList:
    """Return what the site's answer must have: what a URL with a key gave is kept by nobody, its URL not told on."""
    return list(_UNKEPT) if CARRIED_IN_QUERY in reply.more else []


def _question_in(request: EdgeRequest) -> EdgeRequest:
    doors = [value for name, value in request.headers if name == DOOR]
    if len(doors) != 1 or not doors[0]:
        raise InvalidInput.of("X-Keybearer-Door", "Envoy's configuration must set this header, once and not empty")
    if not request.target.startswith(PREFIX + b"/"):
        raise InvalidInput.of("path", "the path of the original request must stand behind /ext-authz")
    hosts = [value for name, value in request.headers if name == b"host"]
    return question(
        request.headers,
        door=doors[0],
        method=request.method,
        uri=request.target[len(PREFIX) :],
        host=hosts[0] if len(hosts) == 1 else b"",
        peer=request.peer,
        number=request.number,
    )


def _without_credentials(reply: Reply, api: Api | None) -> Reply:
    if reply.status != 200:
        return reply
    # What Envoy is told to hand on to the client must be about the site's answer, not about this one.
    about_us = (b"cache-control", b"x-content-type-options")
    always = tuple([header for header in reply.headers if header[0] not in about_us])
    removed = (TO_REMOVE, ", ".join(headers_to_remove(api)).encode())
    return reply._replace(headers=always, more=(*reply.more, removed, *for_the_client(reply)))

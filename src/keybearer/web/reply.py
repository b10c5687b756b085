"""An answer that both the hot protocol and the ASGI application can send, and the question it answers."""

from __future__ import annotations

import itertools
import secrets
from collections.abc import Callable, Coroutine, Generator, Iterable
from dataclasses import dataclass
from typing import Any, Final, NamedTuple, Protocol, Self

from ..core.errors import KeybearerError
from ..core.principal import Verified
from ..core.quota import LimitState
from ..core.requirement import Requirement
from ..core.standing import Standing
from ..ports import NotReady
from ..verify import Verifier

BOOT: Final = secrets.token_hex(6)
_COUNT: Final = itertools.count(1)
next_number: Final = _COUNT.__next__

HeaderList = list[tuple[bytes, bytes]]
Headers = tuple[tuple[bytes, bytes], ...]


class EdgeRequest(NamedTuple):
    """One HTTP request as the edges see it: header names in lower case, ``target`` with its query, ``peer`` an
    address. ``repeats`` is true when the very same bytes came before, so that they are worth remembering."""

    method: bytes
    target: bytes
    headers: HeaderList
    body: bytes
    peer: str | None
    number: int
    repeats: bool = False

    @property
    def request_id(self) -> str:
        """An id that no other request has; written only where somebody will read it."""
        return f"req_{BOOT}{self.number:x}"


class WrittenHeaders(Headers):
    """Headers that many answers have, and the lines that they are on the wire."""

    lines: bytes

    def __new__(cls, headers: Iterable[tuple[bytes, bytes]]) -> Self:
        """Write them once."""
        made = super().__new__(cls, headers)
        made.lines = lines_of(made)
        return made


def lines_of(headers: Iterable[tuple[bytes, bytes]]) -> bytes:
    """Return headers as they are on the wire."""
    return b"".join([b"%s: %s\r\n" % header for header in headers])


class Again(NamedTuple):
    """What the answer to a request hangs on, so that the same bytes can be answered without reading them.

    ``render`` writes the answer from the limits that it takes from: what stands behind ``HTTP/1.1 200 OK`` and the
    headers that every answer has.
    """

    standing: Standing
    render: Callable[[tuple[LimitState, ...]], bytes]


class Repeat(NamedTuple):
    """What lets the same bytes be worked on again without reading them.

    ``begin`` does that, or returns ``None`` when what the request may do has to be found out anew.
    """

    begin: Callable[[], Reply | Later | None]


class Reply(NamedTuple):
    """One HTTP answer; ``content-length`` and ``date`` are added by whoever sends it.

    ``more`` are headers of this answer alone. ``again`` is there when the same request may be answered by the same
    leave.
    """

    status: int
    headers: Headers
    body: bytes
    more: Headers = ()
    again: Again | Repeat | None = None


class Later(NamedTuple):
    """An answer that waits for something, such as the disk; what was asked is being done already."""

    reply: Coroutine[Any, Any, Reply]
    again: Repeat | None = None


class Ask(NamedTuple):
    """What an edge wants verified before it goes on."""

    credential: str
    requirement: Requirement


class Prove(NamedTuple):
    """A DPoP proof that an edge wants checked before it goes on; it is sent the thumbprint of the proven key."""

    proof: str
    method: str
    url: str
    access_token: str


Steps = Generator[Ask | Prove | None, Any, Reply]
"""An edge's work: it yields what must be verified (``None``: a fresh view first), and returns the reply."""


class Edge(Protocol):
    """What answers one kind of hot request."""

    def at_once(self, request: EdgeRequest) -> Reply | Later | None:
        """Answer the usual request, straight through; ``None`` for any other, which ``steps`` then begins anew."""
        ...

    def steps(self, request: EdgeRequest) -> Steps | None:
        """Do the work of any request; ``None`` to leave it to the application."""
        ...


class Suspended(NamedTuple):
    """Work that could not be finished at once, and where it stopped; nothing of the open question was counted yet."""

    steps: Steps
    ask: Ask | Prove | None


def run_now(steps: Steps, verifier: Verifier) -> Reply | Suspended:
    """Do an edge's work at once, or return where it has to wait."""
    try:
        ask = next(steps)
        while True:
            if not isinstance(ask, Ask):
                return Suspended(steps, ask)
            try:
                verified = verifier.verify_now(ask.credential, ask.requirement)
            except NotReady:
                return Suspended(steps, ask)
            except KeybearerError as error:
                ask = steps.throw(error)
            else:
                ask = steps.send(verified)
    except StopIteration as stop:
        return stop.value  # type: ignore[no-any-return]


@dataclass(frozen=True, slots=True)
class Waiting:
    """What an edge's work may wait for: a verify, a fresh view, and the check of a proof."""

    verifier: Verifier
    refresh: Callable[[], Coroutine[Any, Any, None]]
    prove: Callable[[Prove], Coroutine[Any, Any, str]]


async def resume(work: Suspended, waiting: Waiting) -> Reply:
    """Do the rest of an edge's work, waiting where it must."""
    steps, ask = work
    try:
        while True:
            try:
                found: Verified | str
                if ask is None:
                    await waiting.refresh()
                    ask = next(steps)
                    continue
                if isinstance(ask, Prove):
                    found = await waiting.prove(ask)
                else:
                    found = await waiting.verifier.verify(ask.credential, ask.requirement)
            except StopIteration:
                raise
            except KeybearerError as error:
                ask = steps.throw(error)
            else:
                ask = steps.send(found)
    except StopIteration as stop:
        return stop.value  # type: ignore[no-any-return]


async def run(steps: Steps, waiting: Waiting) -> Reply:
    """Do an edge's work, waiting where it must."""
    reply = run_now(steps, waiting.verifier)
    return reply if isinstance(reply, Reply) else await resume(reply, waiting)

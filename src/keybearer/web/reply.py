"""An answer that both the hot protocol and the ASGI application can send, and the question it answers."""

from __future__ import annotations

import itertools
import secrets
from collections.abc import Callable, Coroutine, Generator
from typing import Any, Final, NamedTuple

from ..core.errors import KeybearerError
from ..core.principal import Verified
from ..core.requirement import Requirement
from ..ports import NotReady
from ..verify import Verifier

BOOT: Final = secrets.token_hex(6)
_COUNT: Final = itertools.count(1)
next_number: Final = _COUNT.__next__

HeaderList = list[tuple[bytes, bytes]]


class EdgeRequest(NamedTuple):
    """One HTTP request as the edges see it: header names in lower case, ``target`` with its query, ``peer`` an
    address."""

    method: bytes
    target: bytes
    headers: HeaderList
    body: bytes
    peer: str | None
    number: int

    @property
    def request_id(self) -> str:
        """An id that no other request has; written only where somebody will read it."""
        return f"req_{BOOT}{self.number:x}"


class Reply(NamedTuple):
    """One HTTP answer; ``content-length`` and ``date`` are added by whoever sends it."""

    status: int
    headers: tuple[tuple[bytes, bytes], ...]
    body: bytes


class Ask(NamedTuple):
    """What an edge wants verified before it goes on."""

    credential: str
    requirement: Requirement


Steps = Generator[Ask | None, Verified, Reply]
"""An edge's work: it yields what must be verified (``None``: a fresh view first), and returns the reply."""


class Suspended(NamedTuple):
    """Work that could not be finished at once, and where it stopped; nothing of the open question was counted yet."""

    steps: Steps
    ask: Ask | None


def run_now(steps: Steps, verifier: Verifier) -> Reply | Suspended:
    """Do an edge's work at once, or return where it has to wait."""
    try:
        ask = next(steps)
        while True:
            if ask is None:
                return Suspended(steps, None)
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


async def resume(work: Suspended, verifier: Verifier, refresh: Callable[[], Coroutine[Any, Any, None]]) -> Reply:
    """Do the rest of an edge's work, waiting where it must."""
    steps, ask = work
    try:
        while True:
            try:
                if ask is None:
                    await refresh()
                    ask = next(steps)
                    continue
                verified = await verifier.verify(ask.credential, ask.requirement)
            except StopIteration:
                raise
            except KeybearerError as error:
                ask = steps.throw(error)
            else:
                ask = steps.send(verified)
    except StopIteration as stop:
        return stop.value  # type: ignore[no-any-return]


async def run(steps: Steps, verifier: Verifier, refresh: Callable[[], Coroutine[Any, Any, None]]) -> Reply:
    """Do an edge's work, waiting where it must."""
    reply = run_now(steps, verifier)
    return reply if isinstance(reply, Reply) else await resume(reply, verifier, refresh)

"""Server-sent events as they come in, put together from pieces; nothing here does I/O.

Spec: HTML Living Standard §9.2.6. What is longer than it may be raises ``ValueError``.
"""

from __future__ import annotations

from typing import Final, NamedTuple

MAX_NOTICE: Final = 65_536


class Notice(NamedTuple):
    """One event: its id as it was written (empty for none), its type and its data."""

    id: str
    type: str
    data: bytes


class Notices:
    """Puts notices together. Lines end in LF, as the authority writes them (a CR before it is dropped)."""

    def __init__(self) -> None:
        self._rest = b""
        self._fields: dict[bytes, bytes] = {}

    def feed(self, piece: bytes) -> list[Notice]:
        """Return the notices that this piece completes."""
        *lines, self._rest = (self._rest + piece).split(b"\n")
        if len(self._rest) > MAX_NOTICE:
            raise ValueError("an event is too long")
        found = []
        for line in lines:
            line = line.removesuffix(b"\r")
            if not line:
                if b"data" in self._fields:
                    found.append(self._notice())
                self._fields = {}
                continue
            name, _, value = line.partition(b":")
            if name in (b"id", b"event", b"data"):
                self._fields[name] = value.removeprefix(b" ")
        return found

    def _notice(self) -> Notice:
        fields = self._fields
        return Notice(
            fields.get(b"id", b"").decode("latin-1"),
            fields.get(b"event", b"message").decode("latin-1"),
            fields[b"data"],
        )

"""One keep-alive connection that asks the API, with nothing between the answer and the clock."""

from __future__ import annotations

import asyncio
import json
from typing import Any


class Line:
    """A connection to one worker of one node, whoever accepted it."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, key: str) -> None:
        self._reader = reader
        self._writer = writer
        self._key = key

    @classmethod
    async def to(cls, host: str, port: int, key: str) -> Line:
        """Connect as the holder of a service key."""
        reader, writer = await asyncio.open_connection(host, port)
        return cls(reader, writer, key)

    async def ask(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        """Return the answer of a POST; raises ``RuntimeError`` unless it is 2xx."""
        content = json.dumps(body).encode()
        head = (
            f"POST {path} HTTP/1.1\r\nhost: benchmark\r\nauthorization: Bearer {self._key}\r\n"
            f"content-type: application/json\r\ncontent-length: {len(content)}\r\n\r\n"
        )
        self._writer.write(head.encode() + content)
        answer = await self._reader.readuntil(b"\r\n\r\n")
        length = next(
            int(line.split(b":")[1]) for line in answer.split(b"\r\n") if line.lower().startswith(b"content-length:")
        )
        said = await self._reader.readexactly(length)
        if answer[9:10] != b"2":
            raise RuntimeError(f"{path}: {answer.decode()} {said.decode()}")
        found: dict[str, Any] = json.loads(said)
        return found

    async def close(self) -> None:
        """Hang up."""
        self._writer.close()
        await self._writer.wait_closed()

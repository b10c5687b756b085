"""``POST /v1/keys/import`` and ``/v1/users/import``: NDJSON in, progress and a report as NDJSON out while it runs."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from types import ModuleType
from typing import Final

import msgspec
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from ..core.errors import InvalidInput
from .dispatch import SECURITY_HEADERS, Dispatcher, request_id_of, response_of
from .problem import HttpProblem, reply_for

MAX_LINE: Final = 65_536
_ENCODER: Final = msgspec.json.Encoder()
_MEDIA_TYPES: Final = ("application/x-ndjson", "application/jsonl", "application/ndjson")


class ImportEndpoint:
    """Streams an import, one line at a time in both directions. ``service`` checks the lines and writes them."""

    def __init__(self, dispatcher: Dispatcher, service: ModuleType) -> None:
        self._dispatcher = dispatcher
        self._service = service

    async def serve(self, request: Request) -> Response:
        """Check who calls and what is asked, then stream."""
        request_id = request_id_of(request)
        authority = self._dispatcher.authority
        try:
            caller = await self._dispatcher.caller_of(request, self._service.IMPORT)
            self._service.require_import(caller)
            media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
            if media_type not in _MEDIA_TYPES:
                raise HttpProblem(415, "Send one JSON object a line as 'Content-Type: application/x-ndjson'.")
            dry_run = _dry_run(request)
        except Exception as error:
            return response_of(reply_for(error, request_id))

        async def answer() -> AsyncIterator[bytes]:
            lines = _lines(request, authority.settings.max_import_body)
            async for item in self._service.run(authority, caller, lines, dry_run=dry_run):
                yield _ENCODER.encode(item) + b"\n"

        headers = {**SECURITY_HEADERS, "content-type": "application/x-ndjson", "x-request-id": request_id}
        return _Stream(answer(), headers)


class _Stream(Response):
    """Sends while the request body still comes in. Starlette's own streaming response would read the body away."""

    def __init__(self, content: AsyncIterator[bytes], headers: Mapping[str, str]) -> None:
        super().__init__(None, 200, headers)
        del self.headers["content-length"]
        self._content = content

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the head, then each part as it comes."""
        await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
        async for part in self._content:
            await send({"type": "http.response.body", "body": part, "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})


def _dry_run(request: Request) -> bool:
    unknown = set(request.query_params) - {"dry_run"}
    if unknown:
        raise InvalidInput.of(min(unknown), "this query parameter is unknown here; there is: dry_run")
    text = request.query_params.get("dry_run", "false")
    if text not in ("true", "false"):
        raise InvalidInput.of("dry_run", "write true or false")
    return text == "true"


async def _lines(request: Request, limit: int) -> AsyncIterator[bytes]:
    """Yield the lines of the body; raises ``HttpProblem`` when the body or a line is too large."""
    rest, size = b"", 0
    async for chunk in _chunks(request):
        size += len(chunk)
        if size > limit:
            raise HttpProblem(413, f"An import may have {limit:,} bytes at most; split the file.")
        *whole, rest = (rest + chunk).split(b"\n")
        for line in whole:
            if len(line) > MAX_LINE:
                raise HttpProblem(413, f"A line may have {MAX_LINE:,} bytes at most.")
            yield line
        if len(rest) > MAX_LINE:
            raise HttpProblem(413, f"A line may have {MAX_LINE:,} bytes at most.")
    if rest.strip():
        yield rest


async def _chunks(request: Request) -> AsyncIterator[bytes]:
    try:
        async for chunk in request.stream():
            yield chunk
    except ClientDisconnect:
        # Half a file must not be imported as if it were a whole one.
        raise HttpProblem(400, "The connection ended before the file did; nothing was imported.") from None

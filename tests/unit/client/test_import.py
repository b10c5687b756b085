"""The streamed import, against a tiny real server."""

import asyncio
import json
import threading
from collections.abc import Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar

import pytest

from keybearer.client import AsyncKeybearer, Keybearer, Unauthorized, UnexpectedAnswer, Unreachable
from keybearer.wire.keys import ImportedSecret, ImportKey, ImportProgress, ImportReport
from tests.support.answers import KEY

Line = ImportKey | Mapping[str, Any] | bytes
PROGRESS = '{"type":"progress","phase":"checking","done":1,"total":2}'
REPORT = (
    '{"type":"report","lines":2,"imported":0,"refused":[{"line":1,"problems":[{"field":"n\u2028m","message":"bad"}]}],'
    '"refused_count":1,"dry_run":true,"new_field":1}'
)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    status: ClassVar[int] = 200
    pieces: ClassVar[list[bytes]] = []
    cut: ClassVar[bool] = False
    seen: ClassVar[dict[str, object]] = {}

    def do_POST(self) -> None:
        body = b""
        while size := int(self.rfile.readline(), 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        type(self).seen = {"path": self.path, "body": body, "headers": dict(self.headers)}
        self.send_response(self.status)
        self.send_header("content-type", "application/x-ndjson" if self.status == 200 else "application/problem+json")
        self.send_header("transfer-encoding", "chunked")
        self.end_headers()
        for piece in self.pieces:
            self.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece))
        if not self.cut:
            self.wfile.write(b"0\r\n\r\n")
        self.close_connection = True

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[tuple[str, type[_Handler]]]:
    kind = type("Handler", (_Handler,), {})
    with ThreadingHTTPServer(("127.0.0.1", 0), kind) as http:
        thread = threading.Thread(target=http.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{http.server_address[1]}", kind
        http.shutdown()
        thread.join()


def _imported(url: str, lines: list[Line]) -> list[ImportProgress | ImportReport]:
    with Keybearer(url, KEY) as client:
        return list(client.keys.import_keys(lines, dry_run=True))


async def _imported_async(url: str, lines: list[Line]) -> list[ImportProgress | ImportReport]:
    async with AsyncKeybearer(url, KEY) as client:
        return [item async for item in client.keys.import_keys(lines, dry_run=True)]


@pytest.mark.parametrize("asynchronous", [False, True])
def test_lines_go_and_come_as_a_stream(server: tuple[str, type[_Handler]], asynchronous: bool) -> None:
    url, handler = server
    text = (PROGRESS + "\n" + REPORT + "\n").encode()
    handler.pieces = [text[:10], text[10:70], text[70:71], text[71:]]
    key = ImportKey(project_id="p", name="old", secret=ImportedSecret("raw", "sk-123"))
    lines: list[Line] = [key, b'{"as": "it is"}\r\n', {"a": "mapping"}]
    first, last = asyncio.run(_imported_async(url, lines)) if asynchronous else _imported(url, lines)
    assert first == ImportProgress("checking", 1, 2)
    assert isinstance(last, ImportReport)
    assert last.refused[0].problems[0]["field"] == "n\u2028m", "a line separator of Unicode ends no line"
    assert handler.seen["path"] == "/v1/keys/import?dry_run=true"
    sent = [json.loads(line) for line in str(handler.seen["body"], "utf-8").splitlines()]  # type: ignore[call-overload]
    assert sent[0]["secret"]["value"] == "sk-123"
    assert sent[1:] == [{"as": "it is"}, {"a": "mapping"}]


@pytest.mark.parametrize("cut", [False, True])
def test_an_answer_without_its_report_is_no_success(server: tuple[str, type[_Handler]], cut: bool) -> None:
    url, handler = server
    handler.pieces, handler.cut = [PROGRESS.encode() + b"\n"], cut
    with pytest.raises(Unreachable):
        _imported(url, [b"{}"])
    with pytest.raises(Unreachable):
        asyncio.run(_imported_async(url, [b"{}"]))


def test_a_last_line_without_its_end_counts(server: tuple[str, type[_Handler]]) -> None:
    url, handler = server
    handler.pieces = [REPORT.encode()]
    assert len(_imported(url, [b"{}"])) == 1


def test_errors_are_those_of_every_call(server: tuple[str, type[_Handler]]) -> None:
    url, handler = server
    handler.status = 401
    handler.pieces = [b'{"type":"about:blank","title":"Unauthorized","status":401}']
    with pytest.raises(Unauthorized):
        _imported(url, [b"{}"])
    with pytest.raises(Unauthorized):
        asyncio.run(_imported_async(url, [b"{}"]))
    handler.status, handler.pieces = 200, [b"<html>\n"]
    with pytest.raises(UnexpectedAnswer):
        _imported(url, [b"{}"])
    with pytest.raises(Unreachable):
        _imported("http://127.0.0.1:1", [b"{}"])

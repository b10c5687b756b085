"""Reverse proxies that others would write in Python, as plainly as they go: ``python -m benchmarks.rival_proxies``.

They stream both ways and drop hop-by-hop fields; they decide about nothing, and hide nothing.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from typing import Any

import uvloop

HOP_BY_HOP = frozenset({"connection", "keep-alive", "te", "trailer", "transfer-encoding", "upgrade", "host"})


async def with_aiohttp(upstream: str) -> None:
    """aiohttp's server and its client."""
    from aiohttp import ClientSession, DummyCookieJar, TCPConnector, web

    connector = TCPConnector(limit=100)
    session = ClientSession(upstream, connector=connector, cookie_jar=DummyCookieJar(), auto_decompress=False)

    async def handle(request: web.BaseRequest) -> web.StreamResponse:
        headers = {name: value for name, value in request.headers.items() if name.lower() not in HOP_BY_HOP}
        body = request.content if request.body_exists else None
        async with session.request(request.method, request.rel_url, headers=headers, data=body) as answer:
            response = web.StreamResponse(status=answer.status)
            response.headers.update(
                {name: value for name, value in answer.headers.items() if name.lower() not in HOP_BY_HOP}
            )
            await response.prepare(request)
            async for piece in answer.content.iter_any():
                await response.write(piece)
            await response.write_eof()
            return response

    runner = web.ServerRunner(web.Server(handle))
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    print(f"ready http://127.0.0.1:{runner.addresses[0][1]}", flush=True)
    await asyncio.Event().wait()


async def with_httpx(upstream: str) -> None:
    """uvicorn before httpx."""
    import httpx
    import uvicorn

    client = httpx.AsyncClient(base_url=upstream, trust_env=False, limits=httpx.Limits(max_connections=100))

    async def application(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            return
        headers = [one for one in scope["headers"] if one[0].decode() not in HOP_BY_HOP]
        has_body = any(name in (b"content-length", b"transfer-encoding") for name, _ in scope["headers"])

        async def body() -> AsyncIterator[bytes]:
            while True:
                message = await receive()
                yield message.get("body", b"")
                if not message.get("more_body"):
                    return

        url = scope["raw_path"].decode() + ("?" + scope["query_string"].decode() if scope["query_string"] else "")
        request = client.build_request(scope["method"], url, headers=headers, content=body() if has_body else None)
        answer = await client.send(request, stream=True)
        kept = [one for one in answer.headers.raw if one[0].decode().lower() not in HOP_BY_HOP]
        await send({"type": "http.response.start", "status": answer.status_code, "headers": kept})
        async for piece in answer.aiter_raw():
            await send({"type": "http.response.body", "body": piece, "more_body": True})
        await send({"type": "http.response.body", "body": b""})
        await answer.aclose()

    config = uvicorn.Config(application, host="127.0.0.1", port=0, log_config=None, lifespan="off", access_log=False)
    server = uvicorn.Server(config)
    task = asyncio.create_task(server.serve())
    while not server.started:
        await asyncio.sleep(0.01)
    print(f"ready http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}", flush=True)
    await task


if __name__ == "__main__":
    uvloop.run({"aiohttp": with_aiohttp, "httpx": with_httpx}[sys.argv[1]](sys.argv[2]))

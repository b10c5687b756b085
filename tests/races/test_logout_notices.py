"""Notices of logout that several nodes are about to send: each goes out once, on SQLite and on PostgreSQL."""

from __future__ import annotations

import asyncio
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from keybearer.core.sessions import Session
from keybearer.formats import jws
from keybearer.services import sessions
from keybearer.services.authority import SYSTEM
from keybearer.services.backchannel_logout import BackchannelLogout
from tests.support.https import give_fetcher, https_server
from tests.support.oauth import oauth_world

pytestmark = pytest.mark.anyio
NODES, SESSIONS, CLIENTS = 4, 10, 3


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.mark.parametrize("engine", ["sqlite", "postgresql"])
async def test_every_client_is_told_once_of_every_session(
    engine: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    name = engine if engine == "sqlite" else request.getfixturevalue("postgresql_url")
    async with oauth_world(name, tmp_path) as oauth, https_server(tmp_path) as server:
        authority = oauth.world.authority
        give_fetcher(authority, server.fetcher())
        applications = [await oauth.client(backchannel_logout_uri=server.url) for _ in range(CLIENTS)]
        user = await oauth.user()
        ids = tuple(one.client.id for one in applications)
        begun = [await oauth.session(user, client_ids=ids) for _ in range(SESSIONS)]
        nodes = [BackchannelLogout(authority) for _ in range(NODES)]

        async def end(session: Session) -> None:
            async def work(uow: Any) -> None:
                await sessions.end(uow, authority, SYSTEM, await uow.get(Session, session.id))

            await authority.store.transact(work)

        async def follow(node: BackchannelLogout) -> None:
            for _ in range(5):
                await node.follow()
            await node.settled()

        await asyncio.gather(*(end(session) for session in begun), *(follow(node) for node in nodes))
        await asyncio.gather(*(follow(node) for node in nodes))
        claims = [jws.parse(one.form["logout_token"]).unverified_claims for one in server.received]
        told = Counter((one["sid"], one["aud"]) for one in claims)
        assert told == Counter((session.id, client_id) for session in begun for client_id in ids)

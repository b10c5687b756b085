"""Back-channel logout: clients are told when a session ends, with a real receiver on loopback."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from keybearer.core.artefacts import ArtefactKind
from keybearer.core.clients import SubjectType
from keybearer.core.lifecycle import Change
from keybearer.core.sessions import Session
from keybearer.core.users import User
from keybearer.fetch import GuardedFetcher
from keybearer.formats import jws
from keybearer.services import backchannel_logout, clients, sessions, users
from keybearer.services.authority import SYSTEM
from keybearer.services.backchannel_logout import EVENT, BackchannelLogout
from keybearer.services.client_rules import check_client
from keybearer.services.id_tokens import read_hint
from keybearer.services.problems import Problems
from keybearer.services.subjects import subject_for
from keybearer.wire.users import CreateUser
from tests.support.https import HttpsServer, Received, Reply, give_fetcher, https_server
from tests.support.oauth import Application, OAuth

pytestmark = pytest.mark.anyio


class Receiver:
    """What stands behind a client's ``backchannel_logout_uri``."""

    def __init__(self, server: HttpsServer, world: OAuth) -> None:
        self.server = server
        self.world = world
        self.statuses: list[int] = []

    async def answer(self, _request: Received) -> Reply:
        return Reply(self.statuses.pop(0) if self.statuses else 200)

    @property
    def tokens(self) -> list[str]:
        return [request.form["logout_token"] for request in self.server.received]

    async def claims(self, number: int = -1) -> dict[str, Any]:
        """What a token says, once its signature was found good under the published keys."""
        unverified = jws.parse(self.tokens[number])
        kid = unverified.unverified_header["kid"]
        found = await self.world.world.authority.signing_keys.jwks()
        key = next(key for key in found["keys"] if key["kid"] == kid)
        return dict(jws.verify(unverified, key, jws.ASYMMETRIC))

    def header(self, number: int = -1) -> dict[str, Any]:
        return dict(jws.parse(self.tokens[number]).unverified_header)


@pytest.fixture
async def receiver(oauth: OAuth, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Receiver]:
    monkeypatch.setattr(backchannel_logout, "RETRY_AFTER", (0.01, 0.01))
    async with https_server(tmp_path) as server:
        made = Receiver(server, oauth)
        server.handler = made.answer
        give_fetcher(oauth.world.authority, server.fetcher())
        yield made


async def signed_in(oauth: OAuth, *applications: Application) -> tuple[User, Session]:
    user = await oauth.user()
    ids = tuple(application.client.id for application in applications)
    return user, await oauth.session(user, client_ids=ids)


async def end(oauth: OAuth, session: Session) -> None:
    async def work(uow: Any) -> None:
        await sessions.end(uow, oauth.world.authority, SYSTEM, await uow.get(Session, session.id))

    await oauth.world.authority.store.transact(work)


async def notify(oauth: OAuth, notices: BackchannelLogout | None = None) -> BackchannelLogout:
    notices = notices or BackchannelLogout(oauth.world.authority)
    await notices.follow()
    await notices.settled()
    return notices


@pytest.mark.spec("OIDC Back-Channel Logout", "2.4", "MUST")
@pytest.mark.spec("OIDC Back-Channel Logout", "2.5", "MUST")
async def test_the_token_says_who_logged_out_and_where(oauth: OAuth, receiver: Receiver) -> None:
    application = await oauth.client(backchannel_logout_uri=receiver.server.url + "/logout?tenant=1")
    user, session = await signed_in(oauth, application)
    await end(oauth, session)
    await notify(oauth)
    [request] = receiver.server.received
    assert (request.method, request.target) == ("POST", "/logout?tenant=1")
    assert request.headers["content-type"] == "application/x-www-form-urlencoded"
    assert list(request.form) == ["logout_token"]
    claims = await receiver.claims()
    assert claims["iss"] == oauth.world.authority.settings.issuer_url
    assert claims["aud"] == application.client.id
    assert claims["sub"] == user.id
    assert claims["sid"] == session.id
    assert claims["iat"] == oauth.now // 1_000_000
    assert 0 < claims["exp"] - claims["iat"] <= 120
    assert claims["events"] == {"http://schemas.openid.net/event/backchannel-logout": {}}
    assert len(claims["jti"]) >= 16


@pytest.mark.spec("OIDC Back-Channel Logout", "2.4", "MUST NOT")
async def test_it_cannot_pass_for_an_id_token(oauth: OAuth, receiver: Receiver) -> None:
    """No nonce, and a type of its own."""
    application = await oauth.client(backchannel_logout_uri=receiver.server.url)
    _, session = await signed_in(oauth, application)
    await end(oauth, session)
    await notify(oauth)
    assert "nonce" not in await receiver.claims()
    assert receiver.header()["typ"] == "logout+jwt"
    assert receiver.header()["alg"] == "ES256"
    assert await read_hint(oauth.world.authority, receiver.tokens[0]) is None


@pytest.mark.spec("OIDC Back-Channel Logout", "2.6", "SHOULD")
async def test_it_is_signed_like_the_clients_id_tokens(oauth: OAuth, receiver: Receiver) -> None:
    uri = receiver.server.url
    application = await oauth.client(backchannel_logout_uri=uri, id_token_signed_response_alg="RS256")
    _, session = await signed_in(oauth, application)
    await end(oauth, session)
    await notify(oauth)
    assert receiver.header()["alg"] == "RS256"
    assert (await receiver.claims())["sid"] == session.id


@pytest.mark.spec("OIDC Back-Channel Logout", "2.4", "MUST")
async def test_the_subject_is_the_one_that_the_client_knows(oauth: OAuth, receiver: Receiver) -> None:
    pairwise = {"subject_type": SubjectType.PAIRWISE, "redirect_uris": ("https://pairwise.example/cb",)}
    application = await oauth.client(backchannel_logout_uri=receiver.server.url, **pairwise)
    user, session = await signed_in(oauth, application)
    await end(oauth, session)
    await notify(oauth)
    subject = (await receiver.claims())["sub"]
    assert subject != user.id
    assert subject == subject_for(oauth.world.authority.keyring, user, application.client)


@pytest.mark.spec("OIDC Back-Channel Logout", "2.7", "MUST")
async def test_every_client_of_the_session_is_told_and_no_other(oauth: OAuth, receiver: Receiver) -> None:
    told = [await oauth.client(backchannel_logout_uri=f"{receiver.server.url}/{number}") for number in range(3)]
    silent, stranger = await oauth.client(), await oauth.client(backchannel_logout_uri=receiver.server.url + "/no")
    gone = await oauth.client(backchannel_logout_uri=receiver.server.url + "/gone")
    assert stranger
    _, session = await signed_in(oauth, *told, silent, gone)
    _, other = await signed_in(oauth, told[0])
    await clients.set_state(oauth.world.authority, oauth.world.root, gone.client.id, Change.DISABLE)
    await end(oauth, session)
    await notify(oauth)
    assert sorted(request.target for request in receiver.server.received) == ["/0", "/1", "/2"]
    heard = {(await receiver.claims(number))["sid"] for number in range(3)}
    assert heard == {session.id}
    audiences = {(await receiver.claims(number))["aud"] for number in range(3)}
    assert audiences == {application.client.id for application in told}
    assert other.id not in heard


async def test_however_a_session_ends(oauth: OAuth, receiver: Receiver) -> None:
    """By an administrator, with all others, and because the user was disabled."""
    application = await oauth.client(backchannel_logout_uri=receiver.server.url)
    authority, root = oauth.world.authority, oauth.world.root
    ended = []
    notices = await notify(oauth)
    user, session = await signed_in(oauth, application)
    await sessions.end_one(authority, root, session.id)
    ended.append(session.id)
    session = await oauth.session(user, client_ids=(application.client.id,))
    await sessions.end_all_of(authority, root, user.id)
    ended.append(session.id)
    made = await users.create(authority, root, CreateUser("bob@example.com"))
    bob = await authority.store.get(User, made.id)
    session = await oauth.session(bob, client_ids=(application.client.id,))
    await users.set_state(authority, root, bob.id, Change.DISABLE)
    ended.append(session.id)
    await notify(oauth, notices)
    assert sorted([(await receiver.claims(number))["sid"] for number in range(len(receiver.tokens))]) == sorted(ended)


async def test_each_notice_is_sent_once_by_all_nodes_together(oauth: OAuth, receiver: Receiver) -> None:
    application = await oauth.client(backchannel_logout_uri=receiver.server.url)
    nodes = [BackchannelLogout(oauth.world.authority) for _ in range(4)]
    for _ in range(5):
        _, session = await signed_in(oauth, application)
        await end(oauth, session)
    await asyncio.gather(*(notify(oauth, node) for node in nodes))
    assert len(receiver.tokens) == 5
    await asyncio.gather(*(notify(oauth, node) for node in nodes), notify(oauth))
    assert len(receiver.tokens) == 5
    assert len({(await receiver.claims(number))["jti"] for number in range(5)}) == 5


async def test_a_node_that_starts_sends_what_the_last_minutes_left(oauth: OAuth, receiver: Receiver) -> None:
    application = await oauth.client(backchannel_logout_uri=receiver.server.url)
    _, old = await signed_in(oauth, application)
    await end(oauth, old)
    oauth.world.clock.move(11 * 60)
    _, young = await signed_in(oauth, application)
    await end(oauth, young)
    oauth.world.clock.move(9 * 60)
    await notify(oauth)
    assert [(await receiver.claims())["sid"]] == [young.id]
    assert len(receiver.tokens) == 1


async def test_what_a_node_claimed_and_never_sent_is_sent_by_the_next(oauth: OAuth, receiver: Receiver) -> None:
    application = await oauth.client(backchannel_logout_uri=receiver.server.url)
    _, session = await signed_in(oauth, application)
    await end(oauth, session)
    dead = BackchannelLogout(oauth.world.authority)
    assert await dead._claim(session, application.client)
    await notify(oauth)
    assert not receiver.tokens  # it may still be about to
    oauth.world.clock.move(121)
    await asyncio.gather(notify(oauth), notify(oauth))
    assert len(receiver.tokens) == 1


@pytest.mark.spec("OIDC Back-Channel Logout", "2.8", "SHOULD")
@pytest.mark.parametrize(("statuses", "attempts"), [([500, 503, 200], 3), ([429, 204], 2), ([400], 1), ([501], 1)])
async def test_what_may_pass_is_tried_again(
    oauth: OAuth, receiver: Receiver, statuses: list[int], attempts: int
) -> None:
    application = await oauth.client(backchannel_logout_uri=receiver.server.url)
    _, session = await signed_in(oauth, application)
    await end(oauth, session)
    receiver.statuses = list(statuses)
    await notify(oauth)
    assert len(receiver.tokens) == attempts
    assert len({(await receiver.claims(number))["jti"] for number in range(attempts)}) == attempts
    held = await oauth.world.authority.store.get_artefact(
        ArtefactKind.LOGOUT_NOTICE, f"{session.id}.{application.client.id}"
    )
    assert held.used_at is not None


async def test_a_receiver_that_is_down_does_not_hold_up_the_others(oauth: OAuth, receiver: Receiver) -> None:
    down = await oauth.client(backchannel_logout_uri=receiver.server.url + "/down")
    up = await oauth.client(backchannel_logout_uri=receiver.server.url + "/up")

    async def answer(request: Received) -> Reply:
        return Reply(503 if request.target == "/down" else 200)

    receiver.server.handler = answer
    notices = await notify(oauth)
    _, session = await signed_in(oauth, down, up)
    await end(oauth, session)
    await notify(oauth, notices)
    assert [one.target for one in receiver.server.received].count("/down") == 3
    receiver.server.received.clear()
    for _ in range(3):
        _, session = await signed_in(oauth, down, up)
        await end(oauth, session)
    await notify(oauth, notices)
    # One attempt each, until it had a minute to recover.
    targets = [request.target for request in receiver.server.received]
    assert (targets.count("/down"), targets.count("/up")) == (3, 3)
    oauth.world.clock.move(61)
    receiver.server.received.clear()
    _, session = await signed_in(oauth, down)
    await end(oauth, session)
    await notify(oauth, notices)
    assert len(receiver.server.received) == 3


async def test_no_private_network_is_told(oauth: OAuth, receiver: Receiver) -> None:
    """What a client registers cannot make this authority post into its own network."""
    give_fetcher(oauth.world.authority, GuardedFetcher(ca=str(receiver.server.ca)))
    application = await oauth.client(backchannel_logout_uri=receiver.server.url)
    _, session = await signed_in(oauth, application)
    await end(oauth, session)
    await notify(oauth)
    assert not receiver.server.received


@pytest.mark.spec("OIDC Back-Channel Logout", "2.2", "MUST")
async def test_a_receiver_needs_https(oauth: OAuth) -> None:
    application = await oauth.client()
    for uri, is_fit in (
        ("https://app.example/logout", True),
        ("http://app.example/logout", False),
        ("https://app.example/logout#here", False),
        ("file:///etc/passwd", False),
    ):
        problems = Problems()
        check_client(problems, dataclasses.replace(application.client, backchannel_logout_uri=uri), (oauth.api,))
        assert ("backchannel_logout_uri" in [problem.field for problem in problems.found]) is not is_fit, uri


@pytest.mark.spec("OIDC Back-Channel Logout", "2.1", "RECOMMENDED")
async def test_the_metadata_says_so(oauth: OAuth) -> None:
    async with oauth.world.http("") as http:
        said = (await http.get("/.well-known/openid-configuration")).json()
    assert said["backchannel_logout_supported"] is True
    assert said["backchannel_logout_session_supported"] is True


async def test_it_follows_the_log_by_itself(oauth: OAuth, receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backchannel_logout, "POLL_IN", 0.01)
    application = await oauth.client(backchannel_logout_uri=receiver.server.url)
    notices = BackchannelLogout(oauth.world.authority)
    notices.start()
    try:
        _, session = await signed_in(oauth, application)
        await end(oauth, session)
        async with asyncio.timeout(10):
            while not receiver.tokens:
                await asyncio.sleep(0.01)
    finally:
        await notices.stop()
    assert (await receiver.claims())["events"] == {EVENT: {}}

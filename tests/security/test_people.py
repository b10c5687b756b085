"""Users under attack: enumeration, guessing, replayed links and codes, skipped steps, takeover by a header."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path

import pytest

from keybearer.core.artefacts import ArtefactKind
from keybearer.core.errors import InvalidInput, NotFound, NotPermitted
from keybearer.core.lifecycle import Change
from keybearer.core.records import State
from keybearer.core.sessions import Session
from keybearer.core.users import User
from keybearer.limiters.failures import FailureThrottle
from keybearer.services import account, attempts, mail_links, passkeys, registration, sessions, user_links, users
from keybearer.services.authority import Caller
from keybearer.services.mail_links import LinkRefused
from keybearer.services.paging import PageQuery
from keybearer.services.passwords import Passwords
from keybearer.services.recency import SignInNeeded
from keybearer.services.sign_in import (
    Done,
    NeedsSecondFactor,
    SignInRefused,
    TriedTooOften,
    Visit,
    with_recovery_code,
    with_totp,
)
from keybearer.stores.sqlite import SqliteStore
from keybearer.wire.users import CreateUser, LinkSpec, SendLink, SetPassword, UpdateUser
from tests.support.embedded import Embedded, embedded
from tests.support.people import (
    OTHER_PASSWORD,
    PASSWORD,
    SHORT_PASSWORD,
    Authenticator,
    add_totp,
    attempt,
    code_of,
    factors_of,
    give_mailbox,
    make_user,
    sign_in,
    signed_in,
    ticket_of,
)

pytestmark = pytest.mark.anyio

VISIT = Visit("192.0.2.9")


@pytest.fixture(params=["memory", "sqlite"])
async def world(request: pytest.FixtureRequest, tmp_path: Path, anyio_backend: str) -> AsyncIterator[Embedded]:
    make_store = None if request.param == "memory" else partial(SqliteStore, tmp_path / "keybearer.db")
    async with embedded(make_store=make_store) as running:
        yield running


# Enumeration: CWE-203, ASVS 6.3.8


async def test_every_refusal_reads_the_same(world: Embedded) -> None:
    await make_user(world)
    await make_user(world, "off@example.com")
    off = await users.page(world.authority, world.root, _page(email="off@example.com"))
    await users.set_state(world.authority, world.root, off.items[0].id, Change.DISABLE)
    await make_user(world, "passkey-only@example.com", None)
    refusals = []
    for email, password in (
        ("ada@example.com", "wrong"),
        ("ada@example.com", ""),
        ("ada@example.com", "x" * 5000),
        ("ada@example.com", "\ud800"),
        ("nobody@example.com", PASSWORD),
        ("not an address", PASSWORD),
        ("", ""),
        ("off@example.com", PASSWORD),
        ("passkey-only@example.com", ""),
    ):
        with pytest.raises(SignInRefused) as refused:
            await attempt(world, email, password)
        refusals.append((type(refused.value), str(refused.value)))
    assert len(set(refusals)) == 1


async def test_an_unknown_address_costs_the_same_work(world: Embedded, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same hashes, the same transactions with the same number of writes: what can be counted, not timed."""
    await make_user(world)
    await attempt_fails(world, "nobody@example.com")  # its decoy is there now, as the row of a user is
    counted: list[str] = []
    real, transact = Passwords._run, world.store.transact

    async def run(self: Passwords, work: object) -> object:
        counted.append("hash")
        return await real(self, work)  # type: ignore[arg-type, type-var]

    async def transacted(work: object) -> object:
        counted.append("transaction")
        return await transact(work)  # type: ignore[arg-type]

    monkeypatch.setattr(Passwords, "_run", run)
    monkeypatch.setattr(world.store, "transact", transacted)
    costs = []
    for email in ("ada@example.com", "nobody@example.com"):
        counted.clear()
        await attempt_fails(world, email)
        costs.append(list(counted))
    assert costs[0] == costs[1] == ["transaction", "hash"]


async def attempt_fails(world: Embedded, email: str, **visit: str) -> None:
    with pytest.raises(SignInRefused):
        await attempt(world, email, "wrong", **visit)


async def test_a_reset_and_a_registration_say_nothing_and_do_not_wait() -> None:
    async with embedded(open_registration=True) as world:
        mailbox = give_mailbox(world.authority)
        await make_user(world)
        for email in ("ada@example.com", "nobody@example.com", "no address"):
            assert mail_links.request_reset(world.authority, email, "192.0.2.1") is None  # type: ignore[func-returns-value]
        for email in ("ada@example.com", "new@example.com"):
            assert registration.register(world.authority, "192.0.2.1", email) is None  # type: ignore[func-returns-value]
        assert not mailbox.messages, "whatever differs happens after the answer"
        await world.authority.outbox.settled()
        assert mailbox.subjects("ada@example.com") == ["Set a new password", "You have an account"]
        assert mailbox.subjects("new@example.com") == ["Your account"]
        assert not mailbox.subjects("nobody@example.com")


# Guessing: ASVS 6.1.1


async def test_a_hundred_failures_shut_the_account_to_strangers_but_not_to_its_owner(world: Embedded) -> None:
    user = await make_user(world)
    owner = await sign_in(world)
    assert owner.device is not None
    for _ in range(attempts.MAX_FAILURES):
        await attempt_fails(world, user.email)
    assert (await factors_of(world, user)).failures == attempts.MAX_FAILURES
    with pytest.raises(SignInRefused):
        await attempt(world)  # even with the right password, from a browser that is not known
    assert isinstance(await attempt(world, device=owner.device.reveal()), Done)
    shut = [entry for entry in await world.audit() if entry.draft.action == "user.shut"]
    assert [entry.draft.target for entry in shut] == [user.id]


async def test_the_bound_holds_for_attempts_at_the_same_time(world: Embedded) -> None:
    """A guess is counted before it is checked: of 150 at once no more than 100 are looked at."""
    user = await make_user(world)
    taken = await asyncio.gather(*(attempts.take(world.authority, user, user.email, "") for _ in range(150)))
    assert sum(chance.is_open for chance in taken) == attempts.MAX_FAILURES


async def test_a_stolen_device_cookie_gives_ten_more_guesses_and_no_more(world: Embedded) -> None:
    user = await make_user(world)
    device = (await sign_in(world)).device
    assert device is not None
    taken = [await attempts.take(world.authority, user, user.email, device.reveal()) for _ in range(12)]
    assert [chance.device is not None for chance in taken] == [True] * 10 + [False] * 2
    assert (await factors_of(world, user)).failures == 2


async def test_another_users_device_cookie_is_no_help(world: Embedded) -> None:
    mallory = await make_user(world, "mallory@example.com", OTHER_PASSWORD)
    user = await make_user(world)
    device = (await sign_in(world, mallory.email, OTHER_PASSWORD)).device
    assert device is not None
    chance = await attempts.take(world.authority, user, user.email, device.reveal())
    assert chance.device is None
    altered = device.reveal()[:-1] + ("a" if device.reveal()[-1] != "a" else "b")
    assert (await attempts.take(world.authority, user, user.email, altered)).device is None


async def test_codes_are_counted_as_passwords_are(world: Embedded) -> None:
    user = await make_user(world)
    secret, _ = await add_totp(world, await sign_in(world))
    ticket = await ticket_of(world)
    for _ in range(attempts.MAX_FAILURES):
        with pytest.raises(SignInRefused):
            await with_totp(world.authority, ticket, "abcdef", VISIT)
    with pytest.raises(SignInRefused):
        await with_totp(world.authority, ticket, code_of(world, secret), VISIT)
    assert (await factors_of(world, user)).failures == attempts.MAX_FAILURES


async def test_an_owner_who_was_shut_out_comes_back_by_a_reset_link(world: Embedded) -> None:
    mailbox = give_mailbox(world.authority)
    user = await make_user(world)
    for _ in range(attempts.MAX_FAILURES):
        await attempts.take(world.authority, user, user.email, "")
    mail_links.request_reset(world.authority, user.email, None)
    await world.authority.outbox.settled()
    await mail_links.reset_password(world.authority, mailbox.link("/reset-password"), OTHER_PASSWORD)
    assert isinstance(await attempt(world, password=OTHER_PASSWORD), Done)


async def test_a_source_of_many_refusals_is_slowed_down_whichever_account_it_tries(world: Embedded) -> None:
    """Also for the right password, and never another source: spraying one guess over many accounts is no way around."""
    await make_user(world)
    object.__setattr__(world.authority, "throttle", FailureThrottle(5, lambda: 0))
    for number in range(5):
        await attempt_fails(world, f"user{number}@example.com")
    with pytest.raises(TriedTooOften):
        await attempt(world)
    with pytest.raises(TriedTooOften):
        await with_totp(world.authority, "", "", Visit("192.0.2.1"))
    assert isinstance(await attempt(world, source="192.0.2.77"), Done)
    assert isinstance(await attempt(world, source=None), Done)


async def test_addresses_that_nobody_has_leave_a_bounded_number_of_rows(
    world: Embedded, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(attempts, "DECOYS", 4)
    for number in range(60):
        await attempts.take(world.authority, None, f"nobody{number}@example.com", "")
    found = [await world.store.get_artefact(ArtefactKind.DECOY, f"decoy{number:04}") for number in range(4)]
    assert sum(decoy.attempts for decoy in found) == 60
    with pytest.raises(NotFound):
        await world.store.get_artefact(ArtefactKind.DECOY, "decoy0004")


# Links: Keycloak CVE-2026-37982 (replayed), ZITADEL CVE-2025-64101 (built from a header), ASVS 6.4.3


async def test_a_link_opens_once_and_for_its_purpose_only(world: Embedded) -> None:
    mailbox = give_mailbox(world.authority)
    user = await make_user(world)
    mail_links.request_reset(world.authority, user.email, None)
    await world.authority.outbox.settled()
    link = mailbox.link("/reset-password")
    for kind in (ArtefactKind.EMAIL_VERIFICATION, ArtefactKind.INVITATION, ArtefactKind.SIGN_IN_LINK):
        with pytest.raises(LinkRefused):
            await mail_links.look(world.authority, kind, link)
    for _ in range(3):  # a mail scanner may follow it
        await mail_links.look(world.authority, ArtefactKind.PASSWORD_RESET, link)
    with pytest.raises(InvalidInput):  # a bad choice does not burn it
        await mail_links.reset_password(world.authority, link, "short")
    await mail_links.reset_password(world.authority, link, OTHER_PASSWORD)
    with pytest.raises(LinkRefused):
        await mail_links.reset_password(world.authority, link, "harbours quartz seven velvet")
    assert isinstance(await attempt(world, password=OTHER_PASSWORD), Done)


async def test_of_twenty_who_open_a_link_at_once_one_succeeds(world: Embedded) -> None:
    mailbox = give_mailbox(world.authority)
    user = await make_user(world)
    mail_links.request_reset(world.authority, user.email, None)
    await world.authority.outbox.settled()
    link = mailbox.link()
    done = await asyncio.gather(
        *(mail_links.reset_password(world.authority, link, f"{OTHER_PASSWORD} {number}") for number in range(20)),
        return_exceptions=True,
    )
    assert sum(one is None for one in done) == 1
    assert sum(isinstance(one, LinkRefused) for one in done) == 19


async def test_altered_and_old_links_open_nothing(world: Embedded) -> None:
    mailbox = give_mailbox(world.authority)
    user = await make_user(world)
    mail_links.request_reset(world.authority, user.email, None)
    await world.authority.outbox.settled()
    link = mailbox.link()
    kind = ArtefactKind.PASSWORD_RESET
    forged = [link[:n] + ("A" if link[n] != "A" else "B") + link[n + 1 :] for n in range(len(link))]
    for text in ["", *forged, link[:-1], link + "A", link.upper(), "\ud800", "x" * 10_000]:
        with pytest.raises(LinkRefused) as refused:
            await mail_links.look(world.authority, kind, text)
        assert str(refused.value) == "This link is not good any more. Ask for a new one."
    world.clock.move(600)
    with pytest.raises(LinkRefused):
        await mail_links.reset_password(world.authority, link, OTHER_PASSWORD)


async def test_a_reset_keeps_the_second_factor_and_ends_every_session(world: Embedded) -> None:
    mailbox = give_mailbox(world.authority)
    user = await make_user(world)
    before = await sign_in(world)
    secret, _ = await add_totp(world, before)
    mail_links.request_reset(world.authority, user.email, None)
    await world.authority.outbox.settled()
    await mail_links.reset_password(world.authority, mailbox.link("/reset-password"), OTHER_PASSWORD)
    assert await sessions.find(world.authority, before.secret.reveal()) is None
    step = await attempt(world, password=OTHER_PASSWORD)
    assert isinstance(step, NeedsSecondFactor)
    assert isinstance(await with_totp(world.authority, step.ticket, code_of(world, secret), VISIT), Done)
    await world.authority.outbox.settled()
    assert "Your account was changed" in mailbox.subjects(user.email)


@pytest.mark.parametrize(
    "headers",
    [
        {"host": "evil.example"},
        {"x-forwarded-host": "evil.example"},
        {"forwarded": "host=evil.example;proto=https"},
        {"x-forwarded-proto": "javascript", "x-forwarded-port": "1"},
    ],
)
async def test_a_link_never_follows_a_header(headers: dict[str, str]) -> None:
    async with embedded(issuer="https://id.example.com/auth", trusted_proxies=("192.0.2.0/24",)) as world:
        mailbox = give_mailbox(world.authority)
        user = await make_user(world, password=None)
        async with world.http() as http:
            answer = await http.post(f"/v1/users/{user.id}/send-link", headers=headers)
        assert answer.status_code in (200, 400)
        if answer.status_code == 400:
            return  # the Host was refused outright
        await world.authority.outbox.settled()
        assert "https://id.example.com/auth/invitation?link=kb_ml_" in mailbox.last.get_content()
        assert "evil" not in mailbox.last.as_string()
        assert mailbox.last["From"] == "keybearer@localhost"


async def test_a_name_cannot_end_a_header_of_the_mail(world: Embedded) -> None:
    mailbox = give_mailbox(world.authority)
    for email in (
        "a@example.com\nBcc: x@evil.example",
        "a@example.com\r\n\r\nhello",
        "a@b@c",
        '"a b"@example.com',
        "a",
    ):
        with pytest.raises(InvalidInput):
            await make_user(world, email, None, invite=True)
    await world.authority.outbox.settled()
    assert not mailbox.messages


async def test_letters_to_one_address_are_bounded(world: Embedded) -> None:
    mailbox = give_mailbox(world.authority)
    user = await make_user(world)
    for number in range(30):
        mail_links.request_reset(world.authority, user.email, f"192.0.2.{number}")
    await world.authority.outbox.settled()
    assert len(mailbox.messages) == 5


async def test_a_network_of_addresses_is_one_source_of_letters(world: Embedded) -> None:
    mailbox = give_mailbox(world.authority)
    people = [await make_user(world, f"user{number}@example.com", None) for number in range(25)]
    for number, user in enumerate(people):
        mail_links.request_reset(world.authority, user.email, f"2001:db8:1:2::{number:x}")
    await world.authority.outbox.settled()
    assert len(mailbox.messages) == 20
    mail_links.request_reset(world.authority, people[-1].email, "2001:db8:1:3::1")
    await world.authority.outbox.settled()
    assert len(mailbox.messages) == 21


# Steps that must not be skipped: authentik CVE-2026-49443


@pytest.mark.parametrize("code", ["", " ", "0", "000000", "null", "\x00", "\ud800", "-", "１２３４５６"])
async def test_an_empty_or_partial_step_passes_nothing(world: Embedded, code: str) -> None:
    await make_user(world)
    secret, _ = await add_totp(world, await sign_in(world))
    if code == code_of(world, secret):
        world.clock.move(30)
    ticket = await ticket_of(world)
    for text in (ticket, ""):
        with pytest.raises(SignInRefused):
            await with_totp(world.authority, text, code, VISIT)
        with pytest.raises(SignInRefused):
            await with_recovery_code(world.authority, text, code, VISIT)
        with pytest.raises(SignInRefused):
            await passkeys.finish(world.authority, text, code, VISIT)
    for text in ("", "x", "{}", "[]", '{"rawId":""}', '{"rawId":"","response":{}}'):
        offer = await passkeys.options(world.authority, ticket)
        with pytest.raises(SignInRefused):
            await passkeys.finish(world.authority, offer.challenge, text, VISIT)


async def test_a_ticket_that_was_altered_or_is_old_opens_nothing(world: Embedded) -> None:
    await make_user(world)
    secret, _ = await add_totp(world, await sign_in(world))
    ticket = await ticket_of(world)
    for n in range(0, len(ticket), 7):
        forged = ticket[:n] + ("A" if ticket[n] != "A" else "B") + ticket[n + 1 :]
        with pytest.raises(SignInRefused):
            await with_totp(world.authority, forged, code_of(world, secret), VISIT)
    world.clock.move(600)
    with pytest.raises(SignInRefused):
        await with_totp(world.authority, ticket, code_of(world, secret), VISIT)


async def test_a_ticket_dies_with_the_password_and_is_good_once(world: Embedded) -> None:
    user = await make_user(world)
    secret, codes = await add_totp(world, await sign_in(world))
    ticket = await ticket_of(world)
    assert isinstance(await with_totp(world.authority, ticket, code_of(world, secret), VISIT), Done)
    with pytest.raises(SignInRefused):
        await with_recovery_code(world.authority, ticket, codes[0], VISIT)
    old = await ticket_of(world)
    await users.set_password(world.authority, world.root, user.id, _set(OTHER_PASSWORD))
    with pytest.raises(SignInRefused):
        await with_recovery_code(world.authority, old, codes[1], VISIT)


# Codes, once: ASVS 6.5.1


async def test_a_totp_code_is_accepted_once_and_only_in_its_step(world: Embedded) -> None:
    await make_user(world)
    secret, _ = await add_totp(world, await sign_in(world))
    for steps in (-2, -1, 1, 2):
        with pytest.raises(SignInRefused):
            await with_totp(world.authority, await ticket_of(world), code_of(world, secret, steps), VISIT)
    code, tickets = code_of(world, secret), [await ticket_of(world) for _ in range(10)]
    done = await asyncio.gather(
        *(with_totp(world.authority, ticket, code, VISIT) for ticket in tickets), return_exceptions=True
    )
    assert sum(isinstance(one, Done) for one in done) == 1


async def test_a_recovery_code_is_good_once(world: Embedded) -> None:
    user = await make_user(world)
    _, codes = await add_totp(world, await sign_in(world))
    assert len(set(codes)) == 10
    tickets = [await ticket_of(world) for _ in range(10)]
    written = f" {codes[3].upper().replace('-', ' ')} "
    done = await asyncio.gather(
        *(with_recovery_code(world.authority, ticket, written, VISIT) for ticket in tickets), return_exceptions=True
    )
    assert sum(isinstance(one, Done) for one in done) == 1
    assert len((await factors_of(world, user)).recovery_digests) == 9


async def test_another_users_codes_are_no_help(world: Embedded) -> None:
    await make_user(world)
    await make_user(world, "mallory@example.com", OTHER_PASSWORD)
    secret, _ = await add_totp(world, await sign_in(world))
    _, mallorys = await add_totp(world, await sign_in(world, "mallory@example.com", OTHER_PASSWORD))
    with pytest.raises(SignInRefused):
        await with_recovery_code(world.authority, await ticket_of(world), mallorys[0], VISIT)
    assert secret


# Changing factors: ASVS 7.5.1


async def test_factors_change_only_soon_after_a_sign_in(world: Embedded) -> None:
    await make_user(world)
    me = signed_in(await sign_in(world))
    world.clock.move(600)
    attempts_to_change = (
        lambda: account.begin_authenticator(world.authority, me),
        lambda: account.confirm_authenticator(world.authority, me, "000000"),
        lambda: account.remove_authenticator(world.authority, me),
        lambda: account.renew_recovery_codes(world.authority, me),
        lambda: account.change_password(world.authority, me, PASSWORD, OTHER_PASSWORD),
        lambda: account.change_email(world.authority, me, "eve@example.com"),
        lambda: passkeys.register(world.authority, me, "", "{}", ""),
        lambda: passkeys.remove(world.authority, me, b""),
    )
    for change in attempts_to_change:
        with pytest.raises(SignInNeeded):
            await change()


async def test_a_short_password_never_stands_alone(world: Embedded) -> None:
    await make_user(world)
    done = await sign_in(world)
    with pytest.raises(InvalidInput):
        await account.change_password(world.authority, signed_in(done), PASSWORD, SHORT_PASSWORD)
    await add_totp(world, done)
    await account.change_password(world.authority, signed_in(done), PASSWORD, SHORT_PASSWORD)
    with pytest.raises(Exception, match="too short to be the only factor"):
        await account.remove_authenticator(world.authority, signed_in(done))
    held = await users.reset_second_factor(world.authority, world.root, done.user.id)
    assert not held.has_password, "a password that may not stand alone goes with the factor beside it"


async def test_whoever_sets_passwords_cannot_become_an_administrator(world: Embedded) -> None:
    """A key with keybearer:users.write is not one with keybearer:admin."""
    admin = await make_user(world, permissions=["keybearer:admin"])
    clerk = Caller("key_clerk", frozenset({"keybearer:users.read", "keybearer:users.write"}))
    authority = world.authority
    plain = await make_user(world, "plain@example.com")
    head = await world.store.head()
    for change in (
        lambda: users.create(authority, clerk, CreateUser("eve@example.com", permissions=["keybearer:admin"])),
        lambda: users.create(authority, clerk, CreateUser("eve@example.com", permissions=["*"])),
        lambda: users.update(authority, clerk, plain.id, UpdateUser(permissions=["keybearer:keys.write"])),
        lambda: users.update(authority, clerk, admin.id, UpdateUser(email="eve@example.com")),
        lambda: users.set_password(authority, clerk, admin.id, _set(OTHER_PASSWORD)),
        lambda: users.reset_second_factor(authority, clerk, admin.id),
        lambda: users.set_state(authority, clerk, admin.id, Change.DISABLE),
        lambda: user_links.add(authority, clerk, admin.id, LinkSpec("evil", "1")),
    ):
        with pytest.raises(NotPermitted):
            await change()
    assert await world.store.head() == head
    assert (await users.update(authority, clerk, plain.id, UpdateUser(permissions=["orders:write"]))).permissions


# Passkeys


async def test_passkeys_are_bound_to_origin_challenge_user_and_counter() -> None:
    async with embedded(issuer="https://id.example.com") as world:
        give_mailbox(world.authority)
        user = await make_user(world)
        me = signed_in(await sign_in(world))
        key = Authenticator("https://id.example.com", "id.example.com")
        offer = await passkeys.registration_options(world.authority, user)
        for bad in (
            Authenticator("https://evil.example", "id.example.com"),
            Authenticator("https://id.example.com", "evil.example"),
            Authenticator("https://id.example.com:8443", "id.example.com"),
        ):
            with pytest.raises(InvalidInput):
                await passkeys.register(world.authority, me, offer.challenge, bad.create(offer.options), "bad")
        await passkeys.register(world.authority, me, offer.challenge, key.create(offer.options), "laptop")
        with pytest.raises(Exception, match="You have this passkey already"):
            await passkeys.register(world.authority, me, offer.challenge, key.create(offer.options), "again")

        ask = await passkeys.options(world.authority)
        assert not ask.options.get("allowCredentials"), "nothing is said about anybody"
        for wrong in ({"origin": "https://evil.example"}, {"challenge": "AAAA"}, {"type": "webauthn.create"}):
            with pytest.raises(SignInRefused):
                await passkeys.finish(world.authority, ask.challenge, key.get(ask.options, **wrong), VISIT)
        answer = key.get(ask.options)
        done = await asyncio.gather(
            *(passkeys.finish(world.authority, ask.challenge, answer, VISIT) for _ in range(5)), return_exceptions=True
        )
        assert sum(isinstance(one, Done) for one in done) == 1, "one answer to a challenge"
        signed = next(one for one in done if isinstance(one, Done))
        assert signed.session.amr == ("pop", "user", "mfa")
        assert signed.session.acr == "phr"

        key.sign_count -= 1  # a copy of the key that lags behind
        later = await passkeys.options(world.authority)
        with pytest.raises(SignInRefused):
            await passkeys.finish(world.authority, later.challenge, key.get(later.options), VISIT)
        key.sign_count += 10
        broken = json.loads(key.get(later.options))
        broken["response"]["signature"] = broken["response"]["signature"][:-6] + "AAAAAA"
        with pytest.raises(SignInRefused):
            await passkeys.finish(world.authority, later.challenge, json.dumps(broken), VISIT)


async def test_an_answer_to_a_challenge_is_good_once_without_a_counter_too() -> None:
    """Synced passkeys count nothing: their counter is always zero."""
    async with embedded(issuer="https://id.example.com") as world:
        give_mailbox(world.authority)
        user = await make_user(world)
        me = signed_in(await sign_in(world))
        key = Authenticator("https://id.example.com", "id.example.com")
        offer = await passkeys.registration_options(world.authority, user)
        await passkeys.register(world.authority, me, offer.challenge, key.create(offer.options), "synced")
        for _ in range(2):
            key.sign_count = -1
            ask = await passkeys.options(world.authority)
            answer = key.get(ask.options)
            assert isinstance(await passkeys.finish(world.authority, ask.challenge, answer, VISIT), Done)
            with pytest.raises(SignInRefused):
                await passkeys.finish(world.authority, ask.challenge, answer, VISIT)


async def test_a_passkey_alone_needs_the_user_verified() -> None:
    async with embedded(issuer="https://id.example.com") as world:
        give_mailbox(world.authority)
        user = await make_user(world)
        me = signed_in(await sign_in(world))
        key = Authenticator("https://id.example.com", "id.example.com", verifies_user=False)
        offer = await passkeys.registration_options(world.authority, user)
        await passkeys.register(world.authority, me, offer.challenge, key.create(offer.options), "token")
        alone = await passkeys.options(world.authority)
        with pytest.raises(SignInRefused):
            await passkeys.finish(world.authority, alone.challenge, key.get(alone.options), VISIT)
        beside = await passkeys.options(world.authority, await ticket_of(world))
        assert [one["id"] for one in beside.options["allowCredentials"]]
        done = await passkeys.finish(world.authority, beside.challenge, key.get(beside.options), VISIT)
        assert done.session.amr == ("pwd", "pop", "user", "mfa")


async def test_another_users_passkey_does_not_finish_a_sign_in() -> None:
    async with embedded(issuer="https://id.example.com") as world:
        give_mailbox(world.authority)
        keys = {}
        for email, password in (("ada@example.com", PASSWORD), ("mallory@example.com", OTHER_PASSWORD)):
            user = await make_user(world, email, password)
            me = signed_in(await sign_in(world, email, password))
            key = keys[email] = Authenticator("https://id.example.com", "id.example.com")
            offer = await passkeys.registration_options(world.authority, user)
            await passkeys.register(world.authority, me, offer.challenge, key.create(offer.options), "k")
        ask = await passkeys.options(world.authority, await ticket_of(world))
        with pytest.raises(SignInRefused):
            await passkeys.finish(world.authority, ask.challenge, keys["mallory@example.com"].get(ask.options), VISIT)
        keys["mallory@example.com"].user_handle = keys["ada@example.com"].user_handle
        alone = await passkeys.options(world.authority)
        forged = keys["mallory@example.com"].get(alone.options)
        with pytest.raises(SignInRefused):
            await passkeys.finish(world.authority, alone.challenge, forged, VISIT)


# Sessions: ASVS 7


async def test_a_session_dies_with_its_user_its_time_and_its_end(world: Embedded) -> None:
    user = await make_user(world)
    done = await sign_in(world)
    cookie = done.secret.reveal()
    assert await sessions.find(world.authority, cookie) is not None
    await users.set_state(world.authority, world.root, user.id, Change.DISABLE)
    assert await sessions.find(world.authority, cookie) is None
    await users.set_state(world.authority, world.root, user.id, Change.ENABLE)
    assert await sessions.find(world.authority, cookie) is None, "what ended stays ended"

    idle = (await sign_in(world)).secret.reveal()
    world.clock.move(world.authority.settings.session_idle_in - 1)
    assert await sessions.find(world.authority, idle) is not None
    world.clock.move(world.authority.settings.session_idle_in)
    assert await sessions.find(world.authority, idle) is None

    used = (await sign_in(world)).secret.reveal()
    for _ in range(world.authority.settings.session_in // 80_000):
        assert await sessions.find(world.authority, used) is not None
        world.clock.move(80_000)
    world.clock.move(80_000)
    assert await sessions.find(world.authority, used) is None


async def test_a_sign_in_renews_the_session(world: Embedded) -> None:
    await make_user(world)
    first = await sign_in(world)
    second = await sign_in(world, renews=first.session)
    assert second.secret.reveal() != first.secret.reveal()
    assert await sessions.find(world.authority, first.secret.reveal()) is None
    assert await sessions.find(world.authority, second.secret.reveal()) is not None


async def test_signing_in_again_keeps_the_session_and_what_hangs_on_it(world: Embedded) -> None:
    """Nobody is signed out of applications because they proved once more who they are."""
    await make_user(world)
    first = await sign_in(world)
    world.clock.move(1000)
    head = await world.store.head()
    second = await sign_in(world, renews=first.session)
    assert second.session.id == first.session.id
    assert second.session.authenticated_at == world.clock.now()
    assert [event.type for event in await world.store.events(head)] == ["session.renew"]
    # Whoever stole the cookie before has nothing any more.
    assert await sessions.find(world.authority, first.secret.reveal()) is None


async def test_two_windows_that_sign_in_again_at_once_both_stay_signed_in(world: Embedded) -> None:
    await make_user(world)
    first = await sign_in(world)
    both = await asyncio.gather(*(sign_in(world, renews=first.session) for _ in range(2)))
    assert sorted(one.session.id == first.session.id for one in both) == [False, True]
    for one in both:
        assert await sessions.find(world.authority, one.secret.reveal()) is not None


async def test_signing_in_as_another_ends_the_session(world: Embedded) -> None:
    await make_user(world)
    await make_user(world, "mallory@example.com", OTHER_PASSWORD)
    mine = await sign_in(world)
    theirs = await sign_in(world, "mallory@example.com", OTHER_PASSWORD, renews=mine.session)
    assert theirs.session.id != mine.session.id
    assert await sessions.find(world.authority, mine.secret.reveal()) is None
    assert (await world.store.get(Session, mine.session.id)).state is State.REVOKED


async def test_an_ended_session_is_not_renewed(world: Embedded) -> None:
    await make_user(world)
    first = await sign_in(world)
    await sessions.end_one(world.authority, world.root, first.session.id)
    second = await sign_in(world, renews=first.session)
    assert second.session.id != first.session.id
    assert (await world.store.get(Session, first.session.id)).state is State.REVOKED


async def test_an_altered_cookie_is_nobodys(world: Embedded) -> None:
    await make_user(world)
    cookie = (await sign_in(world)).secret.reveal()
    for n in range(len(cookie)):
        forged = cookie[:n] + ("A" if cookie[n] != "A" else "B") + cookie[n + 1 :]
        assert await sessions.find(world.authority, forged) is None
        assert await sessions.find(world.authority, cookie[:n]) is None


async def test_one_ends_ones_own_sessions_only(world: Embedded) -> None:
    await make_user(world)
    await make_user(world, "mallory@example.com", OTHER_PASSWORD)
    mine, theirs = await sign_in(world), await sign_in(world, "mallory@example.com", OTHER_PASSWORD)
    with pytest.raises(NotFound):
        await sessions.end_own(world.authority, signed_in(theirs), mine.session.id)
    world.clock.move(1)
    other = await sign_in(world)
    assert [one.id for one in await sessions.own(world.authority, signed_in(mine))] == [
        other.session.id,
        mine.session.id,
    ]
    assert await sessions.end_own_others(world.authority, signed_in(mine)) == 1
    assert await sessions.find(world.authority, mine.secret.reveal()) is not None
    assert await sessions.find(world.authority, other.secret.reveal()) is None
    assert await sessions.find(world.authority, theirs.secret.reveal()) is not None


async def test_nothing_secret_is_in_the_logs_or_the_answers(world: Embedded, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG")
    mailbox = give_mailbox(world.authority)
    user = await make_user(world)
    done = await sign_in(world)
    secret, codes = await add_totp(world, done)
    await users.send_link(world.authority, world.root, user.id, SendLink("password_reset"))
    await world.authority.outbox.settled()
    with pytest.raises(SignInRefused):
        await attempt(world, password="a wrong guess 12345")
    secrets_of_it = [PASSWORD, "a wrong guess 12345", done.secret.reveal(), secret, *codes, mailbox.link()]
    async with world.http() as http:
        shown = [
            (await http.get(path)).text
            for path in (
                f"/v1/users/{user.id}",
                f"/v1/users/{user.id}/factors",
                "/v1/sessions",
                "/v1/audit",
                "/v1/events",
            )
        ]
    everything = caplog.text + "".join(shown) + repr(await world.audit()) + repr(done)
    for text in secrets_of_it:
        assert text not in everything
    stored = repr(await world.store.get(User, user.id)) + repr(await factors_of(world, user))
    for text in (PASSWORD, secret, *codes):
        assert text not in stored


def _page(**where: str) -> PageQuery:
    return PageQuery(where)


def _set(password: str) -> SetPassword:
    return SetPassword(password)

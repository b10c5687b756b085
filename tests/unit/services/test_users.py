"""Users and what they sign in with, over the management API and by themselves."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
from typing import Any

import bcrypt
import pytest

from keybearer.core.errors import Conflict, InvalidInput, NotFound, NotPermitted
from keybearer.core.instant import DAY
from keybearer.core.lifecycle import Change
from keybearer.core.users import Factors, User, factors_id
from keybearer.services import account, mail_links, registration, sessions, user_imports, user_links, users
from keybearer.services.authority import Caller
from keybearer.services.paging import PageQuery
from keybearer.services.sign_in import Done, NeedsSecondFactor, SignInRefused, Visit, with_recovery_code, with_totp
from keybearer.services.sweeper import sweep_once
from keybearer.wire.users import CreateUser, LinkSpec, SendLink, UpdateUser
from tests.support.embedded import Embedded, embedded
from tests.support.people import (
    OTHER_PASSWORD,
    PASSWORD,
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

VISIT = Visit("192.0.2.9", "Firefox\x00\n")


async def test_a_user_is_made_found_changed_and_brought_back(world: Embedded) -> None:
    authority, root = world.authority, world.root
    body = CreateUser(
        " Ada@Example.COM ", "Ada", claims={"given_name": "Ada"}, permissions=["orders:approve"], metadata={"a": 1}
    )
    made = await users.create(authority, root, body)
    assert (made.email, made.email_verified, made.permissions) == ("ada@example.com", False, ["orders:approve"])
    found = await users.page(authority, root, PageQuery({"email": "ADA@example.com"}))
    assert [one.id for one in found.items] == [made.id]
    with pytest.raises(Conflict):
        await users.create(authority, root, CreateUser("ada@EXAMPLE.com"))
    changed = await users.update(authority, root, made.id, UpdateUser(email="Ada@example.org", permissions=[]))
    assert (changed.email, changed.email_verified, changed.permissions) == ("ada@example.org", False, [])
    await users.set_state(authority, root, made.id, Change.DELETE)
    assert (await users.page(authority, root, PageQuery({}))).items == []
    back = await users.set_state(authority, root, made.id, Change.UNDELETE)
    assert back.state == "enabled"
    actions = [entry.draft.action for entry in await world.audit() if entry.draft.target == made.id]
    assert actions == ["user.create", "user.update", "user.delete", "user.undelete"]


@pytest.mark.parametrize("claim", ["sub", "iss", "email", "email_verified", "acr", "scope", "cnf"])
async def test_claims_that_are_not_an_administrators_to_say(world: Embedded, claim: str) -> None:
    with pytest.raises(InvalidInput):
        await users.create(world.authority, world.root, CreateUser("a@example.com", claims={claim: "x"}))


async def test_only_keys_of_the_authoritys_own_project_see_users(world: Embedded) -> None:
    user = await make_user(world)
    stranger = Caller("key_x", frozenset({"keybearer:admin"}), project_id="proj_x")
    for ask in (
        lambda: users.get(world.authority, stranger, user.id),
        lambda: users.page(world.authority, stranger, PageQuery({})),
        lambda: sessions.page(world.authority, stranger, PageQuery({})),
        lambda: user_links.page(world.authority, stranger, user.id, PageQuery({})),
    ):
        with pytest.raises(NotPermitted):
            await ask()


async def test_an_invitation_begins_an_account(world: Embedded) -> None:
    mailbox = give_mailbox(world.authority)
    user = await make_user(world, password=None, invite=True, name="Ada")
    await world.authority.outbox.settled()
    link = mailbox.link("/invitation")
    with pytest.raises(InvalidInput) as refused:
        await mail_links.accept_invitation(world.authority, link, name="", password="example ada ada!", visit=VISIT)
    assert "your name" in str(refused.value)
    done = await mail_links.accept_invitation(world.authority, link, name=" Ada  L. ", password=PASSWORD, visit=VISIT)
    assert (done.user.id, done.user.name, done.user.email_verified) == (user.id, "Ada L.", True)
    assert done.session.amr == ("mail", "pwd")
    assert done.session.user_agent == "Firefox??"
    assert isinstance(await attempt(world), Done)
    with pytest.raises(Conflict):
        await users.send_link(world.authority, world.root, user.id, SendLink())


async def test_an_invitation_does_not_outlive_the_users_address_or_state(world: Embedded) -> None:
    mailbox = give_mailbox(world.authority)
    user = await make_user(world, password=None, invite=True)
    await world.authority.outbox.settled()
    link = mailbox.link()
    await users.update(world.authority, world.root, user.id, UpdateUser(email="other@example.com"))
    with pytest.raises(mail_links.LinkRefused):
        await mail_links.accept_invitation(world.authority, link, name="", password=PASSWORD, visit=VISIT)
    await users.send_link(world.authority, world.root, user.id, SendLink())
    await users.set_state(world.authority, world.root, user.id, Change.DISABLE)
    await world.authority.outbox.settled()
    with pytest.raises(mail_links.LinkRefused):
        await mail_links.accept_invitation(world.authority, mailbox.link(), name="", password=PASSWORD, visit=VISIT)
    with pytest.raises(Conflict):
        await users.send_link(world.authority, world.root, user.id, SendLink())


async def test_registration_stores_nobody_before_the_link_is_opened() -> None:
    async with embedded(open_registration=True) as world:
        mailbox = give_mailbox(world.authority)
        registration.register(world.authority, "192.0.2.1", "New@example.com", "New\nBcc: x")
        await world.authority.outbox.settled()
        assert (await users.page(world.authority, world.root, PageQuery({}))).items == []
        link = mailbox.link("/invitation")
        await make_user(world, "new@example.com")  # made by somebody else meanwhile
        with pytest.raises(mail_links.LinkRefused):
            await mail_links.accept_invitation(world.authority, link, name="", password=OTHER_PASSWORD, visit=VISIT)
        registration.register(world.authority, "192.0.2.1", "newer@example.com", "New\nBcc: x")
        await world.authority.outbox.settled()
        link = mailbox.link("/invitation")
        done = await mail_links.accept_invitation(world.authority, link, name="", password=OTHER_PASSWORD, visit=VISIT)
        assert (done.user.email, done.user.email_verified, done.user.name) == ("newer@example.com", True, "NewBcc: x")


async def test_registration_is_shut_unless_it_is_opened(world: Embedded) -> None:
    mailbox = give_mailbox(world.authority)
    with pytest.raises(NotPermitted):
        registration.register(world.authority, None, "new@example.com")
    await world.authority.outbox.settled()
    assert mailbox.messages == []


async def test_an_address_is_verified_and_replaced_by_a_link(world: Embedded) -> None:
    mailbox = give_mailbox(world.authority)
    user = await make_user(world)
    me = signed_in(await sign_in(world))
    await users.send_link(world.authority, world.root, user.id, SendLink("email_verification"))
    await world.authority.outbox.settled()
    assert (await mail_links.verify_email(world.authority, mailbox.link("/verify-email"))).email_verified
    await account.change_email(world.authority, me, "ada@lovelace.example")
    await world.authority.outbox.settled()
    assert (await world.store.get(User, user.id)).email == "ada@example.com", "not before the link is opened"
    changed = await mail_links.verify_email(world.authority, mailbox.link("/verify-email"))
    assert (changed.email, changed.email_verified) == ("ada@lovelace.example", True)
    await world.authority.outbox.settled()
    assert mailbox.subjects("ada@example.com")[-1] == "Your account was changed", "the old address hears of it"
    me = signed_in(await sign_in(world, "ada@lovelace.example"))
    await account.change_email(world.authority, me, "taken@example.com")
    await make_user(world, "taken@example.com")
    await world.authority.outbox.settled()
    with pytest.raises(mail_links.LinkRefused):
        await mail_links.verify_email(world.authority, mailbox.link("/verify-email"))


async def test_an_old_link_does_not_bring_an_old_address_back(world: Embedded) -> None:
    mailbox = give_mailbox(world.authority)
    user = await make_user(world)
    await users.send_link(world.authority, world.root, user.id, SendLink("email_verification"))
    await world.authority.outbox.settled()
    link = mailbox.link("/verify-email")
    await users.update(world.authority, world.root, user.id, UpdateUser(email="new@example.com"))
    with pytest.raises(mail_links.LinkRefused):
        await mail_links.verify_email(world.authority, link)
    assert (await world.store.get(User, user.id)).email == "new@example.com"


async def test_a_password_is_changed_with_the_old_one_and_ends_other_sessions(world: Embedded) -> None:
    mailbox = give_mailbox(world.authority)
    await make_user(world)
    done, other = await sign_in(world), await sign_in(world)
    with pytest.raises(SignInRefused):
        await account.change_password(world.authority, signed_in(done), "wrong", OTHER_PASSWORD)
    await account.change_password(world.authority, signed_in(done), PASSWORD, OTHER_PASSWORD)
    assert await sessions.find(world.authority, done.secret.reveal()) is not None
    assert await sessions.find(world.authority, other.secret.reveal()) is None
    with pytest.raises(SignInRefused):
        await attempt(world)
    assert isinstance(await attempt(world, password=OTHER_PASSWORD), Done)
    await world.authority.outbox.settled()
    assert mailbox.subjects("ada@example.com") == ["Your account was changed"]


async def test_both_kinds_of_code_lead_in_and_say_how(world: Embedded) -> None:
    user = await make_user(world)
    secret, codes = await add_totp(world, await sign_in(world))
    step = await attempt(world)
    assert isinstance(step, NeedsSecondFactor)
    assert step.methods == ("totp", "recovery_code")
    done = await with_totp(world.authority, step.ticket, code_of(world, secret), VISIT)
    assert (done.session.amr, done.session.acr) == (("pwd", "otp", "mfa"), "urn:keybearer:acr:2fa")
    again = await with_recovery_code(world.authority, await ticket_of(world), codes[0], VISIT)
    assert again.session.acr == "urn:keybearer:acr:2fa"
    assert (await factors_of(world, user)).failures == 0
    fresh = await account.renew_recovery_codes(world.authority, signed_in(again))
    with pytest.raises(SignInRefused):
        await with_recovery_code(world.authority, await ticket_of(world), codes[1], VISIT)
    assert isinstance(await with_recovery_code(world.authority, await ticket_of(world), fresh[0].reveal(), VISIT), Done)
    await account.remove_authenticator(world.authority, signed_in(again))
    assert isinstance(await attempt(world), Done), "no second factor is left to ask for"
    assert (await factors_of(world, user)).recovery_digests == ()
    with pytest.raises(Conflict):
        await account.renew_recovery_codes(world.authority, signed_in(again))


async def test_an_unconfirmed_authenticator_is_no_factor(world: Embedded) -> None:
    await make_user(world)
    me = signed_in(await sign_in(world))
    fresh = await account.begin_authenticator(world.authority, me)
    assert fresh.uri.reveal().startswith("otpauth://totp/Keybearer:ada%40example.com?secret=")
    with pytest.raises(InvalidInput):
        await account.confirm_authenticator(world.authority, me, "000")
    assert isinstance(await attempt(world), Done)


async def test_links_say_who_somebody_is_elsewhere(world: Embedded) -> None:
    authority, root = world.authority, world.root
    ada = await make_user(world, links=[LinkSpec("crm", "1")])
    bob = await make_user(world, "bob@example.com", OTHER_PASSWORD)
    with pytest.raises(Conflict):
        await user_links.add(authority, root, bob.id, LinkSpec("crm", "1"))
    found = await user_links.find(world.store, "crm", "1")
    assert found is not None
    assert found.id == ada.id
    (link,) = (await user_links.page(authority, root, ada.id, PageQuery({}))).items
    with pytest.raises(NotFound):
        await user_links.remove(authority, root, bob.id, link.id)
    await user_links.remove(authority, root, ada.id, link.id)
    assert await user_links.find(world.store, "crm", "1") is None
    assert (await user_links.add(authority, root, bob.id, LinkSpec("crm", "1"))).user_id == bob.id


async def test_a_user_has_a_hundred_sessions_at_most(world: Embedded) -> None:
    user = await make_user(world)
    caller = Caller(user.id, frozenset())
    made = []
    for _ in range(sessions.MAX_LIVE + 2):
        visit: dict[str, Any] = {"amr": ("pwd",), "acr": "", "source": None, "user_agent": ""}
        made.append(
            await world.store.transact(
                lambda uow, visit=visit: sessions.start(uow, world.authority, caller, user, **visit)
            )
        )
        world.clock.move(0.01)
    alive = [await sessions.find(world.authority, secret.reveal()) is not None for _, secret in made]
    assert alive == [False, False] + [True] * sessions.MAX_LIVE


async def test_a_deleted_user_is_forgotten_with_all_that_was_theirs(world: Embedded) -> None:
    user = await make_user(world, links=[LinkSpec("crm", "1")])
    done = await sign_in(world)
    await users.set_state(world.authority, world.root, user.id, Change.DELETE)
    world.clock.move(31 * DAY / 1_000_000)
    await sweep_once(world.authority)
    for kind, record_id in ((User, user.id), (Factors, factors_id(user.id)), (type(done.session), done.session.id)):
        with pytest.raises(NotFound):
            await world.store.get(kind, record_id)
    assert await user_links.find(world.store, "crm", "1") is None
    await make_user(world)  # the address is free again


# Import


async def imported(world: Embedded, *lines: object, dry_run: bool = False, caller: Caller | None = None) -> Any:
    async def given() -> Any:
        for line in lines:
            yield line if isinstance(line, bytes) else json.dumps(line).encode()

    who = caller or world.root
    found = [item async for item in user_imports.run(world.authority, who, given(), dry_run=dry_run)]
    return found[-1]


def old_hashes(password: str) -> list[str]:
    """The same password as other systems keep it."""
    from argon2 import PasswordHasher

    derived = base64.b64encode(hashlib.pbkdf2_hmac("sha256", password.encode(), b"salty", 1000)).decode()
    return [
        bcrypt.hashpw(password.encode(), bcrypt.gensalt(4)).decode(),
        f"pbkdf2_sha256$1000$salty${derived}",
        PasswordHasher(time_cost=1, memory_cost=1024, parallelism=1).hash(password),
    ]


async def test_imported_users_sign_in_and_their_hashes_become_ours(world: Embedded) -> None:
    lines = [
        {"email": f"user{number}@example.com", "password_hash": encoded, "email_verified": True}
        for number, encoded in enumerate(old_hashes(PASSWORD))
    ]
    report = await imported(world, *lines, {"email": "plain@example.com", "links": [{"issuer": "crm", "subject": "9"}]})
    assert (report.imported, report.refused_count, report.error) == (4, 0, None)
    for number in range(3):
        email = f"user{number}@example.com"
        with pytest.raises(SignInRefused):
            await attempt(world, email, "wrong")
        done = await sign_in(world, email)
        held = await factors_of(world, done.user)
        assert held.password_hash.startswith("$argon2id$v=19$m=19456,t=2,p=1$")
        assert isinstance(await attempt(world, email), Done)
    with pytest.raises(SignInRefused):
        await attempt(world, "plain@example.com", "")


@pytest.mark.parametrize(
    ("line", "field"),
    [
        ({"email": "nobody"}, "email"),
        ({"email": "ADA@example.com"}, "email"),
        ({"email": "b@example.com", "password_hash": PASSWORD}, "password_hash"),
        (
            {
                "email": "b@example.com",
                "password_hash": "$argon2id$v=19$m=9999999,t=2,p=1$" + "A" * 22 + "$" + "A" * 43,
            },
            "password_hash",
        ),
        ({"email": "b@example.com", "password_hash": "$2b$31$" + "A" * 53}, "password_hash"),
        ({"email": "b@example.com", "password_hash": "pbkdf2_sha256$9000000$salt$" + "A" * 43 + "="}, "password_hash"),
        ({"email": "b@example.com", "password": PASSWORD}, ""),
        ({"email": "b@example.com", "id": "user_1"}, ""),
        ({"email": "b@example.com", "permissions": ["a b"]}, "permissions[0]"),
        ({"email": "b@example.com", "claims": {"sub": "root"}}, "claims.sub"),
        ({"email": "b@example.com", "links": [{"issuer": "crm", "subject": "1"}]}, "links[0]"),
        (b"{", ""),
        (b"[]", ""),
    ],
)
async def test_one_wrong_line_and_nothing_is_imported(world: Embedded, line: object, field: str) -> None:
    await make_user(world, links=[LinkSpec("crm", "1")])
    head = await world.store.head()
    report = await imported(world, {"email": "good@example.com"}, b"", line)
    assert (report.imported, report.refused_count, report.lines) == (0, 1, 2)
    assert report.refused[0].line == 3
    assert report.refused[0].problems[0]["field"].startswith(field)
    assert await world.store.head() == head


async def test_lines_that_clash_with_each_other_and_dry_runs(world: Embedded) -> None:
    report = await imported(world, {"email": "a@example.com"}, {"email": "A@example.com"})
    assert "line 1 has this address" in report.refused[0].problems[0]["message"]
    report = await imported(world, {"email": "a@example.com"}, dry_run=True)
    assert (report.lines, report.imported, report.refused_count) == (1, 0, 0)
    assert (await users.page(world.authority, world.root, PageQuery({}))).items == []


async def test_an_import_gives_no_more_power_than_its_caller_may_hand_on(world: Embedded) -> None:
    clerk = Caller("key_clerk", frozenset({"keybearer:users.write"}))
    report = await imported(world, {"email": "eve@example.com", "permissions": ["keybearer:admin"]}, caller=clerk)
    assert report.refused_count == 1


async def test_import_over_http(world: Embedded) -> None:
    lines = b"".join(json.dumps({"email": f"u{n}@example.com"}).encode() + b"\n" for n in range(30))
    async with world.http() as http:
        headers = {"content-type": "application/x-ndjson"}
        answer = await http.post("/v1/users/import", content=lines, headers=headers)
        report = json.loads(answer.content.splitlines()[-1])
        assert (answer.status_code, report["imported"]) == (200, 30)
    async with world.http("") as http:
        assert (await http.post("/v1/users/import", content=lines, headers=headers)).status_code == 401


async def test_many_sign_ins_at_once_wait_in_bounded_number(world: Embedded) -> None:
    from keybearer.core.errors import Unavailable
    from keybearer.services.passwords import Passwords

    pool = Passwords(1, waiting=3)
    encoded = await pool.hash(PASSWORD)
    done = await asyncio.gather(*(pool.matches(encoded, PASSWORD) for _ in range(10)), return_exceptions=True)
    assert sum(one is True for one in done) == 4
    assert sum(isinstance(one, Unavailable) for one in done) == 6
    assert await pool.matches(encoded, PASSWORD)
    pool.close()

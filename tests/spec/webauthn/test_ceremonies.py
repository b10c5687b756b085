"""Making and using a passkey, step by step, with an authenticator that does one thing wrong at a time."""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import pytest

from keybearer.core.errors import InvalidInput
from keybearer.core.users import User
from keybearer.services import passkeys
from keybearer.services.sessions import SignedIn
from keybearer.services.sign_in import Done, SignInRefused, Visit
from tests.support.embedded import Embedded, embedded
from tests.support.people import Authenticator, factors_of, give_mailbox, make_user, sign_in, signed_in, ticket_of

pytestmark = pytest.mark.anyio

ORIGIN, RP_ID = "https://id.example.com", "id.example.com"


@dataclass
class Scene:
    """Somebody signed in with a password, and an authenticator."""

    world: Embedded
    user: User
    me: SignedIn
    key: Authenticator

    async def register(self, key: Authenticator | None = None, **changes: Any) -> Any:
        offer = await passkeys.registration_options(self.world.authority, self.user)
        answer = json.loads((key or self.key).create({**offer.options, **changes}))
        return await passkeys.register(self.world.authority, self.me, offer.challenge, json.dumps(answer), "key")

    async def use(self, *, ticket: str = "", **changes: Any) -> Done:
        offer = await passkeys.options(self.world.authority, ticket)
        return await passkeys.finish(
            self.world.authority, offer.challenge, self.key.get(offer.options, **changes), Visit()
        )


@pytest.fixture
async def scene(anyio_backend: str) -> AsyncIterator[Scene]:
    async with embedded(issuer=ORIGIN) as world:
        give_mailbox(world.authority)
        user = await make_user(world)
        yield Scene(world, user, signed_in(await sign_in(world)), Authenticator(ORIGIN, RP_ID))


@pytest.mark.spec("WebAuthn 3", "13.4.3", "MUST")
async def test_challenges_are_random_and_of_256_bits(scene: Scene) -> None:
    made = [await passkeys.options(scene.world.authority) for _ in range(20)]
    made += [await passkeys.registration_options(scene.world.authority, scene.user) for _ in range(20)]
    texts = {offer.options["challenge"] for offer in made}
    assert len(texts) == 40
    assert {len(base64.urlsafe_b64decode(text + "=")) for text in texts} == {32}


@pytest.mark.spec("WebAuthn 3", "5.4.3", "MUST NOT")
async def test_the_user_handle_says_nothing_about_the_person(scene: Scene) -> None:
    offer = await passkeys.registration_options(scene.world.authority, scene.user)
    handle = base64.urlsafe_b64decode(offer.options["user"]["id"] + "==")
    assert len(handle) <= 64
    assert b"ada" not in handle
    assert handle == scene.user.id.encode()


@pytest.mark.spec("WebAuthn 3", "7.1", "MUST")
async def test_making_a_passkey_needs_the_challenge_that_was_given(scene: Scene) -> None:
    with pytest.raises(InvalidInput):
        await scene.register(challenge="AAAA")
    offer = await passkeys.registration_options(scene.world.authority, scene.user)
    used_for_sign_in = await passkeys.options(scene.world.authority)
    for challenge in ("", "AAAA", used_for_sign_in.challenge, offer.challenge[:-2] + "AA"):
        with pytest.raises(InvalidInput):
            await passkeys.register(scene.world.authority, scene.me, challenge, scene.key.create(offer.options), "key")
    assert (await factors_of(scene.world, scene.user)).passkeys == ()


@pytest.mark.spec("WebAuthn 3", "7.1", "MUST")
@pytest.mark.parametrize(
    ("origin", "rp_id"),
    [
        ("http://id.example.com", RP_ID),
        ("https://id.example.com.evil.example", RP_ID),
        ("https://sub.id.example.com", RP_ID),
        (ORIGIN, "example.com"),
        (ORIGIN, ""),
    ],
)
async def test_making_a_passkey_elsewhere(scene: Scene, origin: str, rp_id: str) -> None:
    with pytest.raises(InvalidInput):
        await scene.register(Authenticator(origin, rp_id))


@pytest.mark.spec("WebAuthn 3", "7.1", "MUST")
async def test_making_a_passkey_needs_somebody_present(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    absent(scene.key, monkeypatch)
    with pytest.raises(InvalidInput):
        await scene.register()


@pytest.mark.spec("WebAuthn 3", "7.1", "MUST")
async def test_a_passkey_is_made_once(scene: Scene) -> None:
    made = await scene.register()
    offer = await passkeys.registration_options(scene.world.authority, scene.user)
    assert [one["id"] for one in offer.options["excludeCredentials"]] == [passkeys.id_text(made.credential_id)]
    with pytest.raises(Exception, match="already"):
        await scene.register()


@pytest.mark.spec("WebAuthn 3", "7.2", "MUST")
async def test_a_user_handle_of_somebody_else_signs_nobody_in(scene: Scene) -> None:
    await scene.register()
    other = await make_user(scene.world, "other@example.com")
    scene.key.user_handle = other.id.encode()
    with pytest.raises(SignInRefused):
        await scene.use()
    for handle in (b"", b"user_", b"\xff\xfe", b"fac_" + other.id[5:].encode()):
        scene.key.user_handle = handle
        with pytest.raises(SignInRefused):
            await scene.use()


@pytest.mark.spec("WebAuthn 3", "7.2", "MUST")
@pytest.mark.parametrize(
    "change",
    [
        {"type": "webauthn.create"},
        {"type": ""},
        {"challenge": "AAAA"},
        {"challenge": ""},
        {"origin": "http://id.example.com"},
        {"origin": "https://evil.example"},
        {"origin": "null"},
    ],
    ids=str,
)
async def test_using_a_passkey_with_one_thing_wrong(scene: Scene, change: dict[str, str]) -> None:
    await scene.register()
    with pytest.raises(SignInRefused):
        await scene.use(**change)
    assert isinstance(await scene.use(), Done)


@pytest.mark.spec("WebAuthn 3", "7.2", "MUST")
async def test_using_a_passkey_needs_somebody_present(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    await scene.register()
    absent(scene.key, monkeypatch)
    with pytest.raises(SignInRefused):
        await scene.use()
    with pytest.raises(SignInRefused):
        await scene.use(ticket=await ticket_of(scene.world))


@pytest.mark.spec("WebAuthn 3", "7.2", "MUST")
async def test_a_passkey_alone_needs_its_user_verified(scene: Scene) -> None:
    await scene.register()
    scene.key.verifies_user = False
    offer = await passkeys.options(scene.world.authority)
    assert offer.options["userVerification"] == "required"
    with pytest.raises(SignInRefused):
        await scene.use()
    assert isinstance(await scene.use(ticket=await ticket_of(scene.world)), Done)


@pytest.mark.spec("WebAuthn 3", "7.2", "MUST")
async def test_the_counter_only_grows(scene: Scene) -> None:
    await scene.register()
    await scene.use()
    await scene.use()
    scene.key.sign_count -= 1
    with pytest.raises(SignInRefused):
        await scene.use()
    scene.key.sign_count += 5
    await scene.use()
    (stored,) = (await factors_of(scene.world, scene.user)).passkeys
    assert stored.sign_count == scene.key.sign_count
    assert stored.last_used_at is not None


@pytest.mark.spec("WebAuthn 3", "7.2", "MUST")
async def test_every_flipped_byte_of_the_signed_data_is_noticed(scene: Scene) -> None:
    await scene.register()
    for name in ("authenticatorData", "clientDataJSON", "signature"):
        offer = await passkeys.options(scene.world.authority)
        answer = json.loads(scene.key.get(offer.options))
        data = bytearray(base64.urlsafe_b64decode(answer["response"][name] + "=="))
        for at in range(0, len(data), 5):
            flipped = bytes(data[:at]) + bytes([data[at] ^ 1]) + bytes(data[at + 1 :])
            answer["response"][name] = passkeys.id_text(flipped)
            with pytest.raises(SignInRefused):
                await passkeys.finish(scene.world.authority, offer.challenge, json.dumps(answer), Visit())


async def test_a_challenge_is_over_after_ten_minutes(scene: Scene) -> None:
    await scene.register()
    offer = await passkeys.options(scene.world.authority)
    answer = scene.key.get(offer.options)
    scene.world.clock.move(600)
    with pytest.raises(SignInRefused):
        await passkeys.finish(scene.world.authority, offer.challenge, answer, Visit())


async def test_the_last_way_to_sign_in_stays(scene: Scene) -> None:
    made = await scene.register()
    await passkeys.remove(scene.world.authority, scene.me, made.credential_id)
    with pytest.raises(SignInRefused):
        await scene.use()
    user = await make_user(scene.world, "other@example.com", password=None)
    assert not (await factors_of(scene.world, user)).has_second_factor


def absent(key: Authenticator, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let an authenticator say that nobody touched it."""
    present = type(key)._data

    def data(self: Authenticator, flags: int = 0) -> bytes:
        found = bytearray(present(self, flags))
        found[32] &= 0xFE
        return bytes(found)

    monkeypatch.setattr(Authenticator, "_data", data)

"""People for the tests: users with passwords, a mailbox that keeps what is sent, and an authenticator for passkeys."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import secrets
from dataclasses import dataclass, field
from email.message import EmailMessage
from typing import Any

import pyotp
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from webauthn.helpers import encode_cbor

from keybearer.core.users import Factors, User, factors_id
from keybearer.services import account, users
from keybearer.services.authority import Authority
from keybearer.services.outbox import Outbox
from keybearer.services.sessions import SignedIn
from keybearer.services.sign_in import Attempt, Done, NeedsSecondFactor, SignInStep, Visit, with_password
from keybearer.wire.users import CreateUser
from tests.support.embedded import Embedded

PASSWORD = "quartz lantern overture 41"
OTHER_PASSWORD = "nine velvet harbours 77"
SHORT_PASSWORD = "fjord-91x"
"""Long enough beside a second factor, too short alone."""


@dataclass
class Mailbox:
    """Keeps every message that was sent."""

    messages: list[EmailMessage] = field(default_factory=list)

    async def send(self, message: EmailMessage) -> None:
        self.messages.append(message)

    @property
    def last(self) -> EmailMessage:
        return self.messages[-1]

    def link(self, path: str = "") -> str:
        """The secret of the newest link that leads to ``path``."""
        for message in reversed(self.messages):
            found = re.search(r"https?://\S+\?link=(\S+)", message.get_content())
            if found and path in found[0]:
                return found[1]
        raise AssertionError(f"no link to {path!r} was sent")

    def subjects(self, to: str) -> list[str]:
        return [str(message["Subject"]) for message in self.messages if message["To"] == to]


def give_mailbox(authority: Authority) -> Mailbox:
    """Let the authority send its mail to a mailbox of the test's."""
    mailbox = Mailbox()
    object.__setattr__(authority, "outbox", Outbox(mailbox))
    return mailbox


async def make_user(
    world: Embedded, email: str = "ada@example.com", password: str | None = PASSWORD, **more: Any
) -> User:
    body = CreateUser(email, password=password, **more)
    made = await users.create(world.authority, world.root, body)
    return await world.store.get(User, made.id)


async def factors_of(world: Embedded, user: User) -> Factors:
    return await world.store.get(Factors, factors_id(user.id))


async def sign_in(world: Embedded, email: str = "ada@example.com", password: str = PASSWORD, **visit: Any) -> Done:
    step = await attempt(world, email, password, **visit)
    assert isinstance(step, Done)
    return step


async def attempt(
    world: Embedded, email: str = "ada@example.com", password: str = PASSWORD, **visit: Any
) -> SignInStep:
    return await with_password(world.authority, Attempt(email, password, Visit(**{"source": "192.0.2.1", **visit})))


def signed_in(done: Done) -> SignedIn:
    return SignedIn(done.session, done.user)


async def add_totp(world: Embedded, done: Done) -> tuple[str, list[str]]:
    """An authenticator app for whoever is signed in: its secret, and the recovery codes."""
    fresh = await account.begin_authenticator(world.authority, signed_in(done))
    secret = fresh.secret.reveal()
    codes = await account.confirm_authenticator(world.authority, signed_in(done), code_of(world, secret))
    world.clock.move(30)
    return secret, [code.reveal() for code in codes]


def code_of(world: Embedded, secret: str, steps: int = 0) -> str:
    """What the authenticator app shows now, or some steps from now."""
    return pyotp.TOTP(secret).generate_otp(world.clock.at // 30_000_000 + steps)


async def ticket_of(world: Embedded, email: str = "ada@example.com", password: str = PASSWORD, **visit: Any) -> str:
    step = await attempt(world, email, password, **visit)
    assert isinstance(step, NeedsSecondFactor)
    return step.ticket


def b64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


@dataclass
class Authenticator:
    """A virtual authenticator with one ES256 passkey and no attestation. Spec: WebAuthn Level 3 §6."""

    origin: str
    rp_id: str
    verifies_user: bool = True
    sign_count: int = 0
    user_handle: bytes = b""
    credential_id: bytes = field(default_factory=lambda: secrets.token_bytes(32))
    key: ec.EllipticCurvePrivateKey = field(default_factory=lambda: ec.generate_private_key(ec.SECP256R1()))

    def create(self, options: dict[str, Any]) -> str:
        """The answer of ``navigator.credentials.create``, as JSON."""
        self.user_handle = base64.urlsafe_b64decode(options["user"]["id"] + "==")
        numbers = self.key.public_key().public_numbers()
        cose = {1: 2, 3: -7, -1: 1, -2: numbers.x.to_bytes(32), -3: numbers.y.to_bytes(32)}
        attested = bytes(16) + len(self.credential_id).to_bytes(2) + self.credential_id + encode_cbor(cose)
        data = self._data(0x40) + attested
        return self._answer(
            {
                "clientDataJSON": b64(self._client("webauthn.create", options["challenge"])),
                "attestationObject": b64(encode_cbor({"fmt": "none", "attStmt": {}, "authData": data})),
                "transports": ["internal"],
            }
        )

    def get(self, options: dict[str, Any], **changes: Any) -> str:
        """The answer of ``navigator.credentials.get``, as JSON."""
        self.sign_count += 1
        data = self._data()
        client = self._client("webauthn.get", options["challenge"], **changes)
        signature = self.key.sign(data + hashlib.sha256(client).digest(), ec.ECDSA(SHA256()))
        return self._answer(
            {
                "clientDataJSON": b64(client),
                "authenticatorData": b64(data),
                "signature": b64(signature),
                "userHandle": b64(self.user_handle),
            }
        )

    def _data(self, flags: int = 0) -> bytes:
        flags |= 0x01 | (0x04 if self.verifies_user else 0)
        return hashlib.sha256(self.rp_id.encode()).digest() + bytes([flags]) + self.sign_count.to_bytes(4)

    def _client(self, kind: str, asked: str, **changes: Any) -> bytes:
        said = {"type": kind, "challenge": asked, "origin": self.origin, "crossOrigin": False, **changes}
        return json.dumps(said).encode()

    def _answer(self, response: dict[str, Any]) -> str:
        name = b64(self.credential_id)
        answer = {"id": name, "rawId": name, "type": "public-key", "response": response, "clientExtensionResults": {}}
        return json.dumps(answer)

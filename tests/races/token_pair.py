"""Two processes that issue tokens, a client, and what its user agreed to, put into the database as a node would."""

from __future__ import annotations

import asyncio
import base64
import secrets
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import httpx

from keybearer.core.credential import new_id
from keybearer.core.instant import DAY, Instant
from keybearer.keyring import open_keyring
from keybearer.stores.doorbell import SharedDoorbell
from tests.e2e.shop import Shop
from tests.support.authority import Authority

AT_ONCE = 50
REDIRECT = "https://app.example/callback"
VERIFIER = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"
CHALLENGE = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"
DEVICE = "urn:ietf:params:oauth:grant-type:device_code"


@dataclass
class TokenPair:
    """Two processes behind one database, a client, and a user who agreed to it."""

    shop: Shop
    nodes: list[Authority]
    client_id: str = ""
    secret: str = field(default="", repr=False)
    user_id: str = ""
    _records: dict[str, Any] = field(default_factory=dict)

    def setup(self) -> None:
        body = {
            "project_id": self.shop.project["id"],
            "name": "app",
            "grant_types": ["authorization_code", "refresh_token", "client_credentials", DEVICE],
            "scopes": ["pages:read", "pages:write"],
            "redirect_uris": [REDIRECT],
        }
        made = self.shop.call("POST", "/v1/clients", body)
        self.client_id, self.secret = made["client"]["id"], made["client_secret"]
        self.in_store(self._insert_user)

    @property
    def basic(self) -> str:
        return basic(self.client_id, self.secret)

    def in_store(self, work: Callable[[Any, Any], Any]) -> Any:
        """Run a work as another node would: on the same database, with the same keyring."""
        return asyncio.run(self._in_store(work))

    async def _in_store(self, work: Callable[[Any, Any], Any]) -> Any:
        from keybearer.foundation import make_store
        from keybearer.settings import Settings

        node = self.nodes[0]
        keyring = open_keyring(node.data, create=False)
        settings = Settings(data=node.data, database=node.database or "", issuer=node.issuer)
        doorbell = SharedDoorbell(node.data / "keybearer.doorbell")
        store, _ = make_store(settings, keyring, doorbell.ring)
        await store.open()
        try:
            await doorbell.align(store.head)

            @dataclass
            class Bare:
                keyring: Any
                store: Any
                settings: Any
                clock: Any

            from keybearer.clock import SystemClock

            bare = Bare(keyring, store, settings, SystemClock())

            async def inside(uow: Any) -> Any:
                return await work(uow, bare)

            return await store.transact(inside)
        finally:
            await store.close()
            doorbell.close()

    async def _insert_user(self, uow: Any, bare: Any) -> None:
        from keybearer.core.grants import Grant
        from keybearer.core.sessions import Session
        from keybearer.core.users import User

        now = bare.clock.now()
        at = {"created_at": now, "updated_at": now}
        user = User(id="user_" + new_id(now), **at, email=f"{secrets.token_hex(4)}@example.com")
        session = Session(
            id="sess_" + new_id(now),
            **at,
            user_id=user.id,
            digest=b"d" * 32,
            pepper_id="p",
            authenticated_at=now,
            expires_at=Instant(now + DAY),
            idle_in=DAY,
            seen_at=now,
        )
        grant = Grant(
            id="grant_" + new_id(now),
            **at,
            user_id=user.id,
            client_id=self.client_id,
            project_id=self.shop.project["id"],
            scopes=("pages:read", "pages:write"),
        )
        for record in (user, session, grant):
            await uow.insert(record)
            uow.emit("user.create", record.id)
        self._records = {"user": user, "session": session, "grant": grant}

    def code(self) -> str:
        """A fresh authorization code."""
        from keybearer.core.authorization_code import AuthorizationCode
        from keybearer.services.codes import put_code

        async def put(uow: Any, bare: Any) -> str:
            code = AuthorizationCode(
                client_id=self.client_id,
                user_id=self._records["user"].id,
                grant_id=self._records["grant"].id,
                session_id=self._records["session"].id,
                scopes=("pages:read",),
                authenticated_at=bare.clock.now(),
                redirect_uri=REDIRECT,
                code_challenge=CHALLENGE,
            )
            return (await put_code(uow, bare, code)).reveal()

        return str(self.in_store(put))

    def approve(self, user_code: str) -> None:
        """Let the user agree to a device."""
        from keybearer.services import device
        from keybearer.services.authority import SYSTEM

        async def agree(uow: Any, bare: Any) -> None:
            import msgspec

            from keybearer.core.artefacts import ArtefactKind
            from keybearer.core.clients import Client
            from keybearer.core.device_request import DeviceRequest, normalised_user_code
            from keybearer.services.device import FoundDevice, _user_code_id

            letters = normalised_user_code(user_code)
            assert letters is not None
            code = await uow.get_artefact(ArtefactKind.USER_CODE, _user_code_id(bare, letters))
            artefact = await uow.get_artefact(ArtefactKind.DEVICE_CODE, code.subject)
            client = await uow.get(Client, artefact.subject)
            asked = msgspec.json.decode(artefact.body, type=DeviceRequest)
            found = FoundDevice(artefact.id, asked, client, artefact.expires_at)
            records = self._records
            await device.approve(
                uow,
                bare,
                SYSTEM,
                found,
                user=records["user"],
                grant=records["grant"],
                session=records["session"],
                granted=("pages:read",),
            )

        self.in_store(agree)

    def post(self, number: int, path: str, form: dict[str, str], headers: dict[str, str] | None = None) -> Any:
        node = self.nodes[number % len(self.nodes)]
        more = {"authorization": self.basic, **(headers or {})}
        with httpx.Client(trust_env=False, timeout=30) as client:
            return client.post(node.url + path, data=form, headers=more)

    def all_at_once(self, forms: list[dict[str, str]], **more: Any) -> list[Any]:
        """These token requests at the same moment, spread over both processes."""
        with ThreadPoolExecutor(len(forms)) as pool:
            asked = [pool.submit(self.post, i, "/oauth/token", form, **more) for i, form in enumerate(forms)]
            return [one.result() for one in asked]

    def tokens(self) -> dict[str, Any]:
        answer = self.post(0, "/oauth/token", self.redeeming(self.code()))
        assert answer.status_code == 200, answer.text
        return dict(answer.json())

    def redeeming(self, code: str) -> dict[str, str]:
        return {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": REDIRECT,
            "code_verifier": VERIFIER,
        }

    def is_valid(self, token: str) -> bool:
        return bool(self.shop.verify(token)["valid"])


def basic(client_id: str, secret: str) -> str:
    """The header of ``client_secret_basic``."""
    return "Basic " + base64.b64encode(f"{client_id}:{secret}".encode()).decode()

"""What an authorization needs: an API, a project and a client in the store, and a request that is in order."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import urlencode

import httpx

from keybearer.core.authorization_code import AuthorizationCode
from keybearer.core.clients import CLIENT_ID, Client
from keybearer.core.credential import new_id
from keybearer.core.lifecycle import touch
from keybearer.core.pkce import challenge_of
from keybearer.core.records import API_ID, PROJECT_ID, Api, Permission, Project, Record
from keybearer.core.users import User
from keybearer.ports import UnitOfWork
from keybearer.services.clients import new_secret
from keybearer.services.codes import take_code
from tests.support.browser import Browser, Page
from tests.support.embedded import Embedded
from tests.support.people import PASSWORD

REDIRECT_URI = "https://shop.example.com/callback"
VERIFIER = "v" * 43
PERMISSIONS = (
    Permission("orders:read", "See your orders", read_only=True),
    Permission("orders:write", "Place orders for you"),
    Permission("refunds:write", "Refund orders", restricted=True),
)


async def insert(world: Embedded, *records: Record) -> None:
    async def work(uow: UnitOfWork) -> None:
        for record in records:
            await uow.insert(record)
            uow.emit(f"{type(record).__name__.lower()}.create", record.id)

    await world.store.transact(work)


def _times(world: Embedded) -> dict[str, Any]:
    now = world.clock.now()
    return {"created_at": now, "updated_at": now}


async def make_api(world: Embedded, identifier: str = "https://orders.example.com", **more: Any) -> Api:
    fields = {"name": "Orders", "permissions": PERMISSIONS, **more}
    api = Api(id=API_ID + new_id(world.clock.now()), identifier=identifier, **_times(world), **fields)
    await insert(world, api)
    return api


async def make_client(world: Embedded, *apis: Api, **more: Any) -> Client:
    """A confidential client of a project of its own, which may call these APIs."""
    now = world.clock.now()
    project = Project(
        id=PROJECT_ID + new_id(now), name="Shop", enabled_apis=tuple(one.id for one in apis), **_times(world)
    )
    fields: dict[str, Any] = {
        "name": "Shop",
        "redirect_uris": (REDIRECT_URI,),
        "scopes": ("orders:read", "orders:write", "refunds:write"),
        **more,
    }
    client = Client(id=CLIENT_ID + new_id(now), project_id=project.id, **_times(world), **fields)
    await insert(world, project, client)
    return client


async def changed(world: Embedded, client: Client, **changes: Any) -> Client:
    async def work(uow: UnitOfWork) -> Client:
        found = touch(await uow.get(Client, client.id), world.clock.now(), **changes)
        await uow.update(found)
        return found

    return await world.store.transact(work)


def asking(client: Client, **changes: str | None) -> str:
    """The URL of a request; ``None`` leaves a parameter out."""
    parameters: dict[str, str | None] = {
        "client_id": client.id,
        "redirect_uri": client.redirect_uris[0],
        "response_type": "code",
        "scope": "openid orders:read",
        "state": "s&t=1",
        "code_challenge": challenge_of(VERIFIER),
        "code_challenge_method": "S256",
        **changes,
    }
    return "/oauth/authorize?" + urlencode({name: value for name, value in parameters.items() if value is not None})


@asynccontextmanager
async def browsing(world: Embedded, **options: Any) -> AsyncIterator[Browser]:
    """A browser that nobody has signed in with yet."""
    transport = httpx.ASGITransport(world.web, raise_app_exceptions=False, client=("192.0.2.1", 1234))
    base_url = options.pop("base_url", world.authority.settings.issuer_url)
    async with httpx.AsyncClient(transport=transport, base_url=base_url, **options) as http:
        yield Browser(http)


async def sign_in_at(browser: Browser, page: Page, user: User, password: str = PASSWORD) -> Page:
    """Fill in the sign-in page that this is."""
    return await browser.send(page, {"email": user.email, "password": password}, action="/sign-in")


async def signed_in(browser: Browser, user: User) -> Page:
    """Sign in for the account page."""
    return await sign_in_at(browser, await browser.get("/sign-in"), user)


async def code_of(world: Embedded, client: Client, page: Page) -> AuthorizationCode:
    """What the code in a redirect stands for."""
    text = page.answer["code"]

    async def work(uow: UnitOfWork) -> AuthorizationCode:
        return (await take_code(uow, world.authority, text, client.id, world.clock.now())).code

    return await world.store.transact(work)


async def give_secret(world: Embedded, client: Client) -> str:
    """Give a client a secret, and return it."""

    async def work(uow: UnitOfWork) -> str:
        current = await uow.get(Client, client.id)
        secret, kept = new_secret(world.authority, current, len(current.secrets) + 1, world.clock.now())
        await uow.update(touch(current, world.clock.now(), secrets=(*current.secrets, kept)))
        uow.emit("client.update", client.id)
        return secret.reveal()

    return await world.store.transact(work)


async def at_back_channel(
    world: Embedded, client: Client, secret: str, path: str, fields: dict[str, str]
) -> httpx.Response:
    """One request of the client itself."""
    transport = httpx.ASGITransport(world.web, raise_app_exceptions=False, client=("192.0.2.7", 1234))
    async with httpx.AsyncClient(transport=transport, base_url=world.authority.settings.issuer_url) as http:
        return await http.post(path, data=fields, auth=(client.id, secret))


async def tokens_for(world: Embedded, client: Client, secret: str, page: Page) -> dict[str, Any]:
    """Redeem the code in a redirect."""
    fields = {
        "grant_type": "authorization_code",
        "code": page.answer["code"],
        "redirect_uri": client.redirect_uris[0],
        "code_verifier": VERIFIER,
    }
    answer = await at_back_channel(world, client, secret, "/oauth/token", fields)
    assert answer.status_code == 200, answer.text
    return dict(answer.json())

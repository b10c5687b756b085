"""What Keybearer is told about this example: an API, who may call it and how often, and a few people."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Self

from keybearer.client import (
    ClientAuthMethod,
    CreateClient,
    GrantType,
    Keybearer,
    PermissionSpec,
    QuotaSpec,
    RateLimitSpec,
)
from keybearer.core.quota import CalendarUnit

from .. import permissions
from ..config import API, Config

ADMIN = ("admin@qa.example", "the keys hang by the door")
PEOPLE = {
    "ada@qa.example": ("Ada", "a lighthouse in the fog"),
    "ben@qa.example": ("Ben", "nine pines on the ridge"),
    "cleo@qa.example": ("Cleo", "slow tea in the garden"),
}
"""Who may sign in, and with which password. Never give people passwords like this anywhere else."""


@dataclass(frozen=True, slots=True)
class Demo:
    """What the demonstration shows at its start: an application's key, and a client that gets tokens on a terminal."""

    key: str = field(repr=False)
    key_id: str
    terminal_client_id: str
    people: dict[str, str]
    """Ids by address."""

    def save(self, path: Path) -> None:
        """Write it where only its owner reads it."""
        path.touch(mode=0o600)
        path.write_text(json.dumps(asdict(self), indent=2) + "\n")

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read what ``save`` wrote."""
        return cls(**json.loads(path.read_text()))


def register(keybearer: Keybearer, own_project_id: str, url: str, issuer: str) -> tuple[Config, Demo]:
    """Register everything, with the root key."""
    api = keybearer.apis.create(
        identifier=API,
        name="Questions and answers",
        permissions=[
            PermissionSpec(name=name, description=words, restricted=name in permissions.RESTRICTED)
            for name, words in permissions.WORDS.items()
        ],
    )
    # The site itself is one application: people let it ask, answer and vote in their name.
    site = keybearer.projects.create(name="Keyhole", enabled_apis=[api.id])
    writing = [*permissions.WRITING, permissions.MODERATE]
    client = keybearer.clients.create(
        CreateClient(
            project_id=site.id,
            name="Keyhole",
            redirect_uris=[f"{url}/signed-in"],
            post_logout_redirect_uris=[f"{url}/"],
            scopes=[permissions.READ, *writing],
            optional_scopes=writing,
            limits=[RateLimitSpec(name="requests", limit=600, period_in=60)],
        )
    )
    # Somebody else's application reads with a key: what it may cost is in its plan.
    plan = keybearer.plans.create(
        name="Reader",
        limits=[RateLimitSpec(name="requests", limit=20, period_in=60)],
        quotas=[QuotaSpec(name="calls", limit=1000, per=CalendarUnit.DAY)],
    )
    reader = keybearer.projects.create(name="Weekly digest", enabled_apis=[api.id], plan_id=plan.id)
    key = keybearer.keys.create(project_id=reader.id, name="digest server", permissions=[permissions.READ])
    # A third one, on a terminal, writes in the name of people who agree (RFC 8628).
    tools = keybearer.projects.create(name="Terminal tools", enabled_apis=[api.id])
    terminal = keybearer.clients.create(
        CreateClient(
            project_id=tools.id,
            name="Keyhole on a terminal",
            token_endpoint_auth_method=ClientAuthMethod.NONE,
            grant_types=[GrantType.DEVICE_CODE, GrantType.REFRESH_TOKEN],
            scopes=[permissions.READ, *permissions.WRITING],
            optional_scopes=list(permissions.WRITING),
            limits=[RateLimitSpec(name="requests", limit=300, period_in=60)],
        )
    )
    # The guard in front of the API verifies, and follows what is revoked; it can do nothing else.
    guard = keybearer.keys.create(
        project_id=own_project_id,
        name="guard of the question site",
        permissions=["keybearer:verify", "keybearer:events.read", "keybearer:apis.read"],
    )
    people = {
        email: keybearer.users.create(email=email, name=name, password=password, email_verified=True).id
        for email, (name, password) in PEOPLE.items()
    }
    assert client.client_secret is not None  # a client that keeps its secret on a server has one
    config = Config(url, issuer, client.client.id, client.client_secret.reveal(), guard.credential.reveal())
    return config, Demo(key.credential.reveal(), key.key.id, terminal.client.id, people)

"""Records for tests of the core: each call makes a whole one, and takes what the test is about."""

from __future__ import annotations

from typing import Any

from keybearer.core.instant import DAY, Instant
from keybearer.core.records import (
    Api,
    ApiKey,
    CredentialKind,
    Environment,
    Identity,
    KeyRecord,
    Plan,
    Project,
    SecretVersion,
    key_record,
)

NOW = Instant(1_795_000_000_000_000)
LATER = Instant(NOW + DAY)
EARLIER = Instant(NOW - DAY)


def version(number: int = 1, **changes: Any) -> SecretVersion:
    return SecretVersion(
        **{"number": number, "digest": bytes([number]) * 32, "created_at": NOW, "pepper_id": "p", **changes}
    )


def api(**changes: Any) -> Api:
    return Api(**{"id": "api_1", "created_at": NOW, "updated_at": NOW, "identifier": "urn:a", "name": "A", **changes})


def project(**changes: Any) -> Project:
    values = {"id": "proj_1", "created_at": NOW, "updated_at": NOW, "name": "P", "enabled_apis": ("api_1",)}
    return Project(**{**values, **changes})


def identity(**changes: Any) -> Identity:
    values = {"id": "idn_1", "created_at": NOW, "updated_at": NOW, "project_id": "proj_1", "external_id": "u1"}
    return Identity(**{**values, **changes})


def plan(**changes: Any) -> Plan:
    return Plan(**{"id": "plan_1", "created_at": NOW, "updated_at": NOW, "name": "Gold", **changes})


def key(**changes: Any) -> ApiKey:
    values: dict[str, Any] = {
        "id": "key_1",
        "created_at": NOW,
        "updated_at": NOW,
        "project_id": "proj_1",
        "kind": CredentialKind.SECRET_KEY,
        "environment": Environment.LIVE,
        "prefix": "kb_sk_live",
        "name": "K",
        "versions": (version(),),
        "permissions": ("orders:read",),
    }
    return ApiKey(**{**values, **changes})


def record(
    of_key: ApiKey | None = None,
    of_project: Project | None = None,
    of_identity: Identity | None = None,
    of_plan: Plan | None = None,
    seq: int = 1,
) -> KeyRecord:
    return key_record(seq, of_key or key(), of_project or project(), of_identity, of_plan)

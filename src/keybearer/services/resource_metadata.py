"""Protected resource metadata: what a client must know of an API before it asks for a token. Spec: RFC 9728 §2.

An API publishes it at its own address; this authority writes it, for the API or its proxy to hand on.
"""

from __future__ import annotations

from typing import Any

from ..core.records import Api, CredentialKind
from ..settings import Settings


def resource_metadata(settings: Settings, api: Api) -> dict[str, Any]:
    """Return the metadata of an API."""
    found: dict[str, Any] = {
        "resource": api.identifier,
        "resource_name": api.name,
        "authorization_servers": [settings.issuer_url],
        "scopes_supported": [permission.name for permission in api.permissions],
        "bearer_methods_supported": ["header"],
        "dpop_bound_access_tokens_required": False,
        "tls_client_certificate_bound_access_tokens": True,
    }
    if CredentialKind.ACCESS_TOKEN not in api.accepts:
        found["authorization_servers"] = []
    return found

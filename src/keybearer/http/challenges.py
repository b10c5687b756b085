"""The ``WWW-Authenticate`` challenges of a guarded API: what was wrong in one word, and where to get a token.

Spec: RFC 6750 §3, RFC 9449 §7.1, RFC 9470 §3, RFC 9728 §5.1.
"""

from __future__ import annotations

from urllib.parse import quote

from ..formats.jws import ASYMMETRIC

_ALGORITHMS = " ".join(sorted(ASYMMETRIC))


def challenge(
    error: str = "",
    *,
    description: str = "",
    scope: str = "",
    metadata: str = "",
    dpop: bool = False,
    acr_values: str = "",
    max_age: str = "",
) -> bytes:
    """Return one challenge. ``metadata`` is the URL of the API's metadata; a request without credential has no error.
    ``description`` is a sentence of ours, without quotes.

    ``dpop`` is for requests that used that scheme themselves: nothing is told of a token that its sender did not know.
    """
    said = {
        "error": error,
        "error_description": description,
        "scope": scope,
        "acr_values": acr_values,
        "max_age": max_age,
        "resource_metadata": metadata,
        "algs": _ALGORITHMS if dpop else "",
    }
    parameters = ", ".join(f'{name}="{value}"' for name, value in said.items() if value)
    return f"{'DPoP' if dpop else 'Bearer'} {parameters}".rstrip().encode()


def metadata_url(issuer_url: str, api: str | None) -> str:
    """Return where the metadata of an API is (``web/discovery.py``), empty where no API was named."""
    return "" if api is None or not issuer_url else f"{issuer_url.rstrip('/')}/oauth/resources/{quote(api, safe=':/')}"

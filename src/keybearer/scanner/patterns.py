"""Keybearer's own formats as rules for other scanners: gitleaks, trufflehog, GitHub custom patterns.

These scanners know no checksum of ours, so what they find is a candidate; ``keybearer leaks scan`` decides.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final

from ..core.errors import InvalidInput
from ..formats import prefixes

_BRAND: Final = "[a-z][a-z0-9]{0,15}"
_REST: Final = "[0-9A-Za-z]{12,24}_[0-9A-Za-z]{38}"


def _owns() -> str:
    return f"{prefixes.OWN}_(?:{'|'.join(prefixes.KINDS)})"


def _keys(brands: Sequence[str]) -> str:
    brand = f"(?:{'|'.join(brands)})" if brands else _BRAND
    return f"{brand}_[sp]k_(?:live|test)"


def _keywords(brands: Sequence[str]) -> list[str]:
    return [
        *(f"{suffix}_" for suffix in prefixes.KEY_SUFFIXES),
        *(f"{prefixes.OWN}_{kind}_" for kind in prefixes.KINDS),
    ]


def gitleaks(brands: Sequence[str]) -> str:
    """Return a configuration for gitleaks 8."""
    words = _keywords(brands)
    return f"""# Credentials of Keybearer, for gitleaks 8. Written by: keybearer leaks pattern --for gitleaks
title = "Keybearer"

[[rules]]
id = "keybearer-api-key"
description = "An API key of Keybearer: keybearer leaks scan tells whose, and whether it is live."
regex = '''\\b({_keys(brands)}_{_REST})(?:[^0-9A-Za-z]|$)'''
secretGroup = 1
keywords = [{", ".join(f'"{word}"' for word in words[:4])}]

[[rules]]
id = "keybearer-token"
description = "A token or secret of Keybearer: keybearer leaks scan tells whose, and whether it is live."
regex = '''\\b({_owns()}_{_REST})(?:[^0-9A-Za-z]|$)'''
secretGroup = 1
keywords = [{", ".join(f'"{word}"' for word in words[4:])}]
"""


def trufflehog(brands: Sequence[str]) -> str:
    """Return custom detectors for trufflehog 3."""
    words = _keywords(brands)

    def detector(name: str, pattern: str, keywords: Sequence[str]) -> str:
        listed = "".join(f"      - {word}\n" for word in keywords)
        return f"  - name: {name}\n    keywords:\n{listed}    regex:\n      secret: '\\b({pattern}_{_REST})\\b'\n"

    return (
        "# Credentials of Keybearer, for trufflehog 3. Written by: keybearer leaks pattern --for trufflehog\n"
        "detectors:\n"
        + detector("keybearer-api-key", _keys(brands), words[:4])
        + detector("keybearer-token", _owns(), words[4:])
    )


def github(brands: Sequence[str]) -> str:
    """Return the fields of two custom patterns of GitHub secret scanning, whose syntax knows no groups that count."""
    before, after = r"\A|[^0-9A-Za-z]", r"\z|[^0-9A-Za-z]"
    return "\n".join(
        f"{name}\n  Secret format: {pattern}_{_REST}\n  Before secret: {before}\n  After secret:  {after}\n"
        for name, pattern in (
            ("Keybearer API key", _keys(brands)),
            ("Keybearer token", _owns()),
        )
    )


EXPORTS: Final[Mapping[str, Callable[[Sequence[str]], str]]] = {
    "gitleaks": gitleaks,
    "trufflehog": trufflehog,
    "github": github,
}


def checked_brands(brands: Sequence[str]) -> Sequence[str]:
    """Return the brands; raises ``InvalidInput`` for what is none, since it goes into a pattern."""
    for brand in brands:
        if not (brand.isascii() and brand.isalnum() and brand.islower() and brand[0].isalpha() and len(brand) <= 16):
            raise InvalidInput.of(
                "brand", f"{brand!r} is no brand: a lower-case letter, then up to 15 letters or digits"
            )
    return brands

"""How surely a sign-in shows who somebody is: methods (``amr``) and the level that they add up to (``acr``).

Spec: RFC 8176 (values of ``amr``), OIDC Core §2, OpenID EAP ACR Values §2 (``phr``).
"""

from __future__ import annotations

from typing import Final

PASSWORD: Final = "pwd"
ONE_TIME_CODE: Final = "otp"
PROOF_OF_POSSESSION: Final = "pop"
USER_PRESENCE: Final = "user"
MULTIPLE_FACTORS: Final = "mfa"
LINK: Final = "mail"
"""A link that was sent by mail, or printed for the operator; the registry has no value for it."""

FEDERATED: Final = "fed"
"""The word of an upstream provider; the registry has no value for it either."""

ONE_FACTOR: Final = "urn:keybearer:acr:1fa"
TWO_FACTORS: Final = "urn:keybearer:acr:2fa"
PHISHING_RESISTANT: Final = "phr"
LEVELS: Final = (ONE_FACTOR, TWO_FACTORS, PHISHING_RESISTANT)
"""Every ``acr`` there is, the weakest first."""


def level_of(amr: tuple[str, ...]) -> str:
    """Return the ``acr`` of a sign-in by these methods."""
    if PROOF_OF_POSSESSION in amr and MULTIPLE_FACTORS in amr:
        return PHISHING_RESISTANT
    return TWO_FACTORS if MULTIPLE_FACTORS in amr else ONE_FACTOR


def meets(acr: str, wanted: str) -> bool:
    """Tell whether a sign-in at this level is enough where ``wanted`` is asked for. An unknown level never is."""
    return acr in LEVELS and wanted in LEVELS and LEVELS.index(acr) >= LEVELS.index(wanted)

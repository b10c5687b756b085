"""The headers that say who calls, in every spelling that some server takes for the same: none may come from a client.

Spec: CVE-2026-30851, CVE-2026-39858, CVE-2025-64484 (an identity header in another spelling).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

_OTHERS: Final = re.compile(rb"[^a-z0-9]")
_PREFIX: Final = b"x-keybearer-"


def plainly(name: bytes) -> bytes:
    """Return a header's name as the most careless server reads it: small letters, and dashes for all else."""
    return _OTHERS.sub(b"-", name.lower())


def is_identity(name: bytes) -> bool:
    """Tell whether some server would take a header of this name for one of ours."""
    return name[:1] in b"xX" and plainly(name).startswith(_PREFIX)


def without_identity(headers: Sequence[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    """Return the headers that a client may send."""
    return [header for header in headers if not is_identity(header[0])]

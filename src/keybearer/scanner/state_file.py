"""A small file of ours that says how far something came: written whole or not at all, and through nobody's link.

It may lie where others can write (``/var/tmp``), so what is written first has a name that nobody can foresee.
Spec: CWE-59, CWE-377.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path


def write_whole(path: Path, text: str) -> None:
    """Put a text in the place of what the file holds; only its owner may read it. Raises ``OSError``."""
    descriptor, beside = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
        os.replace(beside, path)
    except BaseException:
        os.unlink(beside)
        raise

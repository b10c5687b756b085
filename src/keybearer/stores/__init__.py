"""The engines that fulfil ``ports.Store``; ``tests/contract/`` runs over every name in ``ENGINES``.

Engines are imported by their own module, so that a process pays only for the driver that it uses.
"""

from typing import Final

ENGINES: Final = ("memory", "sqlite", "postgresql")

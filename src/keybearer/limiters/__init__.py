"""Engines that count rate limits. A new one is one file here and one name in ``LIMITERS``."""

from __future__ import annotations

from typing import Final

from .memory import MemoryLimiter
from .shared_memory import SharedMemoryLimiter

LIMITERS: Final = (MemoryLimiter, SharedMemoryLimiter)

__all__ = ["LIMITERS", "MemoryLimiter", "SharedMemoryLimiter"]

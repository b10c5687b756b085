"""Passwords: hashed with Argon2id in a few threads of their own, so that neither the event loop nor other work waits.

Each hash takes 19 MiB and tens of milliseconds of a processor on purpose. How many run at once and how many may wait is
bounded: beyond that the answer is "busy" rather than a machine out of memory. Spec: SECURITY-BAR 17-18, RFC 9106 §4.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import hashlib
import hmac
import re
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeVar
from urllib.parse import urlsplit

from ..core import password_policy
from ..core.errors import InvalidInput, Unavailable
from ..core.users import User
from ..settings import Settings

if TYPE_CHECKING:
    from argon2 import PasswordHasher

T = TypeVar("T")

MEMORY_KIB: Final = 19 * 1024
PASSES: Final = 2
LANES: Final = 1
MAX_WAITING: Final = 128
SERVICE: Final = "keybearer"
COMMON: Final = Path(__file__).with_name("common_passwords.txt")
"""Well-known passwords of eight characters and more, in lower case: from the frequency list of zxcvbn 4.5 (MIT)."""

_ARGON2: Final = re.compile(
    r"\$argon2(?:id|i|d)\$v=19\$m=(\d{1,7}),t=(\d{1,3}),p=(\d{1,2})"
    r"\$[A-Za-z0-9+/]{11,86}\$[A-Za-z0-9+/]{21,86}"
)
_BCRYPT: Final = re.compile(r"\$2[aby]\$(?:0[4-9]|1[0-5])\$[./A-Za-z0-9]{53}")
_PBKDF2: Final = re.compile(r"pbkdf2_(sha256|sha512)\$(\d{1,7})\$([!-#%-~]{1,128})\$([A-Za-z0-9+/]{22,86}={0,2})")
_BCRYPT_INPUT: Final = 72
MAX_MEMORY_KIB: Final = 256 * 1024
MAX_PASSES: Final = 20
MAX_ITERATIONS: Final = 3_000_000


class Passwords:
    """Hashes and checks passwords; one per process."""

    def __init__(self, threads: int = 2, *, waiting: int = MAX_WAITING) -> None:
        self._threads = threads
        self._most = threads + waiting
        self._pending = 0
        self._pool: ThreadPoolExecutor | None = None

    async def hash(self, password: str) -> str:
        """Return the Argon2id hash of a password that was checked; raises ``Unavailable`` when too many wait."""
        return await self._run(lambda: _hasher().hash(_bytes_of(password)))

    async def matches(self, encoded: str, password: str) -> bool:
        """Tell whether this is the password. With an empty ``encoded`` it never is, and takes as long to find out.

        Raises ``Unavailable`` when too many wait.
        """
        if not encoded or len(password) > password_policy.LONGEST:
            await self._run(lambda: _matches(_decoy(), password[: password_policy.LONGEST]))
            return False
        return await self._run(lambda: _matches(encoded, password))

    def close(self) -> None:
        """Let go of the threads; what runs is finished."""
        if self._pool is not None:
            self._pool.shutdown(wait=True, cancel_futures=True)
            self._pool = None

    async def _run(self, work: Callable[[], T]) -> T:
        if self._pending >= self._most:
            raise Unavailable("Too many people sign in at this moment; try again in some seconds.")
        if self._pool is None:
            self._pool = ThreadPoolExecutor(self._threads, thread_name_prefix="keybearer-passwords")
        self._pending += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._pool, work)
        finally:
            self._pending -= 1


@cache
def _hasher() -> PasswordHasher:
    from argon2 import PasswordHasher

    return PasswordHasher(time_cost=PASSES, memory_cost=MEMORY_KIB, parallelism=LANES, hash_len=32, salt_len=16)


@cache
def _decoy() -> str:
    """Return a hash that is checked in place of one that does not exist (SECURITY-BAR 21)."""
    return _hasher().hash("nobody has this password")


def _bytes_of(password: str) -> bytes:
    return password_policy.prepare(password).encode("utf-8", "surrogatepass")


def _matches(encoded: str, password: str) -> bool:
    presented = _bytes_of(password)
    if encoded.startswith("$argon2"):
        from argon2.exceptions import Argon2Error, InvalidHashError

        try:
            return _hasher().verify(encoded, presented)
        except (Argon2Error, InvalidHashError):
            return False
    if _BCRYPT.fullmatch(encoded):
        import bcrypt

        # The systems that hashes come from looked at 72 bytes; the first sign-in replaces the hash by one of all bytes.
        return bcrypt.checkpw(presented[:_BCRYPT_INPUT], encoded.encode())
    if match := _PBKDF2.fullmatch(encoded):
        digest, iterations, salt, expected = match.groups()
        found = hashlib.pbkdf2_hmac(digest, presented, salt.encode(), int(iterations))
        return hmac.compare_digest(found, base64.b64decode(expected))
    return False


def is_outdated(encoded: str) -> bool:
    """Tell whether a hash was made by another system, or with other parameters than those of today."""
    return not encoded.startswith("$argon2id$") or _hasher().check_needs_rehash(encoded)


def problem_of_hash(encoded: str) -> str | None:
    """Return why a hash of another system cannot be taken over, ``None`` when it can.

    Its parameters are bounded: whoever may import users must not be able to make each sign-in take minutes.
    """
    if match := _ARGON2.fullmatch(encoded):
        memory, passes, lanes = map(int, match.groups())
        if not (8 * lanes <= memory <= MAX_MEMORY_KIB and 1 <= passes <= MAX_PASSES and 1 <= lanes <= 16):
            return f"may ask for {MAX_MEMORY_KIB // 1024} MiB, {MAX_PASSES} passes and 16 lanes at most"
        return None
    if _BCRYPT.fullmatch(encoded):
        return None
    if match := _PBKDF2.fullmatch(encoded):
        try:
            base64.b64decode(match[4], validate=True)
        except binascii.Error:
            return "is not base64 at its end"
        return None if 1 <= int(match[2]) <= MAX_ITERATIONS else f"may ask for {MAX_ITERATIONS:,} iterations at most"
    return "should be $argon2id$…, $2b$… or pbkdf2_sha256$iterations$salt$hash"


@cache
def _common(path: Path) -> frozenset[str]:
    return frozenset(line.lower() for line in path.read_text("utf-8").splitlines() if len(line) >= 8)


def common_passwords(settings: Settings) -> frozenset[str]:
    """Return the passwords that nobody may choose: our own list, and the operator's."""
    ours = _common(COMMON)
    return ours | _common(Path(settings.password_blocklist)) if settings.password_blocklist else ours


def check_choice(
    settings: Settings,
    password: str,
    *,
    has_second_factor: bool,
    about: User | None = None,
    context: Iterable[str] = (),
    field: str = "password",
) -> None:
    """Raise ``InvalidInput`` for a password that may not be chosen (``core/password_policy.py``)."""
    words = [SERVICE, urlsplit(settings.issuer_url).hostname or "", *context]
    if about is not None:
        words += [about.email, about.name]
    problem = password_policy.problem_of(
        password, has_second_factor=has_second_factor, common=common_passwords(settings), context=words
    )
    if problem is not None:
        raise InvalidInput.of(field, problem)

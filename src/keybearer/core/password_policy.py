"""Which passwords may be chosen: long enough, and none of those that everybody tries first. Nothing else is asked.

No rule of composition, no truncation, no change by the calendar. Spec: SP 800-63B-4 §3.1.1, ASVS 6.2.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection, Iterable
from typing import Final

SHORTEST_ALONE: Final = 15
"""Characters of a password that is the only factor."""
SHORTEST_WITH_ANOTHER: Final = 8
"""Characters where a second factor is asked for as well."""
LONGEST: Final = 1024
"""More than anybody types; a longer one is refused, never cut."""
SHORTEST_CONTEXT: Final = 4
FEWEST_DISTINCT: Final = 5
_ROWS: Final = (
    *("abcdefghijklmnopqrstuvwxyz", "0123456789"),
    *("qwertyuiop", "asdfghjkl", "zxcvbnm", "qwertzuiop", "yxcvbnm"),
)
_SEPARATORS: Final = re.compile(r"[\s_.,-]+")
_BESIDE_LETTERS: Final = re.compile(r"[\W\d_]+")

TOO_COMMON: Final = "is one of those that are tried first; choose another, such as four words with nothing in common"


def prepare(password: str) -> str:
    """Return the password in NFC, so that the same characters are the same password on every keyboard."""
    return unicodedata.normalize("NFC", password)


def is_long(password: str) -> bool:
    """Tell whether the password may be the only factor, as far as its length goes."""
    return len(prepare(password)) >= SHORTEST_ALONE


def problem_of(
    password: str, *, has_second_factor: bool, common: Collection[str], context: Iterable[str] = ()
) -> str | None:
    """Return what is wrong with a password that somebody wants to have, ``None`` when nothing is.

    ``common`` holds well-known passwords in lower case; ``context`` words that an attacker would think of: the user's
    name and address, the name of the service.
    """
    text = prepare(password)
    shortest = SHORTEST_WITH_ANOTHER if has_second_factor else SHORTEST_ALONE
    if len(text) < shortest:
        return f"must have {shortest} characters at least"
    if len(text) > LONGEST:
        return f"may have {LONGEST:,} characters at most"
    lower = text.lower()
    for one in {lower, _SEPARATORS.sub("", lower)}:
        if one in common or len(set(one)) < FEWEST_DISTINCT or _is_repeated(one, common) or _is_row(one):
            return TOO_COMMON
    words = {word for phrase in context for word in _words(phrase)}
    if _rest_without(lower, words) < SHORTEST_WITH_ANOTHER:
        return "is hardly more than your name, your address or the name of this service"
    return None


def _is_repeated(text: str, common: Collection[str]) -> bool:
    """Tell whether the text is a few characters, or a well-known password, over and over."""
    for size in range(1, len(text) // 2 + 1):
        if len(text) % size == 0 and text == text[:size] * (len(text) // size):
            return size < SHORTEST_WITH_ANOTHER or text[:size] in common
    return False


def _is_row(text: str) -> bool:
    """Tell whether the text only runs along the alphabet, the digits or a row of keys, forth, back or on and on."""
    return any(text in (row * 8) or text in (row[::-1] * 8) for row in _ROWS if len(text) <= len(row) * 8)


def _words(phrase: str) -> set[str]:
    lower = prepare(phrase).lower()
    parts = {part for part in re.split(r"[\W_]+", lower) if len(part) >= SHORTEST_CONTEXT}
    return parts | ({lower} if len(lower) >= SHORTEST_CONTEXT else set())


def _rest_without(text: str, words: set[str]) -> int:
    """Return how much is left of a password when the words of its context are taken out."""
    if not any(word in text for word in words):
        return len(text)
    for word in sorted(words, key=len, reverse=True):
        text = text.replace(word, "")
    return len(_BESIDE_LETTERS.sub("", text))

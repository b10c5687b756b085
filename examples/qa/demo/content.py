"""Something to read at the first start: questions that people ask about keys and tokens, with answers that hold."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from typing import NamedTuple

from ..forum import answers, comments, people, questions, votes

ADA, BEN, CLEO = "ada@qa.example", "ben@qa.example", "cleo@qa.example"
NAMES = {ADA: "Ada", BEN: "Ben", CLEO: "Cleo"}
MINUTE = 60


class Said(NamedTuple):
    """An answer: who gave it, who voted for it, whether the asker accepted it."""

    by: str
    body: str
    up: tuple[str, ...] = ()
    down: tuple[str, ...] = ()
    accepted: bool = False
    comment: tuple[str, str] | None = None


class Asked(NamedTuple):
    """A question with its answers."""

    by: str
    title: str
    tags: str
    body: str
    up: tuple[str, ...]
    answers: tuple[Said, ...]


CONTENT = (
    Asked(
        CLEO,
        "Our front end is static. Where do I hide the API key of the weather service?",
        "api-keys browser",
        """The key is in our JavaScript bundle now, so everybody can read it. Can I encrypt it, or build it in some
other way so that it is not found?""",
        (BEN,),
        (
            Said(
                BEN,
                "Encrypt it and decrypt it in the browser. Nobody will look that closely.",
                (),
                (ADA, CLEO),
                comment=(
                    ADA,
                    "The browser must hold that key, too. Whoever opens the network tab sees it all.",
                ),
            ),
            Said(
                ADA,
                """You cannot. Whatever the browser needs in order to send the key, its user has as well.

Two things do work:

- **Do not give it to the browser.** Let a small proxy of yours hold the key. The page calls the proxy, with its user's
  token; the proxy adds the key and calls the weather service.
- **Use a key that may be seen**, if the service has such keys: one that is tied to your origin, can only read, and has
  a quota. It still is not a secret, but there is little to gain from it.""",
                (BEN, CLEO),
                accepted=True,
            ),
        ),
    ),
    Asked(
        BEN,
        "How do I store API keys so that a leaked database is no disaster?",
        "api-keys storage hashing",
        """We issue keys to customers. At the moment the table has a column `key` with the key in it. Should I use
bcrypt, as for passwords?""",
        (ADA,),
        (
            Said(
                ADA,
                """Store a hash, but not a slow one. bcrypt and Argon2 are slow because people choose *guessable*
passwords. A key that you made yourself from 128 or more random bits cannot be guessed, so a fast hash is enough, and
you will compute it at every request.

1. Give each key a public id, to find the row by.
2. Store `HMAC-SHA-256(pepper, key)`, with the pepper outside the database.
3. Compare in constant time.

Show the key once, when it is made, and never again.""",
                (BEN, CLEO),
                accepted=True,
            ),
        ),
    ),
    Asked(
        ADA,
        "Somebody pasted a key of ours into a public issue. Revoke at once, or warn the customer first?",
        "leaks revocation api-keys",
        """It is a live key of a paying customer with a lot of traffic. If we revoke it now their production stops. If
we do not, anybody can use it.""",
        (BEN, CLEO),
        (
            Said(
                CLEO,
                """Ask what the key opens. If it can change something or costs money, revoke it and call them: whoever
crawls public issues for keys needs minutes, not hours.

If it only reads public data, rotate instead: give them a new secret now, let the old one work for a day, and watch who
uses it.""",
                (ADA,),
            ),
        ),
    ),
    Asked(
        BEN,
        "What is the difference between an API key and an access token?",
        "api-keys tokens oauth",
        """Both are long random strings that I send in a header, and without them I get a 401. So why would one API want
both? What is each of them good for?""",
        (ADA, CLEO),
        (
            Said(
                CLEO,
                """A key is like a house key: it is made once, and whoever has it comes in. A token is like a
visitor's badge: you show who you are at the desk, get it for a while and for certain rooms, and it says your name.""",
                (BEN,),
            ),
            Said(
                ADA,
                """They answer different questions.

An **API key** says *which project is calling*. It is created once, lives until somebody rotates or revokes it, and is
good for counting, limiting and blocking traffic. Anyone who has it may enter.

An **access token** says *who is acting, through which application, with what leave, until when*. It is given after
somebody proved something (signed in, agreed), lives for minutes, and can be taken back by that person.

On this very site: programs **read** with a key, since we only want to know which program it is. To **vote** you need a
token, since a vote is somebody's.""",
                (BEN, CLEO),
                accepted=True,
                comment=(BEN, "The last paragraph did it for me: try to vote with a key and look at the 401."),
            ),
        ),
    ),
)


def fill(db: sqlite3.Connection, ids: dict[str, str], now: int) -> None:
    """Ask, answer and vote it all, as the people with these ids."""
    for email, name in NAMES.items():
        people.remember(db, ids[email], name, now)
    at = now - 60 * MINUTE * len(CONTENT)
    for asked in CONTENT:
        at += 50 * MINUTE
        question_id = questions.ask(db, ids[asked.by], asked.title, asked.body, asked.tags, at)
        _vote(db, question_id, ids, asked.up, ())
        for said in asked.answers:
            at += 4 * MINUTE
            answer_id = answers.answer(db, ids[said.by], question_id, said.body, at)
            _vote(db, answer_id, ids, said.up, said.down)
            if said.comment is not None:
                comments.comment(db, ids[said.comment[0]], answer_id, said.comment[1], at + MINUTE)
            if said.accepted:
                answers.accept(db, ids[asked.by], answer_id, accepted=True)


def _vote(db: sqlite3.Connection, post_id: int, ids: dict[str, str], up: Iterable[str], down: Iterable[str]) -> None:
    for email in up:
        votes.vote(db, ids[email], post_id, 1)
    for email in down:
        votes.vote(db, ids[email], post_id, -1)

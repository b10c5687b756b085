"""The outbox: mail on its way, sent in the background, so that no answer takes longer because a mailbox exists.

Without a mail server messages are files in the data directory, or go to standard output. Everything is bounded: how
many messages wait, how long a server may take, how often one address is written to. Spec: SECURITY-BAR 20-21, CWE-93.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import secrets
import sys
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, Protocol
from urllib.parse import unquote, urlsplit

from ..core.quota import gcra
from ..settings import Settings

if TYPE_CHECKING:
    from email.headerregistry import Address
    from email.message import EmailMessage

log = logging.getLogger(__name__)

FOLDER: Final = "outbox"
MAX_WAITING: Final = 1000
MAX_FILES: Final = 1000
TRIES: Final = 3
RETRY_IN: Final = 2.0
SERVER_TIMEOUT: Final = 20.0
CLOSING_TIME: Final = 5.0
MAX_LINE: Final = 998
"""The most characters of a line in a mail. Spec: RFC 5322 §2.1.1."""

MAX_REMEMBERED: Final = 50_000


@dataclass(frozen=True, slots=True)
class Message:
    """One mail, as plain text."""

    to: str
    subject: str
    text: str


class Delivery(Protocol):
    """How a message leaves."""

    async def send(self, message: EmailMessage) -> None:
        """Hand the message over; raises when that fails."""
        ...


class FileDelivery:
    """Each message is a file that only its owner can read; the oldest go when there are very many."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    async def send(self, message: EmailMessage) -> None:
        """Write the message beside the others, whole or not at all."""
        path = await asyncio.to_thread(self._write, message.as_bytes())
        log.info("mail was written to a file", extra={"path": str(path)})

    def _write(self, content: bytes) -> Path:
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        path = self._folder / f"{time.time_ns():020}-{secrets.token_hex(4)}.eml"
        beside = path.with_suffix(".part")
        with os.fdopen(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(content)
        beside.rename(path)
        for old in sorted(self._folder.glob("*.eml"))[:-MAX_FILES]:
            old.unlink(missing_ok=True)
        return path


class ConsoleDelivery:
    """Each message goes to standard output: for trying things out."""

    async def send(self, message: EmailMessage) -> None:
        """Print the message."""
        text = f"--- mail to {message['To']}: {message['Subject']}\n{message.get_content()}---\n"
        sys.stdout.write(text)
        sys.stdout.flush()


class SmtpDelivery:
    """A mail server. ``smtp://`` insists on STARTTLS, ``smtps://`` on TLS; ``smtp+plain://`` is for a relay nearby."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._scheme = parts.scheme
        self._host = parts.hostname or ""
        self._port = parts.port or {"smtp": 587, "smtps": 465}.get(parts.scheme, 25)
        self._username = unquote(parts.username) if parts.username else None
        self._password = unquote(parts.password) if parts.password else None

    async def send(self, message: EmailMessage) -> None:
        """Hand the message over; raises what the server or the network says."""
        import aiosmtplib

        await aiosmtplib.send(
            message,
            hostname=self._host,
            port=self._port,
            username=self._username,
            password=self._password,
            use_tls=self._scheme == "smtps",
            start_tls=self._scheme == "smtp",
            timeout=SERVER_TIMEOUT,
        )


def delivery_for(settings: Settings) -> Delivery:
    """Return how mail leaves under these settings."""
    if settings.mail == "console":
        return ConsoleDelivery()
    return FileDelivery(settings.data / FOLDER) if settings.mail == "file" else SmtpDelivery(settings.mail)


class Outbox:
    """Mail, and other work that an answer must not wait for; one per process."""

    def __init__(self, delivery: Delivery, sender: str = "keybearer@localhost", name: str = "") -> None:
        self._delivery = delivery
        self._sender = sender
        self._name = name
        self._tasks: set[asyncio.Task[None]] = set()

    def post(self, message: Message) -> None:
        """Send a message in the background; it is tried three times, and given up with a line in the log."""
        self.later(lambda: self._send(message))

    def later(self, job: Callable[[], Awaitable[None]]) -> bool:
        """Do something in the background; with too much waiting it is dropped, with a line in the log, and false."""
        if len(self._tasks) >= MAX_WAITING:
            log.error("mail is dropped: too much of it waits")
            return False
        task = asyncio.get_running_loop().create_task(self._do(job), name="keybearer-outbox")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return True

    async def settled(self) -> None:
        """Return when nothing waits any more."""
        while self._tasks:
            await asyncio.wait(set(self._tasks))

    async def close(self) -> None:
        """Finish what waits, for some seconds at most."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self.settled(), CLOSING_TIME)
        for task in set(self._tasks):
            task.cancel()

    async def _do(self, job: Callable[[], Awaitable[None]]) -> None:
        try:
            await job()
        except Exception:
            # Nobody waits for it any more, and the next one may well succeed.
            log.exception("work in the background failed")

    async def _send(self, message: Message) -> None:
        composed = self._composed(message)
        for attempt in range(1, TRIES + 1):
            try:
                await self._delivery.send(composed)
                return
            except Exception as error:
                # The text of a server may quote the message: only the kind of error is logged.
                log.warning("mail could not be sent", extra={"error": type(error).__name__, "attempt": attempt})
                if attempt < TRIES:
                    await asyncio.sleep(RETRY_IN * attempt)
        log.error("mail was given up")

    def _composed(self, message: Message) -> EmailMessage:
        from email.message import EmailMessage
        from email.policy import SMTP
        from email.utils import formatdate, make_msgid

        composed = EmailMessage(policy=SMTP)
        composed["From"] = _from(self._name, self._sender)
        composed["To"] = message.to
        composed["Subject"] = message.subject
        composed["Date"] = formatdate()
        composed["Message-ID"] = make_msgid(domain=self._sender.rpartition("@")[2] or "localhost")
        composed["Auto-Submitted"] = "auto-generated"
        # As it is where that can be: a link that is broken into lines and escaped cannot be copied out of the file.
        plain = message.text.isascii() and all(len(line) <= MAX_LINE for line in message.text.splitlines())
        composed.set_content(message.text, cte="7bit" if plain else None)
        return composed


def _from(name: str, sender: str) -> Address | str:
    """Return who writes. An address that is none by the letter, such as one at an IPv6 host, goes without a name."""
    from email.errors import HeaderParseError
    from email.headerregistry import Address

    try:
        return Address(name, addr_spec=sender) if name else sender
    except (ValueError, IndexError, HeaderParseError):
        return sender


def sender_of(settings: Settings) -> str:
    """Return the address that mail comes from."""
    return settings.mail_from or f"keybearer@{urlsplit(settings.issuer_url).hostname or 'localhost'}"


class Postage:
    """How often one address is written to, or one source has mail sent: some at once, then one every few minutes."""

    def __init__(self, burst: int, every_in: float, monotonic_ns: Callable[[], int] = time.monotonic_ns) -> None:
        self._burst = burst
        self._emission = int(every_in * 1e9)
        self._monotonic_ns = monotonic_ns
        self._arrivals: dict[str, int] = {}

    def take(self, name: str) -> bool:
        """Tell whether there is one more for this address or source, and count it."""
        now = self._monotonic_ns()
        if name not in self._arrivals and len(self._arrivals) >= MAX_REMEMBERED:
            self._arrivals = {other: at for other, at in self._arrivals.items() if at > now}
            if len(self._arrivals) >= MAX_REMEMBERED:
                # Rather a letter too many for somebody than none for anybody.
                self._arrivals.pop(next(iter(self._arrivals)))
        admitted, arrival, _, _, _ = gcra(self._arrivals.get(name, 0), now, self._emission, self._burst, 1)
        self._arrivals[name] = arrival
        return admitted

"""Mail leaves by a server, as files or on standard output; never in the clear where TLS was asked for."""

from __future__ import annotations

import asyncio
import email
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from email.header import decode_header, make_header
from email.message import EmailMessage
from pathlib import Path

import pytest

from keybearer.core.errors import ConfigurationError
from keybearer.services import outbox
from keybearer.services.outbox import (
    ConsoleDelivery,
    FileDelivery,
    Message,
    Outbox,
    Postage,
    SmtpDelivery,
    delivery_for,
    sender_of,
)
from keybearer.settings import Settings, load

pytestmark = pytest.mark.anyio

LETTER = Message("ada@example.com", "Grüße", "Öffne dies:\n\nhttps://id.example.com/verify-email?link=kb_ml_x\n")


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@dataclass
class MailServer:
    """As much of an SMTP server as a client needs, with what it was told."""

    port: int = 0
    refuses: int = 0
    said: list[str] = field(default_factory=list)
    letters: list[bytes] = field(default_factory=list)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 mail.test\r\n")
        try:
            while line := (await reader.readline()).decode().strip():
                self.said.append(line)
                word = line.split()[0].upper()
                if word == "EHLO":
                    writer.write(b"250-mail.test\r\n250 8BITMIME\r\n")
                elif word == "DATA":
                    writer.write(b"354 go on\r\n")
                    self.letters.append(await reader.readuntil(b"\r\n.\r\n"))
                    writer.write(b"250 taken\r\n")
                elif word == "MAIL" and self.refuses > 0:
                    self.refuses -= 1
                    writer.write(b"451 later\r\n")
                elif word == "QUIT":
                    writer.write(b"221 bye\r\n")
                    break
                else:
                    writer.write(b"250 yes\r\n")
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()


@asynccontextmanager
async def mail_server(**options: int) -> AsyncIterator[MailServer]:
    server = MailServer(**options)
    listening = await asyncio.start_server(server.serve, "127.0.0.1", 0)
    server.port = listening.sockets[0].getsockname()[1]
    try:
        yield server
    finally:
        listening.close()


async def test_a_letter_reaches_a_relay_whole() -> None:
    async with mail_server() as server:
        box = Outbox(SmtpDelivery(f"smtp+plain://127.0.0.1:{server.port}"), "keys@example.com")
        box.post(LETTER)
        await box.settled()
    (letter,) = server.letters
    received = email.message_from_bytes(letter.removesuffix(b".\r\n"))
    assert (received["From"], received["To"]) == ("keys@example.com", "ada@example.com")
    assert received["Auto-Submitted"] == "auto-generated"
    body = received.get_payload(decode=True)
    assert isinstance(body, bytes)
    assert "Öffne dies:" in body.decode()
    assert "https://id.example.com/verify-email?link=kb_ml_x" in body.decode()


async def test_a_server_without_tls_gets_neither_letter_nor_password(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(outbox, "RETRY_IN", 0)
    async with mail_server() as server:
        box = Outbox(SmtpDelivery(f"smtp://me:hunter2@127.0.0.1:{server.port}"))
        box.post(LETTER)
        await box.settled()
    assert server.letters == []
    assert not any("AUTH" in line or "hunter2" in line for line in server.said)
    assert "mail was given up" in caplog.text
    assert "hunter2" not in caplog.text
    assert "kb_ml" not in caplog.text


async def test_a_letter_is_tried_three_times(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outbox, "RETRY_IN", 0)
    for refuses, arrived in ((2, 1), (3, 0)):
        async with mail_server(refuses=refuses) as server:
            box = Outbox(SmtpDelivery(f"smtp+plain://127.0.0.1:{server.port}"))
            box.post(LETTER)
            await box.settled()
            assert len(server.letters) == arrived


async def test_files_are_their_owners_alone_and_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outbox, "MAX_FILES", 5)
    box = Outbox(FileDelivery(tmp_path / "outbox"))
    for _ in range(8):
        box.post(LETTER)
        await box.settled()
    files = sorted((tmp_path / "outbox").iterdir())
    assert len(files) == 5
    assert all(file.suffix == ".eml" and file.stat().st_mode & 0o777 == 0o600 for file in files)
    assert (tmp_path / "outbox").stat().st_mode & 0o777 == 0o700
    assert b"To: ada@example.com" in files[0].read_bytes()


async def test_a_link_can_be_copied_out_of_the_file(tmp_path: Path) -> None:
    link = "https://id.example.com/reset-password?link=kb_ml_" + "x" * 80
    box = Outbox(FileDelivery(tmp_path))
    box.post(replace(LETTER, text=f"Open this:\n\n{link}\n"))
    await box.settled()
    assert f"\n{link}\r\n" in next(tmp_path.iterdir()).read_bytes().decode()


@pytest.mark.parametrize(
    ("name", "sender", "shown"),
    [
        ("Bücher & Co", "keys@example.com", "Bücher & Co <keys@example.com>"),
        ("Keys, Inc.", "keys@127.0.0.1", '"Keys, Inc." <keys@127.0.0.1>'),
        ("Keys", "keybearer@::1", "keybearer@::1"),
        ("Keys\r\nBcc: eve@example.com", "keys@example.com", "keys@example.com"),
    ],
)
async def test_letters_say_who_writes(tmp_path: Path, name: str, sender: str, shown: str) -> None:
    box = Outbox(FileDelivery(tmp_path), sender, name)
    box.post(LETTER)
    await box.settled()
    received = email.message_from_bytes(next(tmp_path.iterdir()).read_bytes())
    assert str(make_header(decode_header(received["From"]))) == shown
    assert received["Bcc"] is None


async def test_the_console(capsys: pytest.CaptureFixture[str]) -> None:
    box = Outbox(ConsoleDelivery())
    box.post(LETTER)
    await box.settled()
    assert "mail to ada@example.com: Grüße" in capsys.readouterr().out


async def test_what_waits_is_bounded_and_finished_at_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outbox, "MAX_WAITING", 3)
    done: list[int] = []

    def job(number: int) -> Callable[[], Awaitable[None]]:
        async def work() -> None:
            await asyncio.sleep(0.01)
            done.append(number)

        return work

    box = Outbox(ConsoleDelivery())
    for number in range(6):
        box.later(job(number))
    await box.close()
    assert done == [0, 1, 2]


async def test_a_server_that_never_answers_does_not_hold_up_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outbox, "CLOSING_TIME", 0.05)

    class Never:
        async def send(self, message: EmailMessage) -> None:
            await asyncio.sleep(3600)

    box = Outbox(Never())
    box.post(LETTER)
    await asyncio.wait_for(box.close(), 2)


def test_postage_comes_back_with_time() -> None:
    now = 0
    postage = Postage(2, 60, lambda: now)
    assert [postage.take("a") for _ in range(3)] == [True, True, False]
    assert postage.take("b")
    now = 60_000_000_000
    assert [postage.take("a") for _ in range(2)] == [True, False]


def test_postage_remembers_a_bounded_number_and_forgets_the_oldest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outbox, "MAX_REMEMBERED", 3)
    postage = Postage(1, 60, lambda: 0)
    assert [postage.take(name) for name in "abcd"] == [True, True, True, True]
    assert [postage.take(name) for name in "bcd"] == [False, False, False]
    assert postage.take("a"), "of all that were written to, one was forgotten"


@pytest.mark.parametrize(
    "mail",
    [
        "sendmail",
        "http://mail.example",
        "smtp://",
        "smtp://host:port",
        "smtp+plain://me:hunter2@relay",
        "smtp+plain://me@relay",
    ],
)
def test_settings_that_send_no_mail_are_refused_without_being_quoted(mail: str) -> None:
    with pytest.raises(ConfigurationError) as refused:
        load({"mail": mail}, {})
    assert "hunter2" not in str(refused.value)


def test_where_mail_goes_and_comes_from(tmp_path: Path) -> None:
    assert isinstance(delivery_for(Settings(data=tmp_path)), FileDelivery)
    assert isinstance(delivery_for(Settings(mail="console")), ConsoleDelivery)
    assert isinstance(delivery_for(Settings(mail="smtps://mail.example")), SmtpDelivery)
    assert sender_of(Settings(issuer="https://id.example.com/x")) == "keybearer@id.example.com"
    assert sender_of(Settings(mail_from="keys@example.com")) == "keys@example.com"


def test_the_settings_command_hides_the_mail_password(monkeypatch: pytest.MonkeyPatch) -> None:
    from keybearer.cli.server import effective

    shown = effective(Settings(mail="smtp://me:hunter2@mail.example:587"))["mail"]
    assert shown == "smtp://me:***@mail.example:587"

"""What every client command shares: its options, the connection, how an answer is shown, and the exit codes."""

from __future__ import annotations

import getpass
import inspect
import os
import sys
from collections.abc import Callable
from dataclasses import replace
from typing import Annotated, Any, Concatenate, NoReturn, ParamSpec, TypeVar, get_type_hints

import msgspec
import typer

from ..client import Call, ClientError, Forbidden, InvalidRequest, Keybearer, Pages, Unauthorized, Unreachable
from ..client.exchange import decode
from ..core.secret import Secret
from ..wire.listing import Listing
from .output import Printer, clean

P = ParamSpec("P")
T = TypeVar("T")

FAILED, WRONG_USAGE, UNREACHABLE = 1, 2, 3
DEFAULT_URL = "http://127.0.0.1:8080"
MAX_PAGE = 200

Url = Annotated[str, typer.Option("--url", envvar="KEYBEARER_URL", help="Where Keybearer is.")]
KeyStdin = Annotated[
    bool,
    typer.Option(
        "--key-stdin",
        help="Read the key from the first line of standard input, instead of KEYBEARER_KEY. There is no --key: "
        "arguments are seen by every user of the machine and kept in the shell's history.",
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print what the API answered.")]
NoColor = Annotated[bool, typer.Option("--no-color", help="No colours (also: NO_COLOR).")]
AllowHttp = Annotated[
    bool,
    typer.Option(
        "--allow-http", envvar="KEYBEARER_ALLOW_HTTP", help="Send the key over plain http to another machine."
    ),
]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]
Max = Annotated[int, typer.Option("--max", "-n", min=1, help="How many to show.")]
All = Annotated[bool, typer.Option("--all", help="Show all, however many.")]


class Session:
    """One run of a client command."""

    def __init__(self, url: str, key_stdin: bool, as_json: bool, no_color: bool, allow_http: bool) -> None:
        self.as_json = as_json
        self.out = Printer(color=not no_color)
        self.signed_in = False
        key = self._key(key_stdin, url)
        try:
            self.client = Keybearer(url, key, allow_http=allow_http)
        except ValueError as error:
            hint = " (--allow-http)" if "http to" in str(error) else ""
            self.fail(f"{error}{hint}", WRONG_USAGE)

    def _key(self, from_stdin: bool, url: str) -> Secret:
        text = read_secret("Key: ") if from_stdin else os.environ.get("KEYBEARER_KEY", "").strip()
        if text:
            return Secret(text)
        from . import login  # loaded only without a key

        try:
            token = None if from_stdin else login.access_token(url)
        except ClientError as error:
            raise typer.Exit(explain(self.out, error)) from None
        if token is None:
            self.fail(
                "no key: run 'keybearer login', set KEYBEARER_KEY, or give --key-stdin and the key on standard input.",
                WRONG_USAGE,
            )
        self.signed_in = True
        return token

    def fail(self, text: str, code: int = FAILED) -> NoReturn:
        """Say why on standard error, and end."""
        self.out.note(f"keybearer: {text}", "red")
        raise typer.Exit(code)

    def confirm(self, question: str, yes: bool) -> None:
        """Ask before something that cannot be undone; scripts, which have no terminal, are not asked."""
        if not yes and _is_interactive() and not typer.confirm(clean(question), default=False, err=True):
            self.fail("nothing was done.")

    def show(self, call: Call[T], render: Callable[[T], None]) -> T:
        """Make a call and show its answer, as JSON if that was asked for."""
        raw = self.client.send(call.undecoded())
        value = decode(call, raw)
        if self.as_json:
            self.out.json(bytes(raw))
        else:
            render(value)
        return value

    def show_list(self, pages: Pages[T], at_most: int, everything: bool, render: Callable[[list[T]], None]) -> None:
        """Show the first items of a list, or all of it; says so when there are more."""
        raw: list[msgspec.Raw] = []
        call: Call[Any] | None = pages.first
        cursor: str | None = None
        while call is not None:
            left = MAX_PAGE if everything else min(MAX_PAGE, at_most - len(raw))
            answer = self.client.send(_sized(call, left).undecoded())
            page = decode(replace(call, response=Listing[msgspec.Raw]), answer)
            raw += page.items
            cursor = page.next_cursor
            call = pages.after(cursor) if cursor and (everything or len(raw) < at_most) else None
        if self.as_json:
            self.out.json(msgspec.json.encode({"items": raw, "next_cursor": cursor}))
            return
        whole = b"[" + b",".join(bytes(item) for item in raw) + b"]"
        items = decode(pages.first, b'{"items":' + whole + b"}").items
        if items:
            render(items)
        else:
            self.out.note("There are none.")
        if cursor:
            self.out.note(f"There are more than these {len(raw)}: --max N, or --all.")


def _sized(call: Call[Any], limit: int) -> Call[Any]:
    kept = tuple(pair for pair in call.query if pair[0] != "limit")
    return replace(call, query=(*kept, ("limit", str(limit))))


def _is_interactive() -> bool:
    return sys.stdin.isatty()


def read_secret(prompt: str) -> str:
    """Read one line that is a key: unseen from a terminal, else the next line of standard input."""
    return _read_line(prompt).strip()


def read_password(prompt: str) -> str:
    """Read one line that is a password, with every space that is in it."""
    return _read_line(prompt).rstrip("\r\n")


def _read_line(prompt: str) -> str:
    if sys.stdin.isatty():
        return getpass.getpass(prompt)
    # From the bytes beneath: what follows this line (another secret, a file to import) must not be read ahead.
    return sys.stdin.buffer.readline().decode(errors="replace")


def client_command(
    app: typer.Typer, name: str, about: str | None = None
) -> Callable[[Callable[Concatenate[Session, P], None]], Callable[Concatenate[Session, P], None]]:
    """Register a command that speaks to the server; its first parameter is the ``Session`` of the shared options."""

    def register(command: Callable[Concatenate[Session, P], None]) -> Callable[Concatenate[Session, P], None]:
        hints = get_type_hints(command, include_extras=True)
        own = [
            parameter.replace(annotation=hints[parameter.name], kind=inspect.Parameter.KEYWORD_ONLY)
            for parameter in list(inspect.signature(command).parameters.values())[1:]
        ]

        def run(
            *,
            url: Url = DEFAULT_URL,
            key_stdin: KeyStdin = False,
            as_json: AsJson = False,
            no_color: NoColor = False,
            allow_http: AllowHttp = False,
            **options: Any,
        ) -> None:
            session = Session(url, key_stdin, as_json, no_color, allow_http)
            with session.client:
                try:
                    command(session, **options)  # type: ignore[call-arg]
                except ClientError as error:
                    raise typer.Exit(explain(session.out, error, signed_in=session.signed_in)) from None

        shared = list(inspect.signature(run).parameters.values())[:-1]
        shared_hints = get_type_hints(run, include_extras=True)
        shared = [parameter.replace(annotation=shared_hints[parameter.name]) for parameter in shared]
        run.__signature__ = inspect.Signature([*own, *shared])  # type: ignore[attr-defined]
        run.__annotations__ = {parameter.name: parameter.annotation for parameter in [*own, *shared]}
        run.__doc__ = command.__doc__
        app.command(name, help=about)(run)
        return command

    return register


def explain(out: Printer, error: ClientError, *, signed_in: bool = False) -> int:
    """Print what went wrong, each wrong field on a line of its own; return the exit code.

    ``signed_in`` says that the credential came from ``keybearer login``.
    """
    fields = error.fields if isinstance(error, InvalidRequest) else ()
    out.note(f"keybearer: {'this was refused:' if fields else clean(error)}", "red")
    if fields:
        for item in fields:
            out.note(f"  {clean(item.field)}: {clean(item.message)}", "red")
    elif isinstance(error, Forbidden) and error.missing:
        out.note(f"  missing: {', '.join(clean(name) for name in error.missing)}", "red")
    elif isinstance(error, Unauthorized):
        what = "KEYBEARER_KEY" if os.environ.get("KEYBEARER_KEY") else "this"
        out.note(
            "  Your sign-in is over, or may not do this: 'keybearer whoami' tells, 'keybearer login' renews it."
            if signed_in
            else f"  Is {what} the right key for this --url?"
        )
    if error.request_id and error.status and error.status >= 500:
        out.note(f"  request id: {clean(error.request_id)}")
    return UNREACHABLE if isinstance(error, Unreachable) else FAILED

"""``serve``, ``init`` and ``settings``, for the server's own machine. Light: a server keeps what it imports."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator
from functools import wraps
from pathlib import Path
from typing import Annotated, Any, NoReturn, ParamSpec

import typer

from ..core.errors import ConfigurationError, InvalidInput, KeybearerError
from ..settings import Settings, load

P = ParamSpec("P")

Host = Annotated[str | None, typer.Option(help="Address to listen on.", envvar="KEYBEARER_HOST")]
Port = Annotated[int | None, typer.Option(help="Port to listen on; 0 takes a free one.", envvar="KEYBEARER_PORT")]
ExtAuthzPort = Annotated[
    int | None, typer.Option(help="Port on which Envoy asks over gRPC.", envvar="KEYBEARER_EXT_AUTHZ_PORT")
]
Data = Annotated[
    Path | None, typer.Option(help="Directory of the keyring and the SQLite database.", envvar="KEYBEARER_DATA")
]
Database = Annotated[
    str | None,
    typer.Option(help="postgresql://… or sqlite:///path; default: in the data directory.", envvar="KEYBEARER_DATABASE"),
]
Issuer = Annotated[str | None, typer.Option(help="Public URL of this authority.", envvar="KEYBEARER_ISSUER")]
Workers = Annotated[int | None, typer.Option(help="Processes that answer, 1 to 64.", envvar="KEYBEARER_WORKERS")]
GatewayPort = Annotated[int | None, typer.Option(help="Port of the gateway; 0: none.", envvar="KEYBEARER_GATEWAY_PORT")]
GatewayHost = Annotated[
    str | None, typer.Option(help="Address that the gateway listens on.", envvar="KEYBEARER_GATEWAY_HOST")
]
GatewayRoutes = Annotated[
    str | None, typer.Option(help="TOML file of routes of the gateway.", envvar="KEYBEARER_GATEWAY_ROUTES")
]
LogFormat = Annotated[str | None, typer.Option(help="json, text or auto.", envvar="KEYBEARER_LOG_FORMAT")]
LogLevel = Annotated[str | None, typer.Option(help="debug, info, warning or error.", envvar="KEYBEARER_LOG_LEVEL")]


def application() -> typer.Typer:
    """Return an application of the server's commands only."""
    app = typer.Typer(
        add_completion=False,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    register(app)
    app.callback()(_nothing)
    return app


def register(app: typer.Typer) -> None:
    """Add the server's commands to an application."""
    app.command()(serve)
    app.command()(gateway)
    app.command()(init)
    app.command("sign-in-link")(sign_in_link)
    app.command("settings")(show_settings)


def _nothing() -> None:
    """Keybearer: one authority for the API keys and access tokens of an HTTP API."""


def _fail(text: str, code: int) -> NoReturn:
    print(f"keybearer: {text}", file=sys.stderr)
    raise typer.Exit(code)


@contextlib.contextmanager
def plain_errors() -> Iterator[None]:
    """Turn Keybearer's errors into one line on standard error."""
    try:
        yield
    except (ConfigurationError, InvalidInput) as error:
        _fail(str(error), 2)
    except KeybearerError as error:
        # Who starts the server is its operator, and may know what the public may not.
        _fail(f"{error} ({error.detail})" if error.detail else str(error), 1)
    except BrokenPipeError:
        raise  # nobody reads any more
    except OSError as error:
        place = f" ({error.filename})" if error.filename else ""
        _fail(f"The operating system refuses: {error.strerror or error}{place}.", 1)


def _with_plain_errors(command: Callable[P, None]) -> Callable[P, None]:
    @wraps(command)
    def guarded(*args: P.args, **kwargs: P.kwargs) -> None:
        with plain_errors():
            command(*args, **kwargs)

    return guarded


@_with_plain_errors
def serve(
    host: Host = None,
    port: Port = None,
    ext_authz_port: ExtAuthzPort = None,
    data: Data = None,
    database: Database = None,
    issuer: Issuer = None,
    workers: Workers = None,
    gateway_port: GatewayPort = None,
    gateway_host: GatewayHost = None,
    gateway_routes: GatewayRoutes = None,
    log_format: LogFormat = None,
    log_level: LogLevel = None,
) -> None:
    """Run the authority until it is stopped. Prints `ready URL` when it accepts connections.

    The first start on an empty data directory makes a root key and hands it over once.
    """
    settings = load(
        {
            "host": host,
            "port": port,
            "ext_authz_port": ext_authz_port,
            "data": data,
            "database": database,
            "issuer": issuer,
            "workers": workers,
            "gateway_port": gateway_port,
            "gateway_host": gateway_host,
            "gateway_routes": gateway_routes,
            "log_format": log_format,
            "log_level": log_level,
        }
    )
    from keybearer import app

    raise typer.Exit(app.serve(settings))


@_with_plain_errors
def gateway(
    gateway_port: GatewayPort = None,
    gateway_host: GatewayHost = None,
    gateway_routes: GatewayRoutes = None,
    data: Data = None,
    database: Database = None,
    issuer: Issuer = None,
    workers: Workers = None,
    log_format: LogFormat = None,
    log_level: LogLevel = None,
) -> None:
    """Run a node that is a gateway only, on the database and keyring of an authority. Prints `ready URL`.

    `serve --gateway-port` runs both in one process.
    """
    settings = load(
        {
            "gateway_port": gateway_port,
            "gateway_host": gateway_host,
            "gateway_routes": gateway_routes,
            "data": data,
            "database": database,
            "issuer": issuer,
            "workers": workers,
            "log_format": log_format,
            "log_level": log_level,
        }
    )
    if not settings.gateway_port:
        _fail("say where the gateway listens: --gateway-port 8081, or KEYBEARER_GATEWAY_PORT.", 2)
    from keybearer import app

    raise typer.Exit(app.serve(settings, only_gateway=True))


@_with_plain_errors
def init(
    admin_email: Annotated[str, typer.Option(help="E-mail address of the first administrator.")],
    admin_password_stdin: Annotated[
        bool, typer.Option("--admin-password-stdin", help="Read the administrator's password from standard input.")
    ] = False,
    host: Host = None,
    port: Port = None,
    data: Data = None,
    database: Database = None,
    issuer: Issuer = None,
) -> None:
    """Make an authority without a person: prints one JSON object with `issuer` and `root_key`, shown this once.

    Then start it with `serve` and the same `--data`, `--database` and `--issuer`.
    """
    settings = load({"host": host, "port": port, "data": data, "database": database, "issuer": issuer})
    password = sys.stdin.readline().rstrip("\r\n") if admin_password_stdin else None
    if password == "":
        _fail("--admin-password-stdin was given, but there is no password on standard input.", 2)
    from keybearer import app

    answer = app.init(settings, admin_email, password)
    if answer["root_key"] is None:
        _fail(
            "this authority exists already, and its root key was shown when it was made. "
            "A key with keybearer:admin can make others: keybearer keys create.",
            1,
        )
    import json

    print(json.dumps(answer))


@_with_plain_errors
def sign_in_link(
    email: Annotated[str, typer.Argument(metavar="EMAIL", help="Address of the user.")],
    data: Data = None,
    database: Database = None,
    issuer: Issuer = None,
) -> None:
    """Print a link that signs a user in, once and within a day. For the operator of this machine.

    A second factor is asked for all the same.
    """
    settings = load({"data": data, "database": database, "issuer": issuer})
    from keybearer import app

    print(app.sign_in_link(settings, email))


@_with_plain_errors
def show_settings(
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Show the settings that `serve` would have here, from the KEYBEARER_… variables and the defaults."""
    settings = load()
    values = effective(settings)
    if as_json:
        import json

        print(json.dumps(values, default=list))
        return
    import os

    for name, value in values.items():
        variable = f"KEYBEARER_{name.upper()}"
        text = ",".join(value) if isinstance(value, tuple) else str(value)
        print(f"{name:22} {text or '-':44} {variable if variable in os.environ else 'default'}")


def effective(settings: Settings) -> dict[str, Any]:
    """Return the settings as plain values, with defaults filled in and without the database's password."""
    from dataclasses import fields

    values = {item.name: getattr(settings, item.name) for item in fields(settings)}
    values["data"] = str(settings.data)
    values["issuer"] = settings.issuer_url
    values["database"] = _without_password(settings.database_url)
    values["mail"] = _without_password(settings.mail)
    return values


def _without_password(url: str) -> str:
    import re

    # Both places where a libpq URL may carry one: before the host, and as a parameter.
    hidden = re.sub(r"^([a-z+]+://[^:/@]*):.*@", r"\1:***@", url)
    return re.sub(r"([?&](?:password|sslpassword)=)[^&]*", r"\1***", hidden)

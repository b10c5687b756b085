"""The whole application: every command, and shell completion."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from .. import __version__
from . import (
    catalogue,
    clients,
    credential,
    doctor,
    incidents,
    keys,
    leaks,
    login,
    observe,
    projects,
    routes,
    server,
    upstream_secrets,
    upstreams,
    users,
    webhooks,
)


class Shell(StrEnum):
    """The shells that completion is made for."""

    BASH = "bash"
    ZSH = "zsh"
    FISH = "fish"


def application() -> typer.Typer:
    """Return the application."""
    app = typer.Typer(
        no_args_is_help=True,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback()(_keybearer)
    server.register(app)
    credential.add_verify(keys.app)
    credential.add_refund(keys.app)
    records = (keys.app, catalogue.apis, projects.app, catalogue.plans, catalogue.identities)
    behind = (routes.app, upstream_secrets.app)
    more = (*clients.GROUPS, *incidents.GROUPS, webhooks.app)
    for group in (*records, users.app, users.sessions, upstreams.app, *behind, *more):
        app.add_typer(group)
    observe.add_usage(app)
    app.add_typer(observe.audit)
    app.add_typer(leaks.app)
    credential.add_own(app)
    credential.add_verify(app)
    credential.add_refund(app)
    app.command("login")(login.login)
    app.command("logout")(login.logout)
    app.command("doctor")(doctor.doctor)
    app.command()(completion)
    return app


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"keybearer {__version__}")
        raise typer.Exit


def _keybearer(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Keybearer: one authority for the API keys and access tokens of an HTTP API.

    Commands that speak to the server take --url (KEYBEARER_URL) and the key from KEYBEARER_KEY or --key-stdin.

    Exit codes: 0 done; 1 refused or failed; 2 wrong usage or configuration; 3 the server cannot be reached.
    """


def completion(shell: Annotated[Shell, typer.Argument(help="The shell to complete in.")]) -> None:
    """Print the completion script of a shell; --install-completion installs it."""
    from typer._completion_shared import get_completion_script

    print(get_completion_script(prog_name="keybearer", complete_var="_KEYBEARER_COMPLETE", shell=shell.value))

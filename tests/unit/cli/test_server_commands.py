"""``serve``, ``init``, ``settings``: flags, variables, errors in one line, and a light start."""

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from typer.testing import CliRunner, Result

import keybearer
from keybearer.cli import application, server
from keybearer.core.errors import ConfigurationError, InvalidInput, Unavailable
from keybearer.settings import Settings

SOURCE = str(Path(keybearer.__file__).parents[1])


@pytest.fixture
def app(monkeypatch: pytest.MonkeyPatch) -> Iterator[SimpleNamespace]:
    calls = SimpleNamespace(served=[], initialised=[], answer={"issuer": "http://i", "root_key": "kb_root"}, error=None)

    def serve(settings: Settings) -> int:
        calls.served.append(settings)
        if calls.error:
            raise calls.error
        return 7

    def init(settings: Settings, email: str, password: str | None) -> dict[str, Any]:
        calls.initialised.append((settings, email, password))
        if calls.error:
            raise calls.error
        return dict(calls.answer)

    module = ModuleType("keybearer.app")
    module.serve, module.init = serve, init  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "keybearer.app", module)
    monkeypatch.setattr(keybearer, "app", module, raising=False)
    return calls


def invoke(*arguments: str, stdin: str = "", env: dict[str, str] | None = None) -> Result:
    return CliRunner().invoke(server.application(), list(arguments), input=stdin, env=env)


def test_serve_takes_flags_before_variables_before_defaults(app: SimpleNamespace) -> None:
    env = {"KEYBEARER_PORT": "1", "KEYBEARER_WORKERS": "3", "KEYBEARER_MAX_BODY": "2048"}
    flags = "--host ::1 --port 0 --data d --database postgresql://h/d --issuer https://i.example --log-level debug"
    result = invoke("serve", *flags.split(), "--log-format", "json", env=env)
    assert result.exit_code == 7
    (settings,) = app.served
    assert settings == Settings(
        host="::1",
        port=0,
        data=Path("d"),
        database="postgresql://h/d",
        issuer="https://i.example",
        workers=3,
        log_level="debug",
        log_format="json",
        max_body=2048,
    )


@pytest.mark.parametrize(
    "flags",
    [
        "--workers 65",
        "--database mysql://x",
        "--issuer nonsense",
        "--log-format xml",
        "--port x",
        "--database postgresql://[x",
    ],
)
def test_wrong_settings_are_one_clear_line(app: SimpleNamespace, flags: str) -> None:
    result = invoke("serve", *flags.split())
    assert result.exit_code == 2
    assert result.stderr.strip()
    assert "Traceback" not in result.stderr
    assert not app.served


@pytest.mark.parametrize(
    ("error", "code"),
    [(ConfigurationError("The pepper is weak."), 2), (InvalidInput.of("a", "b"), 2), (Unavailable("Disk full."), 1)],
)
def test_errors_are_one_line(app: SimpleNamespace, error: Exception, code: int) -> None:
    app.error = error
    for command in (["serve"], ["init", "--admin-email", "a@example.com"]):
        result = invoke(*command)
        assert (result.exit_code, result.stderr, result.stdout) == (code, f"keybearer: {error}\n", "")


def test_the_operator_learns_what_the_public_may_not(app: SimpleNamespace) -> None:
    app.error = Unavailable("The database cannot answer.", detail="ConnectionRefusedError: 127.0.0.1:5432")
    assert "127.0.0.1:5432" in invoke("serve").stderr


@pytest.mark.parametrize("command", [[], ["serve"], ["init"], ["settings"], ["keys", "create"], ["audit", "verify"]])
def test_help_has_a_short_name_everywhere(command: list[str]) -> None:
    # ``serve`` and ``init`` start from an application of their own, which leaves the others unloaded.
    apps = [application.application()] + [server.application()] * (command[:1] in (["serve"], ["init"]))
    for app in apps:
        result = CliRunner().invoke(app, [*command, "-h"])
        assert result.exit_code == 0, result.stderr
        assert "-h, --help" in result.stdout


def test_init_prints_one_json_object(app: SimpleNamespace) -> None:
    command = ["init", "--data", "d", "--admin-email", "a@example.com"]
    result = invoke(*command, "--admin-password-stdin", stdin="correct horse \n")
    assert result.exit_code == 0
    assert json.loads(result.stdout) == {"issuer": "http://i", "root_key": "kb_root"}
    assert result.stdout.count("\n") == 1
    assert invoke(*command).exit_code == 0
    assert [call[1:] for call in app.initialised] == [("a@example.com", "correct horse "), ("a@example.com", None)]


def test_init_of_an_authority_that_exists(app: SimpleNamespace) -> None:
    app.answer["root_key"] = None
    result = invoke("init", "--admin-email", "a@example.com")
    assert (result.exit_code, result.stdout) == (1, "")
    assert "exists already" in result.stderr


def test_init_without_the_promised_password(app: SimpleNamespace) -> None:
    assert invoke("init", "--admin-email", "a@example.com", "--admin-password-stdin").exit_code == 2
    assert invoke("init").exit_code == 2
    assert not app.initialised


def test_settings_hide_the_password_of_the_database() -> None:
    for url in ("postgresql://u:p4ss@h/d", "postgresql://h/d?password=p4ss&x=1", "postgresql://u:p4ss@x@h/d"):
        for flags in ([], ["--json"]):
            result = invoke("settings", *flags, env={"KEYBEARER_DATABASE": url})
            assert result.exit_code == 0
            assert "p4ss" not in result.stdout
            assert "***" in result.stdout
    assert json.loads(invoke("settings", "--json").stdout)["port"] == 8080


def test_serve_loads_no_client_and_no_tables() -> None:
    script = (
        "import sys; sys.argv = ['keybearer', 'serve', '--workers', '99']\n"
        "from keybearer.cli import main\n"
        "try: main()\n"
        "except SystemExit as end: assert end.code == 2, end\n"
        "heavy = {'rich', 'httpx', 'msgspec', 'starlette', 'keybearer.client'}\n"
        "heavy &= {name for name, module in sys.modules.items() if module is not None}\n"
        "assert not heavy, heavy\n"
    )
    done = subprocess.run([sys.executable, "-c", script], env={"PYTHONPATH": SOURCE}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stderr == "keybearer: workers must lie between 1 and 64 (KEYBEARER_WORKERS).\n"


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_scripts(shell: str, run: Callable[..., Any]) -> None:
    result = run("completion", shell)
    assert result.exit_code == 0
    assert "_KEYBEARER_COMPLETE" in result.stdout


def test_completion_completes() -> None:
    def complete(words: str) -> list[str]:
        script = "import sys; sys.argv = ['keybearer']; from keybearer.cli import main; main()"
        environment = {
            "_KEYBEARER_COMPLETE": "complete_bash",
            "COMP_WORDS": words,
            "COMP_CWORD": "2",
            "PYTHONPATH": SOURCE,
        }
        done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True)
        return done.stdout.split()

    assert complete("keybearer keys ro") == ["rotate"]
    assert {"create", "list", "import"} <= set(complete("keybearer keys "))
    assert "--workers" in complete("keybearer serve --w")


def test_the_whole_application_has_the_server_commands_too() -> None:
    result = CliRunner().invoke(application.application(), ["--help"])
    assert all(name in result.stdout for name in ("serve", "init", "settings", "keys", "audit", "completion"))
    assert CliRunner().invoke(application.application(), ["--version"]).stdout.startswith("keybearer 0.")

"""The light package: built from the tree, installed alone, and at work; and what importing the guards loads."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
import venv
import zipfile
from pathlib import Path

import pytest

from tests.e2e.shop import API
from tests.support.guarding import guard_key, shop_at

ROOT = Path(__file__).parents[2]
# Not rich: httpx loads that by itself where it is installed.
SERVER_ONLY = (
    "aiosmtplib", "argon2", "asyncpg", "bcrypt", "jinja2", "joserfc", "prometheus_client", "pyotp", "sqlite3",
    "structlog", "typer", "uvicorn", "uvloop", "webauthn",
)  # fmt: skip
FRAMEWORKS = {
    "keybearer.guards": (),
    "keybearer.guards.asgi": (),
    "keybearer.guards.wsgi": (),
    "keybearer.guards.fastapi": ("fastapi", "starlette"),
    "keybearer.guards.flask": ("flask", "jinja2"),
    "keybearer.guards.django": ("django", "sqlite3"),
    "keybearer.guards.rest_framework": ("django", "rest_framework", "sqlite3"),
}


@pytest.mark.parametrize("module", FRAMEWORKS)
def test_importing_a_guard_loads_nothing_of_a_server(module: str) -> None:
    names = {*SERVER_ONLY, "starlette", "fastapi", "flask", "django", "rest_framework"} - set(FRAMEWORKS[module])
    setting = "from django.conf import settings; settings.configure(); " if "django" in FRAMEWORKS[module] else ""
    program = f"import sys; {setting}import {module}; print(*sorted(set(sys.modules) & {names!r}))"
    # Measuring coverage would itself load sqlite3.
    alone = {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE_")}
    command = [sys.executable, "-W", "ignore", "-c", program]
    found = subprocess.run(command, env=alone, capture_output=True, text=True, check=True)
    assert found.stdout.split() == []


def test_both_packages_say_the_same_version_and_needs() -> None:
    whole = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    light = tomllib.loads((ROOT / "packages/guard/pyproject.toml").read_text())["project"]
    assert light["version"] == whole["version"]
    assert set(light["dependencies"]) <= set(whole["dependencies"])


def test_the_light_package_alone_guards_an_application(tmp_path: Path) -> None:
    from hatchling.builders.wheel import WheelBuilder

    [wheel] = WheelBuilder(str(ROOT / "packages/guard")).build(directory=str(tmp_path), versions=["standard"])
    names = zipfile.ZipFile(wheel).namelist()
    assert "keybearer/guards/guard.py" in names
    assert not [name for name in names if name.startswith(("keybearer/web", "keybearer/services", "keybearer/stores"))]
    environment = tmp_path / "environment"
    venv.create(environment, with_pip=False)
    folder = next((environment / "lib").glob("python3*")) / "site-packages"
    zipfile.ZipFile(wheel).extractall(folder)
    # What it needs, and what those need, from the environment at hand: no network, and nothing else can be imported.
    for name in _with_needs(("cryptography", "httpx", "msgspec")):
        _link(name, folder)
    with shop_at(tmp_path / "node") as shop:
        _, credential = shop.key("pages:read")
        program = (
            "import os, time; from keybearer.guards import Guard\n"
            "with Guard(os.environ['URL'], key=os.environ['KEY'], api=os.environ['API']) as guard:\n"
            "    guard.start()\n"
            "    end = time.monotonic() + 10\n"
            "    while not guard.is_fresh and time.monotonic() < end: time.sleep(0.01)\n"
            "    for _ in range(3): print(guard.verify(os.environ['CREDENTIAL'], 'pages:read').project_id)\n"
            "    print(dict(guard.metrics)['local'])\n"
        )
        more = {"URL": shop.node.url, "KEY": guard_key(shop)[1], "API": API, "CREDENTIAL": credential}
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "COV"))}
        found = subprocess.run(
            [environment / "bin/python", "-I", "-c", program],
            env=kept | more,
            capture_output=True,
            text=True,
            timeout=60,
        )
    assert found.stdout.split() == [shop.project["id"]] * 3 + ["2"], found.stderr


def _with_needs(names: tuple[str, ...]) -> set[str]:
    from importlib.metadata import requires

    from packaging.requirements import Requirement

    found, waiting = set[str](), list(names)
    while waiting:
        name = waiting.pop()
        if name in found:
            continue
        found.add(name)
        needs = [Requirement(line) for line in requires(name) or ()]
        waiting += [need.name for need in needs if need.marker is None or need.marker.evaluate({"extra": ""})]
    return found


def _link(name: str, folder: Path) -> None:
    from importlib.metadata import files

    tops = {path.parts[0] for path in files(name) or () if path.parts[0] not in ("..", "__pycache__")}
    for top in tops:
        origin = Path(sys.prefix) / "lib" / f"python3.{sys.version_info.minor}" / "site-packages" / top
        target = folder / top
        if origin.exists() and not target.exists():
            target.symlink_to(origin)

"""The rule of imports, the purity of `core`, and what no committed file may hold."""

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "src" / "keybearer"

# Standard library modules that would bring a clock, the environment, chance or input and output into `core`.
IMPURE_MODULES = {
    "asyncio",
    "os",
    "pathlib",
    "random",
    "socket",
    "sqlite3",
    "subprocess",
    "threading",
    "time",
}
IMPURE_CALLS = {("datetime", "now"), ("datetime", "today"), ("datetime", "utcnow"), ("date", "today")}

WAITING = ast.AsyncFunctionDef | ast.Await | ast.AsyncFor | ast.AsyncWith


def _modules(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*.py"))


def _name(module: Path) -> str:
    return str(module.relative_to(ROOT / "src"))


def _imported(module: Path) -> set[str]:
    """The full names of all modules that `module` imports from, its relative imports resolved."""
    package = module.relative_to(ROOT / "src").parent.parts
    names: set[str] = set()
    for node in ast.walk(ast.parse(module.read_text())):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else ()
            origin = ".".join([*base, *([node.module] if node.module else [])])
            names.add(origin)
            names.update(f"{origin}.{alias.name}" for alias in node.names if origin == "keybearer")
    return names


def test_imports_go_downward_only() -> None:
    lint_imports = Path(sys.executable).with_name("lint-imports")
    environment = os.environ | {"PYTHONPATH": str(ROOT / "src")}
    done = subprocess.run([lint_imports, "--no-cache"], cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("module", _modules(PACKAGE / "core"), ids=_name)
def test_core_is_pure(module: Path) -> None:
    tree = ast.parse(module.read_text())
    for name in _imported(module) - {"keybearer"}:
        top = name.partition(".")[0]
        if top == "keybearer":
            assert name.startswith("keybearer.core"), f"core imports {name}"
        else:
            assert top in sys.stdlib_module_names, f"core imports {name}, which is not the standard library"
            assert top not in IMPURE_MODULES, f"core imports {name}: no clock, chance or I/O here"
    for node in ast.walk(tree):
        assert not isinstance(node, WAITING), "core never waits"
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            assert (node.value.id, node.attr) not in IMPURE_CALLS, "core is told the time"


def test_guards_are_light() -> None:
    for module in _modules(PACKAGE / "guards"):
        for name in _imported(module):
            is_heavy = name.startswith(("keybearer.services", "keybearer.stores"))
            assert not is_heavy, f"{_name(module)} imports {name}"


def test_the_wheel_says_that_it_is_typed() -> None:
    assert (PACKAGE / "py.typed").exists()


@pytest.mark.parametrize("lock", sorted((ROOT / "requirements").glob("*.lock")), ids=lambda lock: lock.name)
def test_locks_name_no_host_and_pin_every_file(lock: Path) -> None:
    text = lock.read_text()
    assert "://" not in text
    assert "--index-url" not in text
    requirements = [line for line in text.splitlines() if "==" in line]
    assert requirements
    assert all(line.endswith("\\") for line in requirements), "a requirement without a hash"

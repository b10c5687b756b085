"""What users' type checkers see: both clients fully typed, wrong arguments found."""

from pathlib import Path

import pytest
from mypy import api

SAMPLE = """
from keybearer.client import AsyncKeybearer, Keybearer, RemoteVerifier, calls

client = Keybearer("https://keys.example.com", "k")
reveal_type(client.keys.create(project_id="p", name="n"))
reveal_type(client.apis.get("a"))
reveal_type(client.keys.list())
reveal_type(client.keys.import_keys([]))
reveal_type(calls.keys.list())
reveal_type(calls.keys.rotate("k"))
reveal_type(RemoteVerifier(client).verify("c"))
client.keys.create(project="p", name="n")
client.keys.rotate("k", grace_in="1d")

async def main(asynchronous: AsyncKeybearer) -> None:
    reveal_type(await asynchronous.whoami())
    reveal_type(asynchronous.keys.list())
"""

EXPECTED = [
    'note: Revealed type is "keybearer.client.keys.IssuedKey"',
    'note: Revealed type is "keybearer.wire.records.ApiView"',
    'note: Revealed type is "typing.Iterator[keybearer.wire.keys.KeyView]"',
    'note: Revealed type is "typing.Iterator[keybearer.wire.keys.ImportProgress | keybearer.wire.keys.ImportReport]"',
    'note: Revealed type is "keybearer.client.call.Pages[keybearer.wire.keys.KeyView]"',
    'note: Revealed type is "keybearer.client.call.Call[keybearer.client.keys.IssuedKey]"',
    'note: Revealed type is "keybearer.wire.verify.VerifyResponse"',
    'error: Unexpected keyword argument "project"',
    'error: Argument "grace_in" has incompatible type "str"',
    'note: Revealed type is "keybearer.wire.verify.Whoami"',
    'note: Revealed type is "typing.AsyncIterator[keybearer.wire.keys.KeyView]"',
]


@pytest.mark.slow
def test_both_clients_are_fully_typed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sample = tmp_path / "sample.py"
    sample.write_text(SAMPLE)
    source = Path(__file__).resolve().parents[3] / "src"
    monkeypatch.setenv("MYPYPATH", str(source))
    out, err, _ = api.run(["--strict", "--follow-imports=silent", f"--cache-dir={tmp_path / 'cache'}", str(sample)])
    assert not err
    found = [line.split(": ", 1)[1] for line in out.splitlines() if "sample.py" in line]
    for line, expected in zip(found, EXPECTED, strict=True):
        assert line.startswith(expected)

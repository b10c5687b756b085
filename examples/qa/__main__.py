"""``python -m examples.qa``: Keybearer and the question-and-answer site, started together and ended by Ctrl-C."""

from __future__ import annotations

import argparse
import signal
import sys
import tempfile
import time
from contextlib import closing, suppress
from pathlib import Path

import uvicorn

from keybearer.client import Keybearer as Client

from .application import application
from .config import Config
from .demo import authority, content
from .demo.registration import ADMIN, PEOPLE, Demo, register
from .forum.database import Database


def main() -> None:
    """Start everything, say where it is, and serve until Ctrl-C."""
    parser = argparse.ArgumentParser(prog="python -m examples.qa", description=__doc__)
    parser.add_argument("--data", type=Path, help="where to keep everything; without it, nothing is kept")
    parser.add_argument("--port", type=int, default=8000, help="of the site (8000)")
    parser.add_argument("--keybearer-port", type=int, default=8080, help="of Keybearer (8080)")
    options = parser.parse_args()
    # So that whatever ends us ends Keybearer too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    if options.data is None:
        with tempfile.TemporaryDirectory(prefix="keyhole-") as folder:
            _run(Path(folder), options.port, options.keybearer_port)
    else:
        options.data.mkdir(mode=0o700, parents=True, exist_ok=True)
        _run(options.data, options.port, options.keybearer_port)


def _run(folder: Path, port: int, keybearer_port: int) -> None:
    keybearer = authority.Keybearer(folder, keybearer_port)
    try:
        root_key = keybearer.start(*ADMIN)
        config, demo = _prepared(folder, f"http://127.0.0.1:{port}", keybearer.issuer, root_key)
        site = application(config, folder / "forum.db")
        print(_greeting(config, demo), flush=True)
        with suppress(KeyboardInterrupt):
            uvicorn.run(site, host="127.0.0.1", port=port, log_level="warning", access_log=False)
    finally:
        keybearer.stop()


def _prepared(folder: Path, url: str, issuer: str, root_key: str) -> tuple[Config, Demo]:
    """Return what was registered at the first start, or register it now."""
    config_path, demo_path = folder / "config.json", folder / "demo.json"
    if config_path.exists():
        config = Config.load(config_path)
        if (config.url, config.issuer) != (url, issuer):
            raise SystemExit(f"This data belongs to {config.url} and {config.issuer}; use the same ports.")
        return config, Demo.load(demo_path)
    with closing(Client(issuer, root_key)) as client:
        config, demo = register(client, client.whoami().project_id, url, issuer)
    with Database(folder / "forum.db").changing() as db:
        content.fill(db, demo.people, int(time.time()))
    demo.save(demo_path)
    config.save(config_path)  # last: what is not whole is not taken for it
    return config, demo


def _greeting(config: Config, demo: Demo) -> str:
    people = "\n".join(f"    {email:18} {password}" for email, (_, password) in PEOPLE.items())
    return f"""
  Questions and answers   {config.url}
  Keybearer               {config.issuer}

  Sign in as
{people}
    {ADMIN[0]:18} {ADMIN[1]}   (administers Keybearer)

  Read with an application's key
    export KEY={demo.key}
    curl -H "X-Api-Key: $KEY" {config.url}/api/questions

  Write with a person's token, which this application asks for
    export CLIENT_ID={demo.terminal_client_id}

  docs/tutorial.md goes on from here. Ctrl-C ends both.
"""


if __name__ == "__main__":
    main()

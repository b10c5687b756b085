"""Guards for applications: ASGI, WSGI and the frameworks on them, over one engine that verifies locally or online.

    from keybearer.guards import Guard
    from keybearer.guards.asgi import GuardMiddleware

    guard = Guard("https://keys.example.com", key=…, api="https://api.example.com")
    app = GuardMiddleware(app, guard)

The engine (``guard.py``) remembers what the authority said (``memory.py``) for as long as the event stream vouches for
it (``follower.py``, ``freshness.py``); ``incoming.py`` reads what a request carries, ``answers.py`` says no. Each
framework has one file, which is all that imports it.
"""

from ..client.errors import Unreachable
from ..core.errors import Code, Rejected
from .caller import Caller
from .guard import Guard
from .rule import Rule

__all__ = ["Guard", "Caller", "Rule", "Code", "Rejected", "Unreachable"]

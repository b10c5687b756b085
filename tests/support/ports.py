"""Free loopback ports that concurrent test processes do not hand out twice."""

import os
import random
import re
import socket

# Below the ephemeral range, so that no outgoing connection takes a port between its choice and its use.
_FIRST, _PER_PROCESS, _SLOTS = 18000, 400, 30

_handed_out: set[int] = set()


def free_port() -> int:
    """A port of 127.0.0.1 that nothing listens on and that this process has not handed out before."""
    worker = int(re.sub(r"\D", "", os.environ.get("PYTEST_XDIST_WORKER", "")) or 0)
    first = _FIRST + worker % _SLOTS * _PER_PROCESS
    for port in random.sample(range(first, first + _PER_PROCESS), _PER_PROCESS):
        if port in _handed_out:
            continue
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        _handed_out.add(port)
        return port
    raise RuntimeError(f"every port from {first} to {first + _PER_PROCESS - 1} is taken")

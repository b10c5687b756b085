"""The use cases of the authority. Each takes an ``Authority``, a ``Caller`` and wire requests, and gives wire views."""

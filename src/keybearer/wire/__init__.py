"""The wire types: what travels as JSON between Keybearer and its callers. OpenAPI is made from them.

Bodies are strict (an unknown field is an error). Instants are RFC 3339 in UTC, durations are whole seconds and end in
``_in``. In an update, a field that is absent stays as it is and ``null`` clears it.
"""

"""The wire: HTTP endpoints, the hot protocol, and errors as problems."""

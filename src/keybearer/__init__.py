"""Keybearer: one authority for the API keys and access tokens of an HTTP API."""

__version__ = "0.1.0"

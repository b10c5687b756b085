"""Settings: flags before variables before defaults, and errors that name the variable."""

from __future__ import annotations

from ipaddress import ip_network
from pathlib import Path

import pytest

from keybearer.core.errors import ConfigurationError
from keybearer.settings import Settings, load


def test_flags_come_before_variables_and_those_before_defaults() -> None:
    environment = {"KEYBEARER_PORT": "9000", "KEYBEARER_DATA": "/srv/kb", "KEYBEARER_ACCESS_LOG": "yes"}
    settings = load({"port": 9001, "host": None}, environment)
    assert (settings.port, settings.host, settings.data) == (9001, "127.0.0.1", Path("/srv/kb"))
    assert settings.access_log is True
    assert settings.database_url == "sqlite:////srv/kb/keybearer.db"
    assert settings.issuer_url == "http://127.0.0.1:9001"
    assert load({"host": "::1"}, {}).issuer_url == "http://[::1]:8080"
    assert load({"issuer": "https://id.example"}, {}).issuer_url == "https://id.example"


def test_lists_are_separated_by_commas_and_may_be_empty() -> None:
    assert load({}, {"KEYBEARER_TRUSTED_PROXIES": "10.0.0.0/8, ::1/128"}).proxies == (
        ip_network("10.0.0.0/8"),
        ip_network("::1/128"),
    )
    assert load({}, {"KEYBEARER_TRUSTED_PROXIES": ""}).proxies == ()


@pytest.mark.parametrize(
    ("variable", "text"),
    [
        ("PORT", "http"),
        ("PORT", "70000"),
        ("WORKERS", "0"),
        ("VIEW_LIFETIME", "2"),
        ("POLL_INTERVAL", "1"),
        ("MAX_BODY", "1"),
        ("TRUSTED_PROXIES", "10.0.0.1/8"),
        ("TRUSTED_PROXIES", "everyone"),
        ("DATABASE", "mysql://localhost/x"),
        ("DATABASE", "postgresql://[half"),
        ("ISSUER", "id.example"),
        ("ISSUER", "https://id.example/?a=b"),
        ("ACCESS_LOG", "perhaps"),
        ("LOG_FORMAT", "xml"),
    ],
)
def test_what_is_wrong_is_named(variable: str, text: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        load({}, {f"KEYBEARER_{variable}": text})
    assert variable.lower() in str(caught.value).lower()


@pytest.mark.parametrize(
    ("variable", "text", "what"),
    [
        ("PORT", "http", "write a whole number"),
        ("VIEW_LIFETIME", "soon", "write a number"),
        ("ACCESS_LOG", "perhaps", "write true or false"),
    ],
)
def test_what_to_write_is_said_in_plain_words(variable: str, text: str, what: str) -> None:
    with pytest.raises(ConfigurationError, match=what):
        load({}, {f"KEYBEARER_{variable}": text})


def test_settings_cannot_be_changed() -> None:
    with pytest.raises(AttributeError):
        Settings().port = 1  # type: ignore[misc]

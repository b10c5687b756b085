"""The versions of the schema are dense, and each engine gets types that it knows."""

import pytest

from keybearer.core.errors import ConfigurationError
from keybearer.stores import migrations


def test_versions_are_dense() -> None:
    assert migrations.pending(None) == tuple(range(1, migrations.NEWEST + 1))
    assert migrations.pending(migrations.NEWEST) == ()


def test_a_newer_database_is_refused() -> None:
    with pytest.raises(ConfigurationError, match=str(migrations.NEWEST + 1)):
        migrations.pending(migrations.NEWEST + 1)


@pytest.mark.parametrize("for_sqlite", [True, False])
def test_statements_are_whole(for_sqlite: bool) -> None:
    for version in migrations.pending(None):
        statements = list(migrations.statements(version, for_sqlite=for_sqlite))
        assert len(statements) > 5
        for statement in statements:
            assert statement.startswith(
                ("CREATE TABLE", "CREATE INDEX", "CREATE UNIQUE INDEX", "ALTER TABLE", "UPDATE", "INSERT")
            )
            assert statement.count("(") == statement.count(")")
            assert "--" not in statement
            assert any(word in statement for word in ("BYTEA", "COLLATE", "heap")) <= (not for_sqlite)

"""The PostgreSQL fixture gives each test an empty database on a durable server."""

import pytest

from tests.support.postgresql import PostgresqlServer


@pytest.mark.parametrize("attempt", [1, 2])
def test_every_test_gets_an_empty_database(
    postgresql_server: PostgresqlServer, postgresql_url: str, attempt: int
) -> None:
    database = postgresql_url.rpartition("/")[2]
    postgresql_server.execute("CREATE TABLE marks (mark integer)", database)
    assert postgresql_server.execute("SELECT count(*) FROM marks", database) == "0"


def test_the_server_is_durable(postgresql_server: PostgresqlServer) -> None:
    assert postgresql_server.execute("SHOW fsync") == "on"
    assert postgresql_server.execute("SHOW synchronous_commit") == "on"


def test_commits_survive_a_crash(postgresql_server: PostgresqlServer, postgresql_url: str) -> None:
    database = postgresql_url.rpartition("/")[2]
    postgresql_server.execute("CREATE TABLE marks AS SELECT 7 AS mark", database)
    postgresql_server.kill9()
    postgresql_server.start()
    assert postgresql_server.execute("SELECT mark FROM marks", database) == "7"

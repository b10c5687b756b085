"""Real services for the tests: PostgreSQL, nginx, and the authority itself as a subprocess."""

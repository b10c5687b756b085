"""Fixtures and settings that every test shares."""

from hypothesis import settings

pytest_plugins = ["tests.support.services"]

# The machines are shared and noisy: a slow example is no failure. pytest-timeout bounds the whole test.
settings.register_profile("keybearer", deadline=None, print_blob=True)
settings.load_profile("keybearer")

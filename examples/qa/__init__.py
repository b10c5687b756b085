"""A question-and-answer site that Keybearer guards: start it with ``python -m examples.qa``."""

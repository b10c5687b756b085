"""What makes the example start by one command: a Keybearer of its own, people, applications and something to read."""

"""The web front: pages that need no script, and people who signed in at Keybearer."""

"""The search for credentials that got out: files, logs as they grow, the history of git, pipes."""

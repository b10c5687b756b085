"""The forum itself: questions, answers, votes and all that belongs to them, knowing nothing of HTTP or credentials."""

"""Tasks: cards, sources, the built-in generators, the sealed test."""

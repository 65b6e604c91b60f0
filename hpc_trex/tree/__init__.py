"""The search tree: events, the SQLite store, policies, the Researcher's view, the lease."""

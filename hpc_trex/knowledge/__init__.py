"""The knowledge base over searches: what worked on which kind of task, model and size (docs/insights.md)."""

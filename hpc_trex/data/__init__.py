"""The data recipe's operators and the provenance of what they make. Runs in jobs."""

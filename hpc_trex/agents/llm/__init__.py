"""The language model's side of the agents: a client that records, a ledger to replay from, context and prompts."""

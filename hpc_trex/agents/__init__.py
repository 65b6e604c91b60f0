"""Who designs and reads the rounds: Researchers, the Reviewer, the rule-based playbook."""

"""The evaluation stage of a job: lm-eval on the model in memory, scores, bad cases. Imports torch."""

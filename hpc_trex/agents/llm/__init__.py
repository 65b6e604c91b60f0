"""The Researcher, Executor and Reviewer that ask a language model."""

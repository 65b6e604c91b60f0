"""The command line: one module a command, each parses, calls once and prints."""

"""Fingerprints of values, code and files: equal exactly if a task cannot tell a difference."""

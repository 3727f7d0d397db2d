"""Fingerprints of values, code and files: equal exactly where a task cannot tell a difference."""

"""The object store in files."""

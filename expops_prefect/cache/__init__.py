"""The cache: keys, look-up, commit."""

"""The records of runs and results, and how to read them."""

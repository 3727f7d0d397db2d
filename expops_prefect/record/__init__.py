"""What is recorded of runs and results, and how it is read."""

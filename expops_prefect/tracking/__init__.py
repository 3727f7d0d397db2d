"""Recording of runs."""

"""Views of runs for people."""

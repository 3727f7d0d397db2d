"""The integration with ExpOps itself: its projects and its UI."""

"""ExpOps caching and run tracking for Prefect flows."""

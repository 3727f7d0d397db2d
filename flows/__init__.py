"""Example flows. They use the package's public names only."""

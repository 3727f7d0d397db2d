"""What belongs to the real ExpOps."""

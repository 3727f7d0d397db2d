"""Names, keys and records, as ExpOps' clients read them."""

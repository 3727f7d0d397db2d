"""The stores of a project: a registry of backends, and what each says about itself."""

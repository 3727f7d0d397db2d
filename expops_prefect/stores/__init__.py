"""The stores of a project: a registry of backends, and the settings that describe each of them."""

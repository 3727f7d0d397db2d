"""Results to bytes and back: a manifest of the whole, and content-addressed payloads for what is large."""

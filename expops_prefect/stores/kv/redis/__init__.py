"""The KV store on Redis."""

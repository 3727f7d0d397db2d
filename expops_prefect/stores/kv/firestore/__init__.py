"""The KV store in Firestore."""

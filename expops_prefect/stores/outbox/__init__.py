"""The outbox: a durable local queue of a run's records, delivered to the stores in batches in the background."""

"""The way of a run's record to the stores: a durable local queue, delivered in batches in the background."""

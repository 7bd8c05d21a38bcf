"""Periodic tasks: schedulers, their entries, and the ticker that enqueues them."""

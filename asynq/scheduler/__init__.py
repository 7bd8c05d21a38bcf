"""Periodic tasks: schedules, their entries, and the schedulers that enqueue them."""

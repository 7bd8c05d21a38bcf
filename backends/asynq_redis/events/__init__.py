"""Notifications from Redis about new tasks, cancellations and changes of single tasks."""

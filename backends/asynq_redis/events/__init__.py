"""Notifications from Redis: new tasks, cancellations, and changes of single tasks."""

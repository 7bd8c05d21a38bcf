"""Notifications: new tasks, cancellations, and changes of tasks, from this process and from others."""

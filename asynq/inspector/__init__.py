"""Inspectors: look at queues and tasks, move tasks by hand, find and repair damage."""

"""Extends the leases of running tasks, even while user code blocks the event loop or the interpreter lock."""

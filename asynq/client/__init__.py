"""Clients: from a task and its options to an enqueue, and back to a result."""

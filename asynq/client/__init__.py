"""Clients: from a task and its options to an enqueue operation, and from a completed task to its result."""

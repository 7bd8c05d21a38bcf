"""Handlers: how the handler of a task is found and run, and what the end of a run means."""

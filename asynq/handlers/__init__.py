"""Handlers: find the handler of a task, run it within its time, and decide what follows from the outcome."""

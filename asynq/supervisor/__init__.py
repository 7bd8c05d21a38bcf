"""Supervision of several worker processes by one parent process."""

"""Supervision: several worker processes that one process keeps running."""

"""Extending the leases of running tasks, out of reach of the user's code."""

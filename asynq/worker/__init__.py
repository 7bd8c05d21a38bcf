"""The engine of a server: fetches and settles tasks, extends leases, and maintains queues."""

"""The engine of a server: taking tasks, keeping leases, settling, and the upkeep of queues."""

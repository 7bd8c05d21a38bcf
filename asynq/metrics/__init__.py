"""Metrics of queues for Prometheus. Needs the extra `metrics`."""

"""Event loops, threads, signals and logging: plumbing that knows no task."""

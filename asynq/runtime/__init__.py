"""Event loops, threads, signals and logging. Nothing here depends on tasks."""

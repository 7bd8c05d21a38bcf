"""Programs that drive the measured task queues, each in a process and environment of its own."""

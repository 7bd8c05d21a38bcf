"""Handler processes: run sync handlers in child processes, which are killed when their run must end."""

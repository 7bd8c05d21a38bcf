"""Building blocks of the views, which know nothing of queues and tasks."""

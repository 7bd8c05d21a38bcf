"""`asynq dash`: a terminal dashboard. Needs the extra `dash`."""

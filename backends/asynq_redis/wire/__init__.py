"""What is stored in Redis: names of keys, and records as bytes, as Go asynq writes them."""

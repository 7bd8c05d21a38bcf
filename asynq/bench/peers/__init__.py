"""Other task queues that `asynq bench --compare` measures beside this library."""

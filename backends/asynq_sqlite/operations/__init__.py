"""The operations of the broker protocol on SQLite, one module for each section of `asynq.protocol.ops`."""

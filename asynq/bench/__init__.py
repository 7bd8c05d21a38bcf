"""The benchmark: measures the library, and other task queues beside it, in processes of their own."""

"""Building blocks for backends. `base` has the classes to start from."""

"""Building blocks for the authors of backends."""

"""Layer B: random programs, each step done by the model and by the broker under test."""

"""Layer B: random programs that run on the model and on the broker under test in lockstep."""

"""What browsers watch: each topic is read once for all of them, and not while none does."""

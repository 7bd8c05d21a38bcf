"""What a server does beside running tasks: each loop a class whose `step` is one tick."""

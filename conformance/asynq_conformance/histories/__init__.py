"""Layer C: what many processes did to a broker at once, recorded, and then judged by pure functions."""

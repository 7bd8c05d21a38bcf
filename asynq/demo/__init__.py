"""The demo: real work on real files by several worker processes, one of which is killed halfway."""

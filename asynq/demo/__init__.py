"""The demo: several worker processes process real files, and one of them is killed midway."""

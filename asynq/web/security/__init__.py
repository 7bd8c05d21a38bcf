"""Who may ask, from where, and how much: each rule in a file of its own."""

"""How SQLite carries out each operation of the broker protocol: one module a concern."""

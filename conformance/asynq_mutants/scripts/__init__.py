"""Mutants of our Lua scripts: one small change each, and the tests that must notice."""

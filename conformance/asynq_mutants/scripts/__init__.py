"""Mutation testing of the Lua scripts: one small change each, and the tests that must detect it."""

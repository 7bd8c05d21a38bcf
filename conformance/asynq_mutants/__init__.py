"""Intentional bugs, each with the test that must detect it.

Three families: brokers in memory with one broken step (`embedded`), production code patched for one test run
(`patches`), and small mutations of every Lua script (`scripts`). For development; not part of the
distribution.
"""

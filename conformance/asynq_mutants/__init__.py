"""Bugs on purpose, each with the test that must notice it: a test that notices none of them proves nothing.

Three families: brokers in memory with one broken step (`embedded`), production code patched for one test run
(`patches`), and small changes of every Lua script (`scripts`). For development; not part of the distribution.
"""

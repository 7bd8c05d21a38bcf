"""The Lua scripts, and the loader that makes each of them a typed value."""

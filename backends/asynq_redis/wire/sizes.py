"""The size above which a request is large."""

from __future__ import annotations

from typing import Final

LARGE_BYTES: Final = 512 * 1024
"""Requests above this many bytes may exceed a limit of the server. No such limit can be below 1 MB.

A larger request carries one operation and is sent alone: the server refuses it by closing the connection.
"""

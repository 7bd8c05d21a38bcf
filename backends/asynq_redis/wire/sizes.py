"""What counts as a large request."""

from __future__ import annotations

from typing import Final

LARGE_BYTES: Final = 512 * 1024
"""Bytes above which a server may be configured to take no request: no limit of a server is below 1 MB.

A larger request is for one operation alone, and is sent alone: its refusal ends the connection.
"""

"""Bytes of users as text: as JSON, as they are, or in hexadecimal. Control characters are not escaped."""

from __future__ import annotations

import json
import re
from typing import Literal

from asynq.runtime.plain import text_of

DataView = Literal["json", "text", "hex"]
MAX_SHOWN = 64 * 1024
"""Bytes that a view for people shows at most."""
_HEX_LINE = 16
_SURROGATE = re.compile("[\ud800-\udfff]")


def pretty(value: bytes) -> str:
    """JSON indented, other text as it is, anything else in hexadecimal, all of it."""
    text = text_of(value)
    if text is None:
        return "\n".join(value[start : start + 32].hex(" ") for start in range(0, len(value), 32))
    return indented(text) or text


def views(value: bytes) -> tuple[DataView, ...]:
    """The views in which bytes can be shown, the best one first."""
    text = text_of(value)
    if text is None:
        return ("hex",)
    return ("json", "text", "hex") if len(value) <= MAX_SHOWN and indented(text) else ("text", "hex")


def viewed(value: bytes, view: DataView) -> str:
    """The first MAX_SHOWN bytes in a view. Bytes that are no text are replaced in the view "text"."""
    if view == "json":
        return indented(value.decode(errors="replace")) or ""
    start = value[:MAX_SHOWN]
    shown = start.decode(errors="replace") if view == "text" else _hex_dump(start)
    rest = len(value) - len(start)
    return f"{shown}\n… {rest:,} more bytes" if rest else shown


def indented(text: str) -> str | None:
    """JSON on several lines; None if it is no JSON."""
    try:
        value = json.loads(text)
        lines = json.dumps(value, indent=2, ensure_ascii=False)
        # Half a pair of surrogates is allowed as an escape, but is no character that could be written.
        return json.dumps(value, indent=2) if _SURROGATE.search(lines) else lines
    except (ValueError, RecursionError):
        return None


def _hex_dump(value: bytes) -> str:
    """Offsets, bytes, and those that are printable ASCII."""
    lines = []
    for start in range(0, len(value), _HEX_LINE):
        line = value[start : start + _HEX_LINE]
        ascii_ = "".join(chr(byte) if 32 <= byte < 127 else "." for byte in line)
        lines.append(f"{start:08x}  {line.hex(' '):<{3 * _HEX_LINE - 1}}  {ascii_}")
    return "\n".join(lines)

"""Names of queues, tasks and groups as segments of a path.

A name may be any text, and some texts are no segment of a path: "a/b", "..", "". Browsers and proxies change
these even if they are percent-encoded. They are written as "~" and their UTF-8 in URL-safe base64 without
padding. So are names that begin with "~".
"""

from __future__ import annotations

import re
from base64 import b64decode, urlsafe_b64encode
from binascii import Error
from urllib.parse import quote

_PLAIN = re.compile(r"(?!\.{1,2}$)[A-Za-z0-9._@+ -][A-Za-z0-9._@+: -]*")


def encode_name(name: str) -> str:
    """The name as a segment of a path, ready for a URL."""
    if _PLAIN.fullmatch(name):
        return quote(name, safe=":@+")
    return "~" + urlsafe_b64encode(name.encode()).decode().rstrip("=")


def decode_name(segment: str) -> str:
    """The name that a segment stands for, without percent-encoding. ValueError if it stands for none."""
    if not segment.startswith("~"):
        return segment
    encoded = segment[1:]
    try:
        name = b64decode(encoded + "=" * (-len(encoded) % 4), altchars=b"-_", validate=True).decode()
    except (Error, ValueError):
        raise ValueError(f"{segment!r} is not '~' and a name in base64") from None
    return name

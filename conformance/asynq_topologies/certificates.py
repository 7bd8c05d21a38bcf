"""A certificate for servers on this machine."""

from __future__ import annotations

import shutil
import subprocess
from typing import TYPE_CHECKING

from attrs import frozen

if TYPE_CHECKING:
    from pathlib import Path


@frozen
class Certificate:
    """Files in PEM format. It signs itself: who trusts it trusts these servers."""

    certificate: str
    key: str


def self_signed(directory: Path) -> Certificate:
    """One for 127.0.0.1, good for two days. FileNotFoundError without the openssl command."""
    openssl = shutil.which("openssl")
    if openssl is None:
        raise FileNotFoundError("openssl")
    made = Certificate(str(directory / "certificate.pem"), str(directory / "key.pem"))
    subprocess.run(
        [
            *(openssl, "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"),
            *("-subj", "/CN=redis", "-addext", "subjectAltName=IP:127.0.0.1"),
            *("-out", made.certificate, "-keyout", made.key),
        ],
        check=True,
        capture_output=True,
    )
    return made

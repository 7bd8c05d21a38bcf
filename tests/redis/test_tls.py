"""TLS contexts are shared, trust only the given authorities, and follow renewed certificates."""

from __future__ import annotations

import os
import shutil
import ssl
from typing import TYPE_CHECKING

import pytest

from asynq_redis import TLS
from asynq_redis.transport.tls import context_for
from asynq_topologies.certificates import self_signed

if TYPE_CHECKING:
    from pathlib import Path

    from asynq_topologies.certificates import Certificate


@pytest.fixture
def certificate(tmp_path: Path) -> Certificate:
    if not shutil.which("openssl"):
        pytest.skip("needs the openssl command")
    return self_signed(tmp_path)


def test_a_named_authority_replaces_those_of_the_system(certificate: Certificate) -> None:
    assert context_for(TLS(ca_file=certificate.certificate)).cert_store_stats()["x509"] == 1


def test_connections_share_a_context_until_a_certificate_is_renewed(certificate: Certificate) -> None:
    tls = TLS(ca_file=certificate.certificate, cert_file=certificate.certificate, key_file=certificate.key)
    first = context_for(tls)
    assert context_for(tls) is first
    os.utime(certificate.certificate, (1, 1))
    assert context_for(tls) is not first


def test_certificates_are_verified_by_default() -> None:
    assert context_for(TLS()).verify_mode is ssl.CERT_REQUIRED
    assert context_for(TLS()).check_hostname
    assert context_for(TLS(verify=False)).verify_mode is ssl.CERT_NONE

# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""A decrypted kubeconfig's key is never written to a disk."""

from __future__ import annotations

import base64
import datetime
import gc
import os
import ssl
import tempfile
import typing as t
from pathlib import Path

import pytest
from ansible_collections.hackspace.infra.plugins.module_utils._clients.kube import client_of
from ansible_collections.hackspace.infra.plugins.module_utils._clients.memory_files import keys_in_memory
from ansible_collections.hackspace.infra.plugins.module_utils._core.errors import InvalidInput
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

KEY = b"-----BEGIN PRIVATE KEY-----\nc2VjcmV0\n-----END PRIVATE KEY-----\n"


def _kubeconfig(key: bytes, certificate: bytes = b"x") -> dict[str, t.Any]:
    def text(data: bytes) -> str:
        return base64.b64encode(data).decode()

    return {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "c",
        "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
        "clusters": [{"name": "c", "cluster": {"server": "https://192.0.2.1:6443"}}],
        "users": [{"name": "u", "user": {"client-certificate-data": text(certificate), "client-key-data": text(key)}}],
    }


def test_the_key_is_in_memory_and_ends_with_the_client(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    private = ec.generate_private_key(ec.SECP256R1())
    key = private.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "u")])
    now = datetime.datetime.now(datetime.UTC)
    builder = x509.CertificateBuilder(name, name, private.public_key(), 1, now, now + datetime.timedelta(days=1))
    certificate = builder.sign(private, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    given = _kubeconfig(key, certificate)
    client = client_of({"kubeconfig": given})
    assert given == _kubeconfig(key, certificate)
    written = [path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()]
    assert certificate in written
    assert not [data for data in written if b"PRIVATE KEY" in data]
    path = client._configuration.key_file
    assert Path(path).read_bytes() == key
    context = ssl.create_default_context()
    context.load_cert_chain(client._configuration.cert_file, path)
    del client
    gc.collect()
    assert not os.path.exists(path)


def test_other_users_stay_as_they_are() -> None:
    given = _kubeconfig(KEY)
    given["users"] += [
        {"name": "t", "user": {"token": "x"}},
        {"name": "f", "user": {"client-key": "/k"}},
    ]
    result, files = keys_in_memory(given)
    assert [entry["user"] for entry in result["users"][1:]] == [entry["user"] for entry in given["users"][1:]]
    assert len(files) == 1
    assert result["users"][0]["user"]["client-key"] == files[0].path
    files[0].close()
    assert keys_in_memory({"users": None}) == ({"users": None}, [])


@pytest.mark.parametrize("shape", [lambda text: text + "\n", lambda text: text[:20] + "\n  " + text[20:]])
def test_a_key_that_is_wrapped_is_in_memory_as_well(shape: t.Callable[[str], str]) -> None:
    given = _kubeconfig(KEY)
    user = given["users"][0]["user"]
    user["client-key-data"] = shape(user["client-key-data"])
    result, files = keys_in_memory(given)
    assert Path(files[0].path).read_bytes() == KEY
    assert "client-key-data" not in result["users"][0]["user"]


def test_what_is_no_key_is_told_and_not_shown() -> None:
    given = _kubeconfig(KEY)
    given["users"][0]["user"]["client-key-data"] = "c2Vj?cmV0"
    with pytest.raises(InvalidInput) as caught:
        keys_in_memory(given)
    assert caught.value.rule == "client-key-data"
    assert caught.value.item == "kubeconfig, user u"
    assert "c2Vj" not in str(caught.value)

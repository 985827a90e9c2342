# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""An authority and a certificate for OpenBao at the highest verbosity: keys and passphrases are printed nowhere."""

from __future__ import annotations

import base64
import hashlib
import json
import stat
import typing as t
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from lab.api import Lab
from tests.integration.ansible_run import Result, private, run_play
from tests.secrets.test_site import leaks, notations

PLAYBOOK = Path(__file__).parents[2] / "playbooks" / "components.yml"
CLUSTER = "core-infra"
CA_PASSPHRASE = hashlib.sha256(b"of the authority").hexdigest()
KEY_PASSPHRASE = hashlib.sha256(b"of the servers").hexdigest()
IMAGE = f"openbao.invalid/openbao:2.4.4@sha256:{hashlib.sha256(b'').hexdigest()}"


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> t.Iterator[Lab]:
    made = Lab("components-secrets", tmp_path_factory.mktemp("lab"))
    made.up([CLUSTER])
    try:
        yield made
    finally:
        made.down(wipe=True)


def plain(path: Path, passphrase: str) -> set[str]:
    """Return a key as it would show up if it were printed: its lines in PEM, and those as data of a Kubernetes Secret.

    Lines with nothing but the public key in them are left out: certificates and requests may have the same.
    """
    key = serialization.load_pem_private_key(path.read_bytes(), passphrase.encode())
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    number = key.private_numbers().private_value.to_bytes((key.key_size + 7) // 8, "big")
    found: set[str] = set()
    for form in (serialization.PrivateFormat.PKCS8, serialization.PrivateFormat.TraditionalOpenSSL):
        start = key.private_bytes(serialization.Encoding.DER, form, serialization.NoEncryption()).index(number)
        pem = key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption()).decode()
        lines = [line for line in pem.splitlines() if not line.startswith("-")]
        for line in lines[start // 48 : (start + len(number) - 1) // 48 + 1]:
            found.add(line)
            found |= {base64.b64encode(b"\n" * shift + line.encode()).decode()[4:-4] for shift in range(3)}
    return found


def play(lab: Lab, folder: Path, **more: t.Any) -> Result:
    check = more.pop("check", False)
    variables = {
        "platform_name": "hackspace-lab",
        "platform_clusters": [{"name": CLUSTER, "kubeconfig": str(lab.clusters[CLUSTER].kubeconfig)}],
        "platform_components": [{"name": "openbao", "openbao": {"image": IMAGE}}],
        "platform_components_certificates_dir": str(folder / "certificates"),
        "platform_components_ca_passphrase": CA_PASSPHRASE,
        "platform_components_key_passphrase": KEY_PASSPHRASE,
        **more,
    }
    file = private(folder / "variables.json", json.dumps(variables))
    return run_play(PLAYBOOK, extra_vars_file=file, check=check, diff=True, verbosity=4)


def test_keys_and_passphrases_stay_where_they_are(lab: Lab, tmp_path: Path) -> None:
    certificates = tmp_path / "certificates"
    planned = play(lab, tmp_path, check=True).ok()
    assert not certificates.exists()
    first = play(lab, tmp_path).ok()
    renewed = play(lab, tmp_path, platform_components_renew_days=366, platform_components_certificate_days=730).ok()
    assert "Apply the components" in renewed.changed
    wrong = play(lab, tmp_path, platform_components_key_passphrase="not the right passphrase")
    assert wrong.rc != 0
    assert "[tls-passphrase]" in wrong.stdout
    (certificates / "ca.key").rename(tmp_path / "offline.key")
    refused = play(lab, tmp_path, platform_components_renew_days=731, platform_components_certificate_days=732)
    assert refused.rc != 0
    assert "[ca-key]" in refused.stdout
    second = play(lab, tmp_path, platform_components_ca_passphrase="").ok()
    assert second.changed == []

    keys = [(tmp_path / "offline.key", CA_PASSPHRASE), (certificates / f"openbao-{CLUSTER}.key", KEY_PASSPHRASE)]
    assert [stat.S_IMODE(path.stat().st_mode) for path, _passphrase in keys] == [0o600, 0o600]
    secrets = {text for path, passphrase in keys for text in plain(path, passphrase)}
    secrets |= {text for passphrase in (CA_PASSPHRASE, KEY_PASSPHRASE) for text in notations(passphrase)}
    runs = {
        "planned": planned,
        "first": first,
        "renewed": renewed,
        "wrong": wrong,
        "refused": refused,
        "second": second,
    }
    assert {name: leaks(run, secrets) for name, run in runs.items()} == {name: [] for name in runs}
    for path in certificates.iterdir():
        assert not [text for text in secrets if text in path.read_text()]
    # The proof that the right thing was searched for: the Kubernetes Secret has it.
    stored = lab.kube_server(CLUSTER).request("GET", "/api/v1/namespaces/openbao/secrets/openbao-tls").body
    assert any(text in base64.b64decode(stored["data"]["tls.key"]).decode() for text in secrets)

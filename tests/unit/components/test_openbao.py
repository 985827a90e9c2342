# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""OpenBao's manifests, and its certificate as a Kubernetes Secret."""

from __future__ import annotations

import datetime
import hashlib
import typing as t

import pytest
import yaml
from ansible.errors import AnsibleFilterError
from ansible_collections.hackspace.infra.plugins.filter.openbao_manifests import openbao_manifests
from ansible_collections.hackspace.infra.plugins.module_utils._components import openbao, tls
from ansible_collections.hackspace.infra.plugins.module_utils._components.model import TlsSecret
from ansible_collections.hackspace.infra.plugins.module_utils._core.errors import InvalidInput
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

IMAGE = f"quay.io/openbao/openbao:2.4.4@sha256:{hashlib.sha256(b'').hexdigest()}"
NOW = datetime.datetime(2026, 11, 21, tzinfo=datetime.UTC)
PASSPHRASE = "a long passphrase"


def by_kind(**settings: t.Any) -> dict[str, dict[str, t.Any]]:
    found = openbao.objects(openbao.parse({"image": IMAGE, **settings}))
    return {f"{one['kind']} {one['metadata']['name']}": one for one in found}


def test_three_servers_that_find_each_other() -> None:
    found = by_kind()
    assert list(found) == [
        "ServiceAccount openbao",
        "ConfigMap openbao-config",
        "Service openbao",
        "Service openbao-internal",
        "PodDisruptionBudget openbao",
        "StatefulSet openbao",
    ]
    config = found["ConfigMap openbao-config"]["data"]["openbao.hcl"]
    for number in range(3):
        assert f'leader_api_addr       = "https://openbao-{number}.openbao-internal:8200"' in config
        assert f'leader_tls_servername = "openbao-{number}.openbao-internal"' in config
    assert found["Service openbao-internal"]["spec"]["publishNotReadyAddresses"]
    spec = found["StatefulSet openbao"]["spec"]
    assert (spec["podManagementPolicy"], spec["updateStrategy"]) == ("Parallel", {"type": "OnDelete"})
    assert spec["template"]["spec"]["volumes"][1]["secret"]["secretName"] == "openbao-tls"


def test_names_are_those_that_servers_and_clients_use() -> None:
    names = openbao.names(openbao.parse({"image": IMAGE, "name": "bao", "namespace": "0-core-bao"}))
    assert {"bao.0-core-bao.svc", "bao-2.bao-internal", "bao-0.bao-internal.0-core-bao.svc.cluster.local"} <= set(names)
    assert len(names) == len(set(names)) == 21
    assert not any(name.startswith("*") for name in names)


def test_what_can_be_chosen() -> None:
    pod = by_kind(
        replicas=5,
        spread="preferred",
        storage_class="fast",
        priority_class="core",
        node_selector={"zone": "a"},
        tolerations=[{"operator": "Exists"}],
        resources={"requests": {"memory": "256Mi"}},
        extra_config='seal "transit" {}',
    )
    spec = pod["StatefulSet openbao"]["spec"]
    assert spec["replicas"] == 5
    assert spec["volumeClaimTemplates"][0]["spec"]["storageClassName"] == "fast"
    inner = spec["template"]["spec"]
    assert inner["priorityClassName"] == "core"
    assert inner["nodeSelector"] == {"zone": "a"}
    assert inner["tolerations"] == [{"operator": "Exists"}]
    assert inner["containers"][0]["resources"] == {"requests": {"memory": "256Mi"}}
    assert "preferredDuringSchedulingIgnoredDuringExecution" in inner["affinity"]["podAntiAffinity"]
    assert 'seal "transit" {}' in pod["ConfigMap openbao-config"]["data"]["openbao.hcl"]


def test_the_filter_gives_the_same_as_text() -> None:
    found = openbao_manifests({"image": IMAGE})
    assert list(yaml.safe_load_all(found["yaml"])) == found["objects"]
    assert "&id" not in found["yaml"]
    assert (found["namespace"], found["tls_secret"]) == ("openbao", "openbao-tls")
    with pytest.raises(AnsibleFilterError, match=r"openbao\.image: .*\[openbao-image\]"):
        openbao_manifests({"image": "openbao"})


class Pair(t.NamedTuple):
    key: ec.EllipticCurvePrivateKey
    certificate: x509.Certificate

    @property
    def pem(self) -> bytes:
        return self.certificate.public_bytes(serialization.Encoding.PEM)

    def locked(self, passphrase: str = PASSPHRASE) -> bytes:
        encryption = serialization.BestAvailableEncryption(passphrase.encode())
        return self.key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption)


def pair(name: str, issuer: Pair | None = None) -> Pair:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer.certificate.subject if issuer else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(NOW - datetime.timedelta(days=1))
        .not_valid_after(NOW + datetime.timedelta(days=10))
        .sign(issuer.key if issuer else key, hashes.SHA256())
    )
    return Pair(key, certificate)


CA = pair("CA")
SERVER = pair("openbao", CA)


def secret(**changes: t.Any) -> dict[str, t.Any]:
    given: dict[str, t.Any] = {
        "certificate": SERVER.pem,
        "key": SERVER.locked(),
        "authority": CA.pem,
        "now": NOW,
        **changes,
    }
    passphrase = given.pop("passphrase", PASSPHRASE)
    wanted = TlsSecret("openbao-tls", "openbao", "/c", "/k", "/a", passphrase)
    return dict(tls.secret(wanted, item="tls_secrets[0]", **given).body)


def test_the_key_is_decrypted_for_the_kubernetes_secret_only() -> None:
    body = secret()
    assert body["type"] == "kubernetes.io/tls"
    key = serialization.load_pem_private_key(body["stringData"]["tls.key"].encode(), None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    assert key.private_numbers() == SERVER.key.private_numbers()


@pytest.mark.parametrize(
    ("changes", "rule", "item"),
    [
        ({"certificate": b"nothing"}, "tls-pem", "certificate_file"),
        ({"authority": b"nothing"}, "tls-pem", "ca_file"),
        ({"key": pair("x").locked()}, "tls-key", "key_file"),
        ({"now": NOW + datetime.timedelta(days=11)}, "tls-time", "certificate_file"),
        ({"authority": pair("CA").pem}, "tls-authority", "ca_file"),
        ({"passphrase": ""}, "tls-key-plain", "key_file"),
        ({"passphrase": "hunter2 hunter2"}, "tls-passphrase", "key_file"),
    ],
)
def test_what_does_not_belong_together_is_refused(changes: dict[str, t.Any], rule: str, item: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        secret(**changes)
    assert (caught.value.rule, caught.value.item) == (rule, f"tls_secrets[0].{item}")
    assert "hunter2" not in str(caught.value)
    assert caught.value.fix


def test_a_key_that_is_not_encrypted_is_refused() -> None:
    plain = SERVER.key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    with pytest.raises(InvalidInput, match="tls-key-plain"):
        secret(key=plain)

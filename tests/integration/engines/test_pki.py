# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Certificate authorities on a real server: a root, an intermediate of it, one that somebody outside signs."""

from __future__ import annotations

import datetime
import typing as t

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from .conftest import Engines


def pki(path: str, max_lease: str = "87600h", **content: t.Any) -> dict[str, t.Any]:
    return {"path": path, "type": "pki", "config": {"max_lease_ttl": max_lease}, "pki": content}


def root(tag: str, **more: t.Any) -> dict[str, t.Any]:
    return {"type": "root", "common_name": f"{tag} root", "issuer_name": "root-2026", "ttl": "87600h", **more}


def outside(
    common_name: str, csr: str, *, key: ec.EllipticCurvePrivateKey | None = None, ca: bool = True, days: int = 900
) -> str:
    """Sign a request as an authority that OpenBao knows nothing of; with *key* for that key instead."""
    request = x509.load_pem_x509_csr(csr.encode())
    signer = ec.generate_private_key(ec.SECP256R1())
    issuer = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "somebody outside")])
    now = datetime.datetime.now(datetime.UTC)

    def sign(subject: x509.Name, public: t.Any, authority: bool) -> str:
        certificate = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(issuer)
            .public_key(public)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(days=1000))
            .not_valid_after(now + datetime.timedelta(days=days))
            .add_extension(x509.BasicConstraints(ca=authority, path_length=None), True)
            .sign(signer, hashes.SHA256())
        )
        return certificate.public_bytes(serialization.Encoding.PEM).decode()

    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, common_name)])
    public: t.Any = key.public_key() if key else request.public_key()
    return sign(name, public, ca) + sign(issuer, signer.public_key(), True)


def test_root_intermediate_and_a_certificate(engines: Engines) -> None:
    tag = engines.tag
    urls = {"issuing_certificates": [f"https://openbao.example.org/v1/{tag}-int/ca"]}
    role = {
        "name": "listener",
        "allowed_domains": ["example.org"],
        "allow_subdomains": True,
        "ttl": "720h",
        "key_type": "ec",
    }
    middle = {"type": "intermediate", "common_name": f"{tag} int", "signed_by": f"{tag}-root", "ttl": "43800h"}
    # the intermediate comes first in the list, and is made after its root
    done = engines.twice(
        pki(
            f"{tag}-int",
            ca={**middle, "issuer_name": "int-2026", "organization": ["Hackspace"], "max_path_length": 0},
            urls=urls,
            crl={"expiry": "96h", "auto_rebuild": True},
            tidy={"enabled": True, "tidy_cert_store": True, "interval_duration": "24h"},
            roles=[role],
        ),
        pki(f"{tag}-root", ca=root(tag)),
    )
    assert [(c["kind"], c["name"]) for c in done["changes"]] == [
        ("secret engine", f"{tag}-int"),
        ("secret engine", f"{tag}-root"),
        ("certificate authority", f"{tag}-root"),
        ("PKI addresses", f"{tag}-int"),
        ("certificate authority", f"{tag}-int"),
        ("revocation list settings", f"{tag}-int"),
        ("tidy settings", f"{tag}-int"),
        ("PKI role", f"{tag}-int/listener"),
    ]
    by_path = {one["path"]: one for one in done["pki"]}
    assert by_path[f"{tag}-int"]["issuer"] == f"{tag} root"
    assert by_path[f"{tag}-root"]["days_left"] in (3649, 3650)
    assert {one["state"] for one in done["pki"]} == {"ok"}
    issued = engines.server.write(f"{tag}-int/issue/listener", {"common_name": "openbao.example.org"})["data"]
    assert len(issued["ca_chain"]) == 2
    leaf = x509.load_pem_x509_certificate(issued["certificate"].encode())
    issuer = x509.load_pem_x509_certificate(issued["ca_chain"][0].encode())
    leaf.verify_directly_issued_by(issuer)
    issuer.verify_directly_issued_by(x509.load_pem_x509_certificate(by_path[f"{tag}-root"]["certificate"].encode()))
    assert [n.value for n in issuer.subject.get_attributes_for_oid(x509.NameOID.ORGANIZATION_NAME)] == ["Hackspace"]

    # a role keeps what is not declared when something else of it changes
    engines.server.write(f"{tag}-int/roles/listener", {**role, "max_ttl": "1000h", "allow_ip_sans": False})
    changed = engines.twice(pki(f"{tag}-int", roles=[{**role, "ttl": "700h"}]))
    assert [c["why"] for c in changed["changes"]] == ["ttl differs"]
    there = engines.server.data(f"{tag}-int/roles/listener") or {}
    assert (there["ttl"], there["max_ttl"], there["allow_ip_sans"]) == (2520000, 3600000, False)
    soon = engines.run(pki(f"{tag}-root", ca=root(tag, warn_before="90000h")))
    assert any("expires at" in w for w in soon["warnings"])
    assert (soon["pki"][0]["state"], soon["changed"]) == ("expires_soon", False)


def test_an_authority_is_never_made_anew(engines: Engines) -> None:
    tag = engines.tag
    engines.run(pki(tag, ca=root(tag)))
    before = (engines.server.data(f"{tag}/issuer/default") or {})["certificate"]
    assert f"is '{tag} root', not 'another'" in engines.fails(
        "ca-other-name", pki(tag, ca=root(tag, common_name="another"))
    )
    engines.fails("ca-kind", pki(tag, ca={"type": "intermediate", "common_name": f"{tag} root"}))
    engines.fails("issuer-unknown", pki(tag, default_issuer="nobody"))
    engines.twice(pki(tag, ca=root(tag, issuer_name="renamed")))
    assert (engines.server.data(f"{tag}/issuer/renamed") or {})["certificate"] == before
    assert len(engines.server.keys(f"{tag}/issuers")) == 1
    # another issuer made by hand becomes the default again only where that is declared
    engines.server.write(
        f"{tag}/root/generate/internal", {"common_name": "by hand", "issuer_name": "hand", "ttl": "2000h"}
    )
    engines.twice(pki(tag, default_issuer="hand"))
    engines.twice(pki(tag, default_issuer="renamed", ca=root(tag, issuer_name="renamed")))
    # what the server would do silently: cut it to what the signer's mount allows, or let it outlive the signer
    long = {"type": "intermediate", "common_name": "x", "ttl": "87601h", "signed_by": tag}
    engines.fails("ca-ttl-above-signer", pki(f"{tag}-int", "90000h", ca=long))
    engines.fails(
        "ca-outlives-signer",
        pki(tag, "90000h", default_issuer="renamed", ca=root(tag, issuer_name="renamed")),
        pki(f"{tag}-int", "90000h", ca={**long, "ttl": "88000h"}),
    )
    engines.fails(
        "signer-unknown",
        pki(f"{tag}-int", ca={"type": "intermediate", "common_name": "x", "ttl": "1h", "signed_by": "nowhere"}),
    )


def test_signed_outside(engines: Engines) -> None:
    tag = engines.tag
    ca = {"type": "intermediate", "common_name": f"{tag} int", "issuer_name": "outside-1"}
    assert engines.run(pki(tag, ca=ca), check=True)["pki"][0]["csr"] == ""
    engines.fails("certificate-without-key", pki(tag, ca={**ca, "certificate": outside(f"{tag} int", REQUEST)}))
    first = engines.run(pki(tag, ca=ca))
    assert [c["kind"] for c in first["changes"]] == ["secret engine", "certificate request"]
    second = engines.run(pki(tag, ca=ca))
    assert not second["changed"]
    csrs = [x509.load_pem_x509_csr(r["pki"][0]["csr"].encode()).public_key() for r in (first, second)]
    assert csrs[0] == csrs[1]
    assert len(engines.server.keys(f"{tag}/keys")) == 1
    csr = second["pki"][0]["csr"]
    other = outside(f"{tag} int", csr, key=ec.generate_private_key(ec.SECP256R1()))
    engines.fails("certificate-other-key", pki(tag, ca={**ca, "certificate": other}))
    engines.fails("certificate-expired", pki(tag, ca={**ca, "certificate": outside(f"{tag} int", csr, days=-1)}))
    engines.fails("certificate-name", pki(tag, ca={**ca, "certificate": outside("other", csr)}))
    engines.fails("certificate-not-ca", pki(tag, ca={**ca, "certificate": outside(f"{tag} int", csr, ca=False)}))
    assert not engines.server.keys(f"{tag}/issuers")
    signed = {**ca, "certificate": outside(f"{tag} int", csr)}
    done = engines.twice(pki(tag, ca=signed))
    assert [c["kind"] for c in done["changes"]] == ["certificate authority"]
    assert (done["pki"][0]["state"], done["pki"][0]["issuer"]) == ("ok", "somebody outside")
    assert (engines.server.data(f"{tag}/issuer/outside-1") or {})["key_id"]
    assert not engines.run(pki(tag, ca=ca))["changed"]
    # signed again: it is not taken without a word
    engines.fails("ca-other-certificate", pki(tag, ca={**ca, "certificate": outside(f"{tag} int", csr)}))


def test_an_expired_authority_is_said(engines: Engines) -> None:
    tag = engines.tag
    ca = {"type": "intermediate", "common_name": f"{tag} int"}
    csr = engines.run(pki(tag, ca=ca))["pki"][0]["csr"]
    engines.server.write(f"{tag}/intermediate/set-signed", {"certificate": outside(f"{tag} int", csr, days=-1)})
    assert "has expired" in engines.fails("ca-expired", pki(tag, ca=ca))


def test_an_interrupted_intermediate_is_finished_with_the_key_that_is_there(engines: Engines) -> None:
    tag = engines.tag
    wanted = [
        pki(f"{tag}-root", ca=root(tag)),
        pki(
            f"{tag}-int", ca={"type": "intermediate", "common_name": "int", "signed_by": f"{tag}-root", "ttl": "2000h"}
        ),
    ]
    with engines.server.proxy() as proxy:
        proxy.cut("before", path="/sign-intermediate$")
        engines.server.fails("openbao_secret_engines", "cut", engines=wanted, url=proxy.address)
    assert len(engines.server.keys(f"{tag}-int/keys")) == 1
    done = engines.twice(*wanted)
    assert [c["name"] for c in done["changes"]] == [f"{tag}-int"]
    assert len(engines.server.keys(f"{tag}-int/keys")) == 1


def _request() -> str:
    key = ec.generate_private_key(ec.SECP256R1())
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([]))
    return builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM).decode()


REQUEST = _request()

# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""openbao_init against three real servers."""

from __future__ import annotations

import datetime
import json
import os
import signal
import stat
import subprocess
import sys
import typing as t
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from .conftest import PASSWORD, ROOT, Site


def _everything_printed_and_written(site: Site, *outputs: str) -> str:
    texts = list(outputs)
    for place in (site.shares, site.folder / "ansible"):
        texts += [p.read_text(errors="replace") for p in place.rglob("*") if p.is_file()]
    return "\n".join(texts)


def test_a_fresh_site_comes_up_in_one_run(site: Site) -> None:
    check = site.run("openbao_init", site.init_args(), "--check", "--diff")
    assert check.rc == 0, check.output
    assert check.result["changed"] is True
    assert check.result["initialised"] is False
    assert list(site.shares.iterdir()) == []
    assert site.ask("GET", "sys/init").json() == {"initialized": False}

    ran = site.run("openbao_init", site.init_args(), "-vvv", "--diff")
    assert ran.rc == 0, ran.output
    assert ran.result["changed"] is True
    assert ran.result["root_token"] == "revoked"
    assert ran.result["admin_login"] == "works"
    assert [n["state"] for n in ran.result["nodes"]] == ["unsealed"] * 3
    assert ran.result["changes"] == check.result["changes"]
    assert site.root_tokens() == 0

    shares = site.decrypted()
    assert sorted(shares) == sorted(h["name"] for h in site.holders)
    assert {stat.S_IMODE(p.stat().st_mode) for p in site.shares.iterdir()} == {0o600}
    assert sorted(p.name for p in site.shares.iterdir()) == sorted(
        [f"{n}.asc" if n == "eve" else f"{n}.age" for n in shares] + ["shares.json"]
    )
    for name, text in ran.result["encrypted_shares"].items():
        assert site.decrypt(name, text.encode()) == shares[name]

    record = json.loads((site.shares / "shares.json").read_text())
    assert record["state"] == "complete"
    assert [h["fingerprint"] for h in record["holders"]] == [s["fingerprint"] for s in ran.result["shares"]]

    printed = _everything_printed_and_written(site, check.output, ran.output)
    for secret in (*shares.values(), PASSWORD):
        assert secret not in printed
    assert "hvs." not in printed

    again = site.run("openbao_init", site.init_args(), "-vvv", "--diff")
    assert again.rc == 0, again.output
    assert again.result["changed"] is False
    assert again.result["admin_login"] == "works"

    site.lab.restart("openbao")
    sealed = site.run("openbao_init", site.init_args())
    assert sealed.rc == 0, sealed.output
    assert sealed.result["changed"] is False
    assert sealed.result["admin_login"] == "unknown"
    assert [n["state"] for n in sealed.result["nodes"]] == ["sealed"] * 3
    sources = [site.age_source("bo"), site.age_source("dan"), {"name": "eve", "share": shares["eve"]}]
    unsealed = site.run(
        "openbao_unseal", {"nodes": site.nodes, "ca_cert": str(site.lab.openbao_ca), "holders": sources}
    )
    assert unsealed.rc == 0, unsealed.output
    assert [site.ask("GET", "sys/seal-status", node=i).json()["sealed"] for i in range(3)] == [False] * 3


def test_the_password_may_be_encrypted_with_ansible_vault(site: Site) -> None:
    key = site.folder / "vault-key"
    key.touch(mode=0o600)
    key.write_text("vault-key-of-the-test")
    encrypt = [str(Path(sys.executable).parent / "ansible-vault"), "encrypt", "--vault-password-file", str(key)]
    subprocess.run([*encrypt, str(site.password_file)], check=True, capture_output=True, timeout=60, cwd=ROOT)
    assert PASSWORD not in site.password_file.read_text()
    closed = site.run("openbao_init", site.init_args(unseal=False), "--check")
    assert closed.result["error"]["rule"] == "vault"
    ran = site.run("openbao_init", site.init_args(unseal=False), "--vault-password-file", str(key))
    assert ran.rc == 0, ran.output
    assert site.admin_token()
    assert PASSWORD not in _everything_printed_and_written(site, ran.output)


def test_killed_before_the_login_is_made_it_is_finished_by_generate_root(site: Site) -> None:
    with site.lab.proxy("openbao-0") as proxy:
        args = site.init_args(nodes=site.through(proxy), unseal=False)
        process = subprocess.Popen(
            site.command("openbao_init", args),
            env=site.environment(),
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        proxy.call(lambda *_: os.killpg(process.pid, signal.SIGKILL), path="sys/auth")
        process.communicate(timeout=120)
    assert process.returncode == -signal.SIGKILL
    shares = site.decrypted()
    assert len(shares) == 5
    assert json.loads((site.shares / "shares.json").read_text())["state"] == "written"

    again = site.run("openbao_init", site.init_args())
    assert again.rc == 0, again.output
    assert again.result["changed"] is False
    assert again.result["admin_login"] == "refused"
    assert "openbao_generate_root" in again.output

    sources = [site.age_source("ada"), site.age_source("cleo"), {"name": "eve", "share": shares["eve"]}]
    args = site.root_args([], holders=sources, revoke_other_root_tokens=True)
    finish = site.run("openbao_generate_root", args, "-vvv", "--diff")
    assert finish.rc == 0, finish.output
    assert finish.result["root_token"] == "revoked"
    assert finish.result["other_root_tokens"] == 1
    assert finish.result["admin_login"] == "works"
    assert site.root_tokens() == 0
    for share in shares.values():
        assert share not in finish.output


def test_a_lost_answer_is_called_what_it_is(site: Site) -> None:
    with site.lab.proxy("openbao-0") as proxy:
        args = site.init_args(nodes=site.through(proxy), unseal=False)
        proxy.cut("after", method="PUT", path="sys/init")
        ran = site.run("openbao_init", args)
    assert ran.rc != 0
    assert ran.result["error"]["rule"] == "init-answer-lost"
    assert "empty the storage folder" in ran.result["msg"]
    again = site.run("openbao_init", site.init_args())
    assert again.rc != 0
    assert again.result["error"]["rule"] == "shares-lost"
    site.lab.reset()
    assert site.run("openbao_init", site.init_args(unseal=False)).result["root_token"] == "revoked"


def test_a_request_that_never_arrived_leaves_nothing_behind(site: Site) -> None:
    with site.lab.proxy("openbao-0") as proxy:
        args = site.init_args(nodes=site.through(proxy), unseal=False)
        for status in (None, 502):
            if status is None:
                proxy.cut("before", path="sys/init")
            else:
                proxy.fail(status, path="sys/init")
            ran = site.run("openbao_init", args)
            assert ran.rc != 0
            assert "Nothing was initialised" in ran.result["msg"]
            assert list(site.shares.iterdir()) == []
    assert site.run("openbao_init", site.init_args(unseal=False)).rc == 0


def test_when_the_login_cannot_be_made_the_root_token_goes_all_the_same(site: Site) -> None:
    with site.lab.proxy("openbao-0") as proxy:
        args = site.init_args(nodes=site.through(proxy), unseal=False)
        proxy.fail(500, method="PUT", path="sys/policies")
        ran = site.run("openbao_init", args)
    assert ran.rc != 0
    assert ran.result["root_token"] == "revoked"
    assert "openbao_generate_root" in ran.result["msg"]
    assert sorted(ran.result["encrypted_shares"]) == sorted(h["name"] for h in site.holders)
    shares = site.decrypted()
    finish = site.run("openbao_generate_root", site.root_args([(n, shares[n]) for n in ("ada", "bo", "eve")]))
    assert finish.rc == 0, finish.output
    assert site.root_tokens() == 0


def test_nothing_is_initialised_while_a_node_cannot_be_asked(site: Site) -> None:
    site.lab.stop("openbao-2")
    ran = site.run("openbao_init", site.init_args())
    assert ran.rc != 0
    assert ran.result["error"]["rule"] == "node-unreachable"
    assert ran.result["error"]["item"] == "node openbao-2"
    assert site.ask("GET", "sys/init").json() == {"initialized": False}
    assert list(site.shares.iterdir()) == []


def test_a_fresh_node_beside_initialised_ones_is_never_initialised(living: Site) -> None:
    args = living.init_args(nodes=[living.nodes[2], living.nodes[0], living.nodes[1]])
    ran = living.run("openbao_init", args)
    assert ran.rc == 0, ran.output
    assert ran.result["changed"] is False
    assert len(list(living.shares.iterdir())) == 6


def test_openbao_itself_encrypts_to_pgp_holders(site: Site) -> None:
    eve = [h for h in site.holders if h["name"] == "eve"]
    args = site.init_args(
        holders=eve,
        shares=1,
        threshold=1,
        single_share=True,
        encrypt_on="server",
        root_token_holder="eve",
        unseal=False,
        admin=None,
    )
    ran = site.run("openbao_init", args)
    assert ran.rc == 0, ran.output
    assert ran.result["root_token"] == "encrypted"
    share = site.decrypt("eve", (site.shares / "eve.asc").read_bytes())
    assert site.ask("PUT", "sys/unseal", {"key": share}).json()["sealed"] is False
    token = site.decrypt("eve", (site.shares / "root-token.eve.asc").read_bytes())
    assert token not in ran.output
    assert site.ask("GET", "sys/seal-status").json()["sealed"] is False


def _client_certificate(folder: Path) -> dict[str, t.Any]:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "platform-admin")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(minutes=1))
        .not_valid_after(now + datetime.timedelta(hours=1))
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem, key_pem = folder / "admin.pem", folder / "admin.key"
    pem.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    key_pem.touch(mode=0o600)
    key_pem.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return {
        "auth_method": "cert",
        "username": "platform-admin",
        "certificate_file": str(pem),
        "private_key_file": str(key_pem),
    }


def test_administrators_may_log_in_with_a_certificate(site: Site) -> None:
    admin = _client_certificate(site.folder)
    ran = site.run("openbao_init", site.init_args(admin=admin, unseal=False))
    assert ran.rc == 0, ran.output
    assert ran.result["admin_login"] == "works"
    assert ran.result["nodes"][0]["state"] == "unsealed"
    again = site.run("openbao_init", site.init_args(admin=admin, unseal=False))
    assert again.result["admin_login"] == "works"
    assert again.result["changed"] is False

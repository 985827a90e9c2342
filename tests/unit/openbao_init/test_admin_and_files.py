# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The administrators' login, encryption to people, private files."""

from __future__ import annotations

import os
import stat
import subprocess
import typing as t
from pathlib import Path

import pyrage
import pytest
from ansible_collections.hackspace.infra.plugins.module_utils._core import encrypt, private_files
from ansible_collections.hackspace.infra.plugins.module_utils._core.errors import HackspaceError
from ansible_collections.hackspace.infra.plugins.module_utils._core.redact import Secret
from ansible_collections.hackspace.infra.plugins.module_utils._openbao import admin_apply, admin_plan
from hypothesis import given
from hypothesis import strategies as st

from .conftest import Api, Cluster, run_program

RAW = {"username": "platform-admin", "password": "0123456789abcdef"}


def _admin(**changes: t.Any) -> admin_plan.Admin:
    return admin_plan.parse_admin({**RAW, **changes}, item="admin")


def test_nothing_there_makes_mount_policy_and_login_in_this_order() -> None:
    plan = admin_plan.plan_admin(_admin(), admin_plan.Present())
    assert [c.payload[:2] for c in plan.changes] == [
        ("POST", "sys/auth/userpass"),
        ("PUT", "sys/policies/acl/platform-admin"),
        ("POST", "auth/userpass/users/platform-admin"),
    ]
    assert RAW["password"] not in str(plan.diff()) + str(plan.report()) + repr(plan)


def test_what_is_there_is_left_and_the_password_is_set_anew() -> None:
    admin = _admin()
    present = admin_plan.Present({"userpass": "userpass"}, admin.policy, {"token_ttl": 0})
    plan = admin_plan.plan_admin(admin, present)
    assert [(c.kind, c.action) for c in plan.changes] == [("userpass login", "update")]
    assert plan.unchanged == 2


def test_a_policy_that_is_not_ours_is_kept_unless_adopted() -> None:
    present = admin_plan.Present({}, 'path "x" { capabilities = ["read"] }', None)
    with pytest.raises(HackspaceError) as caught:
        admin_plan.plan_admin(_admin(), present)
    assert caught.value.rule == "adopt"
    assert "adopt" in [c.action for c in admin_plan.plan_admin(_admin(), present, adopt=True).changes]


def test_a_policy_of_ours_is_brought_up_to_date() -> None:
    present = admin_plan.Present({}, f"{admin_plan.OWNED_LINE}\nold", None)
    assert "update" in [c.action for c in admin_plan.plan_admin(_admin(), present).changes]


def test_a_mount_of_another_type_is_refused() -> None:
    with pytest.raises(HackspaceError) as caught:
        admin_plan.plan_admin(_admin(), admin_plan.Present({"userpass": "ldap"}))
    assert caught.value.rule == "admin-mount-type"


def test_policies_are_marked_as_ours() -> None:
    assert _admin(policy='path "a" {}').policy.splitlines()[0] == admin_plan.OWNED_LINE
    assert admin_plan.DEFAULT_POLICY.count(admin_plan.OWNED_LINE) == 1
    assert 'path "kv/data' not in admin_plan.DEFAULT_POLICY


def test_other_root_tokens_are_found_and_revoked_and_ours_is_not() -> None:
    cluster = Cluster()
    cluster.live["hvs.left"] = {"policies": ["root"], "accessor": "a-left"}
    cluster.live["hvs.user"] = {"policies": ["default"], "accessor": "a-user"}
    api = Api(cluster, "n0")
    api.use_token(Secret(cluster.root))
    assert admin_apply.revoke_other_root_tokens(api) == 1
    assert set(cluster.live) == {cluster.root, "hvs.user"}


def test_the_login_is_told_apart_from_a_server_that_does_not_answer() -> None:
    cluster = Cluster()
    assert admin_apply.login_state(_admin(), cluster.login_as) == "refused"
    cluster.users["platform-admin"] = {"password": RAW["password"], "token_policies": ["other"]}
    assert admin_apply.login_state(_admin(), cluster.login_as) == "refused"
    cluster.users["platform-admin"]["token_policies"] = ["platform-admin"]
    assert admin_apply.login_state(_admin(), cluster.login_as) == "works"
    assert set(cluster.live) == {cluster.root}


def test_the_pgp_fingerprint_is_the_one_gpg_shows(pgp: Path) -> None:
    listed = subprocess.run(
        ["gpg", "--homedir", str(pgp), "--batch", "--with-colons", "--list-keys", "pat@example.org"],
        check=True,
        capture_output=True,
        text=True,
        timeout=60,
    ).stdout
    expected = next(line.split(":")[9] for line in listed.splitlines() if line.startswith("fpr:"))
    for name in ("pgp.asc", "pgp.gpg"):
        assert encrypt.PgpRecipient(str(pgp / name), run_program, item="x").label == f"PGP {expected}"


def test_gpg_reads_what_was_encrypted_and_what_was_armored(pgp: Path) -> None:
    text = encrypt.PgpRecipient(str(pgp / "pgp.asc"), run_program, item="x").encrypt(b"00ff")
    again = encrypt.armor_message(
        subprocess.run(["gpg", "--dearmor"], input=text.encode(), check=True, capture_output=True, timeout=60).stdout
    )
    for message in (text, again):
        done = subprocess.run(
            [
                "gpg",
                "--homedir",
                str(pgp),
                "--batch",
                "--quiet",
                "--pinentry-mode",
                "loopback",
                "--passphrase",
                "",
                "-d",
            ],
            input=message.encode(),
            check=True,
            capture_output=True,
            timeout=60,
        )
        assert done.stdout == b"00ff"


@given(st.binary(max_size=600))
def test_any_bytes_are_a_key_or_one_error(raw: bytes) -> None:
    rules: list[str] = []
    try:
        encrypt.fingerprint_of(encrypt.dearmor(raw, item="x"), item="x")
    except HackspaceError as error:
        rules.append(error.rule)
    assert set(rules) <= {"pgp-key", "pgp-secret"}


@given(st.binary(min_size=1, max_size=300))
def test_age_gives_back_what_it_took(data: bytes) -> None:
    identity = pyrage.x25519.Identity.generate()
    text = encrypt.AgeRecipient(str(identity.to_public()), item="x").encrypt(data)
    assert text.startswith("-----BEGIN AGE ENCRYPTED FILE-----")
    assert pyrage.decrypt(text.encode(), [identity]) == data


def test_a_file_is_written_whole_private_and_never_twice(tmp_path: Path) -> None:
    path = str(tmp_path / "ada.age")
    private_files.reserve(path)
    private_files.write_new(path, b"text")
    assert Path(path).read_bytes() == b"text"
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o600
    with pytest.raises(FileExistsError):
        private_files.write_new(path, b"other")
    with pytest.raises(HackspaceError) as caught:
        private_files.reserve(path)
    assert caught.value.rule == "file-exists"
    assert Path(path).read_bytes() == b"text"


def test_a_link_in_the_way_is_not_followed(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("kept")
    (tmp_path / ".ada.age.part").symlink_to(victim)
    with pytest.raises(OSError, match="symbolic"):
        private_files.write_new(str(tmp_path / "ada.age"), b"text")
    private_files.reserve(str(tmp_path / "ada.age"))
    private_files.write_new(str(tmp_path / "ada.age"), b"text")
    assert victim.read_text() == "kept"

# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every broken declaration of new shares gives its one error, before anything is sent or written."""

from __future__ import annotations

import subprocess
import typing as t
from pathlib import Path

import pyrage
import pytest
import yaml
from ansible_collections.hackspace.infra.plugins.module_utils._core.errors import HackspaceError
from ansible_collections.hackspace.infra.plugins.module_utils._openbao import (
    rotation_apply,
    rotation_model,
    rotation_plan,
    share_record,
    versions,
)

from tests.unit.openbao_init.conftest import run_program

CASES = yaml.safe_load(Path(__file__).with_name("cases.yml").read_text())
SERVER = rotation_model.Server(
    versions.Version(1, 13, 2), rotation_model.Endpoints("sys/rekey", needs_login=False), threshold=2, required=2
)


def fill(value: t.Any, words: dict[str, str]) -> t.Any:
    if isinstance(value, dict):
        return {k: fill(v, words) for k, v in value.items()}
    if isinstance(value, list):
        return [fill(v, words) for v in value]
    if isinstance(value, str):
        for word, text in words.items():
            value = text if value == word else value.replace(word + "/", text + "/")
    return value


@pytest.fixture(scope="module")
def signing_key(tmp_path_factory: pytest.TempPathFactory) -> t.Iterator[str]:
    home = tmp_path_factory.mktemp("s")
    home.chmod(0o700)
    gpg = ["gpg", "--homedir", str(home), "--batch", "--quiet", "--pinentry-mode", "loopback", "--passphrase", ""]
    try:
        subprocess.run(
            [*gpg, "--quick-generate-key", "s@example.org", "ed25519", "sign", "never"],
            check=True,
            capture_output=True,
            timeout=60,
        )
        exported = subprocess.run([*gpg, "--export"], check=True, capture_output=True, timeout=60).stdout
        (home / "noenc.gpg").write_bytes(exported)
        yield str(home / "noenc.gpg")
    finally:
        subprocess.run(["gpgconf", "--homedir", str(home), "--kill", "gpg-agent"], check=False, timeout=60)


def check(params: dict[str, t.Any]) -> None:
    """Go the module's way as far as the first request that writes."""
    wanted = rotation_model.parse_wanted(params, run_program)
    record = share_record.read(wanted.output_dir)
    old = record.holders if record else ()
    rotation_model.check_names(params["current_holders"], old, item="current_holders", whose="the present shares")
    rotation_model.check_names(params["new_holders"], wanted.entries(), item="new_holders", whose="the new shares")
    decision = rotation_plan.decide(record, wanted, SERVER)
    rotation_apply.preflight(wanted, record, decision)
    rotation_model.given_shares(params["current_holders"], item="current_holders")


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["case"])
def test_a_broken_declaration_has_one_error(case: dict[str, t.Any], tmp_path: Path, signing_key: str) -> None:
    keys = [str(pyrage.x25519.Identity.generate().to_public()) for _other in range(3)]
    for name, mode in (("shares", 0o700), ("open", 0o755), ("used", 0o700), ("broken", 0o700)):
        (tmp_path / name).mkdir(mode=mode)
    (tmp_path / "open").chmod(0o755)
    (tmp_path / "used" / "dan.age").write_text("")
    (tmp_path / "broken" / "shares.json").write_text("[]")
    entries = tuple(share_record.Entry(n, f"{n}.age", k) for n, k in zip(("ada", "bo", "cleo"), keys, strict=True))
    record = share_record.Record("complete", "g", "", "unseal", 2, entries)
    share_record.write(str(tmp_path / "shares"), record)
    params: dict[str, t.Any] = {
        "holders": [{"name": n, "age_recipient": k} for n, k in zip(("ada", "cleo", "dan"), keys, strict=True)],
        "shares": 3,
        "threshold": 2,
        "single_share": False,
        "output_dir": str(tmp_path / "shares"),
        "encrypt_on": "controller",
        "current_holders": [],
        "new_holders": [],
        "on_progress": "resume",
    }
    check(params)
    before = sorted(tmp_path.rglob("*"))
    words = {f"AGE{i + 1}": key for i, key in enumerate(keys)} | {"DIR": str(tmp_path), "NOENC": signing_key}
    with pytest.raises(HackspaceError) as caught:
        check({**params, **fill(case["change"], words)})
    assert caught.value.rule == case["rule"]
    assert caught.value.fix
    assert caught.value.item
    assert sorted(tmp_path.rglob("*")) == before

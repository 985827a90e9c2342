# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""New shares and a wrong one at the highest verbosity: nothing printed or written has a share in it."""

from __future__ import annotations

import typing as t
from pathlib import Path

import pytest

from lab.api import Lab
from tests.integration.ansible_run import Result, run_play
from tests.integration.shares.conftest import ROOT, Site, begin
from tests.secrets.test_site import leaks, notations


@pytest.fixture(scope="module")
def people(tmp_path_factory: pytest.TempPathFactory) -> t.Iterator[Site]:
    lab = Lab("shares-secrets", tmp_path_factory.mktemp("lab"))
    lab.up(["openbao"])
    try:
        yield begin(lab, tmp_path_factory.mktemp("site"))
    finally:
        lab.down(wipe=True)


def play(site: Site, do: str, **variables: t.Any) -> Result:
    values: dict[str, t.Any] = {
        "do": do,
        "dir": str(site.shares),
        "nodes": site.nodes,
        "ca_cert": str(site.lab.openbao_ca),
        "holders": site.wanted("ada", "bo", "dan"),
        "threshold": 2,
        "login": {k: site.node()[k] for k in ("auth_method", "username", "password_file")},
        **variables,
    }
    extra = {f"openbao_shares_{name}": value for name, value in values.items()}
    return run_play(ROOT / "playbooks" / "shares.yml", extra_vars=extra, diff=True, verbosity=4)


def test_rotation_verification_and_refusal(people: Site, tmp_path: Path) -> None:
    old = people.keys()
    wrong = tmp_path / "wrong"
    wrong.touch(mode=0o600)
    damaged = "00000000" + old["bo"][8:]
    wrong.write_text(damaged, encoding="utf-8")
    runs = [
        play(people, "verify", sources=[people.source("ada"), {"name": "bo", "file": str(wrong)}]),
        play(people, "rotate", sources=[people.source("ada"), {"name": "bo", "file": str(wrong)}]),
        play(people, "rotate", sources=[people.source("ada"), people.source("bo")]),
        play(people, "verify", sources=[people.source("ada")]),
        play(people, "report"),
    ]
    assert [run.rc == 0 for run in runs] == [False, False, True, True, True]
    secrets = {damaged, *old.values(), *people.keys().values(), people.password_file.read_text().strip()}
    searched = {text for secret in secrets for text in notations(secret)}
    for run in runs:
        assert leaks(run, searched) == []
    for path in people.shares.rglob("*"):
        assert not path.is_file() or not [s for s in searched if s in path.read_text()]

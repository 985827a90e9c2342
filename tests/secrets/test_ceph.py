# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Each module for Ceph at the highest verbosity: no key is printed, written, in an argument or in the environment."""

from __future__ import annotations

import json
import os
import typing as t
from pathlib import Path

import pytest
from ansible_collections.hackspace.infra.plugins.module_utils._core import seal

from lab.api import Lab
from tests.integration.ansible_run import Result, private, run_play
from tests.secrets.test_site import leaks, notations

MODULES = {
    "ceph_settings",
    "ceph_crush_rules",
    "ceph_pools",
    "ceph_rados_namespaces",
    "ceph_subvolume_groups",
    "ceph_clients",
    "ceph_keys",
    "ceph_info",
}
SCOPE = "profile rbd pool=images namespace=one"


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> t.Iterator[Lab]:
    made = Lab("ceph-keys", tmp_path_factory.mktemp("lab"))
    try:
        made.up(["ceph"])
        yield made
    finally:
        made.down(wipe=True)


def tasks(generation: int) -> list[dict[str, t.Any]]:
    client = {"name": "one", "generation": generation, "caps": {"mon": "profile rbd", "mgr": SCOPE, "osd": SCOPE}}
    options: dict[str, dict[str, t.Any]] = {
        "ceph_settings": {"settings": [{"section": "osd", "name": "osd_max_backfills", "value": "3"}]},
        "ceph_crush_rules": {"rules": [{"name": "spread", "failure_domain": "osd"}]},
        "ceph_pools": {"pools": [{"name": "images", "applications": ["rbd"], "init": True, "pg_num": 8}]},
        "ceph_rados_namespaces": {"namespaces": [{"pool": "images", "name": "one"}]},
        "ceph_subvolume_groups": {"groups": [{"filesystem": "cephfs", "name": "one", "quota": "1GiB"}]},
        "ceph_clients": {"clients": [client]},
        "ceph_keys": {"users": ["one", "admin", f"one.{generation}"], "seal": "{{ sealed_with }}"},
        "ceph_info": {"sessions": True},
    }
    assert set(options) == MODULES
    login = {"conf": "{{ conf }}", "keyring": "{{ keyring }}"}
    return [{"name": name, f"hackspace.infra.{name}": {**login, **given}} for name, given in options.items()]


def recording(lab: Lab, folder: Path) -> dict[str, str]:
    """Put a program ceph into the path whose Python writes down what it is called with."""
    python, record = folder / "python3", folder / "record"
    python.write_text(f'#!/bin/sh\n{{ printf "%s\\n" "$@"; env; }} >>{record}\nexec {lab.ceph.bin}/python3 "$@"\n')
    (folder / "ceph").write_text(f"#!{python}\n")
    for path in (python, folder / "ceph"):
        path.chmod(0o755)
    return {"PATH": f"{folder}:{os.environ['PATH']}"}


def files(lab: Lab) -> set[Path]:
    """What lies next to the configuration and the keyring, without sockets and data of daemons."""
    return {path for path in lab.ceph.folder.iterdir() if path.is_file()}


def keys(lab: Lab) -> set[str]:
    return {str(one["key"]) for one in lab.ceph.command("auth ls")["auth_dump"]}


def test_keys_of_ceph(lab: Lab, tmp_path: Path) -> None:
    folder = tmp_path / "bin"
    folder.mkdir()
    env, before = recording(lab, folder), files(lab)
    secret = seal.one_use()
    values = {"conf": str(lab.ceph.conf), "keyring": str(lab.ceph.keyring), "sealed_with": secret}
    variables = private(tmp_path / "variables.json", json.dumps(values))
    runs: dict[str, Result] = {}
    found: set[str] = set()
    for name, wanted, check in (
        ("first", tasks(0), False),
        ("planned", tasks(1)[5:], True),
        ("rotated", tasks(1)[5:], False),
    ):
        runs[name] = run_play(wanted, extra_vars_file=variables, env=env, check=check, diff=True, verbosity=4).ok()
        found |= keys(lab)
    wrong = tasks(1)[5:6]
    wrong[0]["hackspace.infra.ceph_clients"]["clients"][0]["caps"] = {"mds": "allow rwx"}
    runs["refused"] = run_play(wrong, extra_vars_file=variables, env=env, diff=True, verbosity=4)
    assert runs["refused"].rc != 0
    assert {"ceph_pools", "ceph_clients"} <= set(runs["first"].changed)
    assert runs["rotated"].changed == ["ceph_clients"]

    searched = {text for one in (*found, secret) for text in notations(one)}
    assert {name: leaks(run, searched) for name, run in runs.items()} == {name: [] for name in runs}
    told = (folder / "record").read_text()
    assert "A connection by librados" in told
    assert not [one for one in searched if one in told]
    assert files(lab) == before
    # the proof that the right thing was searched for: sealed, they were there
    sealed = runs["rotated"].of("ceph_keys")["sealed"]
    assert {seal.unseal(secret, entity, text) for entity, text in sealed.items()} <= found
    assert len(sealed) == 3

# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""ceph_keys on a real Ceph: fingerprints for everybody, keys only sealed."""

from __future__ import annotations

import json

from ansible_collections.hackspace.infra.plugins.module_utils._core import seal
from ansible_collections.hackspace.infra.plugins.module_utils._core.redact import fingerprint

from .conftest import Site


def test_keys_leave_ceph_sealed_only(site: Site) -> None:
    one, two = site.name("client"), site.name("client")
    site.apply("ceph_clients", clients=[{"name": name, "caps": {"mon": "allow r"}} for name in (one, two)])
    before = site.ceph.written()
    secret = seal.one_use()
    users = [one, f"client.{two}", "client.nobody"]
    result = site.apply("ceph_keys", users=users, seal=secret)
    keys = {f"client.{name}": site.ceph.key(f"client.{name}") for name in (one, two)}
    assert result["missing"] == ["client.nobody"]
    assert result["fingerprints"] == {entity: fingerprint(key) for entity, key in keys.items()}
    assert {entity: seal.unseal(secret, entity, text) for entity, text in result["sealed"].items()} == keys
    assert not [key for key in keys.values() if key in json.dumps(result)]
    assert site.apply("ceph_keys", users=users)["sealed"] == {}
    assert site.ceph.written() == before

# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Keys of transit engines on a real server."""

from __future__ import annotations

import base64
import typing as t

import pytest
from ansible_collections.hackspace.infra.plugins.module_utils._core.errors import HackspaceError

from .conftest import Engines


def transit(tag: str, *keys: dict[str, t.Any]) -> dict[str, t.Any]:
    return {"path": tag, "type": "transit", "transit_keys": list(keys)}


def test_keys_of_tenants_come_and_are_used(engines: Engines) -> None:
    tag = engines.tag
    alice = {"name": "member-prod.4-aux-alice", "auto_rotate_period": "720h"}
    signing = {"name": "signing", "type": "ed25519", "deletion_allowed": True}
    derived = {"name": "derived", "derived": True, "convergent_encryption": True, "min_encryption_version": 1}
    done = engines.twice(transit(tag, alice, signing, derived))
    assert [c["kind"] for c in done["changes"]] == ["secret engine", *["transit key"] * 3]
    key = engines.server.data(f"{tag}/keys/{alice['name']}") or {}
    assert (key["type"], key["exportable"], key["auto_rotate_period"]) == ("aes256-gcm96", False, 2592000)
    clear = base64.b64encode(b"a word").decode()
    sealed = engines.server.write(f"{tag}/encrypt/{alice['name']}", {"plaintext": clear})["data"]["ciphertext"]
    assert engines.server.write(f"{tag}/decrypt/{alice['name']}", {"ciphertext": sealed})["data"]["plaintext"] == clear
    with pytest.raises(HackspaceError):
        engines.server.data(f"{tag}/export/encryption-key/{alice['name']}")

    # one field changes, and nothing else is written
    changed = engines.twice(transit(tag, {**alice, "auto_rotate_period": 0}, signing, derived))
    assert [(c["name"], c["why"]) for c in changed["changes"]] == [
        (f"{tag}/{alice['name']}", "auto_rotate_period differs")
    ]


def test_rotated_once_after_a_moment(engines: Engines) -> None:
    tag = engines.tag
    engines.run(transit(tag, {"name": "a"}, {"name": "b", "type": "rsa-2048"}))
    old = {"rotated_after": "2020-01-01T00:00:00Z"}
    assert not engines.run(transit(tag, {"name": "a", **old}, {"name": "b", **old}))["changed"]
    now = engines.sql(
        "SELECT to_char(now() AT TIME ZONE 'UTC' + interval '1 second', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"')"
    )
    engines.sql("SELECT pg_sleep(1.2)")
    new = {"rotated_after": now.strip()}
    done = engines.twice(transit(tag, {"name": "a", **new}, {"name": "b", **new}))
    assert [c["action"] for c in done["changes"]] == ["update"] * 2
    assert [(engines.server.data(f"{tag}/keys/{name}") or {})["latest_version"] for name in "ab"] == [2, 2]
    engines.twice(transit(tag, {"name": "a", "min_decryption_version": 2}))
    assert "newest version of the key is 2" in engines.fails(
        "key-version", transit(tag, {"name": "a", "min_decryption_version": 3})
    )
    engines.fails("moment-ahead", transit(tag, {"name": "a", "rotated_after": "2999-01-01T00:00:00Z"}))


def test_a_key_is_neither_made_anew_nor_deleted_by_accident(engines: Engines) -> None:
    tag = engines.tag
    kept, free = {"name": "kept"}, {"name": "free", "deletion_allowed": True}
    engines.run(transit(tag, kept, free, {"name": "c"}))
    engines.server.write(f"{tag}/keys/exported", {"exportable": True})
    assert "cannot be changed" in engines.fails("fixed-field", transit(tag, {**kept, "type": "rsa-2048"}))
    assert any("exportable" in w for w in engines.run(transit(tag, {"name": "exported"}))["warnings"])
    only = (transit(tag, {"name": "c"}, {"name": "exported"}), *engines.others())
    engines.fails("data-loss", *only, prune=True)
    planned = engines.run(*only, prune=True, allow_data_loss=True, check=True)
    assert [c["name"] for c in planned["changes"]] == [f"{tag}/free"]
    assert any("deletion_allowed is false" in w and "kept" in w for w in planned["warnings"])
    engines.run(*only, prune=True, allow_data_loss=True)
    assert engines.server.keys(f"{tag}/keys") == ["c", "exported", "kept"]


def test_foreign_engines_are_left_alone(engines: Engines) -> None:
    tag = engines.tag
    engines.server.write(f"sys/mounts/{tag}", {"type": "transit"})
    engines.server.write(f"{tag}/keys/a")
    same = engines.run(transit(tag, {"name": "a"}))
    assert (same["changed"], same["foreign"]) == (False, [f"secret engine {tag}"])
    assert f"transit key {tag}/a" in engines.fails("foreign", transit(tag, {"name": "a", "auto_rotate_period": "24h"}))
    engines.twice(transit(tag, {"name": "a", "auto_rotate_period": "24h"}), adopt=True)


def test_requests_grow_with_what_changes(engines: Engines) -> None:
    tag = engines.tag
    keys = [{"name": f"k{n}"} for n in range(40)]
    engines.run(transit(tag, *keys))
    # the mounts, the names, each wanted key
    assert engines.run(transit(tag, *keys))["requests"] == 2 + 40
    one = engines.run(transit(tag, {"name": "k0", "auto_rotate_period": "24h"}, *keys[1:]))
    assert one["requests"] == 2 + 40 + 1

# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""New shares on real servers: a holder replaced, several runs, a wrong share, attempts of others."""

from __future__ import annotations

import json
import typing as t

import pytest

from .conftest import Key, Site

NEW = ("ada", "cleo", "dan")


def test_a_departed_holder_is_replaced(site: Site) -> None:
    old, first = site.keys(), site.record()
    planned = site.rotate(*NEW, flags=("--check", "--diff"))
    assert planned.rc == 0, planned.output
    assert planned.result["changed"]
    assert planned.result["phase"] == "shares"
    assert planned.result["missing"] == 2
    assert site.record() == first
    assert not site.attempt()["started"]

    # one holder today
    one = site.rotate(*NEW, current_holders=[site.source("ada")])
    assert one.rc == 0, one.output
    assert (one.result["state"], one.result["missing"]) == ("collecting", 1)
    pending = site.record()["rotation"]
    assert (pending["state"], pending["given"], pending["nonce"]) == ("collecting", ["ada"], site.attempt()["nonce"])
    again = site.rotate(*NEW, current_holders=[site.source("ada")], flags=("--diff",))
    assert again.rc == 0, again.output
    assert not again.result["changed"]
    assert again.result["missing"] == 1

    # a share of somebody else's is refused before it is sent
    foreign = {**site.source("bo"), "name": "cleo"}
    refused = site.rotate(*NEW, current_holders=[foreign])
    assert refused.result["error"]["rule"] == "wrong-share"
    assert "bo" in refused.result["msg"]
    assert site.attempt()["progress"] == 1

    # another one tomorrow; the one who leaves may help
    done = site.rotate(*NEW, index=1, current_holders=[site.source("bo")], flags=("-vvv", "--diff"))
    assert done.rc == 0, done.output
    assert done.result["state"] == "complete"
    new, record = site.keys(), site.record()
    assert sorted(new) == sorted(NEW)
    assert not (site.shares / "bo.age").exists()
    assert record["previous"] == first["generation"] == site.record()["previous"]
    assert "rotation" not in record
    archive = site.shares / "generations" / first["generation"]
    assert site.keys(archive) == old
    for text in (done.output, (site.shares / "shares.json").read_text(), one.output):
        assert not [s for s in (*old.values(), *new.values()) if s in text]
    assert {p.stat().st_mode & 0o777 for p in site.shares.rglob("*.age")} == {0o600}

    second = site.rotate(*NEW)
    assert second.rc == 0, second.output
    assert not second.result["changed"]

    site.lab.restart("openbao")
    assert not site.opens([old["ada"], old["cleo"]])
    site.unseal_all([new["dan"], new["cleo"]])


def test_a_wrong_share_costs_a_round_and_nothing_else(site: Site) -> None:
    share = site.keys()["bo"]
    damaged = "00000000" + share[8:]
    # the record has no fingerprint to compare with, as in a cluster that others initialised
    path = site.shares / "shares.json"
    record = site.record()
    path.write_text(json.dumps({**record, "holders": [{**h, "fingerprint": ""} for h in record["holders"]]}))
    wrong = site.rotate(*NEW, current_holders=[site.source("ada"), {"name": "bo", "share": damaged}])
    assert wrong.rc != 0
    assert wrong.result["error"]["rule"] == "wrong-share"
    assert wrong.result["suspects"] == ["ada", "bo"]
    assert damaged not in wrong.output
    assert site.record()["rotation"]["given"] == []
    done = site.rotate(*NEW, current_holders=[site.source("ada"), site.source("bo")])
    assert done.rc == 0, done.output
    assert done.result["state"] == "complete"


def test_attempts_of_others_are_left_alone(site: Site) -> None:
    nonce = site.by_hand("PUT", {"secret_shares": 3, "secret_threshold": 2})["nonce"]
    both = [site.source("ada"), site.source("bo")]
    left = site.rotate(*NEW, current_holders=both)
    assert left.result["error"]["rule"] == "attempt-of-others"
    assert site.attempt()["nonce"] == nonce
    done = site.rotate(*NEW, on_progress="reset", current_holders=both)
    assert done.rc == 0, done.output
    assert done.result["state"] == "complete"


def test_the_server_encrypts_and_new_holders_verify(site: Site, pgp_keys: dict[str, Key]) -> None:
    names = list(pgp_keys)
    wanted: dict[str, t.Any] = {
        "holders": [{"name": n, "pgp_public_key_file": str(pgp_keys[n].public)} for n in names],
        "encrypt_on": "server",
    }
    both = [site.source("ada"), site.source("bo")]
    made = site.rotate(*("ada",) * 3, **wanted, current_holders=both)
    assert made.rc == 0, made.output
    assert (made.result["state"], made.result["missing"]) == ("verifying", 2)
    rotation = site.record()["rotation"]
    folder = site.shares / "generations" / rotation["generation"]
    new = {n: pgp_keys[n].decrypt((folder / f"{n}.asc").read_bytes()).strip() for n in names}
    assert site.record()["generation"] != rotation["generation"]

    one = site.rotate(*("ada",) * 3, **wanted, new_holders=[{"name": "pia", "share": new["pia"]}])
    assert one.rc == 0, one.output
    assert (one.result["state"], one.result["missing"]) == ("verifying", 1)
    # an old share in the place of a new one: this round of verification is lost, nothing else
    old = site.keys()["cleo"]
    wrong = site.rotate(*("ada",) * 3, **wanted, new_holders=[{"name": "rolf", "share": old}])
    assert wrong.result["error"]["rule"] == "wrong-share", wrong.output
    assert {h["verified_at"] for h in site.record()["rotation"]["holders"]} == {""}
    site.pgp_shares = new
    two = [{"name": n, "share": new[n]} for n in ("pia", "quin")]
    done = site.rotate(*("ada",) * 3, **wanted, new_holders=two)
    assert done.rc == 0, done.output
    assert done.result["state"] == "complete"
    entries = {h["holder"]: h for h in site.record()["holders"]}
    assert entries["pia"]["verified_at"]
    assert entries["pia"]["fingerprint"]
    assert not entries["rolf"]["verified_at"]
    # they are in force: the next shares are made with them, that of the one who did not verify among them
    site.pgp_shares = {n: new[n] for n in ("quin", "rolf")}
    site.back()
    assert sorted(site.keys()) == ["ada", "bo", "cleo"]


@pytest.mark.openbao2
def test_openbao_makes_new_shares_below_sys_rotate(site: Site) -> None:
    with site.lab.proxy("openbao-0") as proxy:
        current = [site.source("ada"), site.source("bo")]
        done = site.rotate(*NEW, url=proxy.address, current_holders=current)
        asked = [r.path for r in proxy.requests() if "/sys/rotate" in r.path or "/sys/rekey" in r.path]
    assert done.rc == 0, done.output
    assert done.result["state"] == "complete"
    assert {path.removeprefix("/v1/sys/rotate/root/") for path in asked} == {"init", "update", "verify"}
    new = site.keys()
    site.lab.restart("openbao")
    site.unseal_all([new["dan"], new["cleo"]])

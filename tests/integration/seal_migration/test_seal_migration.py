# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Three real servers go from unseal shares to the transit engine of another one and back, while a tenant reads."""

from __future__ import annotations

import os
import signal
import time
import typing as t
from pathlib import Path

import pytest
from ansible_collections.hackspace.infra.plugins.module_utils._core.errors import HackspaceError
from ansible_collections.hackspace.infra.plugins.modules import openbao_seal_info, openbao_seal_migration

from lab.api import Lab
from lab.ports import is_free
from tests.integration.ansible_run import private
from tests.integration.seal.helpers import call
from tests.integration.seal_migration.migration_site import PLATFORM, MigrationSite


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> t.Iterator[MigrationSite]:
    lab = Lab("seal-migration", tmp_path_factory.mktemp("lab"))
    try:
        lab.up(["openbao", "transit"], init=True)
        yield MigrationSite(lab, tmp_path_factory.mktemp("site"), kill=True)
    finally:
        lab.down(wipe=True)


def arguments(site: MigrationSite, **changes: t.Any) -> dict[str, t.Any]:
    """Return the module's options for a plan that is fine."""
    seal = {k: v for k, v in site.seal.items() if k != "credential_file"}
    return {
        "target": "transit",
        "seal": {**seal, "credential": site.transit.token, **changes.pop("seal", {})},
        "nodes": site.nodes,
        "ca_cert": str(site.lab.openbao_ca),
        "holders": [{"name": name, "share": site.shares[name]} for name in ("ada", "bo", "cleo")],
        "snapshot": site.snapshot,
        "confirm": PLATFORM,
        "platform_name": PLATFORM,
        "login": {"token": site.token},
        **changes,
    }


def migrate(site: MigrationSite, *, check: bool = False, **changes: t.Any) -> dict[str, t.Any]:
    return call(openbao_seal_migration, arguments(site, **changes), check=check)


def refused(site: MigrationSite, **changes: t.Any) -> HackspaceError:
    with pytest.raises(HackspaceError) as error:
        migrate(site, **changes)
    assert error.value.fix
    return error.value


def test_what_is_missing_is_said_before_anything_is_done(site: MigrationSite, tmp_path: Path) -> None:
    before = site.statuses()
    assert refused(site, confirm="").rule == "not-confirmed"
    assert refused(site, snapshot=None).rule == "snapshot-missing"
    assert refused(site, snapshot=str(tmp_path / "none.snap")).rule == "snapshot-missing"
    cut = tmp_path / Path(site.snapshot).name
    cut.write_bytes(Path(site.snapshot).read_bytes()[:2000])
    Path(f"{cut}.json").write_bytes(Path(f"{site.snapshot}.json").read_bytes())
    assert refused(site, snapshot=str(cut)).rule == "snapshot-damaged"
    time.sleep(1.1)
    assert refused(site, snapshot_max_age=1).rule == "snapshot-age"
    assert refused(site, holders=arguments(site)["holders"][:2]).rule == "too-few-shares"
    assert refused(site, seal={"credential": "not-a-token"}).rule == "transit-token"
    assert refused(site, seal={"key_name": "another"}).rule == "transit-token"
    assert refused(site, seal={"address": "https://127.0.0.1:9"}).rule == "transit-unreachable"
    assert refused(site, seal={"tls_server_name": "somebody.else"}).rule == "transit-unreachable"
    own = site.nodes[0]
    assert refused(site, seal={"address": own["url"]}).rule == "seal-circle"
    # The same server by another name is told by its cluster.
    by_name = {"address": own["url"].replace("127.0.0.1", "localhost"), "tls_server_name": own["tls_server_name"]}
    assert refused(site, seal={**by_name, "ca_cert": str(site.lab.openbao_ca)}).rule == "seal-circle"
    static = {"type": "static", "key_id": "2026-1", "credential": "00" * 32}
    if not os.environ.get("OPENBAO_BIN"):
        with pytest.raises(HackspaceError) as error:
            call(openbao_seal_migration, {**arguments(site), "target": "static", "seal": static})
        assert error.value.rule == "static-version"
    assert refused(site, nodes=site.nodes[:1]).rule == "nodes-incomplete"
    assert site.statuses() == before


def test_check_mode_tells_every_step_and_does_none(site: MigrationSite) -> None:
    before = site.statuses()
    result = migrate(site, check=True, confirm=None)
    assert result["changed"]
    assert not result["done"]
    kinds = [step["step"] for step in result["plan"]]
    assert kinds == ["configure", "migrate", "configure", "migrate", "step_down", "configure", "wait"]
    assert result["order"][-1] == result["active"] == site.active()
    assert result["snapshot"]["file"] == site.snapshot
    assert site.statuses() == before
    assert call(openbao_seal_migration, arguments(site, target="shamir"))["done"]


def test_to_transit_killed_on_the_way(site: MigrationSite) -> None:
    with site.reader() as reader:
        run = site.start("transit")
        deadline = time.monotonic() + 200
        while not any(status["migration"] for status in _answers(site)):
            assert time.monotonic() < deadline
            assert run.process.poll() is None
            time.sleep(0.05)
        os.killpg(run.process.pid, signal.SIGKILL)
        run.process.wait(30)

        plan = migrate(site, check=True)
        assert plan["started"]
        moved = [node["name"] for node in plan["nodes"] if node["phase"] in ("pending", "armed")]
        assert len(moved) == 1
        if plan["nodes"][[n["name"] for n in plan["nodes"]].index(moved[0])]["phase"] == "pending":
            damaged = "0" * 8 + site.shares["cleo"][8:]
            holders = [*arguments(site)["holders"][:2], {"name": "cleo", "share": damaged}]
            error = refused(site, do="migrate", node=moved[0], holders=holders)
            assert error.rule == "wrong-share"
            assert "cleo" in error.message
            assert damaged not in str(error)
            assert site.read() == site.value

        # Carried on without a snapshot, which was checked when it began, and by other holders.
        sources = [{"name": name, "file": site.files[name]} for name in ("cleo", "dan", "eve")]
        result = site.run("transit", snapshot="", sources=sources, prove=False).ok()
        assert result.changed
    print(f"reads: {reader.good} right, {reader.bad} without an answer, longest pause {reader.longest:.1f} s")
    assert reader.good > 10
    assert reader.bad <= reader.good
    assert all(status["recovery_seal"] and not status["sealed"] for status in site.statuses())
    assert site.read() == site.value


def test_nothing_more_to_do(site: MigrationSite) -> None:
    again = migrate(site, snapshot=None, holders=[])
    assert again["done"]
    assert not again["changed"]
    assert again["plan"] == again["order"] == []
    assert again["seal_types"] == ["transit"]
    nodes = call(openbao_seal_info, {"nodes": site.nodes, "ca_cert": str(site.lab.openbao_ca)})["nodes"]
    assert all(node["auto_unseal"] for node in nodes)


def test_a_power_cut_needs_nobody(site: MigrationSite) -> None:
    site.lab.restart("openbao", kill=True)
    site.active()
    deadline = time.monotonic() + 60
    while any(status["sealed"] for status in site.statuses()):
        assert time.monotonic() < deadline
        time.sleep(0.2)
    assert site.read() == site.value


def test_a_node_that_does_not_read_its_new_configuration_is_named(site: MigrationSite) -> None:
    node = next(n["name"] for n in site.nodes if n["name"] != site.active())
    error = refused(site, target="shamir", do="migrate", node=node, wait_timeout=1)
    assert error.rule == "stanza-not-taken"
    assert node in error.item


def test_back_to_the_same_holders(site: MigrationSite) -> None:
    site.snapshot = site.save_snapshot()
    with site.reader() as reader:
        site.run("shamir").ok()
    print(f"reads: {reader.good} right, {reader.bad} without an answer, longest pause {reader.longest:.1f} s")
    assert not any(status["recovery_seal"] or status["sealed"] for status in site.statuses())
    assert not any(site.lab.seal_file(node["name"]).exists() for node in site.nodes)
    assert migrate(site, target="shamir", snapshot=None)["done"]
    # What a run that was cut at its end has left is taken away by the next one.
    left = site.lab.seal_file(site.nodes[1]["name"])
    site.lab.set_seal(site.nodes[1]["name"], {"transit": {"disabled": "true"}})
    assert site.run("shamir", check=True, confirm="").ok().changed
    assert left.exists()
    assert len(site.run("shamir", snapshot="", sources=[]).ok().changed) == 1
    assert not left.exists()
    # The other server is gone, and everything starts as ever.
    site.lab.stop("transit", kill=True)
    assert is_free(int(site.transit.address.rsplit(":", 1)[1]))
    site.lab.restart("openbao", kill=True)
    assert all(status["sealed"] for status in site.statuses())
    site.lab.unseal()
    assert site.read() == site.value


@pytest.mark.openbao2
def test_static_and_back(site: MigrationSite) -> None:
    """Runs on OpenBao 2.4 or newer; what came before has left the servers with unseal shares."""
    site.snapshot = site.save_snapshot()
    key = private(site.folder / "static.key", os.urandom(32).hex())
    seal = {"type": "static", "key_id": "2026-1", "credential_file": key}
    site.run("static", seal=seal).ok()
    site.lab.restart("openbao", kill=True)
    site.active()
    assert site.read() == site.value
    site.snapshot = site.save_snapshot()
    site.run("shamir", seal=seal).ok()
    assert not any(status["recovery_seal"] for status in site.statuses())


def _answers(site: MigrationSite) -> list[dict[str, t.Any]]:
    found = []
    for node in site.nodes:
        try:
            found.append(site.seal_status(node["name"]))
        except OSError:
            continue
    return found

# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a server says on the way to another seal, what is next, and what must not begin. No server is asked."""

from __future__ import annotations

import dataclasses
import datetime
import itertools
import typing as t

import pytest
from ansible_collections.hackspace.infra.plugins.module_utils._core.errors import HackspaceError
from ansible_collections.hackspace.infra.plugins.module_utils._core.redact import fingerprint
from ansible_collections.hackspace.infra.plugins.module_utils._openbao import migration_model as model
from ansible_collections.hackspace.infra.plugins.module_utils._openbao import migration_plan as plan
from ansible_collections.hackspace.infra.plugins.module_utils._openbao.seal_model import Node

NODES = [Node(f"n{i}", f"https://192.0.2.{i}:8200") for i in range(3)]
TRANSIT = model.Seal("transit", address="https://192.0.2.9:8200", key_name="unseal")
STATIC = model.Seal("static", key_id="2026-1")
NOW = datetime.datetime(2026, 11, 21, 12, tzinfo=datetime.UTC)


class World:
    """Three servers that behave as the real ones did when they were watched."""

    def __init__(self, target: model.Target, version: str = "1.13.2") -> None:
        self.target = target
        self.version = version
        # Per node: runs, has the new stanza, is unsealed. In storage: the new seal or the old one.
        self.runs = [True] * 3
        self.new = [False] * 3
        self.open = [True] * 3
        self.changed = False
        # What each server's own storage has: one that is sealed takes no part in raft and learns nothing.
        self.known = [False] * 3
        self.lead = 0

    def status(self, i: int) -> dict[str, t.Any] | None:
        if not self.runs[i]:
            return None
        auto = (self.target != "shamir") == self.new[i]
        body: dict[str, t.Any] = {"type": "shamir", "initialized": True, "sealed": not self.open[i], "t": 3, "n": 5}
        body |= {"progress": 0, "nonce": "", "migration": self.new[i] and not self.known[i], "recovery_seal": auto}
        body |= {"version": self.version, "storage_type": "raft"}
        return body | ({"cluster_id": "c-1"} if self.open[i] else {})

    def view(self) -> plan.Overview:
        found = []
        for i, node in enumerate(NODES):
            health = 503 if not self.open[i] else 200 if i == self.lead else 429
            found.append(model.standing(node, self.target, self.status(i), health))
        return plan.Overview(found, self.target)

    def elect(self) -> None:
        serving = [i for i in range(3) if self.runs[i] and self.open[i]]
        if len(serving) < 2:
            self.lead = -1
        elif self.lead not in serving:
            self.lead = next((i for i in serving if self.new[i]), serving[0])
        if self.lead >= 0:
            self.changed = self.changed or self.new[self.lead]
            for i in serving:
                self.known[i] = self.changed

    def restart(self, i: int, *, new: bool | None = None) -> None:
        self.new[i] = self.new[i] if new is None else new
        # A server with the old stanza does not start any more once storage has the new seal.
        self.runs[i] = self.new[i] or not self.known[i]
        self.open[i] = self.runs[i] and self.auto(i)
        self.elect()

    def auto(self, i: int) -> bool:
        """The server unseals by itself with its stanza, as its storage is."""
        if self.new[i]:
            return self.known[i] and self.target != "shamir"
        return not self.known[i] and self.target == "shamir"

    def act(self, step: plan.Step) -> None:
        i = int(step.node[1:])
        if step.kind == "configure":
            self.restart(i, new=True)
        elif step.kind == "step_down":
            self.lead = -1
            others = [j for j in range(3) if j != i and self.open[j]]
            self.lead = next((j for j in others if self.new[j]), others[0])
            self.elect()
        elif step.kind in ("migrate", "unseal"):
            assert self.runs[i]
            assert not self.open[i]
            self.open[i] = True
            self.elect()


def finish(world: World) -> list[str]:
    """Do what is next until all is done; return the steps."""
    done: list[str] = []
    for _round in range(40):
        view = world.view()
        if view.done:
            return done
        step = plan.steps(view)[0]
        if step.kind == "configure":
            plan.check_restart(view, step.node)
        done.append(f"{step.kind} {step.node}")
        world.act(step)
    raise AssertionError(f"no end: {done}, {world.view().lines()}")


@pytest.mark.parametrize("target", ["transit", "static", "shamir"])
def test_one_node_at_a_time_and_the_leader_last(target: model.Target) -> None:
    world = World(target)
    foreseen = [f"{s.kind} {s.node}" for s in plan.steps(world.view())]
    last = "wait n0" if target != "shamir" else "unseal n0"
    assert foreseen == [
        "configure n1", "migrate n1", "configure n2", "migrate n2", "step_down n0", "configure n0", last,
    ]  # fmt: skip
    done = finish(world)
    assert [*done, *([last] if target != "shamir" else [])] == foreseen
    assert world.changed
    assert finish(world) == []


@pytest.mark.parametrize("target", ["transit", "shamir"])
def test_carried_on_from_wherever_it_was_cut(target: model.Target) -> None:
    """After every step, and with one or all servers restarted there: the next run comes to the end."""
    count = 0
    for cut, lost in itertools.product(range(7), [(), (0,), (1,), (2,), (0, 1, 2)]):
        world = World(target)
        for _step in range(cut):
            view = world.view()
            if view.done:
                break
            world.act(plan.steps(view)[0])
        for i in lost:
            world.restart(i)
        if not world.view().started:
            continue  # nothing had begun: sealed servers are unsealed as ever
        finish(world)
        assert world.view().done
        count += 1
    assert count > 20


def test_a_single_server_needs_no_other_to_lead() -> None:
    view = plan.Overview([model.standing(NODES[0], "transit", World("transit").status(0), 200)], "transit")
    assert [s.kind for s in plan.steps(view)] == ["configure", "migrate"]


def test_the_plan_shows_no_more_than_it_should() -> None:
    shown = plan.as_plan(World("transit").view(), TRANSIT).result()
    assert shown["changed"]
    assert [c["action"] for c in shown["changes"]].count("send") == 2
    assert "https://192.0.2.9:8200" in str(shown["diff"])


# -- what must not begin -----------------------------------------------------------------------------------------------


def refused(rule: str, call: t.Callable[[], object]) -> HackspaceError:
    with pytest.raises(HackspaceError) as error:
        call()
    assert error.value.rule == rule
    assert error.value.item
    assert error.value.fix
    return error.value


def test_not_confirmed() -> None:
    refused("not-confirmed", lambda: plan.check_confirm("", "example"))
    error = refused("not-confirmed", lambda: plan.check_confirm("exmaple", "example"))
    assert "confirm: example" in error.fix
    refused("not-confirmed", lambda: plan.check_confirm("", ""))
    plan.check_confirm("example", "example")


def snapshot(**changes: t.Any) -> None:
    saved = NOW - datetime.timedelta(minutes=10)
    found = {"path": "/b/x.snap", "problem": "", "saved_at": saved, "cluster": fingerprint("c-1"), "max_age": 3600}
    plan.check_snapshot(view=World("transit").view(), now=NOW, **{**found, **changes})


def test_no_migration_without_a_snapshot() -> None:
    snapshot()
    refused("snapshot-missing", lambda: snapshot(path=""))
    refused("snapshot-missing", lambda: snapshot(problem="missing", saved_at=None))
    refused("snapshot-damaged", lambda: snapshot(problem="it ends in the middle."))
    refused("snapshot-cluster", lambda: snapshot(cluster="0123456789ab"))
    refused("snapshot-cluster", lambda: snapshot(cluster=""))
    error = refused("snapshot-age", lambda: snapshot(max_age=300))
    assert "10 min" in error.message


def test_a_sick_cluster_is_left_alone() -> None:
    world = World("transit")
    world.open[1] = False
    assert "n1" in refused("node-unhealthy", lambda: plan.check_healthy(world.view())).message
    world.runs = [False] * 3
    refused("no-node", lambda: plan.check_healthy(world.view()))
    world = World("transit")
    world.lead = -1
    refused("no-leader", lambda: plan.check_healthy(world.view()))
    two = plan.Overview(World("transit").view().nodes[:2], "transit")
    refused("no-majority", lambda: plan.check_healthy(two))
    file = plan.Overview([dataclasses.replace(n, storage="file") for n in World("transit").view().nodes], "transit")
    refused("storage", lambda: plan.check_healthy(file))
    mixed = World("transit").view()
    mixed.nodes[2] = dataclasses.replace(mixed.nodes[2], cluster_id="c-2")
    refused("other-cluster", lambda: plan.check_healthy(mixed))


def test_no_second_node_goes_down() -> None:
    world = World("transit")
    world.act(plan.Step("configure", "n1", ""))
    refused("no-majority", lambda: plan.check_restart(world.view(), "n2"))
    plan.check_restart(world.view(), "n1")  # it is down already


def test_static_wants_a_server_that_knows_it() -> None:
    error = refused("static-version", lambda: plan.check_version(World("static").view(), STATIC, None))
    assert "1.13.2" in error.message
    refused("static-version", lambda: plan.check_version(World("static", "2.3.2").view(), STATIC, None))
    plan.check_version(World("static", "2.4.0").view(), STATIC, None)
    refused("version-unknown", lambda: plan.check_version(World("static", "2.0.0-HEAD").view(), STATIC, None))
    plan.check_version(World("static", "2.0.0-HEAD").view(), STATIC, "2.6.2")
    plan.check_version(World("transit").view(), TRANSIT, None)


def test_enough_holders_before_the_first_restart() -> None:
    error = refused("too-few-shares", lambda: plan.check_holders_enough(World("transit").view(), ["ada", "bo"]))
    assert error.data == {"holders": ["ada", "bo"], "required": 3}
    plan.check_holders_enough(World("transit").view(), ["ada", "bo", "cleo"])
    world = World("transit")
    finish(world)
    plan.check_holders_enough(world.view(), [])


def test_transit_to_static_is_two_migrations() -> None:
    refused("seal-target", lambda: plan.check_target("static", TRANSIT))
    refused("two-steps", lambda: plan.check_kind(["transit"], "static"))
    plan.check_kind(["transit"], "transit")
    plan.check_kind(["transit"], "shamir")
    plan.check_kind(["shamir"], "static")
    plan.check_kind([], "static")


def test_rafts_own_view() -> None:
    view = World("transit").view()
    members: list[dict[str, t.Any]] = [{"node_id": f"n{i}", "voter": True} for i in range(3)]
    plan.check_members(members, True, view)
    plan.check_members(members, None, view)
    refused("nodes-incomplete", lambda: plan.check_members([*members, {"node_id": "n3"}], True, view))
    refused("no-vote", lambda: plan.check_members([*members[:2], {"node_id": "n2", "voter": False}], True, view))
    refused("raft-unhealthy", lambda: plan.check_members(members, False, view))


# -- the seal ----------------------------------------------------------------------------------------------------------


def test_stanzas() -> None:
    raw = {"type": "transit", "address": "https://192.0.2.9:8200/", "key_name": "unseal", "node_ca_cert": "/etc/ca.pem"}
    seal = model.parse_seal({**raw, "ca_cert": "/home/me/ca.pem", "tls_server_name": "seal.example.org"})
    assert model.stanza(seal) == {
        "transit": {
            "address": "https://192.0.2.9:8200",
            "mount_path": "transit/",
            "key_name": "unseal",
            "tls_ca_cert": "/etc/ca.pem",
            "tls_server_name": "seal.example.org",
        }
    }
    gone = model.stanza(seal, disabled=True, credential="s.token")["transit"]
    assert (gone["disabled"], gone["token"]) == ("true", "s.token")
    key = "00" * 32
    static = model.stanza(model.parse_seal({"type": "static", "key_id": "2026-1"}), credential=key)
    assert static == {"static": {"current_key_id": "2026-1", "current_key": key}}
    assert model.stanza(None) == {}


def test_files() -> None:
    content = {"transit": {"address": "https://a:8200", "key_name": 'a"b'}}
    assert model.render(content, "hcl") == 'seal "transit" {\n  address  = "https://a:8200"\n  key_name = "a\\"b"\n}\n'
    assert model.render(content, "json").startswith('{\n  "seal": {\n    "transit": {')
    assert (model.render({}, "json"), model.render({}, "hcl")) == ("{}\n", "")
    refused("seal-format", lambda: model.render({}, "yaml"))


@pytest.mark.parametrize("text", ["00" * 32, "AA" * 32, "A" * 43 + "=", " " + "0f" * 32 + "\n"])
def test_static_keys(text: str) -> None:
    model.check_static_key(text, item="key")


@pytest.mark.parametrize("text", ["", "00" * 31, "0g" * 32, "A" * 44, "A" * 42 + "==", "passphrase"])
def test_no_static_keys(text: str) -> None:
    error = refused("static-key", lambda: model.check_static_key(text, item="key"))
    assert not text or text not in str(error)


def test_the_seals_server_is_none_of_the_nodes() -> None:
    model.check_apart(TRANSIT, NODES)
    circle = dataclasses.replace(TRANSIT, address="https://192.0.2.1:8200")
    assert "n1" in refused("seal-circle", lambda: model.check_apart(circle, NODES)).message


def test_nor_another_address_of_the_same_cluster() -> None:
    view = World("transit").view()
    refused("seal-circle", lambda: plan.check_provider({"cluster_id": "c-1"}, view))
    assert plan.check_provider({"cluster_id": "c-2", "recovery_seal": False}, view) == ""
    assert plan.check_provider({"sealed": True}, view) == ""
    assert plan.check_provider(None, view) == ""
    assert "power cut" in plan.check_provider({"cluster_id": "c-2", "recovery_seal": True}, view)

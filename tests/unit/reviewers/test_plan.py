# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Plans of jwt_reviewer on plain data: order, reasons, ownership, pruning."""

from __future__ import annotations

import copy
import dataclasses
import typing as t

import pytest
from ansible_collections.hackspace.infra.plugins.module_utils._core.errors import (
    HackspaceError,
    InvalidInput,
    Refused,
)
from ansible_collections.hackspace.infra.plugins.module_utils._core.plan import Plan
from ansible_collections.hackspace.infra.plugins.module_utils._reviewers import (
    access,
    downstream,
    evidence,
    model,
    modes,
    prune,
)
from ansible_collections.hackspace.infra.plugins.module_utils._reviewers.apply import refused
from ansible_collections.hackspace.infra.plugins.module_utils._reviewers.plan import plan
from ansible_collections.hackspace.infra.plugins.module_utils._reviewers.state import HOLDS, State, description
from ansible_collections.hackspace.infra.plugins.module_utils._reviewers.steps import Rotate
from hypothesis import given
from hypothesis import strategies as st

NOW = 1_800_000_000.0
CA = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----"


def cluster(**changes: t.Any) -> model.Cluster:
    [one] = model.parse_clusters([{"name": "prod", "kubeconfig": "k", **changes}])
    return model.completed(one, server="https://192.0.2.1:6443", ca_pem=CA)


def settings(**changes: t.Any) -> model.Settings:
    return model.Settings(**changes)


def secret(serial: int, one: model.Cluster, **changes: t.Any) -> evidence.BoundSecret:
    """Return a bound Secret as the API server would show it, with evidence unless state is None."""
    raw = evidence.manifest(one, settings(), serial)
    raw["metadata"]["uid"] = f"uid-{serial}"
    state = changes.pop("state", "current")
    if state is not None:
        there = evidence.Evidence(
            state=state,
            issued=int(NOW) - 3600,
            expires=int(NOW) + 36000,
            fingerprint="0123456789ab",
            ca=one.ca_fingerprint,
            api_server=one.api_server,
            issuer="https://issuer.example.org",
            account_uid="account",
            secret_uid=f"uid-{serial}",
        )
        there = dataclasses.replace(there, **changes)
        raw["metadata"]["annotations"] = evidence.written(there, settings())
    return evidence.bound_secret(raw, settings())


def good(one: model.Cluster, *, marked: bool = True) -> State:
    """Return the state in which there is nothing to do."""
    wiring = modes.wiring(one, settings(), State(), now=NOW)

    def there(wanted: dict[str, t.Any], uid: str) -> dict[str, t.Any]:
        found = copy.deepcopy(wanted)
        found["metadata"]["uid"] = uid
        if not marked:
            found["metadata"]["labels"] = {}
        return found

    return State(
        namespace=True,
        accounts={
            one.service_account: there(downstream.account(one, settings(), one.service_account), "account"),
            one.canary_service_account: there(downstream.account(one, settings(), one.canary_service_account), "c"),
        },
        cluster_role=there(downstream.cluster_role(one, settings()), "r"),
        binding=there(downstream.binding(one, settings()), "b"),
        secrets=(secret(1, one),),
        mount={
            "type": "kubernetes",
            "accessor": "auth_kubernetes_1",
            "description": description(one.name, one.mode) if marked else "by hand",
        },
        config={**wiring.config, HOLDS: True},
        roles={b.role: wiring.role(b) for b in access.bindings(one)},
        policies=access.policies(one, settings(), ("auth_kubernetes_1",)),
    )


def planned(one: model.Cluster, state: State, **changes: t.Any) -> Plan:
    given = settings(**changes)
    return plan(one, given, state, modes.wiring(one, given, state, now=NOW), now=NOW)


def lines(found: Plan) -> list[str]:
    return [f"{c.action} {c.kind}" for c in found.changes]


def test_nothing_to_do() -> None:
    found = planned(cluster(), good(cluster()))
    assert not found.changed, found.report()
    assert found.unchanged == 11


def test_order_of_a_first_run() -> None:
    found = planned(cluster(), State())
    assert lines(found) == [
        "create Namespace",
        "create ServiceAccount",
        "create ServiceAccount",
        "create ClusterRole",
        "create ClusterRoleBinding",
        "create auth mount",
        "create OpenBao policy",
        "create role",
        "create role",
        "create role",
        "create auth mount configuration",
        "create reviewer token",
    ]


def test_deletions_come_last() -> None:
    one = cluster()
    state = dataclasses.replace(good(one), secrets=(secret(1, one, expires=int(NOW) + 60),), roles={})
    found = lines(planned(one, state))
    assert found[-1] == "delete bound Secret"
    assert found.index("create role") < found.index("update reviewer token")


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"expires": int(NOW) - 1}, "it has expired"),
        ({"expires": int(NOW) + 1700}, "s are left"),
        ({"ca": "other"}, "another CA"),
        ({"api_server": "https://other"}, "another CA or address"),
        ({"account_uid": "other"}, "made anew"),
        ({"state": "minted"}, "nobody proved"),
        ({"state": None}, "left none"),
    ],
)
def test_reasons_for_a_new_token(changes: dict[str, t.Any], why: str) -> None:
    one = cluster()
    found = planned(one, dataclasses.replace(good(one), secrets=(secret(1, one, **changes),)))
    action = "create" if changes == {"state": None} else "update"
    assert lines(found) == [f"{action} reviewer token", "delete bound Secret"]
    assert why in found.changes[0].why


@pytest.mark.parametrize("field", ["kubernetes_host", "kubernetes_ca_cert", "disable_local_ca_jwt", "issuer", HOLDS])
def test_a_configuration_is_never_written_without_a_token(field: str) -> None:
    one = cluster()
    state = good(one)
    other = {"disable_local_ca_jwt": False, HOLDS: False}.get(field, "other")
    found = planned(one, dataclasses.replace(state, config={**(state.config or {}), field: other}))
    assert lines(found) == ["update auth mount configuration", "update reviewer token", "delete bound Secret"]
    steps = [s for c in found.changes[:2] for s in c.payload]
    assert steps == [Rotate()]


def test_probe_that_failed_asks_for_a_new_token() -> None:
    one = cluster()
    assert "a login of the canary failed" in planned(one, dataclasses.replace(good(one), probed=False)).changes[0].why
    assert not planned(one, dataclasses.replace(good(one), probed=True)).changed


def test_what_is_not_marked_is_refused_all_at_once() -> None:
    one = cluster()
    with pytest.raises(Refused) as caught:
        planned(one, good(one, marked=False))
    assert caught.value.rule == "foreign"
    assert len(caught.value.data["foreign"]) == 5
    adopted = set(lines(planned(one, good(one, marked=False), adopt=True)))
    assert adopted - {"update auth mount"} == {
        "adopt ServiceAccount",
        "adopt ClusterRole",
        "adopt ClusterRoleBinding",
        "adopt auth mount",
    }


def test_policy_of_another_owner_is_foreign() -> None:
    one = cluster()
    text = "# managed by hackspace.infra: openbao_policies\n"
    with pytest.raises(Refused):
        planned(one, dataclasses.replace(good(one), policies={one.policy: text}))


def test_policy_follows_the_accessor() -> None:
    one = cluster()
    state = good(one)
    found = planned(one, dataclasses.replace(state, mount={**(state.mount or {}), "accessor": "auth_kubernetes_2"}))
    assert [(c.kind, c.why) for c in found.changes] == [("OpenBao policy", "the mount has another accessor")]


def test_selector_is_written_with_every_role_and_needs_a_server_that_knows_it() -> None:
    one = cluster(access={"namespace_selector": {"tenancy": "true"}})
    state = good(one)
    assert not planned(one, state).changed
    role = dict(state.roles["tenant"])
    assert role["bound_service_account_namespace_selector"] == '{"matchLabels": {"tenancy": "true"}}'
    found = planned(one, dataclasses.replace(state, roles={**state.roles, "tenant": {**role, "token_ttl": 1}}))
    [sent] = found.changes[0].payload
    assert sent.body["bound_service_account_namespace_selector"]  # left out, the server would reset it
    role.pop("bound_service_account_namespace_selector")
    with pytest.raises(InvalidInput) as caught:
        planned(one, dataclasses.replace(state, roles={**state.roles, "tenant": role}))
    assert caught.value.rule == "field-unknown-to-server"
    assert {"resources": ["namespaces"], "apiGroups": [""], "verbs": ["get"]} in downstream.rules(one)


def test_audience_of_the_api_server_is_found_by_its_issuer() -> None:
    one = cluster(audience="https://issuer.example.org")
    for state in (State(issuer="https://issuer.example.org"), State(secrets=(secret(1, one),))):
        with pytest.raises(InvalidInput) as caught:
            planned(one, state)
        assert caught.value.rule == "audience-of-api-server"


@pytest.mark.parametrize("told", [(), ("foo", "bar/")])
@pytest.mark.parametrize("noted", [(), ("foo", "bar/")])
def test_audience_of_the_api_server_that_is_not_the_issuer(noted: tuple[str, ...], told: tuple[str, ...]) -> None:
    """Noted with the token, or told by the API server just now."""
    for audience in ("foo", "bar"):
        one = cluster(audience=audience)
        state = dataclasses.replace(good(one), secrets=(secret(1, one, audiences=noted),), audiences=told)
        if not (noted or told):
            assert not planned(one, state).changed  # and a token without the note is not replaced for it
            continue
        with pytest.raises(InvalidInput) as caught:
            planned(one, state)
        assert caught.value.rule == "audience-of-api-server"


def test_what_the_api_server_tells_counts_more_than_what_was_noted() -> None:
    one = cluster(audience="foo")
    state = dataclasses.replace(good(one), secrets=(secret(1, one, audiences=("foo",)),), audiences=("other",))
    assert not planned(one, state).changed


@pytest.mark.parametrize("text", ["", "[", "{}", "null", "3"])
def test_any_note_of_audiences_is_read(text: str) -> None:
    raw = copy.deepcopy(dict(secret(1, cluster(), audiences=("foo",)).raw))
    raw["metadata"]["annotations"][evidence.annotation(settings(), "audiences")] = text
    found = evidence.of(raw, settings())
    assert found is not None
    assert found.audiences == ()


@pytest.mark.parametrize(
    ("status", "certain"),
    [(400, True), (403, True), (404, True), (408, False), (499, False), (500, False), (503, False), (None, False)],
)
def test_when_a_write_was_certainly_refused(status: int | None, certain: bool) -> None:
    assert refused(HackspaceError("no.", status=status)) is certain


def test_no_secret_can_be_in_a_plan() -> None:
    """What a plan carries is public: it is made before any token is."""
    found = planned(cluster(), State())
    text = str(found.result()) + str([c.payload for c in found.changes])
    assert "token_reviewer_jwt" not in text


# -- bound Secrets -----------------------------------------------------------------------------------------------------

STATES = st.sampled_from(["current", "minted", None])


@given(st.lists(STATES, max_size=6))
def test_standing_never_trusts_what_may_have_been_overwritten(states: list[str | None]) -> None:
    one = cluster()
    secrets = [secret(n + 1, one, state=state) for n, state in enumerate(states)]
    found = evidence.standing(secrets)
    assert found.next_serial == len(states) + 1
    assert {s.name for s in found.leftovers} | ({found.current.name} if found.current else set()) == {
        s.name for s in secrets
    }
    written = [n for n, state in enumerate(states) if state]
    if written and states[written[-1]] == "current":
        assert found.current is not None
        assert found.current.serial == written[-1] + 1
    else:
        assert found.current is None
        assert found.why


@given(
    issued=st.integers(0, 2_000_000_000),
    life=st.integers(600, 10_000_000),
    issuer=st.text(st.characters(codec="ascii", categories=["L", "N"]), max_size=20),
)
def test_evidence_survives_the_api_server(issued: int, life: int, issuer: str) -> None:
    one = cluster()
    found = secret(1, one, issued=issued, expires=issued + life, issuer=issuer).evidence
    assert found is not None
    assert (found.issued, found.expires, found.issuer, found.lifetime) == (issued, issued + life, issuer, life)
    assert found.ageing(issued + life, 1 / 3)
    assert not found.ageing(issued, 1 / 3)
    assert found.ageing(issued + life * 0.7, 1 / 3)


def test_evidence_of_another_secret_does_not_count() -> None:
    one = cluster()
    raw = dict(secret(1, one).raw)
    raw["metadata"] = {**raw["metadata"], "uid": "made-anew"}
    assert evidence.of(raw, settings()) is None


# -- pruning -----------------------------------------------------------------------------------------------------------


def leftovers(**changes: t.Any) -> prune.Leftovers:
    mounts = {
        "kubernetes-prod": {"accessor": "auth_kubernetes_1", "description": description("prod", "token_request")},
        "kubernetes-gone": {"accessor": "auth_kubernetes_2", "description": description("gone", "token_request")},
        "kubernetes-other": {"accessor": "auth_kubernetes_3", "description": "by hand"},
    }
    return prune.Leftovers(mounts, **changes)


def alias(accessor: str, name: str, entity: str) -> dict[str, t.Any]:
    metadata = {"service_account_namespace": "ns", "service_account_name": "eso"}
    return {"mount_accessor": accessor, "name": name, "canonical_id": entity, "metadata": metadata}


def entity(*aliases: str, **changes: t.Any) -> dict[str, t.Any]:
    """Return an entity as OpenBao shows one that a login made."""
    made: dict[str, t.Any] = {
        "name": "entity_0a1b2c3d",
        "policies": [],
        "group_ids": [],
        "direct_group_ids": [],
        "metadata": None,
    }
    return {**made, "aliases": [{"id": key} for key in aliases], **changes}


@pytest.mark.parametrize(
    ("there", "whole"),
    [
        (entity("dead"), True),
        (entity("dead", name="build-robot"), False),
        (entity("dead", policies=["deploy"]), False),
        (entity("dead", group_ids=["g"]), False),
        (entity("dead", direct_group_ids=["g"]), False),
        (entity("dead", metadata={"team": "ada"}), False),
        (entity("dead", "of-people"), False),
        (None, False),
    ],
)
def test_prune_leaves_entities_that_people_made(there: dict[str, t.Any] | None, whole: bool) -> None:
    aliases = {
        "live": alias("auth_kubernetes_1", "uid-live", "e1"),
        "dead": alias("auth_kubernetes_1", "uid-dead", "e2"),
    }
    found = prune.plan(
        leftovers(aliases=aliases, own_mount="kubernetes-gone", entities={"e2": there} if there else {}),
        [cluster()],
        settings(prune=True, prune_max_percent=100),
        {"prod": {"uid-live"}},
    )
    [change] = found.changes
    assert [step.path for step in change.payload] == [
        "identity/entity/id/e2" if whole else "identity/entity-alias/id/dead"
    ]


def test_prune_leaves_entities_that_a_replaced_mount_uses() -> None:
    """Tokens of logins at the old mount live on with the entity."""
    aliases = {
        "old": alias("auth_jwt_7", "uid-old", "e2"),
        "live": alias("auth_kubernetes_1", "uid-live", "e1"),
        "dead": alias("auth_kubernetes_1", "uid-dead", "e2"),
    }
    found = prune.plan(
        leftovers(aliases=aliases, own_mount="kubernetes-gone", entities={"e2": entity("dead")}),
        [cluster()],
        settings(prune=True, prune_max_percent=100),
        {"prod": {"uid-live"}},
        named={"auth_jwt_7"},
    )
    [change] = found.changes
    assert [step.path for step in change.payload] == ["identity/entity-alias/id/dead"]


def test_prune_takes_ours_only() -> None:
    aliases = {
        "live": alias("auth_kubernetes_1", "uid-live", "e1"),
        "dead": alias("auth_kubernetes_1", "uid-dead", "e2"),
        "going": alias("auth_kubernetes_2", "uid-x", "e3"),
        "foreign": alias("auth_kubernetes_3", "uid-y", "e4"),
        "orphan": alias("auth_kubernetes_9", "uid-z", "e5"),
        "orphan-of-a-person": {**alias("auth_userpass_9", "ada", "e6"), "metadata": {}},
        "shared": alias("auth_kubernetes_1", "uid-gone", "e4"),
    }
    entities = {number: entity(key) for number, key in (("e2", "dead"), ("e3", "going"), ("e5", "orphan"))}
    found = prune.plan(
        leftovers(aliases=aliases, policies={"tenant-gone": "x"}, owned_policies=2, entities=entities),
        [cluster()],
        settings(prune=True, prune_max_percent=100),
        {"prod": {"uid-live"}},
    )
    paths = [step.path for change in found.changes for step in change.payload]
    assert sorted(paths) == [
        "identity/entity-alias/id/shared",
        "identity/entity/id/e2",
        "identity/entity/id/e3",
        "identity/entity/id/e5",
        "sys/auth/kubernetes-gone",
        "sys/policies/acl/tenant-gone",
    ]


def test_prune_leaves_clusters_alone_that_are_to_be_kept() -> None:
    policies = {"tenant-gone": "x", "tenant-gone.ann": "x", "tenant-gone-too": "x"}
    left = leftovers(aliases={"a": alias("auth_kubernetes_2", "uid", "e1")}, policies=policies, owned_policies=4)
    moved = {"accessor": "auth_jwt_4", "description": description("gone", "jwt_pubkeys")}
    left = dataclasses.replace(left, mounts={**left.mounts, "people/of-gone": moved})
    found = prune.plan(
        left, [cluster()], settings(prune=True, prune_max_percent=100, keep=("gone",)), {"prod": {"uid-live"}}
    )
    assert [(change.kind, change.name) for change in found.changes] == [("OpenBao policy", "tenant-gone-too")]


def test_prune_leaves_the_aliases_of_a_cluster_that_did_not_answer() -> None:
    aliases = {"a": alias("auth_kubernetes_1", "uid", "e1")}
    found = prune.plan(leftovers(aliases=aliases, own_mount="kubernetes-gone"), [cluster()], settings(prune=True), {})
    assert found.changes == []
    assert "login in use" in found.warnings[0]


def test_prune_refuses_when_a_cluster_seems_to_have_no_service_accounts() -> None:
    aliases = {"a": alias("auth_kubernetes_1", "uid", "e1")}
    with pytest.raises(Refused) as caught:
        prune.plan(
            leftovers(aliases=aliases, own_mount="kubernetes-gone"), [cluster()], settings(prune=True), {"prod": set()}
        )
    assert caught.value.rule == "prune-empty"


def test_prune_refuses_an_empty_list_and_too_much() -> None:
    for clusters, rule in (([], "prune-empty"), ([cluster(name="new")], "prune-cap")):
        with pytest.raises(Refused) as caught:
            prune.plan(leftovers(), clusters, settings(prune=True), {})
        assert caught.value.rule == rule


# -- OpenBao policies --------------------------------------------------------------------------------------------------


def test_templated_policy_is_read_only_and_names_one_namespace() -> None:
    text = access.policies(cluster(), settings(), ("ACC",))["tenant-prod"]
    namespace = "{{identity.entity.aliases.ACC.metadata.service_account_namespace}}"
    assert f'path "kv/data/tenants/prod/{namespace}/*"' in text
    assert "metadata/tenants" not in text
    assert access.owner(text) == model.OWNER
    assert access.accessors_in(text) == {"ACC"}
    with_lists = access.policies(cluster(access={"find": True}), settings(), ("ACC",))["tenant-prod"]
    assert f'path "kv/metadata/tenants/prod/{namespace}/*"' in with_lists


def test_stricter_option_names_namespaces_and_drops_the_common_role() -> None:
    one = cluster(access={"per_tenant": [{"name": "alice", "namespaces": ["a1", "a2"]}]})
    assert [b.role for b in access.bindings(one)] == ["tenant-alice", "canary", "canary-elsewhere"]
    text = access.policies(one, settings(), ("ACC",))["tenant-prod.alice"]
    assert "kv/data/tenants/prod/a1/*" in text
    assert "{{" not in text


def test_paths_of_other_engines_are_in_every_policy_of_tenants() -> None:
    given, clusters = model.parse(
        {
            "clusters": [
                {"name": "prod", "kubeconfig": "k"},
                {
                    "name": "lab",
                    "kubeconfig": "k",
                    "access": {"per_tenant": [{"name": "web", "namespaces": ["4-a", "4-b"]}]},
                },
            ],
            "tenant_paths": [
                {"path": "database/static-creds/{cluster}.{namespace}.*"},
                {"path": "transit/encrypt/{cluster}.{namespace}", "capabilities": ["update"]},
            ],
        }
    )
    name = "{{identity.entity.aliases.acc.metadata.service_account_namespace}}"
    shared = access.policies(clusters[0], given, ("acc",))["tenant-prod"]
    assert f'path "database/static-creds/prod.{name}.*" {{\n  capabilities = ["read"]\n}}' in shared
    assert f'path "transit/encrypt/prod.{name}" {{\n  capabilities = ["update"]\n}}' in shared
    own = access.policies(clusters[1], given, ("acc",))["tenant-lab.web"]
    assert [f"static-creds/lab.{n}.*" in own for n in ("4-a", "4-b", "4-c")] == [True, True, False]

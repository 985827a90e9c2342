# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the plans decide, without a server. What servers really answer is in tests/integration/config."""

from __future__ import annotations

import typing as t

import pytest
from ansible_collections.hackspace.infra.plugins.module_utils._core.errors import HackspaceError, InvalidInput, Refused
from ansible_collections.hackspace.infra.plugins.module_utils._core.plan import Change, Plan
from ansible_collections.hackspace.infra.plugins.module_utils._openbao import (
    engine_plan,
    human_plan,
    identity_plan,
    mount_model,
    mount_plan,
    policy_plan,
)
from ansible_collections.hackspace.infra.plugins.module_utils._openbao.config_apply import Ref, Send, apply_plan
from ansible_collections.hackspace.infra.plugins.module_utils._openbao.mount_mark import (
    Description,
    split,
    wanted_description,
)
from hypothesis import given
from hypothesis import strategies as st

SECRET = "Zt8vQ4mN2xB7kL9wR3yH6cJ1"
EVIDENCE = st.dictionaries(
    st.from_regex(r"[a-z_]{1,10}", fullmatch=True), st.from_regex(r"[0-9a-f]{12}", fullmatch=True), max_size=2
)


# -- the mark of mounts --------------------------------------------------------------------------------------------


@given(st.text(max_size=40).map(str.strip).filter(lambda s: "[hackspace.infra" not in s), EVIDENCE)
def test_a_description_survives(text: str, evidence: dict[str, str]) -> None:
    there = split(str(Description(text, True, evidence)))
    assert (there.text, there.marked, dict(there.evidence)) == (text, True, evidence)
    assert there.ours


def test_whose_a_mount_is() -> None:
    assert not split("by hand").ours
    assert not split(None).ours
    assert not split("x [hackspace.infra] y").ours
    init = split("managed by hackspace.infra")
    assert init.ours
    assert not init.marked
    assert wanted_description(init, None) == "managed by hackspace.infra"
    assert wanted_description(init, "People") == "People [hackspace.infra]"
    assert wanted_description(split("by hand"), None) == "by hand [hackspace.infra]"


# -- auth mounts ---------------------------------------------------------------------------------------------------


def jwt_mount(**more: t.Any) -> dict[str, t.Any]:
    return {
        "path": "sso",
        "type": "oidc",
        "method_config": {"oidc_discovery_url": "https://id.example.org", "oidc_client_id": "bao"},
        "oidc_client_secret": SECRET,
        **more,
    }


def present(description: str = "", **more: t.Any) -> mount_plan.Present:
    mount = {
        "type": "oidc",
        "description": description,
        "config": {"default_lease_ttl": 0, "max_lease_ttl": 0, "token_type": "default-service"},
        "accessor": "a1",
    }
    config = {
        **{n: f.empty for n, f in mount_model.CONFIGS["oidc"].items() if f.shown},
        "oidc_discovery_url": "https://id.example.org",
        "oidc_client_id": "bao",
    }
    return mount_plan.Present({"sso": mount}, {"sso": config}, **more)


def test_the_mark_gets_its_evidence_after_the_configuration_was_written() -> None:
    plan = mount_plan.plan(mount_plan.Present(), mount_model.parse([jwt_mount()]))
    sends = [s for c in plan.changes for s in c.payload]
    assert [(s.method, s.path) for s in sends] == [
        ("POST", "sys/auth/sso"),
        ("POST", "auth/sso/config"),
        ("POST", "sys/auth/sso/tune"),
    ]
    assert sends[0].body["description"] == "[hackspace.infra]"
    assert sends[1].body["oidc_client_secret"] == SECRET
    assert "oidc_client_secret=" in sends[2].body["description"]


def test_no_secret_in_anything_that_is_shown() -> None:
    plan = mount_plan.plan(mount_plan.Present(), mount_model.parse([jwt_mount()]))
    user = {"path": "p", "type": "userpass", "users": [{"name": "ada", "password": SECRET}]}
    plan.extend(mount_plan.plan(mount_plan.Present(), mount_model.parse([user])))
    assert SECRET not in str(plan.result())
    assert SECRET not in repr(plan.changes)


def test_unknown_evidence_means_write() -> None:
    wanted = mount_model.parse([jwt_mount()])
    mark = str(Description("", True, wanted[0].evidence))
    assert not mount_plan.plan(present(mark), wanted).changed
    for other in ("[hackspace.infra]", "[hackspace.infra oidc_client_secret=000000000000]"):
        plan = mount_plan.plan(present(other), wanted)
        assert [c.why for c in plan.changes] == ["oidc_client_secret differs"]


def test_the_configuration_is_sent_completely_whatever_differs() -> None:
    wanted = mount_model.parse([jwt_mount(method_config={**jwt_mount()["method_config"], "bound_issuer": "x"})])
    plan = mount_plan.plan(present(str(Description("", True, wanted[0].evidence))), wanted)
    (send,) = plan.changes[0].payload
    shown = {n for n, f in mount_model.CONFIGS["oidc"].items() if f.shown}
    assert set(send.body) == shown | {"oidc_client_secret"}


def test_provider_config_is_not_shown_and_hidden_keys_are_not_compared() -> None:
    config = {
        **jwt_mount()["method_config"],
        "provider_config": {"provider": "gsuite", "gsuite_service_account": "file"},
    }
    wanted = mount_model.parse([jwt_mount(method_config=config)])
    now = present(str(Description("", True, wanted[0].evidence)))
    assert now.configs["sso"]
    there = {**now.configs["sso"], "provider_config": {"provider": "gsuite"}}
    same = mount_plan.Present(now.mounts, {"sso": there})
    assert not mount_plan.plan(same, wanted).changed
    assert mount_plan.plan(now, wanted).diff()[0]["after"]["provider_config"] == "(hidden, changed)"


def test_all_that_is_foreign_is_named_at_once() -> None:
    wanted = mount_model.parse(
        [
            jwt_mount(config={"max_lease_ttl": "1h"}),
            {"path": "new", "type": "userpass"},
            {"path": "old", "type": "userpass", "users": [{"name": "ada", "token_ttl": "1h"}]},
        ]
    )
    now = present("by hand")
    mounts = {**now.mounts, "old": {"type": "userpass", "description": "", "config": {}}}
    logins = {"old": human_plan.Logins(frozenset({"ada"}), {"ada": {"token_ttl": 5, "token_policies": []}})}
    both = mount_plan.Present(mounts, now.configs, logins)
    with pytest.raises(Refused) as caught:
        mount_plan.plan(both, wanted)
    assert caught.value.data["foreign"] == ["auth mount sso", "user old/ada"]
    plan = mount_plan.plan(both, wanted, adopt=True)
    assert [(c.kind, c.name, c.action) for c in plan.changes] == [
        ("auth mount", "sso", "adopt"),
        ("auth mount configuration", "sso", "update"),
        ("auth mount", "new", "create"),
        ("auth mount", "old", "adopt"),
        ("user", "old/ada", "update"),
    ]


def test_mounts_of_others_are_never_pruned() -> None:
    mark = "[hackspace.infra]"
    mounts: dict[str, dict[str, t.Any]] = {
        "token": {"type": "token", "description": mark},
        "kubernetes-a": {"type": "kubernetes", "description": mark},
        "kubernetes-b": {"type": "jwt", "description": mark},
        "k8s": {"type": "kubernetes", "description": mark},
        "userpass": {"type": "userpass", "description": "managed by hackspace.infra"},
        "hand": {"type": "userpass", "description": ""},
        "mine": {"type": "userpass", "description": mark},
        "login": {"type": "userpass", "description": mark},
        "kept": {"type": "userpass", "description": mark, "config": {}},
    }
    plan = mount_plan.plan(
        mount_plan.Present(mounts, own_mount="login"),
        mount_model.parse([{"path": "kept", "type": "userpass"}]),
        prune=True,
    )
    assert [(c.action, c.name) for c in plan.changes] == [("delete", "mine")]
    assert "login" in plan.warnings[0]


def test_deletions_come_last() -> None:
    mounts = {p: {"type": "userpass", "description": "[hackspace.infra]", "config": {}} for p in ("a", "b")}
    logins = {"a": human_plan.Logins(frozenset({"gone"}), {})}
    wanted: list[dict[str, t.Any]] = [
        {"path": "a", "type": "userpass", "users": [{"name": "new", "password": SECRET}]},
        {"path": "c", "type": "userpass"},
    ]
    plan = mount_plan.plan(mount_plan.Present(mounts, {}, logins), mount_model.parse(wanted), prune=True)
    assert [(c.action, c.name) for c in plan.changes] == [
        ("create", "a/new"),
        ("create", "c"),
        ("delete", "a/gone"),
        ("delete", "b"),
    ]


# -- secret engines ------------------------------------------------------------------------------------------------


def test_engines_that_the_server_keeps_are_never_pruned() -> None:
    mark = "[hackspace.infra]"
    mounts = {
        "sys": {"type": "system", "description": mark},
        "identity": {"type": "identity", "description": mark},
        "cubbyhole": {"type": "cubbyhole", "description": mark},
        "hand": {"type": "kv", "description": ""},
        "kept": {"type": "kv", "description": mark},
        "mine": {"type": "kv", "description": mark},
    }
    wanted = engine_plan.parse([{"path": "kept", "type": "kv"}])
    now = engine_plan.Present(mounts)
    with pytest.raises(Refused) as caught:
        engine_plan.plan(now, wanted, prune=True)
    assert caught.value.data["would_delete"] == ["mine"]
    plan = engine_plan.plan(now, wanted, prune=True, allow_data_loss=True)
    assert [(c.action, c.name) for c in plan.changes] == [("delete", "mine")]


# -- identity groups -----------------------------------------------------------------------------------------------


@given(st.permutations(["a", "b", "c", "d"]))
def test_members_come_before_the_groups_they_belong_to(order: list[str]) -> None:
    members = {"a": ["b", "c"], "b": ["d"], "c": ["d"], "d": []}
    groups = identity_plan.parse([{"name": n, "member_groups": members[n]} for n in order])
    place = {g.name: i for i, g in enumerate(groups)}
    assert all(place[m] < place[n] for n, ms in members.items() for m in ms)


def test_a_renamed_group_is_found_by_its_alias_and_its_new_name_is_known() -> None:
    answer = {
        "name": "old",
        "type": "external",
        "policies": ["a"],
        "metadata": dict(identity_plan.MARK),
        "alias": {"id": "al1", "mount_accessor": "acc", "name": "g"},
    }
    listed = identity_plan.Listed("id1", "old", ("al1", "acc", "g"))
    now = identity_plan.Present((listed,), {"id1": answer}, {"oidc": "acc"})
    wanted = identity_plan.parse([{"name": "new", "policies": ["a"], "alias": {"name": "g", "mount": "oidc"}}])
    plan = identity_plan.plan(now, wanted)
    (send,) = plan.changes[0].payload
    assert (send.path, send.body["name"]) == ("identity/group/id/id1", "new")
    assert identity_plan.known_ids(now, wanted)["new"] == "id1"


# -- applying ------------------------------------------------------------------------------------------------------


class Reply:
    def __init__(self, status: int, body: dict[str, t.Any] | None = None) -> None:
        self.status = status
        self.body = body or {}


class Api:
    """Records what is sent; fails at the path given."""

    def __init__(self, fails_at: str = "") -> None:
        self.sent: list[tuple[str, str, dict[str, t.Any]]] = []
        self.fails_at = fails_at

    def request(self, method: str, path: str, body: t.Mapping[str, t.Any] | None = None, **_more: t.Any) -> Reply:
        if path == self.fails_at:
            raise HackspaceError("no", rule="http-status", status=500)
        self.sent.append((method, path, dict(body or {})))
        return Reply(200, {"data": {"id": "made"}})

    def use_token(self, token: t.Any) -> None:
        raise AssertionError(token)

    def login(self) -> None:
        raise AssertionError

    def close(self) -> None:
        raise AssertionError


def change(name: str, *sends: Send) -> Change:
    return Change("thing", name, "create", payload=sends)


def test_ids_are_learnt_on_the_way() -> None:
    api = Api()
    plan = Plan(
        [
            change("inner", Send("POST", "identity/group", {"name": "inner"}, learn="inner")),
            change("outer", Send("POST", "identity/group", {"member_group_ids": [Ref("inner"), Ref("known")]})),
        ]
    )
    apply_plan(api, plan, {"known": "id0"})
    assert api.sent[1][2] == {"member_group_ids": ["made", "id0"]}
    with pytest.raises(HackspaceError) as caught:
        apply_plan(api, Plan([change("x", Send("POST", "p", {"id": Ref("nobody")}))]))
    assert caught.value.rule == "answer-missing"


def test_an_error_says_what_was_done_before() -> None:
    plan = Plan([change("a", Send("POST", "a")), change("b", Send("POST", "b")), change("c", Send("POST", "c"))])
    api = Api("b")
    with pytest.raises(HackspaceError) as caught:
        apply_plan(api, plan)
    assert caught.value.item == "thing b"
    assert [c["name"] for c in caught.value.data["applied"]] == ["a"]
    assert [path for _method, path, _body in api.sent] == ["a"]


# -- OpenBao policies ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "want"),
    [
        ("", None),
        (None, None),
        ("0001-01-01T00:00:00Z", None),
        ("2027-01-31T12:00:00Z", "2027-01-31T12:00:00Z"),
        ("2027-01-31T13:00:00+01:00", "2027-01-31T12:00:00Z"),
        ("2027-01-31T12:00:00.123456789Z", "2027-01-31T12:00:00Z"),
    ],
)
def test_expiration(text: str | None, want: str | None) -> None:
    assert policy_plan.moment(text) == want


def test_all_fields_of_an_openbao_policy_are_compared_and_written() -> None:
    wanted = policy_plan.parse(
        [{"name": "p", "hcl": 'path "a" { capabilities = ["read"] }', "expiration": "2027-01-01T00:00:00Z"}]
    )
    text = f"# managed by hackspace.infra: openbao_policies\n{wanted[0].text}"

    def plan(**answer: t.Any) -> Plan:
        return policy_plan.plan(policy_plan.Present(frozenset({"p"}), {"p": {"policy": text, **answer}}), wanted)

    assert not plan(expiration="2027-01-01T00:00:00.000Z").changed
    later = plan(expiration="2028-01-01T00:00:00Z")
    assert [c.why for c in later.changes] == ["expiration differs"]
    assert later.changes[0].payload[0].body == {"policy": text, "expiration": "2027-01-01T00:00:00Z"}
    locked = plan(expiration="2027-01-01T00:00:00Z", cas_required=True, version=3)
    assert locked.changes[0].payload[0].body["cas"] == 3
    with pytest.raises(InvalidInput) as caught:
        plan()
    assert caught.value.rule == "field-unknown-to-server"

# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What each tenant is to be: what the cluster knows of it, what is allowed in this run, and what is only reported."""

from __future__ import annotations

import dataclasses
import datetime
import json
import typing as t
from collections.abc import Iterator, Mapping

import pytest
from ansible_collections.hackspace.infra.plugins.module_utils._kube.model import Inventory
from ansible_collections.hackspace.infra.plugins.module_utils._kube.plan import Options
from ansible_collections.hackspace.infra.plugins.module_utils._kube.ports import ServerError
from ansible_collections.hackspace.infra.plugins.module_utils._tenants import (
    apply,
    desired,
    lifecycle,
    moves,
    published,
    site,
)
from ansible_collections.hackspace.infra.plugins.module_utils._tenants.membership import Answer, Member, Rules
from ansible_collections.hackspace.infra.plugins.module_utils._tenants.parts import OWNED

TODAY = datetime.date(2026, 11, 22)
KEY = "infra.hackspace.org"
SITE = site.of(
    {
        "cluster": "a",
        "platform": {"domains": {"self_service": ["*.example.org"]}, "max_suspensions": 1, "max_removals": 5},
        "tiers": {"base": "default"},
        "label_domain": KEY,
    }
)


@dataclasses.dataclass
class Page:
    items: list[dict[str, t.Any]]


class Api:
    """A cluster with these namespaces."""

    requests = 0

    def __init__(self, *namespaces: dict[str, t.Any], served: Mapping[str, dict[str, t.Any]] | None = None) -> None:
        self.namespaces = list(namespaces)
        self.served = dict(served or {})
        self.applied: list[dict[str, t.Any]] = []

    def pages(self, path: str, *, selector: str = "", metadata_only: bool = False) -> Iterator[Page]:
        yield Page(self.namespaces if path == "/api/v1/namespaces" else [])

    def get(self, path: str) -> dict[str, t.Any] | None:
        return self.served.get(path)

    def discover(self) -> t.Any:
        return None

    def apply(self, path: str, body: dict[str, t.Any], *, force: bool) -> None:
        self.applied.append(body)


def namespace(
    tenant: str, state: str = "active", *, name: str = "", ours: bool = True, **notes: str
) -> dict[str, t.Any]:
    labels = {"toolkit.fluxcd.io/tenant": tenant, f"{KEY}/tenant-state": state, **(dict(OWNED) if ours else {})}
    annotations = {f"{KEY}/{key.replace('_', '-')}": value for key, value in notes.items()}
    return {"metadata": {"name": name or f"4-aux-{tenant}", "labels": labels, "annotations": annotations}}


def declared(name: str, **more: t.Any) -> dict[str, t.Any]:
    return {"version": 1, "name": name, "owner": {"contact": "x@example.org"}, "clusters": ["a"], **more}


def decided(
    api: Api,
    *declarations: dict[str, t.Any],
    rules: Rules | None = None,
    removal: bool = False,
    files: Mapping[str, str] | None = None,
) -> apply.Decided:
    given = {**{f"declarations[{i}]": one for i, one in enumerate(declarations)}, **(files or {})}
    read = site.read(given, SITE, TODAY)
    return apply.decide(
        t.cast(t.Any, api), read, SITE, answer=None, rules=rules or Rules(), today=TODAY, allow_removal=removal
    )


@pytest.mark.parametrize("state", ["archived", "removed"])
def test_what_is_archived_stays_so_without_leave_to_remove(state: str) -> None:
    made = decided(Api(namespace("alice", "archived")), declared("alice", state=state))
    assert made.of("alice").state == "archived"
    assert made.moving == {}
    before = decided(Api(namespace("alice")), declared("alice", state=state))
    assert before.moving == {"alice": "suspended"}


def test_the_cap_of_this_run_may_be_higher_than_that_of_the_platform() -> None:
    names = ("ann", "ben", "cy")
    lapsed = [declared(name, membership={"paid_until": "2026-01-01"}) for name in names]
    api = Api(*(namespace(name) for name in names))
    assert decided(api, *lapsed, rules=Rules(suspend=True, max_suspend=3)).moving == dict.fromkeys(names, "suspended")
    assert decided(api, *lapsed, rules=Rules(suspend=True, max_suspend=1)).moving == {}


def test_who_is_stopped_already_does_not_count_towards_the_cap() -> None:
    late = {"paid_until": "2026-01-01"}
    former = [
        declared(name, state=state, membership=late) for name, state in (("ann", "removed"), ("ben", "suspended"))
    ]
    api = Api(namespace("ben", "suspended", suspended_by="declaration"), namespace("cy"))
    made = decided(
        api, *former, declared("new", membership=late), declared("cy", membership=late), rules=Rules("", 14, True, 1)
    )
    assert made.moving == {"cy": "suspended"}


def test_a_namespace_of_somebody_else_is_nobodys_because_of_a_label() -> None:
    foreign = namespace("alice", name="production", ours=False)
    found = desired.known_tenants([foreign, namespace("alice")], SITE.profile)
    assert set(found["alice"].namespaces) == {"4-aux-alice"}
    assert desired.known_tenants([foreign], SITE.profile) == {}


def test_only_namespaces_that_are_ours_are_looked_into() -> None:
    class Listing(Api):
        def discover(self) -> t.Any:
            return self

        def find(self, api_version: str, kind: str) -> t.Any:
            return self

        def path(self, space: str = "") -> str:
            asked.append(space)
            return space

    asked: list[str] = []
    api = Listing(namespace("alice"))
    made = decided(
        api, declared("alice", state="suspended", namespaces=[{"name": "4-aux-alice"}, {"name": "4-aux-alice-db"}])
    )
    made.moving = {"alice": "suspended"}
    moves.ways(t.cast(t.Any, api), made, made.moving, TODAY)
    assert set(asked) == {"4-aux-alice"}


def test_who_moved_to_another_cluster_is_reported() -> None:
    made = decided(Api(namespace("alice"), namespace("bob")), declared("alice", clusters=["b"]), declared("bob"))
    assert made.undeclared == {"alice": ["4-aux-alice"]}
    assert made.warnings == ["declared for other clusters only, and left as they are: alice."]
    broken = decided(Api(namespace("alice"), namespace("bob")), declared("bob"), files={"alice.yaml": "version: 2\n"})
    assert broken.undeclared == {}
    assert set(broken.broken) == {"alice"}


def test_rendering_takes_no_namespace_of_somebody_else() -> None:
    place = "/api/v1/namespaces/4-aux-"
    served = {
        f"{place}monitoring": {"metadata": {"labels": {"app": "monitoring"}}},
        f"{place}new": namespace("new"),
        f"{place}alice": {"metadata": {}},
    }
    api = Api(namespace("alice"), served=served)
    made = decided(api, declared("alice"), declared("monitoring"), declared("new"), declared("other"))
    failures = apply.foreign(t.cast(t.Any, api), made)
    assert set(failures) == {"monitoring"}
    assert [one.tenant for one in made.bundles] == ["", "alice", "new", "other"]
    assert "monitoring" in made.kept_files
    [line] = [one for one in made.report({"alice": 1}, failures) if one["name"] == "monitoring"]
    assert line["result"] == "failed"


def test_a_namespace_that_is_no_longer_declared_does_not_say_the_state() -> None:
    api = Api(namespace("alice"), namespace("alice", "archived", name="4-aux-alice-old"))
    made = decided(api, declared("alice"))
    assert made.moving == {}
    assert set(made.known["alice"].namespaces) == {"4-aux-alice", "4-aux-alice-old"}
    assert decided(api, declared("alice", state="archived"), removal=True).moving == {"alice": "archived"}
    observed = lifecycle.Observed(tuple(api.namespaces))
    assert observed.state(SITE.profile) == "archived"
    assert observed.state(SITE.profile, {"4-aux-alice"}) == "active"


@pytest.mark.parametrize("wanted", ["cal.example.org", "x.cal.example.org"])
@pytest.mark.parametrize("broken", [True, False])
def test_nobody_takes_the_host_of_a_tenant_whose_file_is_wrong_or_gone(wanted: str, broken: bool) -> None:
    domain = {"domains": [{"name": wanted, "auth": "app", "reason": "it checks tokens itself"}]}
    files = {"alice.yaml": "version: 2\n"} if broken else {}
    api = Api(namespace("alice", hosts="cal.example.org=open"), namespace("bob"))
    made = decided(api, declared("bob", **domain), declared("carol"), files=files)
    assert "cal.example.org" in made.broken["bob"]
    assert "unique-domain" in made.broken["bob"]
    assert [one.tenant.name for one in made.wanted] == ["carol"]
    # who has it on the cluster as well keeps it
    api = Api(namespace("alice", hosts="cal.example.org=open"), namespace("bob", hosts=f"{wanted}=open"))
    assert "bob" not in decided(api, declared("bob", **domain), files=files).broken


APP = {"auth": "app", "reason": "it checks tokens itself"}


@pytest.mark.parametrize(
    ("wanted", "rule"), [("cal.example.org", "unique-domain"), ("dav.cal.example.org", "domain-overlap")]
)
def test_of_two_who_want_one_domain_it_stays_with_who_has_it(wanted: str, rule: str) -> None:
    api = Api(namespace("alice", hosts="cal.example.org=open"), namespace("bob", hosts="bob.example.org=open"))
    alice = declared("alice", domains=[{"name": "cal.example.org", **APP}])
    bob = declared("bob", domains=[{"name": "bob.example.org", **APP}, {"name": wanted, **APP}])
    made = decided(api, alice, bob, declared("carol"))
    assert set(made.broken) == {"bob"}
    assert f"[{rule}]" in made.broken["bob"]
    assert made.broken["bob"].count(" Fix: ") == 1
    assert [one.tenant.name for one in made.wanted] == ["alice", "carol"]
    # nobody has it yet, so nobody takes it
    fresh = Api(namespace("alice"), namespace("bob"))
    assert set(decided(fresh, alice, bob).broken) == {"alice", "bob"}


def test_a_repository_stays_with_who_follows_it_already() -> None:
    mine = "https://git.example.org/alice/k8s"
    git = dataclasses.replace(SITE, profile=dataclasses.replace(SITE.profile, git_allow=("https://git.example.org/",)))
    api = Api(namespace("alice", repo=mine), namespace("bob", repo="https://git.example.org/bob/k8s"))
    names = [declared(name, source={"url": url}) for name, url in (("alice", mine), ("bob", f"{mine}.git"))]
    read = site.read({f"{i}": one for i, one in enumerate(names)}, git, TODAY)
    made = apply.decide(t.cast(t.Any, api), read, git, answer=None, rules=Rules(), today=TODAY, allow_removal=False)
    assert set(made.broken) == {"bob"}
    assert "[source-shared]" in made.broken["bob"]


SUSPENDING = Rules(suspend=True, grace_days=14, max_suspend=2)
WRONG = {"alice.yaml": "version: 2\n"}


def judged(api: Api, rules: Rules = SUSPENDING, **more: t.Any) -> apply.Decided:
    read = site.read({**WRONG, "0": declared("bob")}, SITE, TODAY)
    given: dict[str, t.Any] = {"answer": None, "allow_removal": False, **more}
    return apply.decide(t.cast(t.Any, api), read, SITE, rules=rules, today=TODAY, **given)


def test_a_wrong_file_keeps_nobody_active_whose_membership_has_ended() -> None:
    made = judged(Api(namespace("alice", paid_until="2026-11-01", grace_days="10"), namespace("bob")))
    assert made.moving == {"alice": "suspended"}
    assert made.cuts["alice"].suspend
    line = next(one for one in made.report({"alice": 3}) if one["name"] == "alice")
    assert (line["state"], line["by"], line["result"], line["changes"]) == ("suspended", "membership", "failed", 3)
    assert "paid until 2026-11-01, so it is suspended" in line["problem"]
    # who is paid for, or within grace, stays; and all do when nobody was asked or suspending is not allowed
    for note in ("2026-11-30", "2026-11-10"):
        assert judged(Api(namespace("alice", paid_until=note), namespace("bob"))).moving == {}
    lapsed = Api(namespace("alice", paid_until="2026-10-01"), namespace("bob"))
    assert judged(lapsed, Rules()).moving == {}
    assert judged(lapsed, asked=False).moving == {}
    # the platform says how much grace there is at most
    far = Api(namespace("alice", paid_until="2026-10-01", grace_days="366"), namespace("bob"))
    assert judged(far).moving == {"alice": "suspended"}


def test_grace_is_counted_while_a_file_is_wrong() -> None:
    answer = Answer({"bob": Member()})
    rules = dataclasses.replace(SUSPENDING, source="keycloak")
    first = judged(Api(namespace("alice", member="alice"), namespace("bob")), rules, answer=answer)
    assert first.moving == {"alice": "active"}
    assert not first.cuts["alice"].suspend
    begun = namespace("alice", member="alice", membership_ended="2026-11-20")
    assert judged(Api(begun, namespace("bob")), rules, answer=answer).moving == {}
    over = namespace("alice", member="alice", membership_ended="2026-11-01")
    assert judged(Api(over, namespace("bob")), rules, answer=answer).moving == {"alice": "suspended"}
    # paid again: what was noted is forgotten, also when the file is right again
    again = judged(Api(begun, namespace("bob")), rules, answer=Answer({"alice": Member()}))
    assert again.moving == {"alice": "active"}
    assert decided(Api(begun, namespace("bob")), declared("alice"), declared("bob")).moving == {"alice": "active"}


def test_what_is_cut_without_a_declaration_comes_back_with_one() -> None:
    space = {**namespace("alice"), "apiVersion": "v1", "kind": "Namespace"}

    def live(api: str, kind: str, name: str, spec: t.Any = None, **labels: str) -> dict[str, t.Any]:
        metadata = {"name": name, "namespace": "4-aux-alice", "labels": labels}
        return {"apiVersion": api, "kind": kind, "metadata": metadata, "spec": spec or {}}

    ours = dict(OWNED)
    rbac = "rbac.authorization.k8s.io/v1"
    there = lifecycle.Observed(
        (space,),
        (
            live("kustomize.toolkit.fluxcd.io/v1", "Kustomization", "alice", **ours),
            live("source.toolkit.fluxcd.io/v1", "GitRepository", "alice", {"suspend": True}, **ours),
            live("v1", "ServiceAccount", "eso", **ours),
            live("v1", "ServiceAccount", "flux", **ours),
            live("v1", "ServiceAccount", "default"),
            live(rbac, "RoleBinding", "tenant-operator", **ours),
            live(rbac, "RoleBinding", "tenant-reconciler", **ours),
            live("networking.k8s.io/v1", "NetworkPolicy", "tenant-allow-ingress", **ours),
            live("networking.k8s.io/v1", "NetworkPolicy", "tenant-default-deny", **ours),
            live("apps/v1", "Deployment", "web", {"replicas": 2}),
        ),
    )
    steps = lifecycle.cut("alice", SITE.profile, SITE.place, there, suspend=True, since=None, today=TODAY)
    assert [(one.action, one.target) for one in steps] == [
        ("patch", "Kustomization 4-aux-alice/alice"),
        ("delete", "NetworkPolicy 4-aux-alice/tenant-allow-ingress"),
        ("delete", "RoleBinding 4-aux-alice/tenant-operator"),
        ("delete", "ServiceAccount 4-aux-alice/eso"),
        ("put", "ResourceQuota 4-aux-alice/tenant-stopped"),
        ("patch", "Deployment 4-aux-alice/web"),
        ("patch", "Namespace 4-aux-alice"),
    ]
    assert steps[-1].body["metadata"]["annotations"][f"{KEY}/suspended-by"] == "membership"
    noted = lifecycle.cut("alice", SITE.profile, SITE.place, there, suspend=False, since=TODAY, today=TODAY)
    assert [one.body["metadata"]["annotations"] for one in noted] == [{f"{KEY}/membership-ended": "2026-11-22"}]
    # back: what a patch has set is taken away by a patch
    stopped = namespace("alice", "suspended", suspended_by="membership", membership_ended="2026-11-01")
    observed = lifecycle.Observed(({**stopped, "apiVersion": "v1", "kind": "Namespace"},))
    read = site.read({"0": declared("alice")}, SITE, TODAY)
    back = lifecycle.plan(read.judged.tenants[0], SITE.profile, SITE.place, observed, "active", today=TODAY)
    assert (back[0].action, back[0].target) == ("patch", "Namespace 4-aux-alice")
    assert set(back[0].body["metadata"]["annotations"].values()) == {None}


def test_a_misspelt_cluster_is_found_by_the_names_of_the_inventory() -> None:
    known = dataclasses.replace(SITE, clusters=("a", "b"))
    names = [declared("alice", clusters=["a-misspelt"]), declared("bob", clusters=["b"]), declared("carol")]
    read = site.read({f"{i}": one for i, one in enumerate(names)}, known, TODAY)
    api = Api(namespace("alice"))
    made = apply.decide(t.cast(t.Any, api), read, known, answer=None, rules=Rules(), today=TODAY, allow_removal=False)
    assert set(made.broken) == {"alice"}
    assert "'a-misspelt' is no cluster for tenants. [unknown-cluster] Fix: one of a, b." in made.broken["alice"]
    assert made.undeclared == {}
    options = {"cluster": "c", "platform": {}, "tiers": {"base": "default"}, "label_domain": KEY}
    assert site.of({**options, "known_clusters": ["a"]}).clusters == ("a", "c")
    assert site.of(options).clusters == ()


# -- hosts that are published and in no declaration ----------------------------------------------------------------


def ingress(space: str, name: str, *hosts: str, **more: t.Any) -> tuple[published.Kind, dict[str, t.Any]]:
    body = {"metadata": {"name": name, "namespace": space}, "spec": {"rules": [{"host": one} for one in hosts], **more}}
    return published.INGRESSES[0], body


def test_hosts_of_no_declaration_are_found() -> None:
    api = Api(namespace("alice", hosts="cal.example.org=open old.example.org=open"), namespace("gone", hosts="g.org=x"))
    alice = declared("alice", domains=[{"name": "cal.example.org", **APP}])
    made = decided(api, alice)
    spaces = published.allowed(made.wanted, made.known, SITE.profile)
    leaving = ingress("4-aux-alice", "leaving", "old.example.org")
    leaving[1]["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    route = published.ROUTES[0], {"metadata": {"name": "r", "namespace": "4-aux-alice"}, "spec": {}}
    spec = {"dnsNames": ["cal.example.org", "x.cal.example.org"], "commonName": "old.example.org"}
    certificate = published.CERTIFICATES[0], {"metadata": {"name": "c", "namespace": "4-aux-alice"}, "spec": spec}
    found = published.strays(
        [
            ingress("4-aux-alice", "right", "CAL.example.org"),
            ingress("4-aux-alice", "old", "cal.example.org", "old.example.org", tls=[{"hosts": ["older.example.org"]}]),
            ingress("4-aux-gone", "kept", "g.org"),
            ingress("elsewhere", "not-ours", "old.example.org"),
            leaving,
            route,
            certificate,
        ],
        spaces,
    )
    assert [(one.kind, one.name, one.host) for one in found] == [
        ("Certificate", "c", "old.example.org"),
        ("Certificate", "c", "x.cal.example.org"),
        ("HTTPRoute", "r", "*"),
        ("Ingress", "old", "old.example.org"),
        ("Ingress", "old", "older.example.org"),
    ]
    assert "every host" in str(found[2])
    assert "kubectl -n 4-aux-alice delete ingress old" in str(found[3])
    line = {"name": "alice", "ready": True, "problems": []}
    [told] = published.told([line], found[:1])
    assert (told["ready"], told["problems"]) == (False, [str(found[0])])
    assert published.told([line], []) == [line]
    below = published.Allowed("alice", frozenset({"a.org", ".a.org"}))
    assert below.covers("x.a.org")
    assert not below.covers("ba.org")


def test_a_login_that_may_not_list_is_told() -> None:
    class Blind(Api):
        def pages(self, path: str, *, selector: str = "", metadata_only: bool = False) -> Iterator[Page]:
            raise ServerError("no.", status=404 if "gateway" in path else 403)

    spaces = {"4-aux-alice": published.Allowed("alice", frozenset())}
    kinds = (*published.INGRESSES, *published.ROUTES)
    assert published.look(t.cast(t.Any, Blind()), spaces, kinds) == ([], ["Ingress"])
    assert published.look(t.cast(t.Any, Blind()), {}, kinds) == ([], [])


def test_a_run_that_continues_another_one_keeps_its_record() -> None:
    volume = {"name": "pv", "claim": "4-aux-alice/data", "capacity": "1Gi"}
    before = {"revisions": {"4-aux-alice/alice": "main@sha1:1"}, "objects": ["apps/v1 StatefulSet x/y"], "volumes": []}
    now = {"tenant": "alice", "revisions": {}, "objects": ["v1 Secret x/z"], "volumes": [volume]}
    record = {"data": {"archive": json.dumps(before)}}
    api = Api(
        namespace("alice", tenant_moving="archived"),
        served={"/api/v1/namespaces/kube-system/configmaps/tenant-archive-alice": record},
    )
    made = decided(api, declared("alice", state="archived"), removal=True)
    mover = moves._Mover(
        t.cast(t.Any, api), made, "alice", Inventory("tenants", "kube-system"), options=Options(), timeout=1
    )
    mover._record(lifecycle.Step("record", name="alice", body=now))
    kept = json.loads(api.applied[0]["data"]["archive"])
    assert kept["revisions"] == before["revisions"]
    assert kept["objects"] == ["apps/v1 StatefulSet x/y", "v1 Secret x/z"]
    assert kept["volumes"] == [volume]
    api.namespaces = [namespace("alice")]
    fresh = decided(api, declared("alice", state="archived"), removal=True)
    mover._made = fresh
    mover._record(lifecycle.Step("record", name="alice", body=now))
    assert json.loads(api.applied[1]["data"]["archive"]) == now


def test_two_declarations_of_one_name_are_seen() -> None:
    made = decided(Api(), declared("alice"), declared("alice", state="suspended"))
    assert "unique-name" in made.broken["alice"]
    assert made.wanted == []


def test_who_looks_without_asking_for_members_reactivates_nobody() -> None:
    api = Api(namespace("alice", "suspended", suspended_by="membership", lapsed_since="2026-01-01"))
    read = site.read({"x": declared("alice", membership={"id": "ada"})}, SITE, TODAY)
    looked = [
        apply.decide(
            t.cast(t.Any, api),
            read,
            SITE,
            answer=None,
            rules=Rules(),
            today=TODAY,
            allow_removal=True,
            asked=asked,
        )
        for asked in (False, True)
    ]
    assert [one.of("alice").state for one in looked] == ["suspended", "active"]
    assert [one.moving for one in looked] == [{}, {"alice": "active"}]
    [body] = [one for bundle in looked[0].bundles for one in bundle.objects if one["kind"] == "Namespace"]
    assert body["metadata"]["annotations"][f"{KEY}/lapsed-since"] == "2026-01-01"

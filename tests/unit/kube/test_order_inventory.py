# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Order of kinds, object ids, and the ownership record."""

from __future__ import annotations

import base64
import gzip
import json
import typing as t

import pytest
from ansible_collections.hackspace.infra.plugins.module_utils._core.errors import Refused
from ansible_collections.hackspace.infra.plugins.module_utils._kube import inventory, model, order
from hypothesis import given
from hypothesis import strategies as st

KINDS = [
    ("", "Namespace"),
    ("apiextensions.k8s.io", "CustomResourceDefinition"),
    ("", "LimitRange"),
    ("", "ResourceQuota"),
    ("", "ServiceAccount"),
    ("rbac.authorization.k8s.io", "ClusterRole"),
    ("rbac.authorization.k8s.io", "ClusterRoleBinding"),
    ("", "Secret"),
    ("", "Service"),
    ("apps", "Deployment"),
    ("kustomize.toolkit.fluxcd.io", "Kustomization"),
    ("admissionregistration.k8s.io", "ValidatingWebhookConfiguration"),
]
NAME = st.from_regex(r"[a-z]([-a-z0-9.]{0,6}[a-z0-9])?", fullmatch=True)
IDS = st.builds(
    lambda kind, namespace, name: model.ObjectId(kind[0], kind[1], namespace, name),
    st.sampled_from(KINDS),
    st.just("") | NAME,
    NAME,
)


def test_the_order_of_kinds() -> None:
    ranks = [order.rank(*kind) for kind in KINDS]
    assert ranks == sorted(ranks)
    assert len(set(ranks)) == len(ranks)


@given(st.lists(IDS))
def test_applying_is_stable_within_a_kind(ids: list[model.ObjectId]) -> None:
    done = order.applied(ids, lambda one: one)
    assert sorted(done) == sorted(ids)
    for kind in KINDS:
        assert [i for i in done if i.group_kind == kind] == [i for i in ids if i.group_kind == kind]
    ranks = [order.rank(*i.group_kind) for i in done]
    assert ranks == sorted(ranks)


@given(st.lists(IDS, unique=True))
def test_deleting_is_the_reverse_and_does_not_depend_on_the_order_given(ids: list[model.ObjectId]) -> None:
    done = order.deleted(ids)
    assert done == order.deleted(list(reversed(ids)))
    ranks = [order.rank(*i.group_kind) for i in done]
    assert ranks == sorted(ranks, reverse=True)


@given(IDS)
def test_ids_are_read_back(one: model.ObjectId) -> None:
    assert model.ObjectId.parse(str(one)) == one


@pytest.mark.parametrize("text", ["", "ConfigMap", "ConfigMap ", "ConfigMap a/b/c", "ConfigMap /b", "ConfigMap a b"])
def test_what_is_no_id(text: str) -> None:
    assert model.ObjectId.parse(text) is None


INVENTORY = model.Inventory("mine", "n")


@given(st.frozensets(IDS))
def test_the_record_is_read_back(ids: frozenset[model.ObjectId]) -> None:
    assert inventory.parse(INVENTORY, inventory.render(INVENTORY, ids)) == ids


def test_a_long_record_is_packed_and_stays_far_below_what_a_configmap_may_hold() -> None:
    ids = {
        model.ObjectId("networking.k8s.io", "NetworkPolicy", f"4-aux-member-{tenant}", f"tenant-{name}")
        for tenant in range(1000)
        for name in range(32)
    }
    made = inventory.render(INVENTORY, ids)
    assert "data" not in made
    assert len(json.dumps(made)) < 256 * 1024
    assert made == inventory.render(INVENTORY, ids)
    assert inventory.parse(INVENTORY, made) == ids
    few = inventory.render(INVENTORY, list(ids)[:3])
    assert "binaryData" not in few
    for packed in ("x", "eA==", base64.b64encode(gzip.compress(b"\xff")).decode()):
        with pytest.raises(Refused) as caught:
            inventory.parse(INVENTORY, {**made, "binaryData": {"objects.gz": packed}})
        assert caught.value.rule == "record-damaged"


def test_a_record_of_somebody_else_or_damaged_is_refused() -> None:
    body = inventory.render(INVENTORY, [])
    assert inventory.parse(INVENTORY, None) == frozenset()
    with pytest.raises(Refused) as caught:
        inventory.parse(model.Inventory("other", "n"), body)
    assert caught.value.rule == "record-foreign"
    body["data"]["objects"] = "ConfigMap n/a\nrubbish\n"
    with pytest.raises(Refused) as caught:
        inventory.parse(INVENTORY, body)
    assert caught.value.rule == "record-damaged"
    assert "line 2" in caught.value.message


@pytest.mark.parametrize(
    ("metadata", "owner"),
    [
        ({"labels": {"infra.hackspace.org/inventory": "mine"}}, ""),
        ({"labels": {"infra.hackspace.org/inventory": "other"}}, "inventory other"),
        (
            {"labels": {"kustomize.toolkit.fluxcd.io/name": "apps", "kustomize.toolkit.fluxcd.io/namespace": "f"}},
            "Flux Kustomization f/apps",
        ),
        (
            {
                "labels": {"app.kubernetes.io/managed-by": "Helm"},
                "annotations": {"meta.helm.sh/release-name": "web"},
            },
            "Helm release web",
        ),
        ({"managedFields": [{"manager": "kubectl"}, {"manager": "kubectl"}]}, "written by kubectl"),
        ({}, "no mark"),
    ],
)
def test_who_owns_an_object(metadata: dict[str, t.Any], owner: str) -> None:
    one = model.ObjectId("", "ConfigMap", "n", "a")
    assert inventory.owner(INVENTORY, one, {"metadata": metadata}, frozenset()) == owner


def test_an_object_whose_label_was_removed_is_still_ours() -> None:
    one = model.ObjectId("", "ConfigMap", "n", "a")
    live = {
        "metadata": {"managedFields": [{"manager": model.MANAGER, "operation": "Apply", "fieldsV1": {"f:data": {}}}]}
    }
    assert inventory.owner(INVENTORY, one, live, {one}) == ""
    assert inventory.owner(INVENTORY, one, live, set()) != ""


@pytest.mark.parametrize(
    ("label", "managers", "expected"),
    [
        ("kustomize", [{"manager": "kustomize-controller"}, {"manager": model.MANAGER}], True),
        ("kustomize", [{"manager": model.MANAGER}, {"manager": "kube-controller-manager"}], False),
        ("kustomize", [{"manager": "kustomize-controller", "subresource": "status"}], False),
        ("helm", [{"manager": "helm-controller"}], True),
        ("helm", [{"manager": "Helm"}], True),
        ("helm", [{"manager": model.MANAGER}], False),
        ("other", [{"manager": "kustomize-controller"}], False),
    ],
)
def test_what_flux_has_it_has_written(label: str, managers: list[dict[str, t.Any]], expected: bool) -> None:
    live = {"metadata": {"labels": {f"{label}.toolkit.fluxcd.io/name": "apps"}, "managedFields": managers}}
    assert inventory.flux_holds(live) is expected

# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every broken input gives the one error that is expected of it."""

from __future__ import annotations

import typing as t
from pathlib import Path

import pytest
import yaml
from ansible_collections.hackspace.infra.plugins.module_utils._core.errors import InvalidInput
from ansible_collections.hackspace.infra.plugins.module_utils._kube import manifests, model

CASES = yaml.safe_load((Path(__file__).parent / "cases.yml").read_text())

SERVED = model.Discovery(
    [
        model.Resource("", "v1", "ConfigMap", "configmaps", namespaced=True),
        model.Resource("", "v1", "Namespace", "namespaces", namespaced=False, has_status=True),
        model.Resource("", "v1", "Secret", "secrets", namespaced=True),
        model.Resource("apiextensions.k8s.io", "v1", "CustomResourceDefinition", "crds", namespaced=False),
        model.Resource("apps", "v1", "Deployment", "deployments", namespaced=True, has_status=True),
    ]
)


@pytest.mark.parametrize("case", CASES, ids=[c["case"] for c in CASES])
def test_the_expected_error(case: dict[str, t.Any]) -> None:
    change = case.get("change") or {}

    def parse() -> None:
        inventory = model.Inventory(
            change.get("name", "mine"), change.get("namespace", "n"), change.get("label_domain", "infra.hackspace.org")
        ).checked()
        sources = [model.Source(body, f"objects[{index}]") for index, body in enumerate(case.get("objects") or [])]
        if "manifest" in case:
            sources += manifests.load(case["manifest"].encode(), "release.yaml", change.get("sha256"))
        model.parse(
            sources,
            SERVED,
            inventory,
            default_namespace=change.get("default_namespace"),
            hidden_fields=change.get("hidden_fields") or [],
        )

    with pytest.raises(InvalidInput) as caught:
        parse()
    assert caught.value.rule == case["rule"]
    assert caught.value.item
    assert caught.value.fix


def test_names_are_unique() -> None:
    names = [case["case"] for case in CASES]
    assert len(names) == len(set(names))

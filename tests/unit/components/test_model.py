# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Components: what presets fill in, and the order."""

from __future__ import annotations

import json
import typing as t
from pathlib import Path

from ansible_collections.hackspace.infra.plugins.module_utils._components import model
from ansible_collections.hackspace.infra.plugins.module_utils._components.recipes import RECIPES

ROOT = Path(__file__).parents[3]


def one(name: str, **more: t.Any) -> dict[str, t.Any]:
    return {"name": name, "objects": [{"kind": "ConfigMap"}], **more}


def names(*components: dict[str, t.Any]) -> list[str]:
    return [component.name for component in model.parse(components)]


def test_a_site_as_presets_order_it() -> None:
    wanted = ["openbao", "kyverno", "external-secrets", "rook", "csi", "cilium"]
    assert names(*map(one, wanted)) == ["cilium", "csi", "rook", "kyverno", "openbao", "external-secrets"]


def test_without_needs_the_order_is_that_of_the_list() -> None:
    assert names(one("c"), one("a"), one("b")) == ["c", "a", "b"]


def test_what_the_user_writes_goes_over_the_preset() -> None:
    assert names(one("kyverno", needs=["openbao"]), one("openbao")) == ["openbao", "kyverno"]
    assert names(one("external-secrets", needs=[]), one("kyverno")) == ["external-secrets", "kyverno"]
    (component,) = model.parse(
        [one("kyverno", namespace="policies", wait={"probe": {}, "webhooks": [], "ready": "all"})]
    )
    assert component.namespace == "policies"
    assert component.wait == model.Wait(ready="all")


def test_a_preset_under_another_name() -> None:
    (component,) = model.parse([one("policies", preset="kyverno")])
    assert component.namespace == "kyverno"
    assert component.wait.probe["kind"] == "ValidatingPolicy"
    assert component.inventory == "platform-policies"


def test_the_version_is_filled_in() -> None:
    manifest = {"url": "https://example.org/v{version}/install.yaml", "sha256": "0" * 64}
    (component,) = model.parse([{"name": "app", "version": "1.2", "manifests": [manifest]}])
    assert component.manifests[0]["url"] == "https://example.org/v1.2/install.yaml"
    assert component.title == "app 1.2"


def test_a_passphrase_is_not_in_what_is_printed_of_a_component() -> None:
    secret = {"name": "tls", "namespace": "a", "key_passphrase": "hunter2 hunter2"}
    (component,) = model.parse([one("app", tls_secrets=[secret])])
    assert component.tls[0].passphrase == "hunter2 hunter2"
    assert "hunter2" not in repr(component)


def test_the_schema_of_the_inventory_and_the_documentation_know_all_presets() -> None:
    schema = json.loads((ROOT / "plugins/module_utils/_graph/inventory.schema.json").read_text())
    assert schema["$defs"]["component"]["properties"]["preset"]["enum"] == list(RECIPES)
    page = (ROOT / "docs/components.md").read_text()
    assert all(f"| `{name}` |" in page for name in RECIPES)
    for recipe in RECIPES.values():
        assert set(recipe.needs) <= set(RECIPES)
        assert recipe.ready in model.READY


def test_probes_of_presets_can_be_sent() -> None:
    for component in model.parse([one(name) for name in RECIPES]):
        assert json.loads(json.dumps(component.wait.probe)) == dict(RECIPES[component.name].probe)

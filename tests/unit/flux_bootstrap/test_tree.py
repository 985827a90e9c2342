# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""One small tree for each rule about what lockdown stops."""

from __future__ import annotations

import typing as t
from pathlib import Path

import pytest
import yaml
from ansible.errors import AnsibleFilterError
from ansible_collections.hackspace.infra.plugins.filter.flux_lockdown_findings import flux_lockdown_findings
from ansible_collections.hackspace.infra.plugins.module_utils._flux import lockdown, tree

FLUX = "kustomize.toolkit.fluxcd.io/v1"


def kustomization(name: str = "apps", namespace: str = "flux-system", **spec: t.Any) -> dict[str, t.Any]:
    good = {
        "path": "./apps",
        "serviceAccountName": "kustomize-controller",
        "sourceRef": {"kind": "GitRepository", "name": "flux-system"},
    }
    metadata = {"name": name, **({"namespace": namespace} if namespace else {})}
    wanted = {key: value for key, value in {**good, **spec}.items() if value is not None}
    return {"apiVersion": FLUX, "kind": "Kustomization", "metadata": metadata, "spec": wanted}


def helm_release(**spec: t.Any) -> dict[str, t.Any]:
    return {
        "apiVersion": "helm.toolkit.fluxcd.io/v2",
        "kind": "HelmRelease",
        "metadata": {"name": "web", "namespace": "apps"},
        "spec": spec,
    }


def build(**fields: t.Any) -> dict[str, t.Any]:
    return {"apiVersion": "kustomize.config.k8s.io/v1beta1", "kind": "Kustomization", **fields}


def controller(*args: str) -> dict[str, t.Any]:
    pod = {"containers": [{"name": "manager", "image": "ghcr.io/fluxcd/kustomize-controller:v1", "args": list(args)}]}
    metadata = {"name": "kustomize-controller", "namespace": "flux-system"}
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata, "spec": {"template": {"spec": pod}}}


PATCH = "\n".join(f"- value: {one}" for one in lockdown.arguments(lockdown.KUSTOMIZE))


def found(**files: t.Any) -> list[dict[str, str]]:
    """Findings of files, by path (``__`` for a slash), with an object or a text."""
    given = [
        {
            "path": name.replace("__", "/") + ".yaml",
            "content": one if isinstance(one, str) else yaml.safe_dump(one),
        }
        for name, one in files.items()
    ]
    return flux_lockdown_findings(given)


def rules(**files: t.Any) -> list[tuple[str, str]]:
    return [(one["id"], one["severity"]) for one in found(**files)]


CASES: list[tuple[str, dict[str, t.Any], list[tuple[str, str]]]] = [
    ("good", {"a": kustomization()}, []),
    ("no account", {"a": kustomization(serviceAccountName=None)}, [("platform-account", "error")]),
    ("a tenant's has the tenants' account", {"a": kustomization(namespace="apps", serviceAccountName=None)}, []),
    (
        "nobody knows which namespace",
        {"a": kustomization(namespace="", serviceAccountName=None)},
        [("platform-account", "warning")],
    ),
    (
        "kustomize says which namespace",
        {
            "x__a": kustomization(namespace="", serviceAccountName=None),
            "x__kustomization": build(namespace="flux-system"),
        },
        [("platform-account", "error")],
    ),
    (
        "a source elsewhere",
        {"a": kustomization(sourceRef={"kind": "GitRepository", "name": "x", "namespace": "other"})},
        [("cross-namespace", "error")],
    ),
    (
        "a source in its own namespace, with its name",
        {"a": kustomization(sourceRef={"kind": "GitRepository", "name": "x", "namespace": "flux-system"})},
        [],
    ),
    (
        "a chart elsewhere",
        {"a": helm_release(chart={"spec": {"sourceRef": {"name": "charts", "namespace": "flux-system"}}})},
        [("cross-namespace", "error")],
    ),
    (
        "events of all namespaces",
        {
            "a": {
                "apiVersion": "notification.toolkit.fluxcd.io/v1beta3",
                "kind": "Alert",
                "metadata": {"name": "a", "namespace": "flux-system"},
                "spec": {"eventSources": [{"kind": "Kustomization", "name": "*", "namespace": "apps"}]},
            }
        },
        [("cross-namespace", "error")],
    ),
    ("a remote base", {"kustomization": build(resources=["https://example.org/x.yaml"])}, [("remote-base", "error")]),
    ("one of Git", {"kustomization": build(resources=["github.com/x/y//z?ref=v1"])}, [("remote-base", "error")]),
    ("one by SSH", {"kustomization": build(components=["git@example.org:x/y"])}, [("remote-base", "error")]),
    (
        "a remote patch",
        {"kustomization": build(patches=[{"path": "https://example.org/p"}])},
        [("remote-base", "error")],
    ),
    (
        "bases of one's own",
        {"kustomization": build(resources=["a.yaml", "../base"], patches=[{"patch": "- op: x"}])},
        [],
    ),
    (
        "a removed version",
        {"a": {**kustomization(), "apiVersion": "kustomize.toolkit.fluxcd.io/v1beta2"}},
        [("removed-api", "error")],
    ),
    (
        "a Receiver of old",
        {"a": {"apiVersion": "notification.toolkit.fluxcd.io/v1beta3", "kind": "Receiver", "metadata": {"name": "a"}}},
        [("removed-api", "error")],
    ),
    (
        "a variable without a default",
        {
            "a": kustomization(postBuild={"substitute": {"known": "x"}}),
            "apps__b": "a: ${known} ${unknown} ${with:=1}\n",
        },
        [("substitute-default", "error")],
    ),
    (
        "a value may come from elsewhere",
        {
            "a": kustomization(postBuild={"substituteFrom": [{"kind": "ConfigMap", "name": "x"}]}),
            "apps__b": "a: ${x}\n",
        },
        [("substitute-default", "warning")],
    ),
    (
        "a variable that is not Flux'",
        {"a": kustomization(postBuild={"substitute": {"k": "x"}}), "apps__b": "a: $${x}\n", "other__c": "a: ${x}\n"},
        [],
    ),
    (
        "a comment, and a file that is left alone",
        {
            "a": kustomization(postBuild={"substitute": {"k": "x"}}),
            "apps__b": "# ${x}\na: 1\n",
            "apps__c": "metadata: {annotations: {kustomize.toolkit.fluxcd.io/substitute: disabled}}\na: ${x}\n",
        },
        [],
    ),
    ("Flux in Git, open", {"f__gotk": controller()}, [("git-components", "error")] * 3),
    ("Flux in Git, locked down", {"f__gotk": controller(*lockdown.arguments(lockdown.KUSTOMIZE))}, []),
    (
        "Flux in Git, locked down by patches",
        {
            "f__gotk": controller(),
            "f__kustomization": build(
                resources=["gotk.yaml"],
                patches=[{"target": {"kind": "Deployment", "name": "(helm|kustomize)-controller"}, "patch": PATCH}],
            ),
        },
        [],
    ),
    (
        "Flux in Git, locked down by a patch that names it, and by one in a file",
        {
            "f__gotk": controller(),
            "f__more": PATCH,
            "f__kustomization": build(
                patches=[
                    {"patch": "metadata:\n  name: kustomize-controller\nargs:\n" + PATCH.splitlines()[0]},
                    {"path": "more.yaml", "target": {"name": "kustomize-controller"}},
                ],
            ),
        },
        [],
    ),
    (
        "Flux in Git, where the patch is for another controller",
        {
            "f__gotk": controller(),
            "f__kustomization": build(
                patches=[
                    {"target": {"kind": "Deployment", "name": "helm-controller"}, "patch": PATCH},
                    {"patch": "metadata:\n  name: helm-controller\n" + PATCH},
                ],
            ),
        },
        [("git-components", "error")] * 3,
    ),
    (
        "files of others in generators, in any case",
        {
            "a__kustomization": build(
                resources=["HTTPS://example.org/a.yaml"],
                configMapGenerator=[{"name": "x", "files": ["k=https://example.org/x", "y=z.txt"]}],
            ),
        },
        [("remote-base", "error")] * 2,
    ),
    ("no YAML", {"a": "a: [\n"}, [("unreadable", "warning")]),
    ("nothing", {"a": "# nothing\n"}, []),
]


@pytest.mark.parametrize(("files", "expected"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_rules(files: dict[str, t.Any], expected: list[tuple[str, str]]) -> None:
    assert rules(**files) == expected


def test_every_rule_has_a_case() -> None:
    assert {rule for _name, _files, expected in CASES for rule, _severity in expected} == set(tree.RULES)


def test_findings_say_where() -> None:
    (one,) = found(clusters__a=kustomization(serviceAccountName=None))
    assert one["file"] == "clusters/a.yaml"
    assert one["object"] == "Kustomization flux-system/apps"
    assert one["item"] == "clusters/a.yaml: Kustomization flux-system/apps"
    assert one["fix"]


def test_a_folder_is_read_without_what_git_keeps(tmp_path: Path) -> None:
    for name in ("a.yaml", ".git/b.yaml", "c/Kustomization", "c/readme.md"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        text = (
            build(resources=["https://example.org/x"])
            if name == "c/Kustomization"
            else kustomization(serviceAccountName=None)
        )
        (tmp_path / name).write_text(yaml.safe_dump(text))
    assert [one["file"] for one in flux_lockdown_findings(str(tmp_path))] == ["a.yaml", "c/Kustomization"]
    with pytest.raises(AnsibleFilterError, match="is not a folder"):
        flux_lockdown_findings(str(tmp_path / "missing"))
    with pytest.raises(AnsibleFilterError, match="is no file"):
        flux_lockdown_findings([{"path": "x"}])

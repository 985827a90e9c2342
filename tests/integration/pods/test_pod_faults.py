# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What can go wrong on the way to a pod: one clear error each, and nothing sent."""

from __future__ import annotations

import socket
import typing as t
from pathlib import Path

import pytest
import yaml

from lab.api import Lab
from tests.integration.pods.helpers import NAMES, error_of, fresh, info, pods, unseal

DOCS = Path(__file__).resolve().parents[3] / "docs" / "unseal.md"
SPACE = "/api/v1/namespaces/openbao"
RBAC = "/apis/rbac.authorization.k8s.io/v1/namespaces/openbao"


@pytest.fixture(scope="module", autouse=True)
def lab(pods_lab: Lab) -> Lab:
    """Three sealed pods for the whole file."""
    fresh(pods_lab, "Parallel")
    return pods_lab


def role_of_the_docs() -> list[dict[str, t.Any]]:
    """Return the rules that the documentation says are enough."""
    blocks = [part.split("```", 1)[0] for part in DOCS.read_text(encoding="utf-8").split("```yaml\n")[1:]]
    documents = [d for block in blocks for d in yaml.safe_load_all(block) if isinstance(d, dict)]
    return list(next(d for d in documents if d.get("kind") == "Role")["rules"])


def kubeconfig(lab: Lab, folder: Path, name: str, rules: list[dict[str, t.Any]]) -> str:
    """Return a kubeconfig of a ServiceAccount with these rights."""
    server = lab.kube_server("core-infra")
    role = {"metadata": {"name": name}, "rules": rules}
    binding = {
        "metadata": {"name": name},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": name},
        "subjects": [{"kind": "ServiceAccount", "name": name, "namespace": "openbao"}],
    }
    for path, body in (
        (f"{SPACE}/serviceaccounts", {"metadata": {"name": name}}),
        (f"{RBAC}/roles", role),
        (f"{RBAC}/rolebindings", binding),
    ):
        assert server.request("POST", path, body).status == 201
    answer = server.request("POST", f"{SPACE}/serviceaccounts/{name}/token", {"spec": {"expirationSeconds": 3600}})
    config = yaml.safe_load(lab.clusters["core-infra"].token_kubeconfig.read_text(encoding="utf-8"))
    config["users"][0]["user"] = {"token": answer.body["status"]["token"]}
    file = folder / f"{name}.kubeconfig"
    file.touch(mode=0o600)
    file.write_text(yaml.safe_dump(config), encoding="utf-8")
    return str(file)


def test_the_role_in_the_documentation_is_enough(lab: Lab, tmp_path: Path) -> None:
    config = kubeconfig(lab, tmp_path, "unsealer", role_of_the_docs())
    assert info(lab, pods=pods(lab, kubeconfig=config))["sealed"] == NAMES


@pytest.mark.parametrize(
    ("gone", "rule", "says"),
    [
        ("pods/portforward", "port-forward-forbidden", "lacks the verb get on pods/portforward"),
        ("statefulsets", "pods-forbidden", "may not get statefulsets"),
        ("pods", "pods-forbidden", "may not list pods"),
    ],
)
def test_rights_that_are_missing(lab: Lab, tmp_path: Path, gone: str, rule: str, says: str) -> None:
    rules = [one for one in role_of_the_docs() if gone not in one["resources"]]
    assert len(rules) == 2
    config = kubeconfig(lab, tmp_path, f"without-{gone.replace('/', '-')}", rules)
    error = error_of(lambda: unseal(lab, "ada", "bo", "cleo", pods=pods(lab, kubeconfig=config)))
    assert error.rule == rule
    assert says in error.message
    assert "docs/unseal.md" in error.fix
    if gone == "statefulsets":
        assert info(lab, pods=pods(lab, kubeconfig=config, expected=3))["sealed"] == NAMES


def test_only_create_is_missing(lab: Lab, tmp_path: Path) -> None:
    """Since Kubernetes 1.35 an API server wants create for WebSockets too."""
    rules = role_of_the_docs()
    for one in rules:
        if "pods/portforward" in one["resources"]:
            one["verbs"] = ["get"]
    config = kubeconfig(lab, tmp_path, "no-create", rules)
    error = error_of(lambda: info(lab, pods=pods(lab, kubeconfig=config)))
    assert error.rule == "port-forward-forbidden"
    assert "lacks the verb create on pods/portforward" in error.message


@pytest.mark.parametrize("changes", [{"namespace": "elsewhere"}, {"label_selector": "app=vault"}])
def test_no_pod_matches(lab: Lab, changes: dict[str, str]) -> None:
    error = error_of(lambda: unseal(lab, "ada", pods=pods(lab, **changes)))
    assert error.rule == "no-pods"
    assert next(iter(changes.values())) in error.message


def test_the_api_server_does_not_understand_the_selector(lab: Lab) -> None:
    assert error_of(lambda: info(lab, pods=pods(lab, label_selector="a=b=c"))).rule == "label-selector"


def test_pods_without_a_statefulset_and_one_that_does_not_run(lab: Lab) -> None:
    labels = {"app": "alone"}
    body = {
        "metadata": {"name": "alone", "labels": labels},
        "spec": {"nodeSelector": {"no": "such"}, "containers": [{"name": "c", "image": "i.invalid/i"}]},
    }
    server = lab.kube_server("core-infra")
    assert server.request("POST", f"{SPACE}/pods", body).status == 201
    alone = pods(lab, label_selector="app=alone")
    error = error_of(lambda: unseal(lab, "ada", pods=alone))
    assert error.rule == "statefulset-missing"
    assert "pods.expected" in error.fix
    result = info(lab, pods={**alone, "expected": 1})
    assert result["nodes"][0]["problem"]["hop"] == "pod"
    assert "the pod is Pending" in result["summary"][0]
    error = error_of(lambda: unseal(lab, "ada", pods={**alone, "expected": 1}, wait_timeout=1))
    assert error.rule == "no-node"
    server.request("DELETE", f"{SPACE}/pods/alone")


def test_nothing_listens_in_the_pod(lab: Lab) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        closed = free.getsockname()[1]
    lab.openbao_pods.lead("openbao-2", closed)
    try:
        result = info(lab)
    finally:
        lab.openbao_pods.lead("openbao-2", int(lab.openbao_nodes[2].address.rpartition(":")[2]))
    assert result["sealed"] == NAMES[:2]
    assert result["nodes"][2]["problem"]["hop"] == "port-closed"
    assert result["nodes"][2]["problem"]["fix"]


def test_it_is_the_right_server_or_nothing_is_sent(lab: Lab) -> None:
    wrong = unseal_problem(lab, ca_cert=str(lab.wrong_ca))
    assert "tls-ca" in wrong
    assert "not trusted" in wrong
    named = unseal_problem(lab, pods=pods(lab, tls_server_name="{pod}.elsewhere"))
    assert "tls-name" in named
    assert "openbao-0.elsewhere" in named
    # one server's certificate is not good for another one
    crossed = unseal_problem(lab, pods=pods(lab, tls_server_name="openbao-9.openbao-internal"))
    assert "tls-name" in crossed
    assert {n["progress"] for n in info(lab)["nodes"]} == {0}


def unseal_problem(lab: Lab, **options: t.Any) -> str:
    error = error_of(lambda: unseal(lab, "ada", "bo", "cleo", wait_timeout=1, **options))
    assert error.rule == "no-node"
    return error.message


def test_a_kubeconfig_that_is_not_accepted(lab: Lab, tmp_path: Path) -> None:
    config = yaml.safe_load(lab.clusters["core-infra"].token_kubeconfig.read_text(encoding="utf-8"))
    config["users"][0]["user"] = {"token": "nobody"}
    error = error_of(lambda: info(lab, pods={"kubeconfig_content": yaml.safe_dump(config), "namespace": "openbao"}))
    assert (error.rule, error.status) == ("login", 401)
    assert "nobody" not in str(error)
    error = error_of(lambda: info(lab, pods=pods(lab, context="nope")))
    assert error.rule == "kubeconfig"
    error = error_of(lambda: info(lab, pods=pods(lab, kubeconfig=str(tmp_path / "none"))))
    assert (error.rule, error.item) == ("kubeconfig-file", "pods.kubeconfig")

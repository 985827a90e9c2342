# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Flux in the lab: its controllers do what their Deployments in the cluster say, with the rights of their accounts."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from lab import build, cli, flux
from lab.api import Lab
from lab.errors import LabError

SOURCES = "/apis/source.toolkit.fluxcd.io/v1/namespaces/{}/gitrepositories"
KUSTOMIZATIONS = "/apis/kustomize.toolkit.fluxcd.io/v1/namespaces/{}/kustomizations"
DEPLOYMENT = "/apis/apps/v1/namespaces/flux-system/deployments/kustomize-controller"
BOTH = {"core-infra-flux-source": "ready", "core-infra-flux-kustomize": "ready"}


def test_references_are_expanded_as_kubernetes_does() -> None:
    assert flux.expanded("a.$(NS).svc$(OTHER)$", {"NS": "flux-system"}) == "a.flux-system.svc$(OTHER)$"


def test_programs_of_a_folder_are_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in flux.PROGRAMS:
        (tmp_path / name).touch(0o755)
    monkeypatch.setenv("FLUX_BIN_DIR", str(tmp_path))
    assert [build.path(name) for name in flux.PROGRAMS] == [tmp_path / name for name in flux.PROGRAMS]


def test_it_needs_a_cluster(tmp_path: Path) -> None:
    with pytest.raises(LabError, match="flux wants a cluster"):
        Lab("flux-alone", tmp_path).up(["flux"])


@pytest.fixture(scope="module")
def flux_lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    lab = Lab("flux-lab", tmp_path_factory.mktemp("lab"), print)
    try:
        lab.up(["core-infra", "git", "flux"])
        yield lab
    finally:
        lab.down(wipe=True)


def states(lab: Lab) -> dict[str, str]:
    return {line.name: line.state for line in lab.status() if line.component == "flux"}


def ask(lab: Lab, method: str, path: str, body: Any = None, kind: str = "application/json") -> Any:
    answer = lab.kube_server("core-infra").request(method, path, body, content_type=kind, timeout=15)
    assert answer.status < 300, answer.body
    return answer.body


def until(check: Callable[[], Any], seconds: float = 180) -> Any:
    deadline = time.monotonic() + seconds
    while not (found := check()):
        assert time.monotonic() < deadline
        time.sleep(0.2)
    return found


def message(lab: Lab, path: str, status: str) -> str:
    """What the condition Ready says, once it has a status that stays."""

    def settled() -> str | None:
        conditions = (ask(lab, "GET", path).get("status") or {}).get("conditions", [])
        return next((one["message"] for one in conditions if one["type"] == "Ready" and one["status"] == status), None)

    return str(until(settled))


def apply(lab: Lab, namespace: str, url: str, **spec: Any) -> None:
    server = lab.kube_server("core-infra")
    server.request("POST", "/api/v1/namespaces", {"metadata": {"name": namespace}})
    source = {"interval": "1h", "url": url, "ref": {"branch": "main"}}
    for path, kind, value in (
        (SOURCES, "source.toolkit.fluxcd.io/v1 GitRepository", source),
        (
            KUSTOMIZATIONS,
            "kustomize.toolkit.fluxcd.io/v1 Kustomization",
            {
                "interval": "1h",
                "retryInterval": "1s",
                "prune": True,
                "path": "./",
                "sourceRef": {"kind": "GitRepository", "name": "it"},
                **spec,
            },
        ),
    ):
        version, name = kind.split()
        body = {"apiVersion": version, "kind": name, "metadata": {"name": "it", "namespace": namespace}, "spec": value}
        ask(lab, "POST", path.format(namespace), body)


def test_impersonation_and_lockdown_are_real_and_can_be_switched_off(flux_lab: Lab) -> None:
    assert states(flux_lab) == BOTH
    content = {"a.yaml": yaml.safe_dump({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "made"}})}
    repository = flux_lab.git.repository("it", content)
    apply(flux_lab, "tenant", repository.http_url, targetNamespace="tenant")
    path = f"{KUSTOMIZATIONS.format('tenant')}/it"
    # Lockdown: the account is called flux when nobody names another one, and has no rights. Its source is late.
    until(lambda: 'User "system:serviceaccount:tenant:flux" cannot patch' in message(flux_lab, path, "False"))
    flux_lab.set_flux("core-infra", lockdown=False)
    assert repository.revision() in message(flux_lab, path, "True")
    ask(flux_lab, "GET", "/api/v1/namespaces/tenant/configmaps/made")


def test_the_command_line_does_it_too(flux_lab: Lab, capsys: pytest.CaptureFixture[str]) -> None:
    begin = ["--name", flux_lab.name, "--state-dir", str(flux_lab.state.parent), "flux"]
    for action, locked in (("unlock", False), ("follow", False), ("lock", True)):
        assert cli.main([*begin, action, "core-infra"]) == 0
        assert ("--no-remote-bases=true" in capsys.readouterr().out) is locked
    assert cli.main([*begin, "follow", "nowhere"]) == 1
    assert "unknown 'nowhere'" in capsys.readouterr().err


def test_they_follow_what_somebody_else_deployed(flux_lab: Lab) -> None:
    patch = [
        {
            "op": "add",
            "path": "/spec/template/spec/containers/0/args/-",
            "value": "--no-remote-bases=$(RUNTIME_NAMESPACE)",
        }
    ]
    ask(flux_lab, "PATCH", DEPLOYMENT, patch, "application/json-patch+json")
    with pytest.raises(LabError, match=r"(?s)ended while starting.*invalid argument .flux-system. for"):
        flux_lab.follow_flux("core-infra")
    assert states(flux_lab)["core-infra-flux-kustomize"] == "stopped"
    ask(
        flux_lab,
        "PATCH",
        DEPLOYMENT,
        [{"op": "replace", "path": "/spec/replicas", "value": 0}],
        "application/json-patch+json",
    )
    with pytest.raises(LabError, match="has no replicas"):
        flux_lab.follow_flux("core-infra")
    told = flux_lab.set_flux("core-infra", arguments={"kustomize-controller": ["--concurrent=3"]})
    assert told["kustomize-controller"][-1] == "--concurrent=3"
    assert set(flux.LOCKDOWN["kustomize-controller"]) <= set(told["kustomize-controller"])
    assert states(flux_lab) == BOTH
    ask(flux_lab, "DELETE", DEPLOYMENT)
    with pytest.raises(LabError, match="no Deployment kustomize-controller in flux-system"):
        flux_lab.follow_flux("core-infra")


def test_reset_and_down(flux_lab: Lab) -> None:
    flux_lab.reset()
    assert states(flux_lab) == BOTH
    assert "--no-remote-bases=true" in flux_lab.follow_flux("core-infra")["kustomize-controller"]
    assert "core-infra-flux-source" in flux_lab.down()
    assert flux_lab.pids() == []


def test_controllers_of_a_cluster_that_somebody_else_set_up(
    flux_lab: Lab, tmp_path_factory: pytest.TempPathFactory
) -> None:
    lab = Lab("flux-other", tmp_path_factory.mktemp("lab"), print)
    try:
        lab.up(["core-infra"])
        with pytest.raises(LabError, match="no Deployment source-controller in flux-system"):
            lab.follow_flux("core-infra")
        assert states(lab) == {}
        # What a playbook would do.
        controllers = flux.Flux(lab._clusters["core-infra"])
        controllers.install(lambda: False)
        lab.follow_flux("core-infra")
        assert states(lab) == BOTH
        assert lab.components == ("core-infra",)
        lab.reset()
        assert states(lab) == {}
    finally:
        lab.down(wipe=True)
    assert lab.pids() == []


def test_definitions_that_are_not_there_are_named(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in flux.PROGRAMS:
        (tmp_path / name).touch(0o755)
    monkeypatch.setenv("FLUX_BIN_DIR", str(tmp_path))
    lab = Lab("flux-given", tmp_path_factory.mktemp("lab"))
    try:
        with pytest.raises(LabError, match="are missing: the custom resources belong into a folder 'crds'"):
            lab.up(["core-infra", "flux"])
    finally:
        lab.down(wipe=True)

# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The table of lockdown flags, and how running controllers are judged."""

from __future__ import annotations

import typing as t

import pytest
from ansible_collections.hackspace.infra.plugins.module_utils._flux import lockdown


def deployment(name: str, *args: str, image: str = "", command: tuple[str, ...] = ()) -> dict[str, t.Any]:
    container = {
        "name": "manager",
        "image": image or f"ghcr.io/fluxcd/{name}:v1.9.4",
        "args": list(args),
        "command": list(command),
    }
    return {
        "kind": "Deployment",
        "metadata": {"name": name, "namespace": "flux-system"},
        "spec": {"template": {"spec": {"containers": [container]}}},
    }


def pod(name: str, *args: str, phase: str = "Running") -> dict[str, t.Any]:
    body = deployment(name, *args)
    spec = body["spec"]["template"]["spec"]
    return {"kind": "Pod", "metadata": body["metadata"], "spec": spec, "status": {"phase": phase}}


GOOD = lockdown.arguments(lockdown.KUSTOMIZE)
KUSTOMIZE = deployment(lockdown.KUSTOMIZE, *GOOD)


def rules(*objects: dict[str, t.Any], account: str = "") -> list[tuple[str, str]]:
    return [(one.rule, one.flag) for one in lockdown.judge(objects, account=account)]


def test_what_the_table_gives_is_locked_down() -> None:
    everything = [deployment(name, *lockdown.arguments(name)) for name in lockdown.FLAGS]
    assert lockdown.judge(everything, account="flux") == []
    gate = "--feature-gates=ExternalArtifact=true,ObjectLevelWorkloadIdentity=true"
    everything = [deployment(name, *lockdown.arguments(name, workload_identity=True), gate) for name in lockdown.FLAGS]
    assert lockdown.judge(everything, account="flux") == []


@pytest.mark.parametrize(
    ("args", "expected"),
    [
        ((), {"no-cross-namespace-refs", "no-remote-bases", "default-service-account"}),
        ((*GOOD, "--no-remote-bases=false"), {"no-remote-bases"}),
        ((*GOOD, "--no-remote-bases"), set()),
        (("--no-cross-namespace-refs", "--no-remote-bases=T", "--default-service-account", "flux"), set()),
        ((*GOOD, "--default-service-account="), {"default-service-account"}),
        (("--", *GOOD), {"no-cross-namespace-refs", "no-remote-bases", "default-service-account"}),
        ((*GOOD[:2], "--default-service-account"), {"default-service-account"}),
    ],
)
def test_the_last_value_counts(args: tuple[str, ...], expected: set[str]) -> None:
    assert {flag for _rule, flag in rules(deployment(lockdown.KUSTOMIZE, *args))} == expected


def test_accounts() -> None:
    other = deployment(lockdown.KUSTOMIZE, *GOOD[:2], "--default-service-account=other")
    assert rules(other) == []
    assert rules(other, account="flux") == [("lockdown-account", "default-service-account")]
    everybody = deployment(lockdown.KUSTOMIZE, *GOOD[:2], "--default-service-account=default")
    assert rules(everybody) == [("lockdown-account", "default-service-account")]
    unknown = deployment(lockdown.KUSTOMIZE, *GOOD[:2], "--default-service-account=$(ACCOUNT)")
    assert rules(unknown) == [("lockdown-unreadable", "default-service-account")]


def test_gates() -> None:
    source = deployment(lockdown.SOURCE, "--default-service-account=flux")
    assert rules(KUSTOMIZE, source) == [("lockdown-gate", "default-service-account")]
    source = deployment(lockdown.SOURCE, "--feature-gates=ObjectLevelWorkloadIdentity=true")
    assert rules(KUSTOMIZE, source) == [("lockdown-flag", "default-service-account")]


def test_pods_count_until_they_have_ended() -> None:
    old = pod(lockdown.KUSTOMIZE)
    assert {one.item for one in lockdown.judge([KUSTOMIZE, old])} == {"Pod flux-system/kustomize-controller"}
    assert rules(KUSTOMIZE, pod(lockdown.KUSTOMIZE, phase="Failed")) == []


def test_nothing_is_not_locked_down() -> None:
    assert rules() == [("lockdown-no-controller", "")]
    assert rules(deployment("web", image="example.org/web")) == [("lockdown-no-controller", "")]


@pytest.mark.parametrize(
    "image",
    [
        "registry.example.org:5000/mirror/kustomize-controller@sha256:" + "0" * 64,
        "kustomize-controller",
        "registry.example.org/kustomize-controller:v1@sha256:" + "0" * 64,
    ],
)
def test_controllers_are_known_by_their_image(image: str) -> None:
    shard = deployment("shard-7", image=image)
    known = lockdown.container_of(shard)
    assert known is not None
    assert known[0] == lockdown.KUSTOMIZE


def test_controllers_with_renamed_images_are_known_by_their_label() -> None:
    one = deployment("any", image="registry.example.org/flux/kc:1")
    one["metadata"]["labels"] = {"app.kubernetes.io/component": lockdown.KUSTOMIZE}
    known = lockdown.container_of(one)
    assert known is not None
    assert lockdown.running([one, KUSTOMIZE]) == [lockdown.KUSTOMIZE]


def test_a_command_counts_too() -> None:
    assert rules(deployment(lockdown.KUSTOMIZE, command=("/bin/kustomize-controller", *GOOD))) == []


@pytest.mark.parametrize(
    "args",
    [
        (*GOOD, "$(MORE)"),
        (*GOOD, "--$(FLAG)=false"),
        (*GOOD, "--feature-gates=$(GATES)"),
        (*GOOD, "--feature-gates", "$(GATES)"),
    ],
)
def test_arguments_from_the_environment_may_be_any(args: tuple[str, ...]) -> None:
    assert rules(deployment(lockdown.KUSTOMIZE, *args)) == [
        ("lockdown-unreadable", flag) for flag in sorted(lockdown.FLAGS[lockdown.KUSTOMIZE])
    ]
    normal = deployment(lockdown.KUSTOMIZE, "--events-addr=http://x.$(RUNTIME_NAMESPACE).svc./", *GOOD)
    assert rules(normal) == []


def test_a_shell_may_start_it_with_any_arguments() -> None:
    command = ("/bin/sh", "-c", "exec kustomize-controller --no-remote-bases=false")
    assert {rule for rule, _flag in rules(deployment(lockdown.KUSTOMIZE, *GOOD, command=command))} == {
        "lockdown-unreadable"
    }


def test_gates_in_two_words_are_gates() -> None:
    source = deployment(lockdown.SOURCE, "--feature-gates", "ObjectLevelWorkloadIdentity=true")
    assert rules(KUSTOMIZE, source) == [("lockdown-flag", "default-service-account")]
    words = ["--feature-gates=A=true", "--feature-gates", "B=1,A=false", "--", "--feature-gates=C=1"]
    assert lockdown.gates_of(words) == {"A": False, "B": True}


def test_shards_with_renamed_images_and_no_label_are_known_by_their_name() -> None:
    shard = deployment("kustomize-controller-shard1", image="registry.example.org/flux/kc:1")
    assert {rule for rule, _flag in rules(KUSTOMIZE, shard)} == {"lockdown-flag"}


def test_every_container_of_a_pod_counts() -> None:
    both = deployment(lockdown.KUSTOMIZE, *GOOD)
    both["spec"]["template"]["spec"]["containers"] += deployment(lockdown.HELM)["spec"]["template"]["spec"][
        "containers"
    ]
    assert {(one.controller, one.flag) for one in lockdown.judge([both])} == {
        (lockdown.HELM, flag) for flag in lockdown.FLAGS[lockdown.HELM]
    }

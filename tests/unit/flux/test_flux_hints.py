# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every hint of the catalogue, with a message that Flux (or what it asks) says."""

from __future__ import annotations

import pytest
from ansible_collections.hackspace.infra.plugins.module_utils._flux import hints

# rule, kind, reason, message. Those marked (seen) are copied from the real controllers, 1.9.
SAID = [
    (
        "platform-account",  # (seen)
        "Kustomization",
        "ReconciliationFailed",
        'Namespace/apps dry-run failed (Forbidden): namespaces "apps" is forbidden: User'
        ' "system:serviceaccount:flux-system:flux" cannot patch resource "namespaces" in API group ""'
        " at the cluster scope",
    ),
    ("missing-account", "Kustomization", "ReconciliationFailed", 'serviceaccounts "flux" not found'),
    (
        "secret-store",
        "Kustomization",
        "HealthCheckFailed",
        "SecretStore 4-aux-a/openbao: InvalidProviderConfig: unable to log in: 403 permission denied",
    ),
    (
        "quota",
        "Kustomization",
        "HealthCheckFailed",
        'pods "web-1" is forbidden: exceeded quota: tier, requested: pods=1, used: pods=0, limited: pods=0',  # (seen)
    ),
    ("limit-range", "Kustomization", "", 'pods "web-1" is forbidden: maximum memory usage per Container is 1Gi'),
    ("pod-security", "Kustomization", "", 'pods "web-1" is forbidden: violates PodSecurity "restricted:latest"'),
    (
        "admission",
        "Kustomization",
        "ReconciliationFailed",
        'Ingress/a/web dry-run failed: admission webhook "validate.kyverno.svc-fail" denied the request: hosts',
    ),
    (
        "forbidden",  # (seen)
        "Kustomization",
        "ReconciliationFailed",
        'ConfigMap/t4/made dry-run failed (Forbidden): configmaps "made" is forbidden: User'
        ' "system:serviceaccount:t4:weak" cannot patch resource "configmaps" in API group "" in the namespace "t4"',
    ),
    (
        "cross-namespace",  # (seen)
        "Kustomization",
        "AccessDenied",
        "can't access 'GitRepository/flux-system/flux-system', cross-namespace references have been blocked",
    ),
    (
        "remote-base",  # (seen)
        "Kustomization",
        "BuildFailed",
        "kustomize build failed: accumulating resources: accumulation err='accumulating resources from"
        " 'http://127.0.0.1:27516/base.git//x?ref=main': URL is a git repository': fs-security-constraint abs"
        " /tmp/kustomize-3593994703/x: path '/tmp/kustomize-3593994703/x' is not in or below '/tmp/kustomization-26'",
    ),
    (
        "path",  # (seen)
        "Kustomization",
        "ArtifactFailed",
        "kustomization path not found: stat /tmp/kustomization-1138245354/nowhere: no such file or directory",
    ),
    (
        "stored-versions",
        "Kustomization",
        "ReconciliationFailed",
        'CustomResourceDefinition.apiextensions.k8s.io "x" is invalid: status.storedVersions[0]: Invalid value:'
        ' "v1beta2": missing from spec.versions',
    ),
    (
        "unknown-kind",  # (seen)
        "Kustomization",
        "ReconciliationFailed",
        'Nothing/t9/x dry-run failed: no matches for kind "Nothing" in version "example.org/v1"',
    ),
    (
        "immutable",
        "Kustomization",
        "ReconciliationFailed",
        "Job/a/b dry-run failed (Invalid): spec.template: field is immutable",
    ),
    (
        "substitution",  # (seen)
        "Kustomization",
        "BuildFailed",
        "post build failed for 'ConfigMap.v1.[noGrp]/made': envsubst error: variable substitution failed: variable"
        ' not set (strict mode): "NOT_GIVEN"',
    ),
    (
        "decryption",  # (seen)
        "Kustomization",
        "BuildFailed",
        "decryption failed for 'Secret.v1.[noGrp]/s': failed to decrypt and format 't11/s' Secret data",
    ),
    ("dependency", "Kustomization", "DependencyNotReady", "dependency 'flux-system/infra' is not ready"),
    ("namespace", "Kustomization", "ReconciliationFailed", 'ConfigMap/x/a not found: namespaces "x" not found'),
    (
        "source-missing",  # (seen)
        "Kustomization",
        "ArtifactFailed",
        'GitRepository.source.toolkit.fluxcd.io "nowhere" not found',
    ),
    (
        "invalid-manifest",  # (seen)
        "Kustomization",
        "BuildFailed",
        "failed to decode Kubernetes YAML from /tmp/kustomization-474886572/deploy/broken.yaml: MalformedYAMLError:"
        " yaml: line 1: did not find expected node content",
    ),
    (
        "host-key",  # (seen)
        "GitRepository",
        "GitOperationFailed",
        "failed to checkout and determine revision: unable to list remote for 'ssh://git@127.0.0.1:24431/by-key.git':"
        " ssh: handshake failed: knownhosts: key mismatch",
    ),
    (
        "github-app",  # (seen)
        "GitRepository",
        "AuthenticationFailed",
        "failed to configure authentication options: POST https://127.0.0.1:24430/api/v3/app/installations/7100/"
        "access_tokens: 401 A JSON web token could not be decoded []",
    ),
    (
        "github-app",  # (seen)
        "GitRepository",
        "AuthenticationFailed",
        "failed to configure authentication options: POST https://127.0.0.1:24430/api/v3/app/installations/7101/"
        "access_tokens: 404 Not Found []",
    ),
    (
        "ssh-passphrase",  # (seen)
        "GitRepository",
        "GitOperationFailed",
        "failed to checkout and determine revision: unable to construct auth method with options: x509: decryption"
        " password incorrect",
    ),
    (
        "git-login",
        "GitRepository",
        "GitOperationFailed",
        "failed to checkout and determine revision: unable to list remote for 'https://host/a':"
        " authentication required",
    ),
    (
        "git-login",  # (seen)
        "GitRepository",
        "GitOperationFailed",
        "failed to checkout and determine revision: unable to list remote for 'ssh://git@127.0.0.1:24431/by-key.git':"
        " ssh: handshake failed: ssh: unable to authenticate, attempted methods [none publickey], no supported methods"
        " remain",
    ),
    (
        "decryption",  # (seen)
        "Kustomization",
        "BuildFailed",
        "decryption failed for 'Secret.v1.[noGrp]/from-sops': failed to decrypt and format 'default/from-sops' Secret"
        " data: cannot get sops data key: Failed to get the data key required to decrypt the SOPS file.",
    ),
    (
        "ref",
        "GitRepository",
        "GitOperationFailed",
        "failed to checkout and determine revision: unable to clone 'http://h/a': couldn't find remote ref"
        ' "refs/heads/nowhere"',
    ),
    (
        "repository",
        "GitRepository",
        "GitOperationFailed",
        "failed to checkout and determine revision: unable to list remote for 'http://h/a': repository not found",
    ),
    (
        "tls",
        "GitRepository",
        "GitOperationFailed",
        "failed to checkout and determine revision: tls: failed to verify certificate: x509: certificate signed by"
        " unknown authority",
    ),
    (
        "unreachable",
        "GitRepository",
        "GitOperationFailed",
        "failed to checkout and determine revision: dial tcp 127.0.0.1:9: connect: connection refused",
    ),
    (
        "source-secret",
        "GitRepository",
        "AuthenticationFailed",
        "failed to get secret 't19/nowhere': secrets \"nowhere\" not found",
    ),
    ("health", "Kustomization", "HealthCheckFailed", "timeout waiting for: [Deployment/a/web status: 'InProgress']"),
    ("prune", "Kustomization", "PruneFailed", "prune failed"),
    ("suspended", "Kustomization", "Suspended", "is suspended"),
]


@pytest.mark.parametrize(("rule", "kind", "reason", "message"), SAID, ids=[one[0] for one in SAID])
def test_the_hint_that_fits(rule: str, kind: str, reason: str, message: str) -> None:
    found = hints.hint(kind, reason, message)
    assert found.rule == rule
    assert found.text.endswith(".")
    assert "{" not in found.text.replace("${name:=default}", "")


def test_every_hint_is_tested_and_named_once() -> None:
    names = [one.rule for one in hints.CATALOGUE]
    assert len(set(names)) == len(names)
    assert {one[0] for one in SAID} == set(names)


def test_groups_are_filled_in() -> None:
    found = hints.hint("Kustomization", "", 'User "bob" cannot list resource "pods" in API group ""')
    assert found.text.startswith("bob may not list pods")
    assert hints.named("namespace", namespace="x").text.startswith("the namespace x does not exist")


def test_platform_controllers_are_meant_to_have_rights() -> None:
    said = 'User "system:serviceaccount:flux-system:kustomize-controller" cannot patch resource "pods"'
    assert hints.hint("Kustomization", "", said).rule == "forbidden"


def test_events_explain_what_health_does_not() -> None:
    events = ["ReplicaSet web-1: FailedCreate: pods is forbidden: exceeded quota: tier"]
    assert hints.hint("Kustomization", "HealthCheckFailed", "timeout waiting for: [...]", events).rule == "quota"
    assert hints.hint("Kustomization", "HealthCheckFailed", "timeout waiting for: [...]").rule == "health"
    assert hints.hint("Kustomization", "Progressing", "Running health checks", events).rule == "quota"


def test_hints_of_sources_are_not_for_others_and_nothing_is_no_hint() -> None:
    assert not hints.hint("Kustomization", "", "something unheard of")
    assert hints.hint("Kustomization", "", "couldn't find remote ref").rule == ""

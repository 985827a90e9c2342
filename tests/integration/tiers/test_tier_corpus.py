# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The Python resolver and the API server agree on what becomes of namespaces and pods."""

from __future__ import annotations

import typing as t
from collections.abc import Sequence

import pytest

from tests.integration.tiers import corpus
from tests.integration.tiers.conftest import PLATFORM, REFUSED, TENANT, Cluster, Object, compiled

NATIVE = {"limits": "static", "pods": "native", "guards": "native"}
KYVERNO = {"limits": "static", "pods": "kyverno", "guards": "kyverno"}


def prepared(cluster: Cluster, table: str, backends: dict[str, str]) -> None:
    """Make the namespaces of the corpus, and apply a table without its quotas: only single pods are looked at."""
    made = corpus.namespaces()
    # One is there from the start, and all are for the second table.
    there = {one["metadata"]["name"] for one in cluster.get("/api/v1/namespaces")["items"]}
    for one in made:
        if one["metadata"]["name"] not in there:
            answer = cluster.request("POST", "/api/v1/namespaces", one)
            assert answer.status == 201, answer.body
    foreign: Object = {
        "apiVersion": "scheduling.k8s.io/v1",
        "kind": "PriorityClass",
        "metadata": {"name": corpus.FOREIGN},
        "value": 7,
    }
    objects = compiled(corpus.TABLES[table], made, **backends)
    cluster.apply([foreign, *(one for one in objects if one["kind"] != "ResourceQuota")])
    cluster.ready_for_pods(one["metadata"]["name"] for one in made)
    cluster.settled()


def disagreements(cluster: Cluster, cases: Sequence[corpus.Case]) -> t.Iterator[str]:
    """Ask the API server about each pod, and say where it sees things differently."""
    for case in cases:
        where = case.namespace["metadata"]["name"]
        answer = cluster.request("POST", f"/api/v1/namespaces/{where}/pods?dryRun=All", case.pod)
        if case.expected.denied:
            if answer.status not in REFUSED or "PriorityClass is not allowed" not in answer.message:
                yield f"{case.name}: expected to be refused, got {answer.status} {answer.message}"
        elif answer.status != 201:
            yield f"{case.name}: refused with {answer.status} {answer.message}"
        elif corpus.seen(answer.body["spec"]) != corpus.wanted(case.expected):
            yield f"{case.name}: {corpus.seen(answer.body['spec'])} instead of {corpus.wanted(case.expected)}"


def namespace_disagreements(cluster: Cluster, cases: Sequence[corpus.NamespaceCase]) -> t.Iterator[str]:
    """The same for namespaces that are made or changed."""
    for case in cases:
        who = PLATFORM if case.platform else TENANT
        name = case.namespace["metadata"]["name"]
        if case.old is None:
            # Those that exist are refused after admission, with 409.
            answer = cluster.request("POST", "/api/v1/namespaces?dryRun=All", case.namespace, who)
        else:
            answer = cluster.request("PUT", f"/api/v1/namespaces/{name}?dryRun=All", case.namespace, who)
        refused = answer.status in REFUSED
        if refused != case.denied or answer.status not in (200, 201, 409, *REFUSED):
            wanted = "a refusal" if case.denied else "no refusal"
            yield f"{case.name}: expected {wanted}, got {answer.status} {answer.message}"


@pytest.mark.parametrize("table", list(corpus.TABLES))
def test_native_policies_do_what_the_resolver_says(plain: Cluster, table: str) -> None:
    prepared(plain, table, NATIVE)
    cases = corpus.pod_cases(table)
    assert len(cases) >= 200
    assert list(disagreements(plain, cases)) == []
    assert list(namespace_disagreements(plain, corpus.namespace_cases(table))) == []


def test_kyverno_does_what_the_resolver_says(engine: Cluster) -> None:
    prepared(engine, "default", KYVERNO)
    assert list(disagreements(engine, corpus.pod_cases("default"))) == []
    assert list(namespace_disagreements(engine, corpus.namespace_cases("default")[::2])) == []

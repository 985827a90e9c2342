# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Holds the corpus, the resolver and Kyverno's command line against each other."""

from __future__ import annotations

import typing as t
from pathlib import Path

from ansible_collections.hackspace.infra.plugins.module_utils._tiers import cli_tests, expect, samples
from ansible_collections.hackspace.infra.plugins.module_utils._tiers.policies import Backends

from tests.integration.tiers import corpus
from tests.integration.tiers_cli.conftest import WORKERS, Kyverno, failures, write

Object = dict[str, t.Any]


def agree(kyverno: Kyverno, folder: Path, name: str, backends: Backends, *, namespaces: bool) -> None:
    """Try all pods of the corpus, and all namespaces that are made if wanted; changes the command line cannot try."""
    table = corpus.table(name)
    cases = corpus.pod_cases(name)
    assert len(cases) >= 200
    for case in cases:
        resolution = samples.resolution(table, case.namespace)
        after = expect.pod(table, resolution, case.pod)
        assert corpus.seen(after["spec"]) == corpus.wanted(case.expected), case.name
        assert expect.class_allowed(table, resolution, after) is not case.expected.denied, case.name
    for number in range(WORKERS):
        files = cli_tests.of_pods(table, backends, [(one.namespace, one.pod) for one in cases[number::WORKERS]])
        write(folder, {path.replace("pods/", f"pods-{number}/", 1): one for path, one in files.items()})
    users: dict[bool, Object] = {
        False: {"username": "sample-tenant", "groups": ["sample-tenants"]},
        True: {"username": "sample-administrator", "groups": [table.guard.groups[0]]},
    }
    created = [case for case in corpus.namespace_cases(name) if case.old is None]
    for platform, user in users.items():
        those = [one for one in created if one.platform is platform and namespaces]
        for made in those:
            assert bool(expect.namespace_refused(table, made.namespace, None, platform)) is made.denied, made.name
        # Two that have the same name and different labels go into different folders.
        unique: list[dict[str, Object]] = []
        for made in those:
            here = made.namespace["metadata"]["name"]
            place = next((one for one in unique if here not in one), None)
            if place is None:
                unique.append(place := {})
            place[here] = made.namespace
        for number, part in enumerate(unique):
            files = cli_tests.of_namespaces(table, backends, user, list(part.values()))
            write(
                folder,
                {path.replace("labels/", f"labels-{platform}-{number}/", 1): one for path, one in files.items()},
            )
    found = sorted(one.parent for one in folder.glob("*/kyverno-test.yaml"))
    outcomes = kyverno.test_each(found)
    assert failures(outcomes) == []
    assert sum(len(one.rows) for one in outcomes) >= 2 * len(cases) - 20

# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every broken argument of the modules for Ceph gives its one expected error, and every rule has a case."""

from __future__ import annotations

import inspect
import re
import typing as t
from pathlib import Path

import pytest
import yaml
from ansible_collections.hackspace.infra.plugins.module_utils._ceph import (
    caps,
    clients,
    clients_plan,
    crush,
    namespaces,
    pools,
    pools_plan,
    settings,
    subvolumes,
    values,
)
from ansible_collections.hackspace.infra.plugins.module_utils._core.errors import InvalidInput

from tests import ceph_answers as server

CASES = yaml.safe_load((Path(__file__).parent / "cases.yml").read_text())
#: What is refused rather than wrong; tests/unit/ceph has them.
REFUSED = {
    "not-ours",
    "client-retire-early",
    "client-sessions",
    "client-in-use",
    "client-key-type",
    "client-key-type-unknown",
    "pool-kind",
    "pool-erasure-differs",
    "pool-fewer-copies",
    "pool-pg-growth",
    "pool-fixed",
    "pool-nodelete",
    "crush-differs",
    "crush-move-data",
    "crush-in-use",
    "namespace-in-use",
    "subvolume-group-pool-differs",
    "subvolume-group-quota",
    "subvolume-group-in-use",
    "setting-local",
}


def attempt(case: dict[str, t.Any]) -> None:
    existing = pools_plan.existing(server.DUMP, server.RULES)
    if "clients" in case:
        clients_plan.plan(clients_plan.Present({}), clients.parse(case["clients"]), adopt=False)
    elif "pools" in case:
        there = pools_plan.Present(existing, server.PROFILES, frozenset({"replicated_rule"}))
        pools_plan.plan(there, pools.parse(case["pools"]), adopt=False)
    elif "rules" in case or "device_classes" in case:
        devices = crush.classes(case.get("device_classes", {}))
        rules = crush.parse(case.get("rules", []))
        crush.plan(crush.present(server.CRUSH, server.DUMP), rules, devices, move_data=False)
    elif "namespaces" in case:
        namespaces.check_pools(namespaces.parse(case["namespaces"]), existing, [])
    elif "groups" in case:
        subvolumes.check_filesystems(subvolumes.parse(case["groups"]), subvolumes.filesystems(server.FILESYSTEMS))
    else:
        wanted = settings.parse(case.get("settings", []))
        flags = settings.flags(case.get("flags", {}))
        modules = settings.modules(case.get("mgr_modules", {}))
        options = {name: settings.option(server.option(name)) for name in server.HELP}
        there_ = settings.Present({}, options, frozenset(), settings.listed(server.MODULES))
        settings.plan(there_, wanted, flags, modules)


@pytest.mark.parametrize(
    "right",
    [
        {"clients": [{"name": "a", "caps": {"mon": "allow r"}, "generation": 2, "key_type": "aes"}]},
        {"pools": [{"name": "a", "size": 3, "applications": ["rbd"], "init": True, "crush_rule": "replicated_rule"}]},
        {"pools": [{"name": "a", "erasure": {"k": 2, "m": 1}, "metadata_pool": "rbd", "applications": ["rbd"]}]},
        {"rules": [{"name": "a", "device_class": "nvme"}], "device_classes": {"nvme": [2]}},
        {"namespaces": [{"pool": "rbd", "name": "a"}]},
        {"groups": [{"filesystem": "cephfs", "name": "a", "pin": {"type": "distributed", "setting": "1"}}]},
        {"settings": [{"section": "osd", "name": "osd_memory_target", "value": "4GiB"}], "flags": {"noout": True}},
        {"mgr_modules": {"prometheus": True}},
    ],
)
def test_what_the_cases_change_is_right_without_the_change(right: dict[str, t.Any]) -> None:
    attempt(right)


@pytest.mark.parametrize("case", CASES, ids=[c["case"] for c in CASES])
def test_the_expected_error(case: dict[str, t.Any]) -> None:
    with pytest.raises(InvalidInput) as caught:
        attempt(case)
    assert (caught.value.rule, caught.value.item) == (case["rule"], case["item"])
    assert caught.value.fix


def test_every_rule_has_a_case() -> None:
    modules = (caps, clients, clients_plan, crush, namespaces, pools, pools_plan, settings, subvolumes, values)
    source = "".join(inspect.getsource(module) for module in modules)
    rules = set(re.findall(r'rule="([a-z-]+)"', source))
    rules |= {"crush-root-unknown", "crush-domain-unknown", "crush-class-unknown"}
    assert rules - REFUSED == {case["rule"] for case in CASES}
    assert rules >= REFUSED

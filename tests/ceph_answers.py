# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a real Ceph 16.2.15 answered, shortened."""

from __future__ import annotations

import typing as t

RULES: list[dict[str, t.Any]] = [
    {
        "rule_id": 0,
        "rule_name": "replicated_rule",
        "type": 1,
        "steps": [
            {"op": "take", "item": -1, "item_name": "default"},
            {"op": "choose_firstn", "num": 0, "type": "osd"},
            {"op": "emit"},
        ],
    },
    {
        "rule_id": 1,
        "rule_name": "ec",
        "type": 3,
        "steps": [
            {"op": "set_chooseleaf_tries", "num": 5},
            {"op": "set_choose_tries", "num": 100},
            {"op": "take", "item": -1, "item_name": "default"},
            {"op": "choose_indep", "num": 0, "type": "osd"},
            {"op": "emit"},
        ],
    },
    {
        "rule_id": 2,
        "rule_name": "ssd",
        "type": 1,
        "steps": [
            {"op": "take", "item": -6, "item_name": "default~ssd"},
            {"op": "chooseleaf_firstn", "num": 0, "type": "host"},
            {"op": "emit"},
        ],
    },
]


def pool(name: str, **changes: t.Any) -> dict[str, t.Any]:
    """A pool of ``osd dump``."""
    return {
        "pool_name": name,
        "flags_names": "hashpspool",
        "type": 1,
        "size": 3,
        "min_size": 2,
        "crush_rule": 0,
        "pg_autoscale_mode": "off",
        "pg_num": 8,
        "pg_num_target": 8,
        "quota_max_bytes": 0,
        "quota_max_objects": 0,
        "erasure_code_profile": "",
        "options": {},
        "application_metadata": {"rbd": {}},
        **changes,
    }


PROFILES = {
    "ec": {
        "crush-device-class": "",
        "crush-failure-domain": "osd",
        "crush-root": "default",
        "k": "2",
        "m": "1",
        "plugin": "jerasure",
        "technique": "reed_sol_van",
    }
}
ERASURE = {
    "type": 3,
    "size": 3,
    "min_size": 2,
    "crush_rule": 1,
    "erasure_code_profile": "ec",
    "flags_names": "hashpspool,ec_overwrites",
}
DUMP: dict[str, t.Any] = {
    "pools": [
        pool("rbd"),
        pool("files", application_metadata={"cephfs": {"data": "cephfs"}}),
        pool("ec", **ERASURE),
    ],
    "flags_set": ["noout", "sortbitwise"],
    "erasure_code_profiles": PROFILES,
}
CRUSH: dict[str, t.Any] = {
    "devices": [
        {"id": 0, "name": "osd.0", "class": "ssd"},
        {"id": 1, "name": "osd.1", "class": "hdd"},
        {"id": 2, "name": "osd.2"},
    ],
    "types": [{"type_id": 0, "name": "osd"}, {"type_id": 1, "name": "host"}, {"type_id": 11, "name": "root"}],
    "buckets": [{"id": -1, "name": "default"}, {"id": -2, "name": "pve-1"}, {"id": -6, "name": "default~ssd"}],
    "rules": RULES,
}
FILESYSTEMS = [{"name": "cephfs", "metadata_pool": "meta", "data_pools": ["files"]}]
HELP: dict[str, dict[str, t.Any]] = {
    "osd_memory_target": {"type": "size", "min": "939524096", "max": "", "flags": ["runtime"]},
    "osd_max_backfills": {"type": "uint", "min": "", "max": ""},
    "mon_clock_drift_allowed": {"type": "float", "min": "", "max": ""},
    "mon_mgr_beacon_grace": {"type": "secs", "min": "", "max": ""},
    "rbd_cache": {"type": "bool", "min": "", "max": ""},
    "osd_pool_default_pg_autoscale_mode": {"type": "str", "enum_values": ["off", "warn", "on"]},
    "public_network": {"type": "str", "can_update_at_runtime": False, "enum_values": []},
    "fsid": {"type": "uuid", "can_update_at_runtime": False, "flags": ["no_mon_update", "startup"]},
}
MODULES = {
    "always_on_modules": ["balancer", "volumes"],
    "enabled_modules": ["iostat"],
    "disabled_modules": [
        {"name": "prometheus", "can_run": True, "error_string": ""},
        {"name": "influx", "can_run": False, "error_string": "influxdb python module not found"},
    ],
}
MONMAP: dict[str, t.Any] = {
    "fsid": "9104e45e-98c8-4eae-8806-45d3df5371c3",
    "mons": [
        {
            "rank": rank,
            "name": name,
            "public_addrs": {
                "addrvec": [
                    {"type": "v2", "addr": f"192.0.2.{rank}:3300", "nonce": 0},
                    {"type": "v1", "addr": f"192.0.2.{rank}:6789", "nonce": 0},
                ]
            },
        }
        for rank, name in enumerate(("a", "b", "c"))
    ],
    "quorum": [0, 1],
}


def option(name: str) -> dict[str, t.Any]:
    """An answer to ``config help``."""
    return {"name": name, "can_update_at_runtime": True, **HELP[name]}


def session(entity: str, address: str = "192.0.2.50:0", host: str = "node-1") -> dict[str, t.Any]:
    """A session of ``tell mon.a sessions``."""
    return {
        "name": "client.4175",
        "entity_name": entity,
        "socket_addr": {"type": "none", "addr": address, "nonce": 1},
        "con_type": "client",
        "open": True,
        "authenticated": True,
        "remote_host": host,
    }

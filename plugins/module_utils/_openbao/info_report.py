# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change at any time.
"""What ``openbao_info`` returns besides its findings: the facts without anything that is nobody's business."""

from __future__ import annotations

import typing as t

from .mount_mark import owner, split


def _ours(mount: t.Mapping[str, t.Any]) -> bool:
    description = str(mount.get("description") or "")
    return split(description).ours or bool(owner(description))


def info_result(facts: t.Mapping[str, t.Any]) -> dict[str, t.Any]:
    """Return the facts as the module's return values."""
    roles = facts.get("auth_roles") or {}
    peers = (facts.get("autopilot") or {}).get("servers") or {}
    return {
        "version": facts.get("version") or "",
        "auth_mounts": [
            {
                "path": path,
                "type": str(mount.get("type") or ""),
                "accessor": str(mount.get("accessor") or ""),
                "description": str(mount.get("description") or ""),
                "ours": _ours(mount),
                "roles": None if path not in roles else sorted(str(r["name"]) for r in roles[path]),
            }
            for path, mount in sorted((facts.get("auth") or {}).items())
        ],
        "secret_engines": [
            {
                "path": path,
                "type": str(mount.get("type") or ""),
                "version": str((mount.get("options") or {}).get("version") or ""),
                "description": str(mount.get("description") or ""),
                "ours": _ours(mount),
            }
            for path, mount in sorted((facts.get("secret_engines") or {}).items())
        ],
        "policies": sorted(facts.get("policies") or []),
        "raft_peers": [
            {
                "name": str(peer.get("node_id") or ""),
                "address": str(peer.get("address") or ""),
                "leader": bool(peer.get("leader")),
                "voter": bool(peer.get("voter")),
                "healthy": (peers.get(peer.get("node_id")) or {}).get("healthy"),
            }
            for peer in facts.get("raft") or []
        ],
        "audit_devices": facts.get("audit"),
        "tokens_seen": len(facts.get("tokens") or []),
        "not_checked": list(facts.get("not_checked") or []),
        "requests": facts.get("requests") or 0,
    }

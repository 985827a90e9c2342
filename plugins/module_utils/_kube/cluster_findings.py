# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change at any time.
"""What a person should know about clusters that were asked how they are: facts in, findings out, no I/O."""

from __future__ import annotations

import datetime
import typing as t

#: Every finding, and what it says; a test holds facts for each.
FINDINGS: t.Final[t.Mapping[str, str]] = {
    "cluster-not-ready": "the API server says that it is not ready",
    "cluster-unreachable": "the API server does not answer, or not to this credential",
    "credential-expired": "the credential of the kubeconfig has ended",
    "credential-near-expiry": "the credential of the kubeconfig ends soon",
    "nodes-not-ready": "nodes are not ready",
    "tls-not-verified": "the kubeconfig turns TLS verification off",
}

_FIXES: t.Final[t.Mapping[str, str]] = {
    "cut": "run again; see the API server's log if it stays.",
    "dns": "use the address in the kubeconfig, or repair DNS.",
    "forbidden": "use a kubeconfig that may get /version and list nodes.",
    "http-status": "see the API server's log.",
    "kubeconfig": "correct kubeconfig and context of this cluster in platform_clusters.",
    "refused": "start the API server, or correct its address in the kubeconfig.",
    "timeout": "check the network and that the machine runs.",
    "tls": "check that the address in the kubeconfig is the API server's.",
    "tls-ca": "take certificate-authority-data from this very cluster.",
    "tls-name": "use an address that the API server's certificate names.",
    "unauthorized": "get a new kubeconfig.",
}


def cluster_findings(facts: t.Sequence[t.Mapping[str, t.Any]], *, now: float, warn_days: int) -> list[dict[str, str]]:
    """Return what should be known about clusters, the most severe first.

    :param facts: what ``_clients.kube_probe`` returned.
    :param now: seconds since 1970.
    :param warn_days: credentials that end sooner are reported.
    """
    found: list[dict[str, str]] = []

    def add(finding: str, severity: str, cluster: t.Mapping[str, t.Any], message: str, fix: str) -> None:
        found.append(
            {
                "id": finding,
                "severity": severity,
                "item": f"cluster {cluster['name']}",
                "message": message,
                "fix": fix,
            }
        )

    for cluster in facts:
        problem = cluster.get("problem")
        expires = cluster.get("expires")
        if problem:
            where = f"{cluster['server']}: " if cluster.get("server") else ""
            add("cluster-unreachable", "error", cluster, where + problem["message"], _FIXES[problem["rule"]])
        if expires is not None and expires <= now:
            add(
                "credential-expired",
                "error",
                cluster,
                f"the {cluster['credential']} of its kubeconfig ended on {_day(expires)}.",
                "get a new kubeconfig.",
            )
        elif expires is not None and expires - now < warn_days * 86400:
            add(
                "credential-near-expiry",
                "warning",
                cluster,
                f"the {cluster['credential']} of its kubeconfig ends on {_day(expires)}.",
                "get a new kubeconfig before that.",
            )
        if cluster.get("verified") is False:
            add(
                "tls-not-verified",
                "warning",
                cluster,
                "its kubeconfig turns TLS verification off: whoever is on the path can read the credential.",
                "give certificate-authority-data instead of insecure-skip-tls-verify.",
            )
        if cluster.get("ready") is False:
            add("cluster-not-ready", "error", cluster, "/readyz fails.", "kubectl get --raw '/readyz?verbose'")
        nodes, ready = cluster.get("nodes_seen"), cluster.get("nodes_ready")
        if isinstance(nodes, int) and isinstance(ready, int) and ready < nodes:
            add(
                "nodes-not-ready",
                "warning",
                cluster,
                f"{nodes - ready} of {nodes} nodes are not ready.",
                "kubectl get nodes",
            )
    order = {"error": 0, "warning": 1}
    return sorted(found, key=lambda f: (order[f["severity"]], f["id"], f["item"]))


def _day(seconds: float) -> str:
    return datetime.datetime.fromtimestamp(seconds, tz=datetime.UTC).strftime("%Y-%m-%d")

# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change at any time.
"""One report from everything that was checked: plain data in, findings and lines for people out."""

from __future__ import annotations

import dataclasses
import fnmatch
import typing as t

from .._core.errors import InvalidInput, check

SEVERITIES: t.Final = ("error", "warning", "info")
_WORDS: t.Final = {"error": ("error", "errors"), "warning": ("warning", "warnings"), "info": ("note", "notes")}
_TITLES: t.Final = {"error": "Errors", "warning": "Warnings", "info": "Notes"}

#: State of a node -> severity and what to do. What is not here is not a finding.
_STATES: t.Final[t.Mapping[str, tuple[str, str]]] = {
    "sealed": ("error", "run playbooks/unseal.yml."),
    "not_initialised": ("error", "initialise the cluster, or let this node join it."),
    "joining": ("warning", "wait, or look at retry_join in the log of this node."),
    "unreachable": ("error", "start the node, or correct its address."),
    "auto_unseal": ("error", "repair what holds the key of its seal, then restart it; shares do not help."),
    "migration_pending": ("error", "finish the seal migration with openbao_seal_migration."),
}


@dataclasses.dataclass(frozen=True)
class Checked:
    """What was checked; ``None`` where it was not asked for.

    :ivar inventory: findings of the filter ``inventory_findings``.
    :ivar seal: result of ``openbao_seal_info``.
    :ivar openbao: result of ``openbao_info``.
    :ivar shares: result of ``openbao_shares``.
    :ivar clusters: result of ``kube_info``.
    :ivar reviewers: result of ``jwt_reviewer_info``.
    :ivar flux: results of ``flux_info`` by cluster.
    :ivar tenants: results of ``tenants_info`` by cluster.
    :ivar not_checked: what could not be asked for, with the reason.
    """

    inventory: t.Sequence[t.Mapping[str, t.Any]] | None = None
    seal: t.Mapping[str, t.Any] | None = None
    openbao: t.Mapping[str, t.Any] | None = None
    shares: t.Mapping[str, t.Any] | None = None
    clusters: t.Mapping[str, t.Any] | None = None
    reviewers: t.Mapping[str, t.Any] | None = None
    flux: t.Mapping[str, t.Mapping[str, t.Any]] | None = None
    tenants: t.Mapping[str, t.Mapping[str, t.Any]] | None = None
    not_checked: t.Sequence[t.Mapping[str, t.Any]] = ()


def report(
    checked: Checked, *, name: str, accept: t.Sequence[t.Mapping[str, t.Any]], fail_on: t.Sequence[str]
) -> dict[str, t.Any]:
    """Return ``findings``, ``accepted``, ``not_checked``, ``counts``, ``failing`` and ``lines``.

    :param accept: findings that are known and meant: ``id``, optionally ``item`` (with wildcards), and ``reason``.
    :param fail_on: severities that make the check fail.
    :raises InvalidInput: when *accept* or *fail_on* is wrong.
    """
    _validate(accept, fail_on)
    findings = [dict(f) for f in checked.inventory or []]
    findings += _seal_findings(checked.seal)
    findings += _share_findings(checked.shares)
    for what, key, result in (
        ("OpenBao", "auth_mounts", checked.openbao),
        ("clusters", "clusters", checked.clusters),
        ("reviewers", "clusters", checked.reviewers),
    ):
        if result is None:
            continue
        if _broke(result, key):
            findings.append(_failed(what, result))
        findings += [dict(f) for f in result.get("findings") or []]
    for cluster, one in sorted((checked.flux or {}).items()):
        found = (checked.tenants or {}).get(cluster) or {}
        theirs = {space for each in found.get("tenants") or () for space in each["namespaces"]}
        theirs |= {space for spaces in (found.get("undeclared") or {}).values() for space in spaces}
        findings += _flux_findings(cluster, one, theirs)
    for cluster, one in sorted((checked.tenants or {}).items()):
        findings += _tenant_findings(cluster, one)
    kept: list[dict[str, t.Any]] = []
    accepted: list[dict[str, t.Any]] = []
    for finding in findings:
        entry = next((a for a in accept if _matches(a, finding)), None)
        if entry is None:
            kept.append(finding)
        else:
            accepted.append({**finding, "reason": str(entry["reason"])})
    kept.sort(key=lambda f: (SEVERITIES.index(f["severity"]), f["id"], f["item"], f["message"]))
    not_checked = [dict(n) for n in checked.not_checked]
    if checked.openbao is not None:
        not_checked += [dict(n) for n in checked.openbao.get("not_checked") or []]
    result_data: dict[str, t.Any] = {
        "findings": kept,
        "accepted": accepted,
        "not_checked": not_checked,
        "counts": {s: sum(1 for f in kept if f["severity"] == s) for s in SEVERITIES},
        "failing": sorted({f["id"] for f in kept if f["severity"] in fail_on}),
    }
    result_data["lines"] = _lines(checked, result_data, name)
    return result_data


def _validate(accept: t.Sequence[t.Mapping[str, t.Any]], fail_on: t.Sequence[str]) -> None:
    for i, severity in enumerate(fail_on):
        if severity not in SEVERITIES:
            raise InvalidInput(
                f"{severity!r} is not a severity.",
                item=f"platform_checks_fail_on[{i}]",
                rule="value",
                fix="one of " + ", ".join(SEVERITIES) + ".",
            )
    for i, entry in enumerate(accept):
        for key in ("id", "reason"):
            check(
                isinstance(entry.get(key), str) and entry[key],
                f"{key} is missing.",
                item=f"platform_checks_accept[{i}]",
                rule="missing-key",
                fix="give the id of the finding and the reason why it is accepted.",
            )


def _matches(entry: t.Mapping[str, t.Any], finding: t.Mapping[str, t.Any]) -> bool:
    return entry["id"] == finding["id"] and fnmatch.fnmatchcase(finding["item"], str(entry.get("item") or "*"))


def _broke(result: t.Mapping[str, t.Any], key: str) -> bool:
    """Say if a module failed: what it always returns is not there. ``failed`` may have been overruled by the role."""
    return bool(result.get("failed")) or key not in result


def _failed(what: str, result: t.Mapping[str, t.Any]) -> dict[str, t.Any]:
    error = result.get("error") or {}
    return {
        "id": "check-failed",
        "severity": "error",
        "item": what,
        "message": str(result.get("msg") or "the check failed."),
        "fix": str(error.get("fix") or "see the output of the task."),
    }


def _seal_findings(seal: t.Mapping[str, t.Any] | None) -> list[dict[str, t.Any]]:
    if seal is None:
        return []
    if _broke(seal, "nodes"):
        return [_failed("OpenBao nodes", seal)]
    found = []
    nodes = seal.get("nodes") or []
    for node in nodes:
        state = str(node.get("state") or "")
        if state not in _STATES:
            continue
        severity, fix = _STATES[state]
        message = f"is {state.replace('_', ' ')}"
        if state == "sealed":
            message += f"; {node.get('progress') or 0} of {node.get('t') or '?'} shares are in"
        problem = node.get("problem") or {}
        detail = str(problem.get("message") or "").rstrip(".")
        if detail:
            message += f" ({problem['hop']}): {detail}"
        found.append(
            {
                "id": f"node-{state.replace('_', '-')}",
                "severity": severity,
                "item": f"OpenBao node {node['name']}",
                "message": message + ".",
                "fix": str(problem.get("fix") or fix),
            }
        )
    unsealed = [n for n in nodes if n.get("state") == "unsealed"]
    if unsealed and not seal.get("active"):
        found.append(
            {
                "id": "no-active-node",
                "severity": "error",
                "item": "OpenBao",
                "message": f"has no active node; {len(unsealed)} of {len(nodes)} are unsealed.",
                "fix": "unseal a majority of the nodes.",
            }
        )
    return found


def _share_findings(shares: t.Mapping[str, t.Any] | None) -> list[dict[str, t.Any]]:
    if shares is None:
        return []
    if _broke(shares, "findings"):
        return [_failed("unseal shares", shares)]
    return [
        {
            "id": f"shares-{found['rule']}",
            "severity": "error" if found["severity"] == "critical" else found["severity"],
            "item": "unseal shares",
            "message": f"{found['what']}.",
            "fix": found["fix"],
        }
        for found in shares["findings"]
    ]


def _found(name: str, severity: str, item: str, message: str, fix: str) -> dict[str, t.Any]:
    return {"id": name, "severity": severity, "item": item, "message": message.rstrip(".") + ".", "fix": fix}


def _flux_findings(cluster: str, flux: t.Mapping[str, t.Any], theirs: t.Collection[str]) -> list[dict[str, t.Any]]:
    """Return what is wrong with Flux. :param theirs: namespaces of tenants, who may break what is their own."""
    here = f"Flux of {cluster}"
    if _broke(flux, "installed"):
        return [_failed(here, flux)]
    if not flux["installed"]:
        fix = "run playbooks/flux_bootstrap.yml, or take flux out of the cluster in platform_clusters."
        return [_found("flux-missing", "error", here, "is not there", fix)]
    found = [
        _found("flux-not-locked-down", "error", f"{here}: {one['item']}", str(one["message"]), str(one["fix"]))
        for one in flux["lockdown"]
    ]
    found += [
        _found(
            "flux-controller-not-ready",
            "error",
            f"{here}: {one['name']}",
            f"is not ready: {one['why']}",
            "look at its Deployment and its pods.",
        )
        for one in flux["controllers"]
        if not one["ready"]
    ]
    for one in flux["failing"]:
        failed = one["state"] == "failed"
        said = one["because"] or one["message"]
        since = f" since {one['since']}" if one["since"] else ""
        found.append(
            _found(
                "flux-failing" if failed else "flux-waiting",
                # what waits for something else, or only for a while, is not broken itself
                "error" if failed and not one["because"] and one["namespace"] not in theirs else "warning",
                f"{here}: {one['kind']} {one['namespace']}/{one['name']}",
                f"{'fails' if failed else 'is not ready'}{since}: {said}",
                str(one["hint"] or "read what it says; flux_info has its events."),
            )
        )
    found += [
        _found("flux-suspended", "info", f"{here}: {one}", "is suspended", "resume it with playbooks/flux_action.yml.")
        for one in flux["suspended"]
    ]
    return found


def _tenant_findings(cluster: str, info: t.Mapping[str, t.Any]) -> list[dict[str, t.Any]]:
    here = f"tenants of {cluster}"
    if _broke(info, "undeclared"):
        return [_failed(here, info)]
    again = "run playbooks/tenants.yml."
    found = [
        _found(
            f"tenant-declaration-{one['rule']}", one["level"], str(one["item"]), str(one["message"]), str(one["fix"])
        )
        for one in info["findings"]
    ]
    for one in info["tenants"]:
        item = f"tenant {one['name']} on {cluster}"
        # a declaration that is wrong is a finding already, and a repository of a tenant's own is the tenant's affair
        if one["problems"]:
            said = "; ".join(str(each) for each in one["problems"][:3])
            found.append(_found("tenant-not-ready", "warning", item, f"is not ready: {said}", again))
        if one["drift"]:
            said = f"is not as declared ({len(one['drift'])} changes): " + "; ".join(one["drift"][:3])
            found.append(_found("tenant-drift", "warning", item, said, again))
    found += [
        _found(
            "tenant-undeclared",
            "warning",
            f"tenant {name} on {cluster}",
            f"has no declaration for this cluster, and has {', '.join(spaces)}",
            "bring its declaration back, or let it say state: removed.",
        )
        for name, spaces in sorted(info["undeclared"].items())
    ]
    return found


def _lines(checked: Checked, result: t.Mapping[str, t.Any], name: str) -> list[str]:
    counts = result["counts"]
    said = ", ".join(f"{counts[s]} {_WORDS[s][0 if counts[s] == 1 else 1]}" for s in SEVERITIES)
    lines = [f"{name or 'site'}: {said}; nothing was written"]
    lines += _seal_lines(checked.seal)
    lines += _share_lines(checked.shares)
    lines += _openbao_lines(checked.openbao)
    lines += _cluster_lines(checked.clusters)
    lines += _reviewer_lines(checked.reviewers)
    lines += _flux_lines(checked.flux or {})
    lines += _tenant_lines(checked.tenants or {})
    for severity in SEVERITIES:
        some = [f for f in result["findings"] if f["severity"] == severity]
        if some:
            lines.append(_TITLES[severity])
        for finding in some:
            lines.append(f"  {finding['item']} {finding['message']} [{finding['id']}]")
            lines.append(f"    fix: {finding['fix']}")
    if result["accepted"]:
        lines.append("Accepted")
        lines += [f"  {f['item']} {f['message']} [{f['id']}] because {f['reason']}" for f in result["accepted"]]
    if result["not_checked"]:
        lines.append("Not checked")
        lines += [f"  {n['what']}: {n['why']}" for n in result["not_checked"]]
    return lines


def _seal_lines(seal: t.Mapping[str, t.Any] | None) -> list[str]:
    if seal is None or _broke(seal, "nodes"):
        return []
    active = (seal.get("active") or {}).get("name")
    lines = ["OpenBao nodes"]
    for node in seal.get("nodes") or []:
        words = str(node.get("state") or "unknown").replace("_", " ")
        role = "active" if node["name"] == active else node.get("role")
        if role:
            words += f", {role}"
        version = node.get("version")
        lines.append(f"  {node['name']}: {words}" + (f", version {version}" if version else ""))
    return lines


def _share_lines(shares: t.Mapping[str, t.Any] | None) -> list[str]:
    if shares is None or _broke(shares, "findings") or not shares.get("holders"):
        return []
    lines = [f"Unseal shares: {shares['threshold']} of {len(shares['holders'])} are needed"]
    for one in shares["holders"]:
        shown = f"shown on {one['verified_at'][:10]}" if one["verified_at"] else "never shown"
        lines.append(f"  {one['holder']}: {shown}" + (", departed" if one["departed"] else ""))
    return lines


def _whose(mount: t.Mapping[str, t.Any]) -> str:
    if mount["type"] in (
        "token",
        "cubbyhole",
        "identity",
        "ns_token",
        "system",
        "ns_system",
        "ns_identity",
        "ns_cubbyhole",
    ):
        return "built in"
    return "ours" if mount["ours"] else "not ours"


def _openbao_lines(openbao: t.Mapping[str, t.Any] | None) -> list[str]:
    if openbao is None or _broke(openbao, "auth_mounts"):
        return []
    lines = ["OpenBao auth mounts"]
    for mount in openbao.get("auth_mounts") or []:
        roles = mount.get("roles")
        text = f"  {mount['path']} ({mount['type']}, {_whose(mount)})"
        lines.append(text + (f": {', '.join(roles)}" if roles else ""))
    lines.append("OpenBao secret engines")
    for mount in openbao.get("secret_engines") or []:
        version = f" version {mount['version']}" if mount.get("version") else ""
        lines.append(f"  {mount['path']} ({mount['type']}{version}, {_whose(mount)})")
    return lines


def _cluster_lines(clusters: t.Mapping[str, t.Any] | None) -> list[str]:
    if clusters is None or not clusters.get("clusters"):
        return []
    lines = ["Clusters"]
    for cluster in clusters["clusters"]:
        text = f"  {cluster['name']}: "
        if cluster["reachable"]:
            text += f"{cluster['version']}, {cluster['nodes_ready']} of {cluster['nodes']} nodes ready"
        else:
            text += "not reachable"
        if cluster.get("expires"):
            text += f", {cluster['credential']} ends on {str(cluster['expires'])[:10]}"
        lines.append(text)
    return lines


def _reviewer_lines(reviewers: t.Mapping[str, t.Any] | None) -> list[str]:
    if reviewers is None or not reviewers.get("clusters"):
        return []
    lines = ["Reviewers"]
    for cluster in reviewers["clusters"]:
        broken = cluster.get("broken")
        text = f"  {cluster['name']} ({cluster['mode']}): "
        if broken:
            text += f"broken at {broken['hop']}"
        elif any(hop["hop"] == "login" and hop["status"] == "ok" for hop in cluster["hops"]):
            text += f"{cluster['client']} can log in"
        else:
            text += "nothing wrong, no login made"
        ends = (cluster.get("reviewer") or {}).get("expires_at")
        lines.append(text + (f", its token ends on {str(ends)[:10]}" if ends else ""))
    return lines


def _flux_lines(flux: t.Mapping[str, t.Mapping[str, t.Any]]) -> list[str]:
    shown = {cluster: one["summary"] for cluster, one in sorted(flux.items()) if not _broke(one, "summary")}
    return ["Flux", *(f"  {cluster}: {said[0]}; {said[-1]}" for cluster, said in shown.items())] if shown else []


def _tenant_lines(tenants: t.Mapping[str, t.Mapping[str, t.Any]]) -> list[str]:
    shown = {cluster: one["tenants"] for cluster, one in sorted(tenants.items()) if not _broke(one, "undeclared")}
    lines = ["Tenants"] if shown else []
    for cluster, some in shown.items():
        well = sum(1 for one in some if one["ready"] and not one["drift"])
        lines.append(f"  {cluster}: {len(some)} declared, {well} ready and as declared")
    return lines

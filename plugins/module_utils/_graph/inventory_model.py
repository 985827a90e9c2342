# SPDX-FileCopyrightText: 2026 hackspace.infra contributors
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection: may change at any time.
"""The inventory contract: a JSON Schema, and the rules between fields that a schema cannot say.

Everything here is plain data. What files look like is asked through a function, so that the rules can be tested
without any, and an inventory can be checked on a machine that is not the controller.
"""

from __future__ import annotations

import base64
import contextlib
import dataclasses
import difflib
import ipaddress
import json
import os
import re
import typing as t
import urllib.parse

Severity = t.Literal["error", "warning"]

#: Path of the schema, part of the built collection.
SCHEMA_PATH: t.Final = os.path.join(os.path.dirname(__file__), "inventory.schema.json")

#: Prefixes of the collection's own role options: not part of the contract.
ROLE_PREFIXES: t.Final = ("platform_checks_", "platform_components_", "platform_backup_")

#: Groups of the contract whose hosts' variables are looked at.
HOST_GROUPS: t.Final = ("openbao_nodes", "pve_nodes", "talos_vms")

#: Seconds. API servers give no shorter tokens; a login that lives longer outlives its ServiceAccount.
LIFETIME_RANGE: t.Final = (600, 366 * 86400)
TTL_RANGE: t.Final = (60, 3600)
_UNITS: t.Final[t.Mapping[str, int]] = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400}

#: Every rule and what it says; a test holds one broken inventory for each.
RULES: t.Final[t.Mapping[str, str]] = {
    "address": "an address is an IP address",
    "age-recipient": "an age recipient is a public key of age or SSH",
    "audience-is-issuer": "the audience for OpenBao is not one that the API server itself accepts",
    "boot-secret-in-openbao": "nothing needed to boot or unseal the platform lives in OpenBao",
    "cluster-access": "each cluster says how to reach its API",
    "client-reviews-itself": "no tenant's ServiceAccount may review tokens",
    "cluster-group": "each group cluster_<name> belongs to a cluster that is declared",
    "cluster-id": "a cluster id of ceph-csi is a name that Kubernetes takes",
    "default-service-account": "pods without a ServiceAccount of their own cannot log in to OpenBao",
    "dns-in-boot-path": "unsealing works while DNS is down",
    "domain": "a domain is a domain",
    "duration": "a duration is a number of seconds, or one with s, m, h or d",
    "even-voters": "a majority needs an odd number of voters",
    "file-mode": "a file that holds a secret is readable by its owner only",
    "file-missing": "files that are named exist on the controller",
    "filesystem-name": "the name of a CephFS is one that caps can have",
    "fsid": "the id of a Ceph cluster is what ceph fsid says",
    "holder-key": "each holder has a public key to which a share can be encrypted",
    "holders-for-shares": "there is one holder for each unseal share",
    "length": "texts are not empty",
    "login": "a login has what its method needs",
    "missing-key": "required keys are there",
    "manifest-sha256": "a manifest is pinned by the sha256 of its content",
    "manifest-source": "a manifest has either a path or an address",
    "mixed-wildcard": "a list with * has nothing else",
    "mount-path": "a mount is written without a slash at its ends",
    "name": "names are DNS labels",
    "namespace": "a namespace is a DNS label",
    "nested-mount": "no auth mount lies inside another",
    "object-name": "a StorageClass has a name that Kubernetes takes",
    "one-upstream": "there is exactly one upstream cluster as soon as there are two clusters",
    "path-absolute": "paths do not depend on the current folder",
    "plain-http": "TLS everywhere except on loopback",
    "plaintext-secret": "no OpenBao secret, unseal share or private key stands in the inventory",
    "pool-name": "the name of a pool is one that Rook and caps can have",
    "rados-namespace": "a RADOS namespace has a name that Rook can take",
    "range": "numbers are within their limits",
    "reviewer-expires": "a reviewer's token expires and is replaced",
    "rook-version": "a version of Rook is a version",
    "secret-holders": "each offline secret is held by at least two people",
    "size": "a size is a number with a unit",
    "subvolume-group": "a subvolume group has a name that Rook can take",
    "threshold-above-shares": "the threshold is not above the number of shares",
    "threshold-of-one": "one share alone does not unseal",
    "tls-server-name": "a TLS server name is a host name",
    "too-few-holders": "there are at least as many holders as the threshold",
    "type": "values have the type that is expected",
    "unique-address": "no two hosts have the same address",
    "unique-audience": "no two clusters have the same audience",
    "unique-cluster-name": "no two clusters have the same name",
    "unique-component": "no two platform components have the same name",
    "unique-holder": "no two holders have the same name",
    "unique-holder-key": "no two holders have the same public key",
    "unique-mount": "no two clusters have the same auth mount, and none has that of the administrators",
    "unique-namespace": "no namespace belongs to two tenants of a cluster",
    "unique-tenant": "no two tenants of a cluster have the same name",
    "unique-vmid": "no two Talos VMs have the same VM id",
    "unknown-cluster": "a cluster that is referred to is declared",
    "unknown-component": "a platform component needs others that reach the same clusters",
    "unknown-holder": "people who hold offline secrets are declared as holders",
    "unknown-key": "keys are spelled as in the contract",
    "unknown-pve-node": "the PVE node of a Talos VM is in the group pve_nodes",
    "unknown-variable": "variables named platform_* are spelled as in the contract",
    "url": "an address is https://host:port",
    "user-name": "a Ceph user's name is given without client. and generation",
    "user-prefix": "Ceph users of consumers have a prefix that ends in a hyphen",
    "value": "values are among those allowed",
}


@dataclasses.dataclass(frozen=True, order=True)
class Finding:
    """One broken rule.

    :ivar path: where, as a person would write it (``platform_clusters[1].api_server``).
    :ivar rule: key of :data:`RULES`.
    """

    path: str
    rule: str
    message: str = dataclasses.field(compare=False)
    fix: str = dataclasses.field(compare=False)
    severity: Severity = dataclasses.field(default="error", compare=False)

    def as_dict(self) -> dict[str, str]:
        """Return the finding as the filter gives it out."""
        return {
            "id": self.rule,
            "severity": self.severity,
            "item": self.path,
            "message": self.message,
            "fix": self.fix,
        }


@dataclasses.dataclass(frozen=True)
class FileFact:
    """What matters about a file: does it exist, and its permission bits."""

    exists: bool
    mode: int = 0o600


FileLookup = t.Callable[[str], FileFact]


@dataclasses.dataclass(frozen=True)
class Inventory:
    """What the checker looks at.

    :ivar variables: the ``platform_*`` variables.
    :ivar hosts: variables of hosts by group, for the groups of the contract.
    :ivar groups: names of all groups.
    :ivar plain: paths of texts that stand unencrypted in a file of the inventory; ``None`` if that is not known
        (then all count as such).
    :ivar encrypted: paths of texts that are encrypted where they stand; their values are never repeated.
    """

    variables: t.Mapping[str, t.Any]
    hosts: t.Mapping[str, t.Mapping[str, t.Mapping[str, t.Any]]]
    groups: t.Sequence[str] = ()
    plain: frozenset[str] | None = None
    encrypted: frozenset[str] = frozenset()


def load_schema() -> dict[str, t.Any]:
    """Return the JSON Schema of the inventory."""
    with open(SCHEMA_PATH, encoding="utf-8") as handle:
        schema: dict[str, t.Any] = json.load(handle)
    return schema


def findings(inventory: Inventory, files: FileLookup | None = None) -> list[Finding]:
    """Return everything that is wrong, sorted, each once.

    :param files: how to look at a file on the controller; without it files are not checked.
    """
    found: list[Finding] = []
    found += _schema_findings(inventory)
    found += _unknown_variables(inventory)
    found += _cluster_findings(inventory)
    found += _openbao_findings(inventory)
    found += _holder_findings(inventory)
    found += _node_findings(inventory)
    found += _vm_findings(inventory)
    found += _component_findings(inventory)
    found += _offline_findings(inventory)
    found += _plaintext_findings(inventory)
    if files is not None:
        found += _file_findings(inventory, files)
    texts = {path: text for path, _other, text in all_texts(inventory) if path in inventory.encrypted}
    hidden = {f.path for f in found if f.rule == "plaintext-secret"}
    # a secret in the wrong place is one mistake, and what else is wrong with it could only be said by its value
    kept = {f for f in found if f.rule == "plaintext-secret" or f.path not in hidden}
    return sorted(_veiled(f, texts) for f in kept)


def _veiled(finding: Finding, texts: t.Mapping[str, str]) -> Finding:
    """Return *finding* without the value at its path if that value is encrypted in the inventory."""
    value = texts.get(finding.path)
    if not value:
        return finding
    return dataclasses.replace(
        finding,
        message=finding.message.replace(value, "(hidden)"),
        fix=finding.fix.replace(value, "(hidden)"),
    )


# -- schema --------------------------------------------------------------------------------------------------------


def path_text(parts: t.Iterable[str | int]) -> str:
    """Return a path the way people write it: ``a.b[2].c``."""
    text = ""
    for part in parts:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            text += f".{part}" if text else str(part)
    return text


def _place(parts: t.Sequence[str | int]) -> str:
    """Return the path of a finding of the schema: variables lose their prefix, hosts read ``group[host].name``."""
    if parts and parts[0] == "variables":
        return path_text(parts[1:]) or "platform_*"
    if parts and parts[0] == "hosts":
        return _host_place(*(str(p) for p in parts[1:3]), rest=parts[3:])
    return path_text(parts)


def _host_place(group: str = "hosts", host: str | None = None, *, rest: t.Sequence[str | int] = ()) -> str:
    head = group if host is None else f"{group}[{host}]"
    tail = path_text(rest)
    return f"{head}.{tail}" if tail else head


def _schema_findings(inventory: Inventory) -> list[Finding]:
    import jsonschema

    schema = load_schema()
    document = {
        "variables": {k: v for k, v in inventory.variables.items() if not k.startswith(ROLE_PREFIXES)},
        "hosts": {g: dict(h) for g, h in inventory.hosts.items()},
    }
    found: list[Finding] = []
    for error in jsonschema.Draft202012Validator(schema).iter_errors(document):
        found += _translated(error, list(error.absolute_path))
    return found


_TYPES: t.Final = {
    "object": "a mapping",
    "array": "a list",
    "string": "a text",
    "integer": "a whole number",
    "boolean": "true or false",
}


def _shown(value: t.Any) -> str:
    """Return *value* for a message: only short plain ones that cannot be a secret."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return str(value)
    if isinstance(value, str) and len(value) <= 60 and secret_kind("", value) is None:
        return f"'{value}'"
    return {dict: "a mapping", list: "a list", str: "this text", type(None): "nothing"}.get(type(value), "this")


def _translated(error: t.Any, parts: list[str | int]) -> list[Finding]:
    place, schema, value = _place(parts), error.schema, error.instance
    if error.validator == "additionalProperties":
        known = sorted(schema.get("properties") or {})
        patterns = [re.compile(p) for p in schema.get("patternProperties") or {}]
        return [
            Finding(
                _place([*parts, key]),
                "unknown-key",
                "is not a key of the contract.",
                _did_you_mean(str(key), known),
            )
            for key in sorted(set(value) - set(known), key=str)
            if not any(p.search(str(key)) for p in patterns)
        ]
    if error.validator == "required":
        return [
            Finding(_place([*parts, key]), "missing-key", "is missing.", f"add {key} to {place}.")
            for key in schema["required"]
            if key not in value and f"'{key}'" in error.message.split(" is a required")[0]
        ]
    if error.validator == "type":
        types = schema["type"] if isinstance(schema["type"], list) else [schema["type"]]
        wanted = " or ".join(_TYPES.get(str(one), str(one)) for one in types)
        return [Finding(place, "type", f"is {_shown(value)}, not {wanted}.", f"write it as {wanted}.")]
    if error.validator == "enum":
        choices = ", ".join(str(c) for c in schema["enum"])
        return [Finding(place, "value", f"is {_shown(value)}, which is not allowed.", f"one of {choices}.")]
    if error.validator == "pattern":
        return [Finding(place, schema["x-rule"], f"{_shown(value)} {schema['x-message']}", schema["x-fix"])]
    if error.validator in ("minimum", "maximum"):
        limit = f"at {'least' if error.validator == 'minimum' else 'most'} {error.validator_value}"
        return [Finding(place, "range", f"is {_shown(value)}, not {limit}.", f"give a number of {limit}.")]
    return [Finding(place, "length", "is empty.", "give a value, or leave the key out.")]


def _did_you_mean(key: str, known: t.Sequence[str]) -> str:
    close = difflib.get_close_matches(key, known, n=1, cutoff=0.6)
    if close:
        return f"did you mean {close[0]}?"
    return "remove it; known are " + ", ".join(known) + "."


def _unknown_variables(inventory: Inventory) -> list[Finding]:
    known = sorted(load_schema()["properties"]["variables"]["properties"])
    found = []
    for name in inventory.variables:
        if name in known or name.startswith(ROLE_PREFIXES):
            continue
        close = difflib.get_close_matches(name, known, n=1, cutoff=0.75)
        found.append(
            Finding(
                name,
                "unknown-variable",
                "is not a variable of the contract; nothing reads it.",
                f"did you mean {close[0]}?" if close else "give variables of your own another prefix than platform_.",
                "error" if close else "warning",
            )
        )
    return found


# -- access to data that may have any shape -------------------------------------------------------------------------


def _mapping(value: t.Any) -> t.Mapping[str, t.Any]:
    return value if isinstance(value, dict) else {}


def _records(value: t.Any) -> list[tuple[int, t.Mapping[str, t.Any]]]:
    return [(i, v) for i, v in enumerate(value) if isinstance(v, dict)] if isinstance(value, list) else []


def _clusters(inventory: Inventory) -> list[tuple[int, t.Mapping[str, t.Any]]]:
    return _records(inventory.variables.get("platform_clusters"))


def _openbao(inventory: Inventory) -> t.Mapping[str, t.Any]:
    return _mapping(inventory.variables.get("platform_openbao"))


def _twice(
    values: t.Iterable[tuple[str, t.Any]], rule: str, what: str, fix: str, severity: Severity = "error"
) -> list[Finding]:
    """Report each value that an earlier path already has; *values* are (path, value)."""
    first: dict[t.Any, str] = {}
    found = []
    for path, value in values:
        if not isinstance(value, str | int) or value == "":
            continue
        if value in first:
            found.append(Finding(path, rule, f"{_shown(value)} is also {what} {first[value]}.", fix, severity))
        else:
            first[value] = path
    return found


# -- rules ---------------------------------------------------------------------------------------------------------


def _cluster_findings(inventory: Inventory) -> list[Finding]:
    clusters = _clusters(inventory)

    def field(key: str) -> list[tuple[str, t.Any]]:
        return [(f"platform_clusters[{i}].{key}", c.get(key)) for i, c in clusters]

    found = _twice(field("name"), "unique-cluster-name", "the name of", "give each cluster a name of its own.")
    login = _mapping(_openbao(inventory).get("login"))
    taken = login.get("mount_point") or login.get("auth_method")
    mounts = field("openbao_mount")
    others = [
        (f"platform_openbao.config.auth_mounts[{i}].path", mount["path"].strip("/"))
        for i, mount in _records(_mapping(_openbao(inventory).get("config")).get("auth_mounts"))
        if isinstance(mount.get("path"), str)
    ]
    if isinstance(taken, str):
        others = [("platform_openbao.login", taken.strip("/")), *(o for o in others if o[1] != taken.strip("/"))]
    own_mount, own_audience = (
        "give each cluster a mount of its own.",
        ("give each cluster its own: with one for two, a token of one cluster is good at the other's mount."),
    )
    found += _twice([*others, *mounts], "unique-mount", "the auth mount of", own_mount)
    found += _like_a_default(clusters, "openbao_mount", "kubernetes-", "unique-mount", own_mount)
    found += _nested_mounts([*others, *mounts])
    found += _twice(field("openbao_audience"), "unique-audience", "the audience of", own_audience)
    found += _like_a_default(clusters, "openbao_audience", "openbao-", "unique-audience", own_audience)
    upstream = [i for i, c in clusters if c.get("role") == "upstream"]
    for i in upstream[1:]:
        found.append(
            Finding(
                f"platform_clusters[{i}].role",
                "one-upstream",
                f"is upstream, and so is platform_clusters[{upstream[0]}].",
                "make one of them downstream.",
            )
        )
    if not upstream and any(c.get("role") == "downstream" for _other, c in clusters) and len(clusters) > 1:
        found.append(
            Finding(
                "platform_clusters",
                "one-upstream",
                "has several clusters and none of them is upstream.",
                "set role: upstream on the one that the others depend on.",
                "warning",
            )
        )
    for i, cluster in clusters:
        place = f"platform_clusters[{i}]"
        if not cluster.get("kubeconfig"):
            found.append(
                Finding(
                    f"{place}.kubeconfig",
                    "cluster-access",
                    "is not given; nothing can be checked or done on this cluster.",
                    "give the path of a kubeconfig file.",
                    "warning",
                )
            )
        own = [cluster.get("issuer"), cluster.get("api_server"), "https://kubernetes.default.svc.cluster.local"]
        audience = cluster.get("openbao_audience")
        if isinstance(audience, str) and audience.rstrip("/") in {o.rstrip("/") for o in own if isinstance(o, str)}:
            found.append(
                Finding(
                    f"{place}.openbao_audience",
                    "audience-is-issuer",
                    f"{_shown(audience)} is an audience of the API server: OpenBao, or whoever reads a token there, "
                    "could use it against the cluster.",
                    "choose a word of its own, for example openbao-" + str(cluster.get("name") or "<cluster>") + ".",
                )
            )
        found += _plain_http(f"{place}.api_server", cluster.get("api_server"))
        found += _reviewer_findings(f"{place}.reviewer", _mapping(cluster.get("reviewer")))
    names = {str(c.get("name")) for _other, c in clusters}
    wanted = {n.replace("-", "_") for n in names}
    for group in sorted(inventory.groups):
        if group.startswith("cluster_") and group[len("cluster_") :].replace("-", "_") not in wanted:
            found.append(
                Finding(
                    group,
                    "cluster-group",
                    "is the group of a cluster that platform_clusters does not declare.",
                    "declare the cluster, or rename the group to cluster_<name> with _ for each dash.",
                )
            )
    ceph = _mapping(inventory.variables.get("platform_ceph"))
    for i, consumer in _records(ceph.get("consumers")):
        if isinstance(consumer.get("cluster"), str) and consumer["cluster"] not in names:
            found.append(
                Finding(
                    f"platform_ceph.consumers[{i}].cluster",
                    "unknown-cluster",
                    f"{_shown(consumer['cluster'])} is not in platform_clusters.",
                    "declare the cluster, or correct the name.",
                )
            )
    return found


def _like_a_default(
    clusters: t.Sequence[tuple[int, t.Mapping[str, t.Any]]], key: str, prefix: str, rule: str, fix: str
) -> list[Finding]:
    """Report each *key* that is what another cluster without that key gets: *prefix* and its name."""
    defaults = {f"{prefix}{c['name']}": i for i, c in clusters if isinstance(c.get("name"), str) and not c.get(key)}
    return [
        Finding(
            f"platform_clusters[{i}].{key}",
            rule,
            f"{_shown(c[key])} is what platform_clusters[{defaults[c[key]]}] has by default.",
            fix,
        )
        for i, c in clusters
        if isinstance(c.get(key), str) and defaults.get(c[key], i) != i
    ]


def _nested_mounts(mounts: t.Sequence[tuple[str, t.Any]]) -> list[Finding]:
    """Report each mount that lies inside another; OpenBao refuses it."""
    named = [(place, mount) for place, mount in mounts if isinstance(mount, str) and mount]
    return [
        Finding(
            place,
            "nested-mount",
            f"{_shown(mount)} lies inside the auth mount of {other}: OpenBao refuses that.",
            "choose paths of which none begins with another and a slash.",
        )
        for place, mount in named
        for other, outer in named
        if mount.startswith(f"{outer}/")
    ]


def _out_of_range(place: str, value: t.Any, least: int, most: int) -> list[Finding]:
    """Report a duration of less than *least* or more than *most* seconds."""
    match = re.fullmatch(r"(\d+)([smhd]?)", str(value)) if isinstance(value, int | str) else None
    if match is None or least <= int(match[1]) * _UNITS[match[2]] <= most:
        return []
    limits = f"{least} seconds to {most} seconds"
    return [Finding(place, "range", f"is {_shown(value)}, not {limits}.", f"give a duration of {limits}.")]


def _reviewer_findings(place: str, reviewer: t.Mapping[str, t.Any]) -> list[Finding]:
    """Report what is wrong with how one cluster's tokens are checked and who may log in."""
    found = []
    mode = reviewer.get("mode")
    if mode == "long_lived":
        found.append(
            Finding(
                f"{place}.mode",
                "reviewer-expires",
                "is long_lived: whoever gets hold of that token has it for good.",
                "mode: token_request, which replaces the token before it expires.",
                "warning",
            )
        )
    if mode == "client_jwt":
        found.append(
            Finding(
                f"{place}.mode",
                "client-reviews-itself",
                "is client_jwt: each tenant may review tokens, and its token is good at the API server.",
                "mode: token_request.",
                "warning",
            )
        )
    access = _mapping(reviewer.get("access"))
    found += _out_of_range(f"{place}.token_lifetime", reviewer.get("token_lifetime"), *LIFETIME_RANGE)
    found += _out_of_range(f"{place}.access.ttl", access.get("ttl"), *TTL_RANGE)
    tenants = _records(access.get("per_tenant"))
    lists = [(f"{place}.access.{key}", access.get(key)) for key in ("service_accounts", "namespaces")]
    lists += [
        (f"{place}.access.per_tenant[{i}].service_accounts", tenant.get("service_accounts")) for i, tenant in tenants
    ]
    for path, names in lists:
        if not isinstance(names, list):
            continue
        if "*" in names and len(names) > 1:
            found.append(
                Finding(
                    path, "mixed-wildcard", "has * and other names: OpenBao refuses that.", "leave out one of them."
                )
            )
        elif path.endswith("service_accounts") and {"default", "*"} & {n for n in names if isinstance(n, str)}:
            found.append(
                Finding(
                    path,
                    "default-service-account",
                    "allows the ServiceAccount default, which every pod has that names no other.",
                    "make a ServiceAccount for it, for example eso.",
                )
            )
    where = f"{place}.access.per_tenant"
    found += _twice(
        [(f"{where}[{i}].name", tenant.get("name")) for i, tenant in tenants],
        "unique-tenant",
        "the name of",
        "give each tenant a name of its own.",
    )
    found += _twice(
        [
            (f"{where}[{i}].namespaces[{n}]", namespace)
            for i, tenant in tenants
            for n, namespace in enumerate(tenant.get("namespaces") or [tenant.get("name")])
        ],
        "unique-namespace",
        "that of",
        "give it to one tenant.",
    )
    return found


def _host_of(url: t.Any) -> str | None:
    """Return the host of an address, ``None`` if there is none."""
    if not isinstance(url, str):
        return None
    try:
        return urllib.parse.urlsplit(url).hostname
    except ValueError:
        return None


def is_ip(host: str) -> bool:
    """Say if *host* is an IP address and not a name."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _loopback(host: str) -> bool:
    return host == "localhost" or (is_ip(host) and ipaddress.ip_address(host).is_loopback)


def _plain_http(path: str, url: t.Any) -> list[Finding]:
    host = _host_of(url)
    if host is None or not str(url).startswith("http://") or _loopback(host):
        return []
    return [Finding(path, "plain-http", "is plain http to another machine.", "use https and give the CA.")]


def _openbao_findings(inventory: Inventory) -> list[Finding]:
    openbao = _openbao(inventory)
    found: list[Finding] = []
    seal = _mapping(openbao.get("seal"))
    shares, threshold = seal.get("shares"), seal.get("threshold")
    if seal.get("type") == "shamir":
        for key in ("shares", "threshold"):
            if key not in seal:
                found.append(
                    Finding(
                        f"platform_openbao.seal.{key}",
                        "missing-key",
                        "is missing.",
                        f"a Shamir seal needs {key}, for example shares: 5, threshold: 3.",
                    )
                )
    if isinstance(shares, int) and isinstance(threshold, int):
        place = "platform_openbao.seal.threshold"
        if threshold > shares:
            found.append(
                Finding(
                    place,
                    "threshold-above-shares",
                    f"is {threshold}, but there are only {shares} share(s): nobody could ever unseal.",
                    f"at most {shares}.",
                )
            )
        elif threshold == 1 and shares > 1:
            found.append(
                Finding(
                    place,
                    "threshold-of-one",
                    f"is 1 of {shares}: each holder alone can unseal, and the server refuses it.",
                    "at least 2.",
                )
            )
    login = _mapping(openbao.get("login"))
    needs: dict[str, tuple[tuple[str, ...], ...]] = {
        "userpass": (("username",), ("password_file", "password")),
        "token": (("token_path", "token"),),
        "approle": (("role_id",), ("secret_id",)),
        "cert": (("cert_auth_public_key",), ("cert_auth_private_key",)),
    }
    method = login.get("auth_method", "token") if login else "none"
    for names in needs.get(str(method), ()):
        if not any(login.get(n) for n in names):
            found.append(
                Finding(
                    f"platform_openbao.login.{names[0]}",
                    "login",
                    f"is missing: auth_method {method} needs it.",
                    f"add {' or '.join(names)}.",
                )
            )
    return found


def _holder_findings(inventory: Inventory) -> list[Finding]:
    openbao = _openbao(inventory)
    holders = _records(openbao.get("holders"))
    place = "platform_openbao.holders"
    found = _twice(
        [(f"{place}[{i}].name", h.get("name")) for i, h in holders],
        "unique-holder",
        "the name of",
        "give each holder a name of their own.",
    )
    for key in ("age_recipient", "pgp_public_key_file"):
        found += _twice(
            [(f"{place}[{i}].{key}", h.get(key)) for i, h in holders],
            "unique-holder-key",
            "that of",
            "each holder needs a key of their own, or one person can read two shares.",
        )
    for i, holder in holders:
        if not holder.get("age_recipient") and not holder.get("pgp_public_key_file"):
            found.append(
                Finding(
                    f"{place}[{i}]",
                    "holder-key",
                    "has no public key; a share could not be encrypted to this holder.",
                    "give age_recipient or pgp_public_key_file.",
                )
            )
    seal = _mapping(openbao.get("seal"))
    shares, threshold = seal.get("shares"), seal.get("threshold")
    if holders and isinstance(threshold, int) and isinstance(shares, int) and threshold <= shares:
        if len(holders) < threshold:
            found.append(
                Finding(
                    place,
                    "too-few-holders",
                    f"has {len(holders)} holder(s), but {threshold} shares are needed to unseal.",
                    f"declare at least {threshold}, better {shares}.",
                )
            )
        elif len(holders) != shares:
            found.append(
                Finding(
                    place,
                    "holders-for-shares",
                    f"has {len(holders)} holder(s) for {shares} shares.",
                    "declare one holder for each share.",
                    "warning",
                )
            )
    return found


def _node_findings(inventory: Inventory) -> list[Finding]:
    nodes = _mapping(inventory.hosts.get("openbao_nodes"))
    found: list[Finding] = []
    addresses = []
    for name, raw in nodes.items():
        host_vars = _mapping(raw)
        place = _host_place("openbao_nodes", name, rest=["openbao_address"])
        address = host_vars.get("openbao_address")
        found += _plain_http(place, address)
        host = _host_of(address)
        if host is None or not isinstance(address, str):
            continue
        addresses.append((place, address.rstrip("/").lower()))
        if not is_ip(host) and host != "localhost":
            found.append(
                Finding(
                    place,
                    "dns-in-boot-path",
                    f"names the node by DNS ({host}); after a power cut DNS may still be down when you unseal.",
                    f"write the IP address here and openbao_tls_server_name: {host}.",
                    "warning",
                )
            )
    found += _twice(addresses, "unique-address", "the address of", "give each node its own, never a load-balanced one.")
    if len(nodes) > 1 and len(nodes) % 2 == 0:
        found.append(
            Finding(
                "openbao_nodes",
                "even-voters",
                f"has {len(nodes)} nodes: one more than needed for the failures that it survives.",
                "run 3 or 5.",
                "warning",
            )
        )
    return found


def _vm_findings(inventory: Inventory) -> list[Finding]:
    vms = _mapping(inventory.hosts.get("talos_vms"))
    known = set(_mapping(inventory.hosts.get("pve_nodes")))

    def field(key: str) -> list[tuple[str, t.Any]]:
        return [(_host_place("talos_vms", n, rest=[key]), _mapping(v).get(key)) for n, v in vms.items()]

    found = _twice(field("talos_address"), "unique-address", "the address of", "give each VM an address of its own.")
    found += _twice(field("talos_vmid"), "unique-vmid", "the VM id of", "give each VM an id of its own.")
    for place, host in field("talos_pve_node"):
        if isinstance(host, str) and known and host not in known:
            found.append(
                Finding(
                    place,
                    "unknown-pve-node",
                    f"{_shown(host)} is not in the group pve_nodes.",
                    _did_you_mean(host, sorted(known)),
                )
            )
    return found


def _component_findings(inventory: Inventory) -> list[Finding]:
    components = _records(inventory.variables.get("platform_components"))
    clusters = [str(cluster.get("name")) for _i, cluster in _clusters(inventory)]
    found = _twice(
        [(f"platform_components[{i}].name", one.get("name")) for i, one in components],
        "unique-component",
        "the name of",
        "give one of them another name, or put both manifests into one.",
    )

    def reach(one: t.Mapping[str, t.Any]) -> set[str]:
        named = one.get("clusters")
        return {str(name) for name in named} if isinstance(named, list) else set(clusters)

    reached = {str(one.get("name")): reach(one) for _i, one in components}
    for i, one in components:
        place = f"platform_components[{i}]"
        for j, name in enumerate(one["clusters"] if isinstance(one.get("clusters"), list) else ()):
            if name not in clusters:
                found.append(
                    Finding(
                        f"{place}.clusters[{j}]",
                        "unknown-cluster",
                        f"{_shown(name)} is not in platform_clusters.",
                        "correct the name, or add the cluster.",
                    )
                )
        for j, need in enumerate(one["needs"] if isinstance(one.get("needs"), list) else ()):
            missing = sorted(reach(one) - reached.get(str(need), set()))
            if str(need) not in reached or missing:
                where = "platform_components" if str(need) not in reached else ", ".join(missing)
                found.append(
                    Finding(
                        f"{place}.needs[{j}]",
                        "unknown-component",
                        f"{_shown(need)} is not for {where}."
                        if str(need) in reached
                        else f"{_shown(need)} is not in {where}.",
                        "correct the name, add the component, or widen its clusters.",
                    )
                )
        for j, manifest in _records(one.get("manifests")):
            spot = f"{place}.manifests[{j}]"
            if bool(manifest.get("path")) == bool(manifest.get("url")):
                found.append(
                    Finding(spot, "manifest-source", "has neither a path nor an address, or both.", "give one of them.")
                )
            found += _plain_http(f"{spot}.url", manifest.get("url"))
    return found


def _offline_findings(inventory: Inventory) -> list[Finding]:
    names = {str(h.get("name")) for _other, h in _records(_openbao(inventory).get("holders"))}
    found: list[Finding] = []
    for i, secret in _records(inventory.variables.get("platform_secrets")):
        place = f"platform_secrets[{i}]"
        holders = secret.get("holders")
        if isinstance(holders, list):
            if len({str(h) for h in holders}) < 2 and secret.get("kind") != "unseal_share":
                found.append(
                    Finding(
                        f"{place}.holders",
                        "secret-holders",
                        f"has {len(holders)} holder(s): it is lost with one person or one disk.",
                        "name at least two people who each have a copy.",
                    )
                )
            for n, holder in enumerate(holders):
                if isinstance(holder, str) and names and holder not in names:
                    found.append(
                        Finding(
                            f"{place}.holders[{n}]",
                            "unknown-holder",
                            f"{_shown(holder)} is not in platform_openbao.holders.",
                            _did_you_mean(holder, sorted(names)),
                            "warning",
                        )
                    )
        where = secret.get("where")
        if isinstance(where, str) and re.search(
            r"\b(openbao|vault)\b(?!.*\bansible)", where.replace("ansible-vault", ""), re.I
        ):
            found.append(
                Finding(
                    f"{place}.where",
                    "boot-secret-in-openbao",
                    "says that it lives in OpenBao, which cannot be read while it is sealed.",
                    "keep it offline: an encrypted file with two holders, or paper.",
                )
            )
    return found


# -- secrets that stand in the inventory ----------------------------------------------------------------------------

_SECRET_NAMES: t.Final = re.compile(
    r"(^|_)(password|passphrase|passwd|token|secret_id|secret_key|private_key|secret|unseal_key|unseal_share|"
    r"root_token|key_share|share)$"
)
_SECRET_TEXTS: t.Final = (
    ("an OpenBao token", re.compile(r"\b(hv[sbr]\.[A-Za-z0-9_-]{20,}|[sbr]\.[A-Za-z0-9]{24,}\b)")),
    ("an age secret key", re.compile(r"AGE-SECRET-KEY-1", re.I)),
    ("a private key", re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY( BLOCK)?-----")),
    ("a signed token", re.compile(r"\beyJ[A-Za-z0-9_-]{10,}\.eyJ[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{10,}")),
    (
        "an access token",
        re.compile(r"\b(gh[pousr]_[A-Za-z0-9]{30,}|github_pat_[A-Za-z0-9_]{30,}|glpat-[A-Za-z0-9_-]{18,})"),
    ),
    ("a PVE API token", re.compile(r"PVEAPIToken=\S+=[0-9a-f-]{36}")),
)


def host_variable(name: str) -> bool:
    """Say if a host's variable of that name is looked at: those of the contract, and those named like a secret."""
    if name.startswith(("openbao_", "pve_", "talos_")):
        return True
    return not name.startswith(("ansible_", "platform_")) and bool(_SECRET_NAMES.search(name))


def _sizes(text: str) -> set[int]:
    """Return how many bytes *text* holds if it is all hex or all base64, as unseal shares are."""
    text = text.strip()
    found = set()
    if re.fullmatch(r"([0-9a-fA-F]{2})+", text):
        found.add(len(text) // 2)
    if re.fullmatch(r"[A-Za-z0-9+/]+={0,2}", text):
        with contextlib.suppress(ValueError):  # binascii.Error is one
            found.add(len(base64.b64decode(text, validate=True)))
    return found


def secret_kind(key: str, value: str) -> str | None:
    """Say what secret *value* looks like, ``None`` if it looks like none. Encrypted texts are none.

    A share of a 256-bit key has 33 bytes, which nothing else has; 32 bytes may be a digest or a public key and count
    only under a telling name.
    """
    if not value.strip() or value.lstrip().startswith(
        ("$ANSIBLE_VAULT", "-----BEGIN AGE ENCRYPTED", "-----BEGIN PGP MESSAGE")
    ):
        return None
    for what, pattern in _SECRET_TEXTS:
        if pattern.search(value):
            return what
    sizes = _sizes(value)
    if 33 in sizes or (32 in sizes and re.search(r"share|unseal", key)):
        return "an unseal share"
    if _SECRET_NAMES.search(key):
        return f"the value of {key}"
    return None


def _texts(value: t.Any, path: str, key: str) -> t.Iterator[tuple[str, str, str]]:
    if isinstance(value, str):
        yield path, key, value
    elif isinstance(value, dict):
        for k, v in value.items():
            yield from _texts(v, f"{path}.{k}" if path else str(k), str(k))
    elif isinstance(value, list):
        for i, v in enumerate(value):
            yield from _texts(v, f"{path}[{i}]", key)


def all_texts(inventory: Inventory) -> t.Iterator[tuple[str, str, str]]:
    """Yield (path, key, text) of every text that is looked at."""
    for name, value in inventory.variables.items():
        yield from _texts(value, name, name)
    for group, hosts in inventory.hosts.items():
        for host, host_vars in _mapping(hosts).items():
            for name, value in _mapping(host_vars).items():
                yield from _texts(value, _host_place(group, host, rest=[name]), name)


def _plaintext_findings(inventory: Inventory) -> list[Finding]:
    found = []
    for path, key, text in all_texts(inventory):
        if inventory.plain is not None and path not in inventory.plain:
            continue
        kind = secret_kind(key, text)
        if kind:
            found.append(
                Finding(
                    path,
                    "plaintext-secret",
                    f"looks like {kind} in plain text.",
                    "take it out, have its server issue another, and keep that in a 0600 file or under ansible-vault.",
                )
            )
    return found


# -- files ---------------------------------------------------------------------------------------------------------

#: Last key of a path -> may others read the file?
_FILES: t.Final[t.Mapping[str, bool]] = {
    "ca_file": True,
    "ca_cert": True,
    "pgp_public_key_file": True,
    "cert_auth_public_key": True,
    "kubeconfig": False,
    "password_file": False,
    "token_path": False,
    "cert_auth_private_key": False,
    "key_file": False,
    "token_file": False,
    "age_key_file": False,
    "known_hosts_file": True,
}


def named_files(inventory: Inventory) -> list[tuple[str, str, bool]]:
    """Return (path in the inventory, file, may others read it) of every file that has to exist."""
    result = []
    for path, key, text in all_texts(inventory):
        if (
            path.startswith(("platform_clusters[", "platform_openbao."))
            and key in _FILES
            and text.startswith(("/", "~"))
            and not path.startswith("platform_openbao.config.")
        ):
            result.append((path, text, _FILES[key]))
    for i, secret in _records(inventory.variables.get("platform_secrets")):
        where = secret.get("path")
        if isinstance(where, str) and where.startswith(("/", "~")):
            result.append((f"platform_secrets[{i}].path", where, True))
    return result


def _file_findings(inventory: Inventory, files: FileLookup) -> list[Finding]:
    found = []
    for path, name, open_to_all in named_files(inventory):
        fact = files(name)
        if not fact.exists:
            found.append(
                Finding(
                    path,
                    "file-missing",
                    f"{name} does not exist or cannot be read.",
                    "correct the path, or put the file there.",
                )
            )
        elif not open_to_all and fact.mode & 0o077:
            found.append(
                Finding(path, "file-mode", f"{name} has mode {fact.mode:04o}: others can read it.", f"chmod 600 {name}")
            )
    return found
